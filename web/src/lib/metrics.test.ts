import { describe, expect, it } from "vitest";
import { buckets, parseMetrics, quantile, total } from "./metrics";

const kText = `# HELP x y
# TYPE commissure_t histogram
commissure_t_bucket{model_name="a \\"b\\"",le="0.1"} 2
commissure_t_bucket{model_name="a",le="+Inf"} 10
commissure_t_bucket{model_name="a",le="0.2"} 8
commissure_num_requests_running{model_name="a"} 1
commissure_num_requests_running{model_name="b"} 2.5
broken line
`;

describe("metrics", () => {
  it("are read with their labels, and summed", () => {
    const samples = parseMetrics(kText);
    expect(samples).toHaveLength(5);
    expect(total(samples, "num_requests_running")).toBe(3.5);
    expect(total(samples, "nothing")).toBe(0);
  });
  it("give quantiles of what came between two readings", () => {
    const now = buckets(parseMetrics(kText), "t");
    expect(now.map(([le]) => le)).toEqual([0.1, 0.2, Infinity]);
    expect(quantile([], now, 0.5)).toBeCloseTo(0.15);
    expect(quantile([], now, 0.99)).toBe(0.2);
    expect(quantile(now, now, 0.5)).toBeNull();
  });
});
