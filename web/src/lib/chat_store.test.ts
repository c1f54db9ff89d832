import "fake-indexeddb/auto";
import { expect, it } from "vitest";
import { ChatStore } from "./chat_store";
import { newChat } from "./chats";

it("keeps, replaces, lists and removes chats", async () => {
  const store = await ChatStore.open("test");
  const [a, b] = [
    { ...newChat("m"), updated: 1 },
    { ...newChat("m"), updated: 2 },
  ];
  await store.put(a);
  await store.put(b);
  await store.put({ ...a, title: "renamed", updated: 3 });
  expect((await store.all()).map((chat) => chat.title)).toEqual(["renamed", ""]);
  await store.remove(b.id);
  expect(await store.all()).toHaveLength(1);
  expect(await (await ChatStore.open("test")).all()).toHaveLength(1);
});
