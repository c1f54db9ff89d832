import dynamic from "next/dynamic";
import { useMemo } from "react";
import { markdownBlocks } from "@/lib/markdown_blocks";

const Plain = ({ text }: { text?: string }) => <p className="plain">{text}</p>;

/** Parser, formulas and colours come once the first answer does; until then the text stands as it is. */
const RichMarkdown = dynamic(() => import("./RichMarkdown"), { ssr: false, loading: () => <Plain /> });

/** An answer, block by block: while it grows, only its last block is parsed again. */
export function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => markdownBlocks(text), [text]);
  return (
    <div className="markdown" dir="auto">
      {blocks.map((block, i) => (
        <div className="block" key={i}>
          <RichMarkdown text={block} />
        </div>
      ))}
    </div>
  );
}
