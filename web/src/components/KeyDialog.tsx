import { useState } from "react";
import { useSay } from "@/i18n";
import { keyStore } from "@/lib/api";
import { Dialog } from "./Dialog";

/** Asks for the API key. */
export function KeyDialog({
  isWrong,
  onKey,
  onClose,
}: {
  isWrong: boolean;
  onKey: () => void;
  onClose: () => void;
}) {
  const say = useSay();
  const [key, setKey] = useState("");
  return (
    <Dialog title={say("keyTitle")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          keyStore.set(key.trim());
          onKey();
        }}
      >
        <p>{say(isWrong ? "keyWrong" : "keyText")}</p>
        <input
          type="password"
          autoComplete="off"
          autoFocus
          aria-label={say("keyTitle")}
          value={key}
          onChange={(event) => setKey(event.target.value)}
        />
        <button type="submit" className="primary" disabled={!key.trim()}>
          {say("keyGo")}
        </button>
      </form>
    </Dialog>
  );
}
