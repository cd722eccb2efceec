// The `openai` package of Node against the gateway: chat, whole and streamed, helpers, errors, tools.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import OpenAI from "openai";

import { KEY, TOOLS, called, start, workThrough } from "./gateway.mjs";

const QUESTION = [{ role: "user", content: "repeat: 你好 from Node 🚀" }];
const SAID = "你好 from Node 🚀";
const tools = Object.entries(TOOLS).map(([name, parameters]) => ({ type: "function", function: { name, parameters } }));

let gateway, client;

before(async () => {
  gateway = await start();
  client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: KEY, maxRetries: 0 });
});
after(() => gateway.stop());
beforeEach(() => gateway.reset());

test("a whole answer has text, finish reason and usage", async () => {
  const answer = await client.chat.completions.create({ model: "gpt-5", messages: QUESTION });
  assert.equal(answer.choices[0].message.content, SAID);
  assert.equal(answer.choices[0].message.refusal, null);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.model, "gpt-5");
  const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
  assert.ok(prompt_tokens > 0 && completion_tokens > 0);
  assert.equal(total_tokens, prompt_tokens + completion_tokens);
});

test("a stream has one id, the role first, one finish reason, and usage last if asked", async () => {
  const stream = await client.chat.completions.create({
    model: "fitten-code",
    messages: QUESTION,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), SAID);
  assert.deepEqual(chunks.map((chunk) => chunk.choices[0]?.finish_reason).filter(Boolean), ["stop"]);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.ok(chunks.at(-1).usage.total_tokens > 0);
});

test("the stream helper puts the answer together", async () => {
  const stream = client.chat.completions.stream({ model: "fitten-code", messages: QUESTION });
  let said = "";
  stream.on("content", (delta) => (said += delta));
  const answer = await stream.finalChatCompletion();
  assert.equal(said, SAID);
  assert.equal(answer.choices[0].message.content, SAID);
});

test("errors are the classes that programs catch", async () => {
  const ask = (options) => client.chat.completions.create({ model: "fitten-code", messages: QUESTION, ...options });
  const stranger = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(
    stranger.chat.completions.create({ model: "fitten-code", messages: QUESTION }),
    (error) => error instanceof OpenAI.AuthenticationError && error.code === "invalid_api_key",
  );
  await assert.rejects(ask({ model: "no-such-model" }), (error) => error instanceof OpenAI.NotFoundError);
  await assert.rejects(
    ask({ temperature: 9 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature",
  );
  await gateway.say({ status: 429, headers: { "retry-after": "7" } });
  await assert.rejects(
    ask({ stream: true }),
    (error) => error instanceof OpenAI.RateLimitError && error.headers.get("retry-after") === "7",
  );
});

test("an error in mid-stream is thrown after the words that came", async () => {
  await gateway.say({ text: "one two three", cut: "reset", cut_after: 2 });
  const stream = await client.chat.completions.create({ model: "fitten-code", messages: QUESTION, stream: true });
  let said = "";
  await assert.rejects(
    async () => {
      for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? "";
    },
    (error) => error instanceof OpenAI.APIError && error.code === "upstream_error",
  );
  assert.equal(said, "one two");
});

test("the models are listed, and each is found by its name", async () => {
  const listed = [];
  for await (const model of client.models.list()) listed.push(model.id);
  assert.ok(listed.includes("fitten-code"));
  assert.equal((await client.models.retrieve("gpt-5")).id, "gpt-5");
});

for (const streamed of [false, true]) {
  test(`a loop with tools writes every byte, ${streamed ? "streamed" : "whole"}`, async () => {
    await workThrough(gateway, async (task, run) => {
      const messages = [{ role: "user", content: task }];
      for (;;) {
        const asked = { model: "gpt-5", messages, tools };
        const answer = streamed
          ? await client.chat.completions.stream(asked).finalChatCompletion()
          : await client.chat.completions.create(asked);
        const { message, finish_reason } = answer.choices[0];
        messages.push(message);
        assert.equal(finish_reason, message.tool_calls?.length ? "tool_calls" : "stop");
        if (!message.tool_calls?.length) return message.content;
        for (const call of message.tool_calls) {
          const content = await run(call.function.name, JSON.parse(call.function.arguments));
          messages.push({ role: "tool", tool_call_id: call.id, content });
        }
      }
    });
  });

  test(`runTools goes through the same loop by itself, ${streamed ? "streamed" : "whole"}`, async () => {
    await workThrough(gateway, async (task, run) => {
      const runner = client.chat.completions.runTools({
        model: "gpt-5",
        stream: streamed,
        messages: [{ role: "user", content: task }],
        tools: Object.entries(TOOLS).map(([name, parameters]) => ({
          type: "function",
          function: { name, parameters, parse: JSON.parse, function: (args) => run(name, args) },
        })),
      });
      return runner.finalContent();
    });
  });
}

test("a call's deltas have index, id, type and name first, and join to JSON", async () => {
  await gateway.say(called("read_file", { path: "a<b>.py" }));
  const asked = { model: "gpt-5", messages: [{ role: "user", content: "Look." }], tools, stream: true };
  const deltas = [];
  for await (const chunk of await client.chat.completions.create(asked)) {
    deltas.push(...(chunk.choices[0]?.delta.tool_calls ?? []));
  }
  const [first] = deltas;
  assert.deepEqual([first.index, first.type, first.function.name, first.function.arguments], [0, "function", "read_file", ""]);
  assert.match(first.id, /^call_/);
  assert.deepEqual(JSON.parse(deltas.map((delta) => delta.function.arguments).join("")), { path: "a<b>.py" });
});
