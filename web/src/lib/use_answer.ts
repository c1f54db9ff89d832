import { useCallback, useEffect, useRef, useState } from "react";
import { ApiError, readHealth, streamChat, type StageState } from "./api";
import { newId, requestMessages, shownPath, withMessage, type Chat, type Message } from "./chats";

/** A stream that has said nothing for so long may wait for a lost stage: its health is asked. */
const kSilenceMs = 3000;

interface Outcome {
  /** What the answer's message says of a failure; "": the failure is told elsewhere. */
  describe: (failure: ApiError) => string;
  needsKey: () => void;
}

type Change = (next: (chat: Chat) => Chat, isKept?: boolean) => void;

/** Streams answers into the shown chat, at most one at a time. */
export function useAnswer(change: Change, outcome: Outcome) {
  const [growing, setGrowing] = useState("");
  const [waking, setWaking] = useState<StageState[]>([]);
  const [isRecovering, setRecovering] = useState(false);
  const stopper = useRef<AbortController | null>(null);
  const lastPiece = useRef(0);

  useEffect(() => {
    if (!growing) return setRecovering(false);
    const timer = setInterval(() => {
      if (Date.now() - lastPiece.current < kSilenceMs) return setRecovering(false);
      readHealth().then(
        (health) => setRecovering(health.status !== "ok"),
        () => {},
      );
    }, 1000);
    return () => clearInterval(timer);
  }, [growing]);

  /** Answers the message `parent` of the chat: a new version of its answer. */
  const answer = useCallback(
    async (chat: Chat, parent: string, model: string) => {
      const path = shownPath(chat);
      const upTo = path.slice(0, path.findIndex((message) => message.id === parent) + 1);
      const abort = new AbortController();
      const began = performance.now();
      let first = 0;
      let message: Message = { id: newId(), parent, role: "assistant", text: "", stats: undefined };
      let isDrawn = false;
      const draw = (isKept = false) => change((before) => withMessage(before, message), isKept);
      const grow = (more: Partial<Message>) => {
        message = { ...message, ...more };
        if (!first) first = performance.now();
        lastPiece.current = Date.now();
        setWaking([]);
        if (isDrawn) return;
        isDrawn = true;
        requestAnimationFrame(() => {
          isDrawn = false;
          draw();
        });
      };
      stopper.current = abort;
      lastPiece.current = Date.now();
      setGrowing(message.id);
      draw();
      const finish = (more: Partial<Message>, tokens: number, promptTokens: number) => {
        const seconds = first ? (performance.now() - first) / 1000 : 0;
        const stats = { model, firstTokenMs: first ? first - began : 0, seconds, tokens, promptTokens };
        message = { ...message, ...more, stats };
      };
      try {
        const end = await streamChat(
          { model, messages: requestMessages(chat.system, upTo), sampling: chat.sampling },
          {
            text: (piece) => grow({ text: message.text + piece }),
            thoughts: (piece) => grow({ thoughts: (message.thoughts ?? "") + piece }),
            toolCall: (index, name, piece) => {
              const calls = [...(message.toolCalls ?? [])];
              const before = calls[index] ?? { name: "", arguments: "" };
              calls[index] = { name: before.name + name, arguments: before.arguments + piece };
              grow({ toolCalls: calls });
            },
            warming: setWaking,
          },
          abort.signal,
        );
        finish({ finish: end.finish }, end.tokens, end.promptTokens);
      } catch (failure) {
        if (abort.signal.aborted) {
          finish({ finish: "stopped" }, 0, 0);
        } else {
          const problem = failure instanceof ApiError ? failure : new ApiError(0, String(failure));
          if (problem.status === 401) outcome.needsKey();
          finish({ finish: "error", error: outcome.describe(problem) }, 0, 0);
        }
      }
      draw(true);
      setGrowing("");
      setWaking([]);
    },
    [change, outcome],
  );

  const stop = useCallback(() => stopper.current?.abort(), []);
  return { growing, waking, isRecovering, answer, stop };
}
