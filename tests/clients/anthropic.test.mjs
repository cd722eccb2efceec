// The `@anthropic-ai/sdk` package of Node against the gateway: messages, whole and streamed, helpers, errors, tools.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

import { KEY, TOOLS, start, workThrough } from "./gateway.mjs";

const SAID = "你好 from Node 🚀";
const ASKED = { model: "claude-any", max_tokens: 1000, messages: [{ role: "user", content: `repeat: ${SAID}` }] };
const tools = Object.entries(TOOLS).map(([name, input_schema]) => ({ name, input_schema }));

let gateway, client;

before(async () => {
  gateway = await start();
  client = new Anthropic({ baseURL: gateway.url, apiKey: KEY, maxRetries: 0 });
});
after(() => gateway.stop());
beforeEach(() => gateway.reset());

const words = (message) =>
  message.content
    .filter((block) => block.type === "text")
    .map((block) => block.text)
    .join("");

test("a whole message has text, stop reason and usage", async () => {
  const answer = await client.messages.create(ASKED);
  assert.equal(words(answer), SAID);
  assert.equal(answer.stop_reason, "end_turn");
  assert.equal(answer.model, ASKED.model);
  assert.match(answer.id, /^msg_/);
  assert.ok(answer.usage.input_tokens > 0 && answer.usage.output_tokens > 0);
});

test("a stream's events come in their order, with usage at both ends", async () => {
  const events = [];
  for await (const event of await client.messages.create({ ...ASKED, stream: true })) events.push(event);
  const kinds = events.map((event) => event.type).filter((kind, at, all) => kind !== all[at - 1] && kind !== "ping");
  const block = ["content_block_start", "content_block_delta", "content_block_stop"];
  assert.deepEqual(kinds, ["message_start", ...block, "message_delta", "message_stop"]);
  assert.ok(events[0].message.usage.input_tokens > 0);
  assert.ok(events.at(-2).usage.output_tokens > 0);
});

test("the stream helper puts the message together", async () => {
  const stream = client.messages.stream(ASKED);
  let said = "";
  stream.on("text", (delta) => (said += delta));
  const answer = await stream.finalMessage();
  assert.equal(said, SAID);
  assert.equal(words(answer), SAID);
  assert.equal(answer.stop_reason, "end_turn");
});

test("thinking comes as blocks of its own where it is asked for", async () => {
  await gateway.say({ reasoning: "let me think", text: "done" });
  const answer = await client.messages
    .stream({ ...ASKED, thinking: { type: "enabled", budget_tokens: 1024 }, max_tokens: 2000 })
    .finalMessage();
  assert.deepEqual(answer.content.map((block) => block.type), ["thinking", "text"]);
  assert.equal(answer.content[0].thinking, "let me think");
});

test("errors are the classes that programs catch", async () => {
  const stranger = new Anthropic({ baseURL: gateway.url, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(
    stranger.messages.create(ASKED),
    (error) => error instanceof Anthropic.AuthenticationError && error.error.error.type === "authentication_error",
  );
  await assert.rejects(
    client.messages.create({ ...ASKED, model: "no-such-model" }),
    (error) => error instanceof Anthropic.NotFoundError && error.error.error.type === "not_found_error",
  );
  await gateway.say({ status: 429, headers: { "retry-after": "7" } });
  await assert.rejects(
    client.messages.create(ASKED),
    (error) => error instanceof Anthropic.RateLimitError && error.headers.get("retry-after") === "7",
  );
});

test("an error in mid-stream is thrown, never a short message", async () => {
  await gateway.say({ text: "one two three", cut: "reset", cut_after: 2 });
  await assert.rejects(client.messages.stream(ASKED).finalMessage(), Anthropic.APIError);
});

test("tokens are counted and models are listed", async () => {
  const { input_tokens } = await client.messages.countTokens({ model: ASKED.model, messages: ASKED.messages });
  assert.ok(input_tokens > 0);
  const listed = [];
  for await (const model of client.models.list()) listed.push(model.id);
  assert.ok(listed.includes("fitten-code"));
});

for (const streamed of [false, true]) {
  test(`a loop with tools writes every byte, ${streamed ? "streamed" : "whole"}`, async () => {
    await workThrough(gateway, async (task, run) => {
      const messages = [{ role: "user", content: task }];
      for (;;) {
        const asked = { model: ASKED.model, max_tokens: 64000, messages, tools };
        const answer = streamed
          ? await client.messages.stream(asked).finalMessage()
          : await client.messages.create(asked, { timeout: 60000 });
        messages.push({ role: "assistant", content: answer.content });
        const calls = answer.content.filter((block) => block.type === "tool_use");
        assert.equal(answer.stop_reason, calls.length ? "tool_use" : "end_turn");
        if (!calls.length) return words(answer);
        const results = [];
        for (const { id, name, input } of calls) {
          results.push({ type: "tool_result", tool_use_id: id, content: await run(name, input) });
        }
        messages.push({ role: "user", content: results });
      }
    });
  });

  test(`toolRunner goes through the same loop by itself, ${streamed ? "streamed" : "whole"}`, async () => {
    await workThrough(gateway, async (task, run) => {
      const runner = client.beta.messages.toolRunner(
        {
          model: ASKED.model,
          max_tokens: 64000,
          stream: streamed,
          messages: [{ role: "user", content: task }],
          tools: Object.entries(TOOLS).map(([name, input_schema]) => ({
            type: "custom",
            name,
            input_schema,
            description: "",
            parse: (input) => input,
            run: (input) => run(name, input),
          })),
        },
        { timeout: 60000 },
      );
      return words(await runner.runUntilDone());
    });
  });
}
