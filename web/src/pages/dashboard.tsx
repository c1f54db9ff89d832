import { useCallback, useEffect, useRef, useState } from "react";
import { Header } from "@/components/Header";
import { KeyDialog } from "@/components/KeyDialog";
import { useLanguage } from "@/i18n";
import {
  ApiError,
  keyStore,
  readHealth,
  readMetrics,
  resetPrefixCache,
  wakeChain,
  type Health,
  type StageState,
} from "@/lib/api";
import { buckets, parseMetrics, quantile, total, type Sample } from "@/lib/metrics";

const kSeconds = 300;

interface Reading {
  at: number;
  samples: Sample[];
}

/** Numbers of one moment: rates since the reading before, percentiles of the last ten seconds. */
interface Moment {
  tokensPerSecond: number;
  ttft: number | null;
  itl: number | null;
  kv: number;
}

function momentOf(readings: Reading[]): Moment {
  const now = readings[readings.length - 1]!;
  const before = readings[readings.length - 2] ?? now;
  const earlier = readings[Math.max(0, readings.length - 11)] ?? now;
  const seconds = (now.at - before.at) / 1000;
  const tokens =
    total(now.samples, "generation_tokens_total") - total(before.samples, "generation_tokens_total");
  const median = (name: string) => quantile(buckets(earlier.samples, name), buckets(now.samples, name), 0.5);
  return {
    tokensPerSecond: seconds > 0 ? Math.max(0, tokens) / seconds : 0,
    ttft: median("time_to_first_token_seconds"),
    itl: median("inter_token_latency_seconds"),
    kv: total(now.samples, "kv_cache_usage_perc"),
  };
}

/** A line over the last minutes, scaled to its largest value. */
function Line({ values, label }: { values: (number | null)[]; label: string }) {
  const width = 300;
  const height = 56;
  const most = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const points = values
    .map(
      (value, i) =>
        `${((i + kSeconds - values.length) / (kSeconds - 1)) * width},${height - 2 - ((value ?? 0) / most) * (height - 6)}`,
    )
    .join(" ");
  return (
    <svg
      className="line"
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <polyline points={points} />
    </svg>
  );
}

function StageCard({ stage }: { stage: StageState }) {
  const { say, language } = useLanguage();
  const size = (bytes: number) =>
    new Intl.NumberFormat(language, { maximumFractionDigits: bytes < 1e9 ? 0 : 1 }).format(
      bytes / (bytes < 1e9 ? 1e6 : 1e9),
    ) + (bytes < 1e9 ? " MB" : " GB");
  return (
    <li className={`stage ${stage.state}`}>
      <strong>
        {say("stage")} {stage.stage.toUpperCase()}
      </strong>
      <span className="state">{stage.state}</span>
      {stage.layers && <span>{say("layers", { first: stage.layers[0], last: stage.layers[1] - 1 })}</span>}
      {stage.device && <span>{[stage.device, stage.isa].filter(Boolean).join(" · ")}</span>}
      {stage.weight_bytes !== undefined && (
        <span>
          {size(stage.weight_bytes)} {say("weights")}
        </span>
      )}
      {stage.resident_bytes !== undefined && (
        <span>
          {size(stage.resident_bytes)} {say("memory")}
        </span>
      )}
      {stage.problem && <span className="bad">{stage.problem}</span>}
    </li>
  );
}

export default function Dashboard() {
  const { say, language } = useLanguage();
  const [health, setHealth] = useState<Health | null>(null);
  const [moments, setMoments] = useState<Moment[]>([]);
  const [samples, setSamples] = useState<Sample[]>([]);
  const [problem, setProblem] = useState("");
  const [asksKey, setAsksKey] = useState(false);
  const [done, setDone] = useState("");
  const readings = useRef<Reading[]>([]);

  const read = useCallback(async () => {
    try {
      setHealth(await readHealth());
      const reading = { at: Date.now(), samples: parseMetrics(await readMetrics()) };
      readings.current = [...readings.current.slice(-11), reading];
      setSamples(reading.samples);
      setMoments((before) => [...before.slice(1 - kSeconds), momentOf(readings.current)]);
      setProblem("");
    } catch (failure) {
      const status = failure instanceof ApiError ? failure.status : 0;
      setProblem(status === 401 ? say("needsKey") : say("away"));
      if (status === 401 && !keyStore.get()) setAsksKey(true);
    }
  }, [say]);
  useEffect(() => {
    void read();
    const timer = setInterval(() => void read(), 1000);
    return () => clearInterval(timer);
  }, [read]);

  const number = (value: number, digits = 0) =>
    new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
  const now = moments[moments.length - 1];
  const ms = (seconds: number | null | undefined) =>
    seconds == null ? "—" : `${number(seconds * 1000, 1)} ms`;
  const queries = total(samples, "prefix_cache_queries_total");
  const run = (action: () => Promise<void>) => () => {
    action().then(
      () => setDone(say("done")),
      (failure: Error) => setDone(failure.message),
    );
  };
  const counters: [string, string, string][] = [
    ["num_requests_running", say("running"), number(total(samples, "num_requests_running"))],
    ["num_requests_waiting", say("waiting"), number(total(samples, "num_requests_waiting"))],
    ["generation_tokens_total", say("generated"), number(total(samples, "generation_tokens_total"))],
    [
      "prefix_cache_hits_total",
      say("prefixHits"),
      queries ? `${number((100 * total(samples, "prefix_cache_hits_total")) / queries)} %` : "—",
    ],
    ["num_replays_total", say("replays"), number(total(samples, "num_replays_total"))],
    ["num_preemptions_total", say("preemptions"), number(total(samples, "num_preemptions_total"))],
  ];
  const charts: [string, string, (moment: Moment) => number | null][] = [
    [say("tokensPerSecond"), number(now?.tokensPerSecond ?? 0, 1), (moment) => moment.tokensPerSecond],
    [say("ttft"), ms(now?.ttft), (moment) => moment.ttft],
    [say("itl"), ms(now?.itl), (moment) => moment.itl],
    [say("kv"), `${number(100 * (now?.kv ?? 0), 1)} %`, (moment) => moment.kv],
  ];

  return (
    <div className="dashboard-page">
      <Header />
      <main>
        <h1>{health?.model ?? say("dashboard")}</h1>
        {problem && (
          <p className="note bad" role="alert">
            {problem}
          </p>
        )}
        <h2>{say("stages")}</h2>
        <ol className="chain">
          {health?.stages?.map((stage) => (
            <StageCard key={stage.stage} stage={stage} />
          ))}
        </ol>
        <ul className="counters">
          {counters.map(([name, label, value]) => (
            <li key={name} data-metric={name}>
              <strong>{value}</strong>
              <span>{label}</span>
            </li>
          ))}
        </ul>
        <ul className="charts">
          {charts.map(([label, value, pick]) => (
            <li key={label}>
              <span>{label}</span>
              <strong>{value}</strong>
              <Line
                values={moments.map(pick)}
                label={`${label}: ${say("lastMinutes", { n: kSeconds / 60 })}`}
              />
            </li>
          ))}
        </ul>
        <p className="actions">
          <button type="button" onClick={run(wakeChain)}>
            {say("wake")}
          </button>
          <button type="button" onClick={run(resetPrefixCache)}>
            {say("resetCache")}
          </button>
          <span role="status">{done}</span>
        </p>
      </main>
      {asksKey && (
        <KeyDialog
          isWrong={false}
          onKey={() => {
            setAsksKey(false);
            void read();
          }}
          onClose={() => setAsksKey(false)}
        />
      )}
    </div>
  );
}
