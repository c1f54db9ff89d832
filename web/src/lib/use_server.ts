import { useCallback, useEffect, useState } from "react";
import { ApiError, listModels, readHealth, type Health, type Model } from "./api";

/** What the server serves and how it is: asked for at the beginning, and every few seconds while it is not well. */
export function useServer() {
  const [models, setModels] = useState<Model[]>([]);
  const [health, setHealth] = useState<Health | null>(null);
  const [needsKey, setNeedsKey] = useState(false);
  const [problem, setProblem] = useState<"away" | "otherServer" | null>(null);

  const refresh = useCallback(async () => {
    try {
      setHealth(await readHealth());
      setModels(await listModels());
      setProblem(null);
      setNeedsKey(false);
    } catch (failure) {
      const status = failure instanceof ApiError ? failure.status : 0;
      if (status === 401 || status === 403) setNeedsKey(true);
      else setProblem((failure as Error).message === "otherServer" ? "otherServer" : "away");
    }
  }, []);

  useEffect(() => {
    void refresh();
  }, [refresh]);
  const isWell = health?.status === "ok" && problem === null;
  useEffect(() => {
    if (isWell) return;
    const timer = setInterval(() => void refresh(), 2000);
    return () => clearInterval(timer);
  }, [isWell, refresh]);

  return { models, health, needsKey, problem, refresh, askKey: () => setNeedsKey(true) };
}
