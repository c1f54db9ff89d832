import { isValidElement, memo, useRef, useState, type ComponentProps, type ReactNode } from "react";
import ReactMarkdown, { defaultUrlTransform } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import rehypeKatex from "rehype-katex";
import remarkGfm from "remark-gfm";
import remarkMath from "remark-math";
import "katex/dist/katex.min.css";
import { useSay } from "@/i18n";

/** Of a model's links only those to pages and mail are kept; pictures of others' servers are never loaded. */
function safeUrl(url: string): string {
  return /^(https?:|mailto:|#)/i.test(url) ? defaultUrlTransform(url) : "";
}

function Code({ children, ...rest }: ComponentProps<"pre">) {
  const say = useSay();
  const box = useRef<HTMLPreElement>(null);
  const [copied, setCopied] = useState(false);
  const language = isValidElement<{ className?: string }>(children)
    ? /language-(\w+)/.exec(children.props.className ?? "")?.[1]
    : undefined;
  const copy = async () => {
    await navigator.clipboard.writeText(box.current?.innerText ?? "");
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
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
      rehypePlugins={[
        [rehypeKatex, { throwOnError: false, trust: false, maxSize: 20, maxExpand: 200, strict: false }],
        [rehypeHighlight, { detect: false }],
      ]}
      components={components}
      urlTransform={safeUrl}
    >
      {text}
    </ReactMarkdown>
  );
});
