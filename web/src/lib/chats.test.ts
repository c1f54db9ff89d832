import { describe, expect, it } from "vitest";
import {
  choose,
  exportChats,
  importChats,
  newChat,
  requestMessages,
  shownPath,
  siblings,
  titleOf,
  withMessage,
  type Message,
} from "./chats";

const message = (
  id: string,
  parent: string | null,
  role: Message["role"],
  more: Partial<Message> = {},
): Message => ({
  id,
  parent,
  role,
  text: id,
  ...more,
});

function talk() {
  let chat = newChat("m");
  for (const one of [
    message("q1", null, "user"),
    message("a1", "q1", "assistant"),
    message("q2", "a1", "user"),
    message("a2", "q2", "assistant"),
  ])
    chat = withMessage(chat, one);
  return chat;
}

const ids = (messages: Message[]) => messages.map((one) => one.id);

describe("chats", () => {
  it("show the path of the latest versions", () => {
    expect(ids(shownPath(talk()))).toEqual(["q1", "a1", "q2", "a2"]);
  });
  it("branch where a message is edited, and go back", () => {
    const chat = withMessage(talk(), message("q2b", "a1", "user"));
    expect(ids(shownPath(chat))).toEqual(["q1", "a1", "q2b"]);
    expect(ids(siblings(chat, "a1"))).toEqual(["q2", "q2b"]);
    expect(ids(shownPath(choose(chat, chat.messages.q2!)))).toEqual(["q1", "a1", "q2", "a2"]);
  });
  it("take the first question as their title", () => {
    expect(talk().title).toBe("q1");
    expect(titleOf("x".repeat(100))).toHaveLength(58);
  });
  it("become a request with system prompt and pictures, without empty answers", () => {
    const path = [
      message("q", null, "user", { images: ["data:image/png;base64,AA"] }),
      message("a", "q", "assistant", { text: "" }),
    ];
    expect(requestMessages("be brief", path)).toEqual([
      { role: "system", content: "be brief" },
      {
        role: "user",
        content: [
          { type: "image_url", image_url: { url: "data:image/png;base64,AA" } },
          { type: "text", text: "q" },
        ],
      },
    ]);
  });
  it("come back from a file under new ids", () => {
    const chat = talk();
    const [again] = importChats(exportChats([chat]));
    expect(again!.id).not.toBe(chat.id);
    expect(ids(shownPath(again!))).toEqual(["q1", "a1", "q2", "a2"]);
  });
  it("refuse files of others, and drop what is no message", () => {
    expect(() => importChats("{")).toThrow("notJson");
    expect(() => importChats('{"format":"other"}')).toThrow("notChats");
    const file = JSON.stringify({
      format: "commissure-chats",
      chats: [
        {
          messages: {
            a: { id: "a", parent: null, role: "system", text: "x" },
            b: { id: "b", parent: null, role: "user", text: "y", images: ["https://other.example/a.png", 7] },
            c: null,
          },
        },
      ],
    });
    const [chat] = importChats(file);
    expect(Object.keys(chat!.messages)).toEqual(["b"]);
    expect(chat!.messages.b!.images).toBeUndefined();
  });
  it("end where messages follow each other in a circle", () => {
    const chat = newChat("m");
    chat.messages = {
      a: message("a", null, "user"),
      b: message("b", "a", "assistant"),
      c: message("c", "b", "user"),
    };
    chat.messages.a2 = { ...message("a", "c", "user") };
    expect(shownPath(chat).length).toBeLessThan(5);
  });
});
