import { useCallback, useEffect, useRef, useState } from "react";
import { ChatStore } from "./chat_store";
import { newChat, type Chat } from "./chats";

/** The chats of this browser, kept as they change. `onFull` is told once a chat could not be kept. */
export function useChats(onFull: () => void) {
  const [chats, setChats] = useState<Chat[]>([]);
  const [current, setCurrent] = useState<Chat>(() => newChat(""));
  const store = useRef<ChatStore | null>(null);
  const latest = useRef(current);
  latest.current = current;

  const keep = useCallback(
    (chat: Chat) => {
      setChats((before) => [chat, ...before.filter((one) => one.id !== chat.id)]);
      store.current?.put(chat).catch(onFull);
    },
    [onFull],
  );

  useEffect(() => {
    ChatStore.open()
      .then(async (opened) => {
        store.current = opened;
        const all = await opened.all();
        setChats(all);
        const last = sessionStorage.getItem("chat");
        const found = all.find((chat) => chat.id === last);
        if (found) setCurrent(found);
      })
      .catch(onFull);
  }, [onFull]);

  /** Changes the shown chat; `isKept`: also in the browser's storage, as one does not for each token. */
  const change = useCallback(
    (next: (chat: Chat) => Chat, isKept = true) => {
      const chat = next(latest.current);
      latest.current = chat;
      setCurrent(chat);
      if (isKept && Object.keys(chat.messages).length > 0) keep(chat);
      sessionStorage.setItem("chat", chat.id);
    },
    [keep],
  );

  const open = useCallback((chat: Chat) => {
    latest.current = chat;
    setCurrent(chat);
    sessionStorage.setItem("chat", chat.id);
  }, []);

  const remove = useCallback(
    (chat: Chat) => {
      setChats((before) => before.filter((one) => one.id !== chat.id));
      store.current?.remove(chat.id).catch(onFull);
    },
    [onFull],
  );

  return { chats, current, latest, change, keep, open, remove };
}
