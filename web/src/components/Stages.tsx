import { useSay } from "@/i18n";
import type { StageState } from "@/lib/api";

function percentOf(stage: StageState): number {
  if (stage.state === "ready") return 100;
  if (stage.percent !== undefined) return stage.percent;
  return stage.weight_bytes ? (100 * (stage.loaded_bytes ?? 0)) / stage.weight_bytes : 0;
}

/** How far the stages of a chain are that wakes up. */
export function WakingStages({ stages }: { stages: StageState[] }) {
  const say = useSay();
  return (
    <section className="waking" role="status">
      <p>{say("waking")}</p>
      <ul>
        {stages.map((stage) => (
          <li key={stage.stage}>
            <span>
              {say("stage")} {stage.stage.toUpperCase()}
            </span>
            <progress max={100} value={percentOf(stage)} aria-label={`${say("stage")} ${stage.stage}`} />
            <span>{stage.state}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
