import { createContext, useContext, useEffect, useState, type ReactNode } from "react";
import { de } from "./de";
import { en, type Texts } from "./en";

export const languages: Record<string, Texts> = { en, de };

/** A text with its {names} filled in. */
export type Say = (key: keyof Texts, values?: Record<string, string | number>) => string;

export function fill(text: string, values: Record<string, string | number> = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

interface LanguageChoice {
  language: string;
  say: Say;
  choose: (language: string) => void;
}

const Context = createContext<LanguageChoice>({
  language: "en",
  say: (key, values) => fill(en[key], values),
  choose: () => {},
});

export function LanguageProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState("en");
  useEffect(() => {
    const kept = localStorage.getItem("language") ?? navigator.language.slice(0, 2);
    if (kept in languages) setLanguage(kept);
  }, []);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const texts = languages[language] ?? en;
  const choose = (wanted: string) => {
    localStorage.setItem("language", wanted);
    setLanguage(wanted);
  };
  return (
    <Context.Provider value={{ language, say: (key, values) => fill(texts[key], values), choose }}>
      {children}
    </Context.Provider>
  );
}

export function useLanguage(): LanguageChoice {
  return useContext(Context);
}

export function useSay(): Say {
  return useContext(Context).say;
}
