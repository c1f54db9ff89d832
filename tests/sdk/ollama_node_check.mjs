// Runs Ollama's JavaScript package against a live server: node ollama_node_check.mjs BASE_URL.
// BASE_URL is the server's root. Prints a line; exits 1 if anything failed. Needs the npm package "ollama".
import assert from "node:assert/strict";
import { Ollama } from "ollama";

const [host] = process.argv.slice(2);
const client = new Ollama({ host });
const model = (await client.list()).models[0].model;
const ask = { model, messages: [{ role: "user", content: "Say hello." }], options: { temperature: 0, num_predict: 12 } };
const whole = await client.chat(ask);
assert.ok(whole.done && whole.message.content && whole.eval_count > 0);
let text = "";
let last = null;
for await (const part of await client.chat({ ...ask, stream: true })) {
  text += part.message.content;
  last = part;
}
assert.equal(text, whole.message.content);
assert.ok(last.done && last.done_reason === whole.done_reason);
const generated = await client.generate({ model, prompt: "Say hello.", options: ask.options });
assert.equal(generated.response, whole.message.content);
await assert.rejects(client.chat({ ...ask, model: "nope" }), /nope/);
await assert.rejects(client.embed({ model, input: "a" }), /embeddings/);
console.log("ok    ollama's package chats, streams and generates");
