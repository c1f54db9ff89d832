// Runs the OpenAI Node SDK against a live server: node openai_node_check.mjs BASE_URL [KEY].
// BASE_URL is the server's root. Prints one line per check; exits 1 if any failed. Needs the npm package "openai".
import assert from "node:assert/strict";
import OpenAI from "openai";

const [base, key = ""] = process.argv.slice(2);
if (!base) {
  console.error("usage: node openai_node_check.mjs BASE_URL [KEY]");
  process.exit(2);
}
const baseURL = base.replace(/\/$/, "") + "/v1";
const client = new OpenAI({ baseURL, apiKey: key || "none", timeout: 120_000 });
const model = (await client.models.list()).data[0].id;
const messages = [{ role: "user", content: "Say hello." }];
const common = { model, messages, max_tokens: 12, temperature: 0 };

const rejects = async (kind, call) => {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
    return error;
  }
  assert.fail(`no ${kind.name}`);
};

const checks = {
  "models are found": async () => {
    assert.equal((await client.models.retrieve(model)).id, model);
  },
  "chat answers": async () => {
    const answer = await client.chat.completions.create(common);
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.choices[0].message.role, "assistant");
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  },
  "chat streams the same text": async () => {
    const whole = await client.chat.completions.create(common);
    let text = "";
    let finish = null;
    let usage = null;
    const stream = await client.chat.completions.create({ ...common, stream: true, stream_options: { include_usage: true } });
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(finish, whole.choices[0].finish_reason);
    assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
  },
  "the stream helper collects": async () => {
    const final = await client.chat.completions.stream(common).finalChatCompletion();
    assert.equal(final.choices[0].message.role, "assistant");
    assert.ok(final.choices[0].finish_reason);
  },
  "a stream can be aborted": async () => {
    const stream = await client.chat.completions.create({ ...common, max_tokens: 200, stream: true });
    for await (const chunk of stream) {
      assert.ok(chunk.id);
      stream.controller.abort();
      break;
    }
    await client.chat.completions.create({ ...common, max_tokens: 1 });
  },
  "chat logprobs": async () => {
    const answer = await client.chat.completions.create({ ...common, logprobs: true, top_logprobs: 2 });
    assert.equal(answer.choices[0].logprobs.content[0].top_logprobs.length, 2);
  },
  "completions, one and many": async () => {
    const one = await client.completions.create({ model, prompt: "Once", max_tokens: 4 });
    assert.equal(one.object, "text_completion");
    const many = await client.completions.create({ model, prompt: ["One", "Two"], max_tokens: 2 });
    assert.deepEqual(many.choices.map((choice) => choice.index), [0, 1]);
  },
  "completions stream": async () => {
    let chunks = 0;
    for await (const chunk of await client.completions.create({ model, prompt: "Once", max_tokens: 4, stream: true })) {
      assert.equal(chunk.object, "text_completion");
      chunks += 1;
    }
    assert.ok(chunks > 0);
  },
  "a response answers and streams the same": async () => {
    const ask = { model, input: "Say hello.", max_output_tokens: 12, temperature: 0 };
    const whole = await client.responses.create(ask);
    assert.ok(whole.output_text && whole.id.startsWith("resp_"));
    let text = "";
    const stream = client.responses.stream(ask);
    for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta;
    const final = await stream.finalResponse();
    assert.equal(text, whole.output_text);
    assert.equal(final.output_text ?? text, whole.output_text);
    assert.equal(final.status, whole.status);
    assert.deepEqual(final.usage.output_tokens, whole.usage.output_tokens);
  },
  "a response calls a function": async () => {
    const parameters = { type: "object", properties: {}, additionalProperties: false };
    const ask = { model, input: "Say hello.", max_output_tokens: 48, temperature: 0, tool_choice: "required",
      tools: [{ type: "function", name: "now", parameters, strict: true }] };
    const [call] = (await client.responses.create(ask)).output;
    assert.deepEqual([call.type, call.name, JSON.parse(call.arguments)], ["function_call", "now", {}]);
    const streamed = (await client.responses.stream(ask).finalResponse()).output[0];
    assert.deepEqual([streamed.name, streamed.arguments, streamed.status], [call.name, call.arguments, call.status]);
  },
  "unknown model is 404": async () => {
    const error = await rejects(OpenAI.NotFoundError, () => client.chat.completions.create({ ...common, model: "nope" }));
    assert.equal(error.code, "model_not_found");
  },
  "a bad value is 400": async () => {
    const error = await rejects(OpenAI.BadRequestError, () => client.chat.completions.create({ ...common, temperature: 9 }));
    assert.equal(error.param, "temperature");
  },
  "a wrong key is 401": async () => {
    if (!key) return "skipped: the server has no key";
    const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
    await rejects(OpenAI.AuthenticationError, () => stranger.models.list());
  },
  "a client timeout is a timeout": async () => {
    const hasty = new OpenAI({ baseURL, apiKey: key || "none", timeout: 1, maxRetries: 0 });
    await rejects(OpenAI.APIConnectionTimeoutError, () => hasty.chat.completions.create({ ...common, max_tokens: 200 }));
  },
};

let failed = 0;
for (const [name, run] of Object.entries(checks)) {
  try {
    const note = await run();
    console.log(`ok    ${name}${note ? ` (${note})` : ""}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n${error.stack}`);
  }
}
console.log(`${Object.keys(checks).length - failed} of ${Object.keys(checks).length} checks passed`);
process.exit(failed ? 1 : 0);
