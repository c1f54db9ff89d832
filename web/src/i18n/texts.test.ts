import { expect, it } from "vitest";
import { de } from "./de";
import { en } from "./en";

it("says everything in every language, with the same values", () => {
  const names = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
  for (const [key, text] of Object.entries(en)) {
    const other = de[key as keyof typeof en];
    expect(other, key).toBeTruthy();
    expect(names(other), key).toEqual(names(text));
  }
  expect(Object.keys(de)).toEqual(Object.keys(en));
});
