import { useState } from "react";
import { languages, useLanguage } from "@/i18n";
import type { Texts } from "@/i18n/en";
import type { Model } from "@/lib/api";
import type { Chat, Sampling } from "@/lib/chats";
import { Dialog } from "./Dialog";

const kPresets: { name: keyof Texts; sampling: Sampling }[] = [
  { name: "presetDefault", sampling: {} },
  { name: "presetExact", sampling: { temperature: 0 } },
  { name: "presetBalanced", sampling: { temperature: 0.7, top_p: 0.9 } },
  { name: "presetCreative", sampling: { temperature: 1.1, min_p: 0.05 } },
];

/** Ranges are the server's own (docs/api.md). */
const kFields: { key: keyof Sampling; label: keyof Texts; min: number; max?: number; step: number }[] = [
  { key: "temperature", label: "temperature", min: 0, max: 2, step: 0.05 },
  { key: "top_p", label: "topP", min: 0, max: 1, step: 0.01 },
  { key: "top_k", label: "topK", min: 0, step: 1 },
  { key: "min_p", label: "minP", min: 0, max: 1, step: 0.01 },
  { key: "max_tokens", label: "maxTokens", min: 1, step: 1 },
  { key: "seed", label: "seed", min: 0, step: 1 },
];

interface Props {
  chat: Chat;
  model: Model | undefined;
  mostPixels: number;
  onChange: (chat: Chat) => void;
  onMostPixels: (most: number) => void;
  onClose: () => void;
}

function Appearance() {
  const { say, language, choose } = useLanguage();
  const [theme, setTheme] = useState(() => document.documentElement.dataset.theme ?? "");
  const pick = (wanted: string) => {
    setTheme(wanted);
    if (wanted) document.documentElement.dataset.theme = wanted;
    else delete document.documentElement.dataset.theme;
    localStorage.setItem("theme", wanted);
  };
  return (
    <>
      <label>
        {say("theme")}
        <select value={theme} onChange={(event) => pick(event.target.value)}>
          <option value="">{say("themeSystem")}</option>
          <option value="light">{say("themeLight")}</option>
          <option value="dark">{say("themeDark")}</option>
        </select>
      </label>
      <label>
        <span lang="en">Language</span>
        <select value={language} onChange={(event) => choose(event.target.value)}>
          {Object.entries(languages).map(([name, texts]) => (
            <option key={name} value={name}>
              {texts.language}
            </option>
          ))}
        </select>
      </label>
    </>
  );
}

/** What holds for this chat (system prompt, sampling) and for the page (colours, language, pictures). */
export function Settings({ chat, model, mostPixels, onChange, onMostPixels, onClose }: Props) {
  const { say } = useLanguage();
  const set = (sampling: Sampling) => onChange({ ...chat, sampling });
  const preset = kPresets.findIndex((one) => JSON.stringify(one.sampling) === JSON.stringify(chat.sampling));
  return (
    <Dialog title={say("settings")} onClose={onClose}>
      <div className="settings">
        <label>
          {say("system")}
          <textarea
            rows={3}
            dir="auto"
            placeholder={say("systemHint")}
            value={chat.system}
            onChange={(event) => onChange({ ...chat, system: event.target.value })}
          />
        </label>
        <label>
          {say("preset")}
          <select
            value={preset}
            onChange={(event) => set({ ...kPresets[Number(event.target.value)]?.sampling })}
          >
            {preset < 0 && <option value={-1}>—</option>}
            {kPresets.map((one, i) => (
              <option key={one.name} value={i}>
                {say(one.name)}
              </option>
            ))}
          </select>
        </label>
        <div className="fields">
          {kFields.map(({ key, label, ...range }) => {
            const own = model?.default_sampling[key];
            return (
              <label key={key}>
                {say(label)}
                <input
                  type="number"
                  {...range}
                  value={chat.sampling[key] ?? ""}
                  placeholder={own === undefined ? "—" : say("asModel", { value: own })}
                  onChange={(event) => {
                    const sampling = { ...chat.sampling };
                    delete sampling[key];
                    const value = event.target.valueAsNumber;
                    if (Number.isFinite(value))
                      sampling[key] = Math.max(range.min, Math.min(range.max ?? value, value));
                    set(sampling);
                  }}
                />
              </label>
            );
          })}
        </div>
        <hr />
        <div className="fields">
          <Appearance />
          <label>
            {say("pictureSize")}
            <select value={mostPixels} onChange={(event) => onMostPixels(Number(event.target.value))}>
              <option value={0}>{say("pictureAsIs")}</option>
              {[512, 1024, 2048].map((n) => (
                <option key={n} value={n}>
                  {say("pictureSmaller", { n })}
                </option>
              ))}
            </select>
          </label>
        </div>
      </div>
    </Dialog>
  );
}
