// The Vercel AI SDK and LangChain against a live server: node ai_sdks_check.mjs URL
import assert from "node:assert/strict";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, streamText } from "ai";

const base = `${process.argv[2]}/v1`;
const model = (await (await fetch(`${base}/models`)).json()).data[0].id;
const prompt = "Say hello to the cat.";

const provider = createOpenAICompatible({ name: "commissure", baseURL: base, includeUsage: true });
const whole = await generateText({ model: provider(model), prompt, temperature: 0, maxOutputTokens: 12 });
assert.ok(whole.text.length > 0 && whole.usage.outputTokens <= 12 && whole.usage.inputTokens > 0, JSON.stringify(whole.usage));

const streamed = streamText({ model: provider(model), prompt, temperature: 0, maxOutputTokens: 12 });
let text = "";
for await (const piece of streamed.textStream) text += piece;
assert.equal(text, whole.text);
assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens);
assert.ok(["stop", "length"].includes(await streamed.finishReason));

await assert.rejects(generateText({ model: provider("no-such-model"), prompt, maxRetries: 0 }), /does not exist/);
await assert.rejects(generateText({ model: provider(model), prompt: "word ".repeat(20000), maxRetries: 0 }), /maximum context length/);

const abort = new AbortController();
const left = streamText({ model: provider(model), prompt, maxOutputTokens: 400, abortSignal: abort.signal, onError() {} });
for await (const _ of left.textStream) abort.abort();

const langchain = new ChatOpenAI({ model, apiKey: "none", temperature: 0, maxTokens: 12, configuration: { baseURL: base } });
const answer = await langchain.invoke([["user", prompt]]);
assert.equal(answer.content, whole.text);
assert.equal(answer.usage_metadata.output_tokens, whole.usage.outputTokens);
text = "";
let counted = 0;
for await (const piece of await langchain.stream([["user", prompt]])) {
  text += piece.content;
  counted += piece.usage_metadata?.output_tokens ?? 0;
}
assert.equal(text, whole.text);
assert.equal(counted, whole.usage.outputTokens);
assert.equal((await langchain.batch([[["user", prompt]], [["user", prompt]]])).length, 2);
console.log("ai sdk, langchain: ok");
