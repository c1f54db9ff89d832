import type { RequestMessage, Sampling } from "./chats";
import { SseReader } from "./sse";

export interface Model {
  id: string;
  parent: string | null;
  max_model_len: number;
  input_modalities: string[];
  default_sampling: Record<string, number>;
}

export interface StageState {
  stage: string;
  state: string;
  problem?: string;
  percent?: number;
  layers?: [number, number];
  device?: string;
  isa?: string;
  weight_bytes?: number;
  loaded_bytes?: number;
  resident_bytes?: number;
}

export interface Health {
  status: string;
  model?: string;
  stages?: StageState[];
  error?: { message?: string };
}

/** An answer of the server that is an error, or none at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const kKeyName = "commissure-key";

/** The API key, for as long as the browser's tab is open. */
export const keyStore = {
  get: (): string => {
    try {
      return sessionStorage.getItem(kKeyName) ?? "";
    } catch {
      return "";
    }
  },
  set: (key: string): void => {
    try {
      sessionStorage.setItem(kKeyName, key);
    } catch {
      // Asked again after a reload.
    }
  },
};

async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (keyStore.get()) headers.set("authorization", `Bearer ${keyStore.get()}`);
  if (init.body) headers.set("content-type", "application/json");
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (problem) {
    if (init.signal?.aborted) throw problem;
    throw new ApiError(0, String(problem));
  }
  if (response.ok) return response;
  throw new ApiError(response.status, await errorText(response));
}

async function errorText(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const body = JSON.parse(text) as { error?: { message?: string } };
    if (body.error?.message) return body.error.message;
  } catch {
    // Not ours: something between the page and the server answered.
  }
  return text.slice(0, 300) || `HTTP ${response.status}`;
}

export async function listModels(): Promise<Model[]> {
  const body = (await (await call("/v1/models")).json()) as { data?: Model[] };
  if (!Array.isArray(body.data)) throw new ApiError(0, "otherServer");
  return body.data;
}

/** Health is told with 503, too. */
export async function readHealth(): Promise<Health> {
  const headers = new Headers();
  if (keyStore.get()) headers.set("authorization", `Bearer ${keyStore.get()}`);
  try {
    return (await (await fetch("/health", { headers })).json()) as Health;
  } catch (problem) {
    throw new ApiError(0, String(problem));
  }
}

export async function readMetrics(): Promise<string> {
  return (await call("/metrics")).text();
}

export async function wakeChain(): Promise<void> {
  await call("/warm", { method: "POST" });
}

export async function resetPrefixCache(): Promise<void> {
  await call("/reset_prefix_cache", { method: "POST" });
}

export async function countTokens(
  model: string,
  messages: RequestMessage[],
  signal: AbortSignal,
): Promise<number> {
  const body = JSON.stringify({ model, messages });
  return ((await (await call("/tokenize", { method: "POST", body, signal })).json()) as { count: number })
    .count;
}

export interface StreamHandlers {
  text: (piece: string) => void;
  thoughts: (piece: string) => void;
  toolCall: (index: number, name: string, piece: string) => void;
  warming: (stages: StageState[]) => void;
}

export interface StreamEnd {
  finish: string;
  promptTokens: number;
  tokens: number;
}

interface Chunk {
  error?: { message?: string };
  choices?: {
    delta?: {
      content?: string | null;
      reasoning_content?: string | null;
      tool_calls?: { index?: number; function?: { name?: string; arguments?: string } }[];
    };
    finish_reason?: string | null;
  }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
}

function takeChunk(chunk: Chunk, handlers: StreamHandlers, end: StreamEnd): void {
  if (chunk.error) throw new ApiError(500, chunk.error.message ?? "");
  if (chunk.usage) {
    end.promptTokens = chunk.usage.prompt_tokens;
    end.tokens = chunk.usage.completion_tokens;
  }
  const choice = chunk.choices?.[0];
  if (choice?.finish_reason) end.finish = choice.finish_reason;
  if (choice?.delta?.reasoning_content) handlers.thoughts(choice.delta.reasoning_content);
  if (choice?.delta?.content) handlers.text(choice.delta.content);
  for (const tool of choice?.delta?.tool_calls ?? [])
    handlers.toolCall(tool.index ?? 0, tool.function?.name ?? "", tool.function?.arguments ?? "");
}

/** Streams one answer. Throws an ApiError (status 0: the connection broke); an abort throws the signal's reason. */
export async function streamChat(
  request: { model: string; messages: RequestMessage[]; sampling: Sampling },
  handlers: StreamHandlers,
  signal: AbortSignal,
): Promise<StreamEnd> {
  const body = JSON.stringify({
    model: request.model,
    messages: request.messages,
    ...request.sampling,
    stream: true,
    stream_options: { include_usage: true, include_warming: true },
  });
  const response = await call("/v1/chat/completions", { method: "POST", body, signal });
  const end: StreamEnd = { finish: "", promptTokens: 0, tokens: 0 };
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const events = new SseReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (const event of events.push(value)) {
        if (event.event === "comment" || event.data === "[DONE]") continue;
        if (event.event === "warming") {
          handlers.warming((JSON.parse(event.data) as { stages?: StageState[] }).stages ?? []);
        } else {
          takeChunk(JSON.parse(event.data) as Chunk, handlers, end);
        }
      }
    }
  } catch (problem) {
    if (signal.aborted || problem instanceof ApiError) throw problem;
    throw new ApiError(0, String(problem));
  }
  if (!end.finish) throw new ApiError(0, "the stream ended early");
  return end;
}
