import katex from "katex";
import {
  isValidElement,
  memo,
  useLayoutEffect,
  useRef,
  useState,
  type ComponentProps,
  type ReactNode,
} from "react";
import ReactMarkdown, { defaultUrlTransform } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import remarkGfm from "remark-gfm";
import remarkMath from "remark-math";
import "katex/dist/katex.min.css";
import { useSay } from "@/i18n";

/** Of a model's links only those to pages and mail are kept; pictures of others' servers are never loaded. */
function safeUrl(url: string): string {
  return /^(https?:|mailto:|#)/i.test(url) ? defaultUrlTransform(url) : "";
}

const kMath = "language-math";

/** A formula, built node by node: styles that a parser would find in HTML are against the page's policy. */
function Formula({ text, isDisplay }: { text: string; isDisplay: boolean }) {
  const box = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    if (!box.current) return;
    const limits = { throwOnError: false, trust: false, strict: false, maxSize: 20, maxExpand: 200 } as const;
    katex.render(text, box.current, { ...limits, displayMode: isDisplay });
  }, [text, isDisplay]);
  return <span ref={box} />;
}

function InlineCode({ className, children }: ComponentProps<"code">) {
  if (!className?.includes(kMath)) return <code className={className}>{children}</code>;
  return <Formula text={String(children)} isDisplay={className.includes("math-display")} />;
}

function Code({ children, ...rest }: ComponentProps<"pre">) {
  const say = useSay();
  const box = useRef<HTMLPreElement>(null);
  const [copied, setCopied] = useState(false);
  const kind = isValidElement<{ className?: string }>(children) ? (children.props.className ?? "") : "";
  const language = /language-(\w+)/.exec(kind)?.[1];
  const copy = async () => {
    await navigator.clipboard.writeText(box.current?.innerText ?? "");
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  if (kind.includes(kMath)) return children;
  return (
    <div className="code">
      <div className="code-bar">
        <span>{language ?? ""}</span>
        <button type="button" className="quiet" onClick={() => void copy()}>
          {say(copied ? "copied" : "copy")}
        </button>
      </div>
      <pre {...rest} ref={box} tabIndex={0}>
        {children}
      </pre>
    </div>
  );
}

const components = {
  pre: Code,
  code: InlineCode,
  a: ({ href, children }: { href?: string; children?: ReactNode }) =>
    href ? (
      <a href={href} target="_blank" rel="noopener noreferrer nofollow">
        {children}
      </a>
    ) : (
      <span>{children}</span>
    ),
  img: ({ alt }: { alt?: string }) => <span className="no-picture">[{alt}]</span>,
  table: ({ children }: { children?: ReactNode }) => (
    <div className="table" tabIndex={0} role="region">
      <table>{children}</table>
    </div>
  ),
};

/** One block of Markdown. HTML in it is shown as text. */
export default memo(function RichMarkdown({ text }: { text: string }) {
  return (
    <ReactMarkdown
      remarkPlugins={[remarkGfm, remarkMath]}
      rehypePlugins={[[rehypeHighlight, { detect: false, plainText: ["math"] }]]}
      components={components}
      urlTransform={safeUrl}
    >
      {text}
    </ReactMarkdown>
  );
});
