import type { AppProps } from "next/app";
import Head from "next/head";
import { LanguageProvider } from "@/i18n";
import "@/styles/global.css";

export default function App({ Component, pageProps }: AppProps) {
  return (
    <LanguageProvider>
      <Head>
        <title>Commissure</title>
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="description" content="Chat with the model that this server serves" />
      </Head>
      <Component {...pageProps} />
    </LanguageProvider>
  );
}
