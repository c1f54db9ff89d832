import { useEffect, useRef, useState } from "react";
import { useSay } from "@/i18n";
import { imageProblem, kMostImages, readImage } from "@/lib/images";
import { Icon, IconButton } from "./Icon";

interface Props {
  canSee: boolean;
  model: string;
  mostPixels: number;
  isBusy: boolean;
  tokens: string;
  onSend: (text: string, images: string[]) => void;
  onStop: () => void;
  onNote: (text: string) => void;
}

/** Where a message is written: text, and pictures that are dropped, pasted, taken or chosen. */
export function Composer(props: Props) {
  const say = useSay();
  const [text, setText] = useState("");
  const [images, setImages] = useState<string[]>([]);
  const box = useRef<HTMLTextAreaElement>(null);
  const file = useRef<HTMLInputElement>(null);

  useEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, 240)}px`;
  }, [text]);

  const add = async (files: Iterable<File>) => {
    const added: string[] = [];
    for (const one of files) {
      if (!props.canSee) return props.onNote(say("noEyes", { model: props.model }));
      const isResized = props.mostPixels > 0 && one.type.startsWith("image/");
      const problem = imageProblem({ type: one.type, size: isResized ? 0 : one.size });
      if (problem) return props.onNote(say(problem, { name: one.name }));
      if (images.length + added.length >= kMostImages)
        return props.onNote(say("tooManyPictures", { n: kMostImages }));
      try {
        added.push(await readImage(one, props.mostPixels));
      } catch {
        return props.onNote(say("notAPicture", { name: one.name }));
      }
    }
    setImages((before) => [...before, ...added]);
  };

  const send = () => {
    if (props.isBusy || (!text.trim() && images.length === 0)) return;
    props.onSend(text, images);
    setText("");
    setImages([]);
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void add(event.dataTransfer.files);
      }}
    >
      {images.length > 0 && (
        <ul className="thumbnails">
          {images.map((url, i) => (
            <li key={i}>
              <img src={url} alt="" />
              <IconButton
                icon="cross"
                label={say("removePicture")}
                onClick={() => setImages((before) => before.filter((_, other) => other !== i))}
              />
            </li>
          ))}
        </ul>
      )}
      <textarea
        ref={box}
        id="message"
        rows={1}
        dir="auto"
        placeholder={say("message")}
        aria-label={say("message")}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onPaste={(event) => {
          if (event.clipboardData.files.length === 0) return;
          event.preventDefault();
          void add(event.clipboardData.files);
        }}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
          event.preventDefault();
          send();
        }}
      />
      <div className="composer-end">
        {props.canSee && (
          <>
            <IconButton icon="picture" label={say("attach")} onClick={() => file.current?.click()} />
            <input
              ref={file}
              type="file"
              accept="image/*"
              multiple
              hidden
              onChange={(event) => {
                void add([...(event.target.files ?? [])]);
                event.target.value = "";
              }}
            />
          </>
        )}
        <span className="tokens">{props.tokens}</span>
        {props.isBusy ? (
          <button
            type="button"
            className="send"
            aria-label={say("stop")}
            title={say("stop")}
            onClick={props.onStop}
          >
            <Icon name="stop" />
          </button>
        ) : (
          <button
            type="submit"
            className="send"
            aria-label={say("send")}
            title={say("send")}
            disabled={!text.trim() && images.length === 0}
          >
            <Icon name="up" />
          </button>
        )}
      </div>
    </form>
  );
}
