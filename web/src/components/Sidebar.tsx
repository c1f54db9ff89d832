import { useRef, useState } from "react";
import { useSay } from "@/i18n";
import { exportChats, importChats, shownPath, type Chat } from "@/lib/chats";
import { Icon, IconButton } from "./Icon";

interface Props {
  chats: Chat[];
  current: string;
  isOpen: boolean;
  onOpen: (id: string) => void;
  onNew: () => void;
  onRename: (chat: Chat, title: string) => void;
  onRemove: (chat: Chat) => void;
  onImport: (chats: Chat[]) => void;
  onNote: (text: string) => void;
}

function matches(chat: Chat, wanted: string): boolean {
  const words = wanted.toLowerCase();
  if (chat.title.toLowerCase().includes(words)) return true;
  return shownPath(chat).some((message) => message.text.toLowerCase().includes(words));
}

/** All chats: found again, renamed, deleted, written to a file and read back. */
export function Sidebar(props: Props) {
  const say = useSay();
  const [wanted, setWanted] = useState("");
  const [renamed, setRenamed] = useState("");
  const file = useRef<HTMLInputElement>(null);
  const shown = wanted ? props.chats.filter((chat) => matches(chat, wanted)) : props.chats;

  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([exportChats(props.chats)], { type: "application/json" }));
    link.download = "commissure-chats.json";
    link.click();
    URL.revokeObjectURL(link.href);
  };
  const load = async (chosen: File | undefined) => {
    if (!chosen) return;
    try {
      const chats = importChats(await chosen.text());
      props.onImport(chats);
      props.onNote(say("imported", { n: chats.length }));
    } catch (problem) {
      props.onNote(say((problem as Error).message === "notChats" ? "notChats" : "notJson"));
    }
  };

  return (
    <aside className={props.isOpen ? "sidebar open" : "sidebar"} aria-label={say("chats")}>
      <button type="button" className="new-chat" onClick={props.onNew}>
        <Icon name="plus" /> {say("newChat")}
      </button>
      <input
        type="search"
        id="search"
        placeholder={say("search")}
        aria-label={say("search")}
        value={wanted}
        onChange={(event) => setWanted(event.target.value)}
      />
      <ul className="chat-list">
        {shown.map((chat) => (
          <li key={chat.id} className={chat.id === props.current ? "current" : ""}>
            {renamed === chat.id ? (
              <form
                onSubmit={(event) => {
                  event.preventDefault();
                  props.onRename(chat, String(new FormData(event.currentTarget).get("title") ?? ""));
                  setRenamed("");
                }}
              >
                <input
                  name="title"
                  autoFocus
                  defaultValue={chat.title}
                  aria-label={say("rename")}
                  onBlur={() => setRenamed("")}
                />
              </form>
            ) : (
              <>
                <button type="button" className="chat-name" dir="auto" onClick={() => props.onOpen(chat.id)}>
                  {chat.title || say("newChat")}
                </button>
                <IconButton icon="pencil" label={say("rename")} onClick={() => setRenamed(chat.id)} />
                <IconButton
                  icon="trash"
                  label={say("remove")}
                  onClick={() => window.confirm(say("removeSure")) && props.onRemove(chat)}
                />
              </>
            )}
          </li>
        ))}
      </ul>
      <div className="sidebar-end">
        <button type="button" className="quiet" onClick={save}>
          {say("exportAll")}
        </button>
        <button type="button" className="quiet" onClick={() => file.current?.click()}>
          {say("importChats")}
        </button>
        <input
          ref={file}
          type="file"
          accept="application/json"
          hidden
          onChange={(event) => void load(event.target.files?.[0])}
        />
      </div>
    </aside>
  );
}
