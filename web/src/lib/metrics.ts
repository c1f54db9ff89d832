/** One sample of Prometheus' text format. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads Prometheus' text format; lines that are none are passed over. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+([-+.\deE]+|[+-]Inf|NaN)/.exec(line);
    if (!match) continue;
    const labels: Record<string, string> = {};
    for (const [, key, value] of (match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[key!] = value!;
    const value = match[3] === "+Inf" ? Infinity : Number(match[3]);
    samples.push({ name: match[1]!, labels, value });
  }
  return samples;
}

/** The sum of all samples of a name, without its prefix ("num_requests_running"); 0 where there is none. */
export function total(samples: Sample[], name: string): number {
  return samples.filter((one) => one.name === "commissure_" + name).reduce((sum, one) => sum + one.value, 0);
}

/** Cumulative counts of a histogram by upper bound. */
export function buckets(samples: Sample[], name: string): [number, number][] {
  return samples
    .filter((one) => one.name === `commissure_${name}_bucket`)
    .map((one): [number, number] => [one.labels.le === "+Inf" ? Infinity : Number(one.labels.le), one.value])
    .sort((a, b) => a[0] - b[0]);
}

/**
 * The value below which the share `q` of what was counted between two readings lies, taken as evenly spread within its
 * bucket, as Prometheus' histogram_quantile does; null where nothing was counted.
 */
export function quantile(before: [number, number][], after: [number, number][], q: number): number | null {
  const counts = after.map(([le, count], i): [number, number] => [le, count - (before[i]?.[1] ?? 0)]);
  const all = counts[counts.length - 1]?.[1] ?? 0;
  if (all <= 0) return null;
  const rank = q * all;
  let lower = 0;
  let below = 0;
  for (const [le, count] of counts) {
    if (count >= rank) {
      if (le === Infinity) return lower;
      return count === below ? le : lower + ((le - lower) * (rank - below)) / (count - below);
    }
    lower = le;
    below = count;
  }
  return lower;
}
