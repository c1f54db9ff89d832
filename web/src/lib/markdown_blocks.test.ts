import { describe, expect, it } from "vitest";
import { markdownBlocks } from "./markdown_blocks";

describe("markdownBlocks", () => {
  it("parts paragraphs", () => {
    expect(markdownBlocks("one\n\ntwo\nstill two\n\n# three")).toHaveLength(3);
  });
  it("keeps fences whole, whatever stands in them", () => {
    expect(markdownBlocks("```js\na\n\n~~~\n\nb\n```\n\nafter")).toHaveLength(2);
    expect(markdownBlocks("````\n```\n\nx\n````")).toHaveLength(1);
    expect(markdownBlocks("```\nnever ended\n\nmore")).toHaveLength(1);
  });
  it("keeps lists and what belongs to their items whole", () => {
    expect(markdownBlocks("1. a\n\n2. b\n\n   more of b\n\n- c\n\nafter")).toHaveLength(2);
  });
  it("keeps display formulas whole", () => {
    expect(markdownBlocks("$$\na\n\nb\n$$\n\nafter")).toHaveLength(2);
  });
  it("loses nothing but empty lines at the end", () => {
    const text = "# a\n\nb\n\n```\nc\n\nd\n```\n\n| x |\n|---|\n| 1 |";
    expect(markdownBlocks(text).join("\n")).toBe(text);
  });
  it("changes only the last block while a text grows", () => {
    const text = "one\n\ntwo\n\n```\nthree\n\nfour\n```\n\nfive\n\n- six\n\n- seven";
    let before: string[] = [];
    for (let end = 1; end <= text.length; ++end) {
      const blocks = markdownBlocks(text.slice(0, end));
      const settled = before.slice(0, Math.min(before.length, blocks.length) - 1);
      expect(blocks.slice(0, settled.length).map((block) => block.trimEnd())).toEqual(
        settled.map((block) => block.trimEnd()),
      );
      before = blocks;
    }
  });
});
