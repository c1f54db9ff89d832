import { memo, useState } from "react";
import { useLanguage } from "@/i18n";
import type { Message } from "@/lib/chats";
import { IconButton } from "./Icon";
import { Markdown } from "./Markdown";

interface Props {
  message: Message;
  /** The messages that stand at the same place, this one among them. */
  versions: Message[];
  isGrowing: boolean;
  isBusy: boolean;
  onChoose: (message: Message) => void;
  onEdit: (message: Message, text: string) => void;
  onAgain: (message: Message) => void;
}

function Editor({
  text,
  onSave,
  onCancel,
}: {
  text: string;
  onSave: (text: string) => void;
  onCancel: () => void;
}) {
  const { say } = useLanguage();
  const [edited, setEdited] = useState(text);
  return (
    <div className="editor">
      <textarea
        value={edited}
        autoFocus
        dir="auto"
        rows={4}
        aria-label={say("edit")}
        onChange={(event) => setEdited(event.target.value)}
      />
      <button type="button" className="primary" disabled={!edited.trim()} onClick={() => onSave(edited)}>
        {say("save")}
      </button>
      <button type="button" onClick={onCancel}>
        {say("cancel")}
      </button>
    </div>
  );
}

function Stats({ message }: { message: Message }) {
  const { say, language } = useLanguage();
  const { stats } = message;
  if (!stats || stats.tokens === 0) return null;
  const rate = stats.seconds > 0 ? (stats.tokens - 1) / stats.seconds : 0;
  const first =
    new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(stats.firstTokenMs / 1000) + " s";
  const shown = new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(rate);
  return <span className="stats">{say("stats", { tokens: stats.tokens, rate: shown, first })}</span>;
}

function Versions({ message, versions, onChoose }: Pick<Props, "message" | "versions" | "onChoose">) {
  const { say } = useLanguage();
  if (versions.length < 2) return null;
  const at = versions.findIndex((one) => one.id === message.id);
  return (
    <span className="versions">
      <IconButton
        icon="left"
        label={say("before")}
        disabled={at === 0}
        onClick={() => onChoose(versions[at - 1]!)}
      />
      {say("version", { i: at + 1, n: versions.length })}
      <IconButton
        icon="right"
        label={say("after")}
        disabled={at === versions.length - 1}
        onClick={() => onChoose(versions[at + 1]!)}
      />
    </span>
  );
}

/** One message of a chat with what can be done to it. */
export const MessageView = memo(function MessageView(props: Props) {
  const { say } = useLanguage();
  const { message } = props;
  const [isEdited, setEdited] = useState(false);
  const isMine = message.role === "user";
  if (isEdited) {
    const save = (text: string) => {
      setEdited(false);
      props.onEdit(message, text);
    };
    return (
      <article className="message user">
        <Editor text={message.text} onSave={save} onCancel={() => setEdited(false)} />
      </article>
    );
  }
  return (
    <article className={`message ${message.role}`} aria-busy={props.isGrowing} data-message={message.role}>
      <h3 className="hidden">{isMine ? say("you") : (message.stats?.model ?? say("model"))}</h3>
      {message.images?.map((url, i) => (
        <img key={i} className="picture" src={url} alt="" />
      ))}
      {message.thoughts && (
        <details className="thoughts" open={props.isGrowing && !message.text}>
          <summary>{say(props.isGrowing && !message.text ? "thinking" : "thoughts")}</summary>
          <div className="plain" dir="auto">
            {message.thoughts}
          </div>
        </details>
      )}
      {isMine ? (
        <div className="plain bubble" dir="auto">
          {message.text}
        </div>
      ) : (
        <Markdown text={message.text} />
      )}
      {message.toolCalls?.map((call, i) => (
        <details className="tool" key={i}>
          <summary>{say("toolCall", { name: call.name })}</summary>
          <pre tabIndex={0}>{call.arguments}</pre>
        </details>
      ))}
      {props.isGrowing && !message.text && !message.thoughts && <span className="dots" aria-hidden="true" />}
      {message.finish === "length" && <p className="note">{say("cutOff")}</p>}
      {message.finish === "stopped" && <p className="note">{say("stopped")}</p>}
      {message.error && (
        <p className="note bad" role="alert">
          {message.error}
        </p>
      )}
      {!props.isGrowing && (
        <footer>
          <Versions {...props} />
          <IconButton
            icon="copy"
            label={say("copy")}
            onClick={() => void navigator.clipboard.writeText(message.text)}
          />
          {isMine ? (
            <IconButton
              icon="pencil"
              label={say("edit")}
              disabled={props.isBusy}
              onClick={() => setEdited(true)}
            />
          ) : (
            <IconButton
              icon="again"
              label={say(message.error ? "retry" : "regenerate")}
              disabled={props.isBusy}
              onClick={() => props.onAgain(message)}
            />
          )}
          <Stats message={message} />
        </footer>
      )}
    </article>
  );
});
