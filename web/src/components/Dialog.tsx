import { useEffect, useId, useRef, type ReactNode } from "react";
import { useSay } from "@/i18n";
import { IconButton } from "./Icon";

/** A dialog above the page: the browser keeps the focus inside and closes it by Escape. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
}) {
  const say = useSay();
  const box = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const dialog = box.current;
    if (dialog && !dialog.open) dialog.showModal();
  }, []);
  return (
    <dialog ref={box} onClose={onClose} aria-labelledby={heading}>
      <header>
        <h2 id={heading}>{title}</h2>
        <IconButton icon="cross" label={say("close")} onClick={() => box.current?.close()} />
      </header>
      {children}
    </dialog>
  );
}
