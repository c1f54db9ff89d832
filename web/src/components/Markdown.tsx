import { useEffect, useMemo, useState, type ComponentType } from "react";
import { markdownBlocks } from "@/lib/markdown_blocks";

type Block = ComponentType<{ text: string }>;

let loaded: Block | null = null;

/** Parser, formulas and colours come once the first answer does; null until then. */
function useRichMarkdown(): Block | null {
  const [rich, setRich] = useState<Block | null>(() => loaded);
  useEffect(() => {
    if (rich) return;
    import("./RichMarkdown").then(
      (module) => {
        loaded = module.default;
        setRich(() => loaded);
      },
      () => {}, // the server went away; plain text goes on
    );
  }, [rich]);
  return rich;
}

/** An answer, block by block: while it grows, only its last block is parsed again. */
export function Markdown({ text }: { text: string }) {
  const Rich = useRichMarkdown();
  const blocks = useMemo(() => markdownBlocks(text), [text]);
  return (
    <div className="markdown" dir="auto">
      {Rich ? (
        blocks.map((block, i) => (
          <div className="block" key={i}>
            <Rich text={block} />
          </div>
        ))
      ) : (
        <p className="plain">{text}</p>
      )}
    </div>
  );
}
