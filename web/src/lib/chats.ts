/** A chat as the browser keeps it: a tree of messages, of which one path is shown. */
export interface Message {
  id: string;
  parent: string | null;
  role: "user" | "assistant";
  text: string;
  thoughts?: string;
  images?: string[];
  toolCalls?: { name: string; arguments: string }[];
  stats?: AnswerStats;
  finish?: string;
  error?: string;
}

export interface AnswerStats {
  model: string;
  firstTokenMs: number;
  seconds: number;
  tokens: number;
  promptTokens: number;
}

export interface Sampling {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  max_tokens?: number;
  seed?: number;
}

export interface Chat {
  id: string;
  title: string;
  updated: number;
  model: string;
  system: string;
  sampling: Sampling;
  messages: Record<string, Message>;
  /** Of each message that several follow (the root's key is ""), the one that is shown. */
  chosen: Record<string, string>;
}

export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function newChat(model: string): Chat {
  return {
    id: newId(),
    title: "",
    updated: Date.now(),
    model,
    system: "",
    sampling: {},
    messages: {},
    chosen: {},
  };
}

/** The messages that stand at the same place, oldest first. */
export function siblings(chat: Chat, parent: string | null): Message[] {
  return Object.values(chat.messages).filter((message) => message.parent === parent);
}

/** The path that is shown, from the first message down. */
export function shownPath(chat: Chat): Message[] {
  const path: Message[] = [];
  const seen = new Set<string>();
  for (let parent: string | null = null; ;) {
    const next = siblings(chat, parent);
    if (next.length === 0) return path;
    const wanted: string | undefined = chat.chosen[parent ?? ""];
    const message: Message = next.find((one) => one.id === wanted) ?? next[next.length - 1]!;
    if (seen.has(message.id)) return path;
    seen.add(message.id);
    path.push(message);
    parent = message.id;
  }
}

/** The chat with a message added at its place and shown. */
export function withMessage(chat: Chat, message: Message): Chat {
  return {
    ...chat,
    updated: Date.now(),
    title: chat.title || (message.role === "user" ? titleOf(message.text) : ""),
    messages: { ...chat.messages, [message.id]: message },
    chosen: { ...chat.chosen, [message.parent ?? ""]: message.id },
  };
}

/** The chat with another message of the same place shown. */
export function choose(chat: Chat, message: Message): Chat {
  return { ...chat, chosen: { ...chat.chosen, [message.parent ?? ""]: message.id } };
}

export function titleOf(text: string): string {
  const line = text.trim().split("\n")[0] ?? "";
  return line.length > 60 ? line.slice(0, 57) + "…" : line;
}

export type Part = { type: "text"; text: string } | { type: "image_url"; image_url: { url: string } };
export interface RequestMessage {
  role: string;
  content: string | Part[];
}

/** The body's messages for an answer to the path's last one. */
export function requestMessages(system: string, path: Message[]): RequestMessage[] {
  const messages: RequestMessage[] = system.trim() ? [{ role: "system", content: system }] : [];
  for (const message of path) {
    if (message.role === "assistant" && !message.text) continue;
    if (message.images?.length) {
      const images: Part[] = message.images.map((url) => ({ type: "image_url", image_url: { url } }));
      messages.push({ role: message.role, content: [...images, { type: "text", text: message.text }] });
    } else {
      messages.push({ role: message.role, content: message.text });
    }
  }
  return messages;
}

const kFormat = "commissure-chats";

export function exportChats(chats: Chat[]): string {
  return JSON.stringify({ format: kFormat, version: 1, chats }, null, 1);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function readMessage(value: unknown): Message | null {
  const given = value as Partial<Message> | null;
  if (!given || !isText(given.id) || !isText(given.text)) return null;
  if (given.role !== "user" && given.role !== "assistant") return null;
  const images = Array.isArray(given.images)
    ? given.images.filter(isText).filter((url) => url.startsWith("data:image/"))
    : [];
  return {
    id: given.id,
    parent: isText(given.parent) ? given.parent : null,
    role: given.role,
    text: given.text,
    ...(isText(given.thoughts) && { thoughts: given.thoughts }),
    ...(images.length > 0 && { images }),
    ...(isText(given.finish) && { finish: given.finish }),
  };
}

/** The chats of an exported file, with new ids. Throws an Error that says what is wrong with the file. */
export function importChats(text: string): Chat[] {
  let file: { format?: unknown; chats?: unknown };
  try {
    file = JSON.parse(text) as typeof file;
  } catch {
    throw new Error("notJson");
  }
  if (file?.format !== kFormat || !Array.isArray(file.chats)) throw new Error("notChats");
  return file.chats.map((value: Partial<Chat>) => {
    const chat = newChat(isText(value.model) ? value.model : "");
    chat.title = isText(value.title) ? value.title : "";
    chat.system = isText(value.system) ? value.system : "";
    for (const given of Object.values(value.messages ?? {})) {
      const message = readMessage(given);
      if (message) chat.messages[message.id] = message;
    }
    for (const [parent, id] of Object.entries(value.chosen ?? {})) if (isText(id)) chat.chosen[parent] = id;
    return chat;
  });
}
