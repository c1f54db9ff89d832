import { expect, it } from "vitest";
import { fitWithin, imageProblem, kMostImageBytes } from "./images";

it("says why a file cannot be sent", () => {
  expect(imageProblem({ type: "image/png", size: 10 })).toBeNull();
  expect(imageProblem({ type: "image/svg+xml", size: 10 })).toBe("notAPicture");
  expect(imageProblem({ type: "", size: 10 })).toBe("notAPicture");
  expect(imageProblem({ type: "image/jpeg", size: kMostImageBytes + 1 })).toBe("pictureTooLarge");
});

it("makes pictures smaller and never larger", () => {
  expect(fitWithin(4000, 1000, 1000)).toEqual([1000, 250]);
  expect(fitWithin(300, 200, 1000)).toEqual([300, 200]);
  expect(fitWithin(10_000, 1, 100)).toEqual([100, 1]);
});
