/**
 * Parts a Markdown text into blocks that can be rendered apart from each other, so that only the last block of an answer is
 * parsed again while it grows. A block ends at an empty line outside of fences and display formulas, unless what follows
 * belongs to it: an indented line, or a further item of its list.
 */
export function markdownBlocks(text: string): string[] {
  const blocks: string[] = [];
  let block: string[] = [];
  let fence = "";
  let formula = false;
  let isEmpty = false;
  for (const line of text.split("\n")) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence) {
      if (mark && mark[0] === fence[0] && mark.length >= fence.length && line.trim() === mark) fence = "";
    } else if (mark) {
      fence = mark;
    } else if (line.trim() === "$$") {
      formula = !formula;
    }
    const goesOn = /^(\s|[-*+] |\d+[.)] )/.test(line);
    if (isEmpty && block.length > 0 && line.trim() !== "" && !goesOn) {
      blocks.push(block.join("\n"));
      block = [];
    }
    block.push(line);
    isEmpty = !fence && !formula && line.trim() === "";
  }
  if (block.some((line) => line.trim() !== "")) blocks.push(block.join("\n"));
  return blocks;
}
