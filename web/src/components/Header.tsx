import Link from "next/link";
import { useRouter } from "next/router";
import type { ReactNode } from "react";
import { useSay } from "@/i18n";

/** The line at the top of every page: where one is, and what the page itself puts there. */
export function Header({ start, children }: { start?: ReactNode; children?: ReactNode }) {
  const say = useSay();
  const { pathname } = useRouter();
  const link = (href: string, text: string) => (
    <Link href={href} aria-current={pathname === href ? "page" : undefined}>
      {text}
    </Link>
  );
  return (
    <header className="top">
      {start}
      <span className="brand">Commissure</span>
      <nav aria-label={say("menu")}>
        {link("/", say("chat"))}
        {link("/dashboard", say("dashboard"))}
      </nav>
      <div className="top-end">{children}</div>
    </header>
  );
}
