// A person's visit with a real browser: usage: node page.mjs URL CHROMIUM FOLDER KEY
// Says "KILL" on a line of its own when a stage should die, and reads a line once that is done.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [url, executablePath, folder, key] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const faults = [];

async function visit(options) {
  const context = await browser.newContext({ bypassCSP: false, locale: "en-GB", ...options });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
  const page = await context.newPage();
  page.setDefaultTimeout(100_000);
  page.on("pageerror", (error) => faults.push(`page: ${error.message}`));
  page.on(
    "console",
    (message) =>
      /Content Security Policy|Refused to/.test(message.text()) &&
      faults.push(`${message.text()} at ${JSON.stringify(message.location())}`),
  );
  page.on("request", (request) => {
    const asked = request.url();
    if (!asked.startsWith(url) && !/^(data|blob):/.test(asked)) faults.push(`asked ${asked}`);
  });
  return { context, page };
}

async function judge(page, what) {
  // The tool itself is put into the page past its policy, which the page's own scripts keep to.
  const session = await page.context().newCDPSession(page);
  const { executionContextId } = await isolatedWorld(session);
  await session.send("Runtime.evaluate", { expression: axe, contextId: executionContextId });
  const { result } = await session.send("Runtime.evaluate", {
    contextId: executionContextId,
    awaitPromise: true,
    returnByValue: true,
    expression:
      "axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.html + ' ' + n.failureSummary).join(' | ')))",
  });
  assert.deepEqual(result.value, [], `${what}: accessibility`);
}

async function isolatedWorld(session) {
  const { frameTree } = await session.send("Page.getFrameTree");
  return session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
}

/** By the browser itself: Playwright's own way puts a style into the page, which the page's policy refuses. */
async function picture(page, name) {
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", { format: "png" });
  writeFileSync(`${folder}/${name}.png`, Buffer.from(data, "base64"));
}

// Of what is out of sight the browser draws no text, so texts are compared as they stand in the document.
const answers = (page) => page.locator("[data-message=assistant]");
const settled = async (page, n) => {
  await page.waitForFunction((count) => {
    const all = document.querySelectorAll("[data-message=assistant]");
    return all.length === count && all[count - 1].getAttribute("aria-busy") === "false";
  }, n);
};
const ask = async (page, text) => {
  await page.fill("#message", text);
  await page.press("#message", "Enter");
};

const { context, page } = await visit({ viewport: { width: 1024, height: 768 } });
await page.goto(url);

// The key is asked for once.
await page.getByRole("dialog").getByLabel("API key").fill("wrong");
await page.getByRole("button", { name: "Use the key" }).click();
await page.getByText("The server did not take that key.").waitFor();
await page.getByRole("dialog").getByLabel("API key").fill(key);
await page.getByRole("button", { name: "Use the key" }).click();
await page.getByRole("dialog").waitFor({ state: "detached" });
await judge(page, "empty chat");
await picture(page, "chat-empty-1024");

// An answer, streamed, with its figures; another version of it; the question in other words.
await ask(page, "Name the capital of France in one short sentence.");
await settled(page, 1);
const first = await answers(page).first().textContent();
assert.match(first, /Paris/);
assert.match(first, /tokens, .* per second, first after/);
await page.getByText(/\d+ of 8192 tokens/).waitFor();
await page.getByRole("button", { name: "Answer again" }).click();
await settled(page, 1);
await page.getByText("2 of 2").waitFor();
await page.getByRole("button", { name: "Edit" }).click();
await page.locator(".editor textarea").fill("Name the capital of Italy in one short sentence.");
await page.getByRole("button", { name: "Send again" }).click();
await page.locator("[data-message=user]").getByText("capital of Italy").waitFor();
await settled(page, 1);
assert.match(await answers(page).first().textContent(), /Rome/);
await page.getByRole("button", { name: "Version before" }).first().click();
await page.getByText("Paris").first().waitFor();

// Stopped in the middle; what came is kept, and everything is there after a reload.
await ask(page, "Write a long story about the sea, with many chapters.");
await page.waitForFunction(
  () => (document.querySelectorAll("[data-message=assistant] .markdown")[1]?.textContent ?? "").length > 80,
);
await page.keyboard.press("Escape");
await page.getByText("Stopped.").waitFor();
const kept = await answers(page).nth(1).locator(".markdown").textContent();
await page.reload();
await answers(page).nth(1).locator(".block").first().waitFor();
assert.equal(await answers(page).nth(1).locator(".markdown").textContent(), kept);

// A stage dies while an answer streams: the same text as without.
const story = "Tell me a story about a lighthouse keeper.";
const tell = async () => {
  await page.keyboard.press("Control+Shift+O");
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Most tokens of an answer").fill("120");
  await page.keyboard.press("Escape");
  await ask(page, story);
};
await tell();
await settled(page, 1);
const whole = await answers(page).first().locator(".markdown").textContent();
await tell();
await page.waitForFunction(
  () => (document.querySelector("[data-message=assistant] .markdown")?.textContent ?? "").length > 60,
);
console.log("KILL");
await lines.next();
await settled(page, 1);
assert.equal(await answers(page).first().locator(".markdown").textContent(), whole);

// What a model writes is text, never a script, a picture from elsewhere or a link that runs.
const hostile = [
  "# Title",
  "",
  '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>',
  "",
  '[link](javascript:window.hacked=1) ![p](https://elsewhere.example/p.png) <svg onload="window.hacked=1"></svg>',
  "",
  "| a | b |",
  "|---|---|",
  "| 1 | 2 |",
  "",
  "$$",
  "x^2",
  "$$",
  "",
  "```python",
  "print('hi')",
  "```",
].join("\n");
const file = JSON.stringify({
  format: "commissure-chats",
  version: 1,
  chats: [
    {
      title: "Imported",
      messages: {
        q: { id: "q", parent: null, role: "user", text: "<b>hi</b> مرحبا" },
        a: { id: "a", parent: "q", role: "assistant", text: hostile },
      },
    },
  ],
});
await page
  .locator("input[type=file]")
  .first()
  .setInputFiles({ name: "chats.json", mimeType: "application/json", buffer: Buffer.from(file) });
await page.getByRole("button", { name: "Imported", exact: true }).click();
await page.locator(".markdown table").waitFor();
await page.locator(".markdown .katex").first().waitFor();
await page.locator(".hljs-built_in").first().waitFor();
assert.equal(await page.locator(".markdown img, .markdown script, .markdown a[href^=javascript]").count(), 0);
assert.equal(await page.evaluate(() => window.hacked), undefined);
await page.getByRole("button", { name: "Copy" }).first().click();
await judge(page, "an answer");
await picture(page, "chat-markdown-1024");
await page
  .locator("input[type=file]")
  .first()
  .setInputFiles({ name: "x.json", mimeType: "application/json", buffer: Buffer.from("{") });
await page.getByText("That file is not JSON.").waitFor();

// Keyboard, search, German, dark.
await page.locator("#conversation").focus();
await page.keyboard.press("?");
await page.getByRole("dialog").getByText("Stop the answer").waitFor();
await page.keyboard.press("Escape");
await page.keyboard.press("Control+k");
await page.keyboard.type("lighthouse");
assert.equal(await page.locator(".chat-list li").count(), 2);
await page.getByRole("button", { name: "Settings" }).click();
await page.getByLabel("Colours").selectOption("dark");
await page.getByLabel("Language").selectOption("de");
await page.getByRole("dialog").getByText("Einstellungen").waitFor();
await picture(page, "settings-dark-1024");
await page.keyboard.press("Escape");
await judge(page, "dark");

// The dashboard says what /metrics says.
await page.setViewportSize({ width: 1920, height: 1080 });
await page.goto(`${url}dashboard`);
await page.locator(".stage.ready").nth(2).waitFor();
await page.waitForTimeout(1500);
const metrics = await (await fetch(`${url}metrics`, { headers: { authorization: `Bearer ${key}` } })).text();
const counted = Number(/^commissure_generation_tokens_total\{.*\} (\d+)/m.exec(metrics)[1]);
const shown = await page.locator("[data-metric=generation_tokens_total] strong").innerText();
assert.equal(Number(shown.replace(/\D/g, "")), counted);
await judge(page, "dashboard");
await picture(page, "dashboard-dark-1920");
await context.close();

// A telephone.
const phone = await visit({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
await phone.page.addInitScript((value) => sessionStorage.setItem("commissure-key", value), key);
await phone.page.goto(url);
await ask(phone.page, "Say hello.");
await settled(phone.page, 1);
const width = await phone.page.evaluate(() => document.documentElement.scrollWidth);
assert.ok(width <= 390, `the page is ${width} pixels wide`);
await judge(phone.page, "telephone");
await picture(phone.page, "chat-390");
await phone.page.getByRole("button", { name: "Menu" }).click();
await phone.page.getByRole("button", { name: "New chat" }).first().waitFor();
await browser.close();

assert.deepEqual(faults, []);
console.log("DONE");
