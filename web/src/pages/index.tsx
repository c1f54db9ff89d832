import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Composer } from "@/components/Composer";
import { Dialog } from "@/components/Dialog";
import { Header } from "@/components/Header";
import { IconButton } from "@/components/Icon";
import { KeyDialog } from "@/components/KeyDialog";
import { MessageView } from "@/components/MessageView";
import { Settings } from "@/components/Settings";
import { Sidebar } from "@/components/Sidebar";
import { WakingStages } from "@/components/Stages";
import { useSay } from "@/i18n";
import type { Texts } from "@/i18n/en";
import { countTokens, keyStore, type ApiError } from "@/lib/api";
import {
  choose,
  newChat,
  newId,
  requestMessages,
  shownPath,
  siblings,
  withMessage,
  type Message,
} from "@/lib/chats";
import { useAnswer } from "@/lib/use_answer";
import { useChats } from "@/lib/use_chats";
import { useServer } from "@/lib/use_server";

const kKeys: [string, keyof Texts][] = [
  ["Enter", "helpSend"],
  ["Ctrl+Shift+O", "helpNew"],
  ["Ctrl+K", "helpSearch"],
  ["Escape", "helpStop"],
  ["?", "helpHelp"],
];

/** Tokens of the shown conversation, counted by the server a moment after it has changed. */
function useTokens(model: string, system: string, path: Message[], isBusy: boolean): number | null {
  const [count, setCount] = useState<number | null>(null);
  useEffect(() => {
    if (isBusy || path.length === 0 || !model) return;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      countTokens(model, requestMessages(system, path), abort.signal).then(setCount, () => setCount(null));
    }, 600);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [model, system, path, isBusy]);
  return path.length === 0 ? null : count;
}

export default function ChatPage() {
  const say = useSay();
  const [note, setNote] = useState("");
  const [open, setOpen] = useState<"" | "settings" | "help">("");
  const [isMenuOpen, setMenuOpen] = useState(false);
  const [mostPixels, setMostPixels] = useState(1024);
  const [wantsKey, setWantsKey] = useState(false);
  const end = useRef<HTMLDivElement>(null);
  const follows = useRef(true);

  const onFull = useCallback(() => setNote(say("storageFull")), [say]);
  const server = useServer();
  const chats = useChats(onFull);
  const outcome = useMemo(
    () => ({
      needsKey: () => setWantsKey(true),
      describe: (failure: ApiError) => {
        if (failure.status === 0) return say("lost");
        return failure.status === 429 ? say("busy") : failure.message;
      },
    }),
    [say],
  );
  const { growing, waking, isRecovering, answer, stop } = useAnswer(chats.change, outcome);
  const chat = chats.current;
  const path = useMemo(() => shownPath(chat), [chat]);
  const model = server.models.find((one) => one.id === chat.model) ?? server.models[0];
  const isUnknown = chat.model !== "" && server.models.length > 0 && model?.id !== chat.model;
  const tokens = useTokens(model?.id ?? "", chat.system, path, growing !== "");
  const isCold = server.health !== null && server.health.status !== "ok" && server.problem === null;

  useEffect(() => {
    if (follows.current) end.current?.scrollIntoView({ block: "end" });
  }, [path, waking]);

  const send = (text: string, images: string[], parent: string | null) => {
    const message: Message = {
      id: newId(),
      parent,
      role: "user",
      text,
      ...(images.length > 0 && { images }),
    };
    follows.current = true;
    chats.change((before) => ({ ...withMessage(before, message), model: model?.id ?? "" }));
    void answer(chats.latest.current, message.id, model?.id ?? "");
  };
  const begin = useCallback(() => {
    stop();
    chats.open(newChat(""));
    setMenuOpen(false);
    document.getElementById("message")?.focus();
  }, [chats, stop]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isTyping =
        event.target instanceof HTMLElement && /INPUT|TEXTAREA|SELECT/.test(event.target.tagName);
      const isCommand = event.ctrlKey || event.metaKey;
      if (event.key === "?" && !isTyping) setOpen("help");
      else if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
      else if (isCommand && event.shiftKey && event.key.toLowerCase() === "o") {
        event.preventDefault();
        begin();
      } else if (isCommand && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setMenuOpen(true);
        document.getElementById("search")?.focus();
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [begin, stop]);

  const edit = (message: Message, text: string) => send(text, message.images ?? [], message.parent);
  const again = (message: Message) => {
    if (message.parent) void answer(chats.latest.current, message.parent, model?.id ?? "");
  };

  return (
    <div className="chat-page">
      <a className="skip" href="#conversation">
        {say("skip")}
      </a>
      <Header
        start={
          <IconButton
            icon="menu"
            label={say("menu")}
            className="only-small"
            onClick={() => setMenuOpen(!isMenuOpen)}
          />
        }
      >
        <select
          className="model"
          aria-label={say("model")}
          value={model?.id ?? ""}
          onChange={(event) => chats.change((before) => ({ ...before, model: event.target.value }))}
        >
          {server.models.map((one) => (
            <option key={one.id} value={one.id}>
              {one.id}
            </option>
          ))}
        </select>
        <IconButton icon="gear" label={say("settings")} onClick={() => setOpen("settings")} />
        <IconButton icon="help" label={say("help")} onClick={() => setOpen("help")} />
      </Header>
      <div className="columns">
        <Sidebar
          chats={chats.chats}
          current={chat.id}
          isOpen={isMenuOpen}
          onNew={begin}
          onOpen={(id) => {
            const found = chats.chats.find((one) => one.id === id);
            if (found) {
              stop();
              chats.open(found);
            }
            setMenuOpen(false);
          }}
          onRename={(one, title) => {
            chats.keep({ ...one, title });
            if (one.id === chat.id) chats.open({ ...chats.latest.current, title });
          }}
          onRemove={(one) => {
            chats.remove(one);
            if (one.id === chat.id) begin();
          }}
          onImport={(imported) => imported.forEach(chats.keep)}
          onNote={setNote}
        />
        <main>
          <div
            id="conversation"
            className="conversation"
            tabIndex={-1}
            onScroll={(event) => {
              const box = event.currentTarget;
              follows.current = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
            }}
          >
            <div className="thread" aria-live="off">
              {path.length === 0 && (
                <div className="hello">
                  <h1>{say("hello")}</h1>
                  <p>{say("helloHint", { n: server.health?.stages?.length ?? 1 })}</p>
                </div>
              )}
              {path.map((message) => (
                <MessageView
                  key={message.id}
                  message={message}
                  versions={siblings(chat, message.parent)}
                  isGrowing={message.id === growing}
                  isBusy={growing !== ""}
                  onChoose={(one) => chats.change((before) => choose(before, one))}
                  onEdit={edit}
                  onAgain={again}
                />
              ))}
              {isUnknown && path.length > 0 && (
                <p className="note">{say("unknownModel", { model: chat.model, other: model?.id ?? "" })}</p>
              )}
              {(waking.length > 0 || (isCold && path.length === 0)) && (
                <WakingStages stages={waking.length > 0 ? waking : (server.health?.stages ?? [])} />
              )}
              {isRecovering && waking.length === 0 && (
                <p className="note" role="status">
                  {say("recovering")}
                </p>
              )}
              {server.problem && (
                <p className="note bad" role="alert">
                  {say(server.problem)}
                </p>
              )}
              <div ref={end} />
            </div>
          </div>
          <Composer
            canSee={model?.input_modalities.includes("image") ?? false}
            model={model?.id ?? ""}
            mostPixels={mostPixels}
            isBusy={growing !== ""}
            tokens={
              tokens !== null && model ? say("tokensUsed", { n: tokens, all: model.max_model_len }) : ""
            }
            onSend={(text, images) => send(text, images, path[path.length - 1]?.id ?? null)}
            onStop={stop}
            onNote={setNote}
          />
        </main>
      </div>
      {note && (
        <div className="toast" role="status">
          <span>{note}</span>
          <IconButton icon="cross" label={say("close")} onClick={() => setNote("")} />
        </div>
      )}
      {open === "settings" && (
        <Settings
          chat={chat}
          model={model}
          mostPixels={mostPixels}
          onChange={(changed) => chats.change(() => changed)}
          onMostPixels={setMostPixels}
          onClose={() => setOpen("")}
        />
      )}
      {open === "help" && (
        <Dialog title={say("help")} onClose={() => setOpen("")}>
          <dl className="keys">
            {kKeys.map(([key, text]) => (
              <div key={key}>
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{say(text)}</dd>
              </div>
            ))}
          </dl>
        </Dialog>
      )}
      {(server.needsKey || wantsKey) && (
        <KeyDialog
          isWrong={keyStore.get() !== ""}
          onKey={() => {
            setWantsKey(false);
            void server.refresh();
          }}
          onClose={() => setWantsKey(false)}
        />
      )}
    </div>
  );
}
