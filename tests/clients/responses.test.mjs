// OpenAI's Responses API over the SDKs of Node: text, events, tools, stored conversations.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";

import { KEY, TOOLS, start, workThrough } from "./gateway.mjs";

const SAID = "你好 from Node 🚀";
const INPUT = `repeat: ${SAID}`;
const tools = Object.entries(TOOLS).map(([name, parameters]) => ({ type: "function", name, parameters, strict: false }));

let gateway, client;

before(async () => {
  gateway = await start();
  client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: KEY, maxRetries: 0 });
});
after(() => gateway.stop());
beforeEach(() => gateway.reset());

test("a whole response has text, status and usage", async () => {
  const answer = await client.responses.create({ model: "gpt-5", input: INPUT });
  assert.equal(answer.output_text, SAID);
  assert.equal(answer.status, "completed");
  assert.ok(answer.usage.input_tokens > 0 && answer.usage.total_tokens > answer.usage.input_tokens);
});

test("a stream's events are numbered, and the last one holds the whole response", async () => {
  const events = [];
  for await (const event of await client.responses.create({ model: "gpt-5", input: INPUT, stream: true })) events.push(event);
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, at) => at));
  const said = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
  assert.equal(said.join(""), SAID);
  assert.equal(events.at(-1).type, "response.completed");
  assert.equal(events.at(-1).response.output[0].content[0].text, SAID);
});

test("the stream helper puts the response together", async () => {
  const answer = await client.responses.stream({ model: "gpt-5", input: INPUT }).finalResponse();
  assert.equal(answer.output_text, SAID);
});

test("a stored response is gone on with, and an unknown one is refused", async () => {
  const first = await client.responses.create({ model: "gpt-5", input: INPUT, store: true });
  await client.responses.create({ model: "gpt-5", input: "And now?", previous_response_id: first.id });
  assert.ok((await gateway.prompts()).at(-1).includes(SAID));
  await assert.rejects(
    client.responses.create({ model: "gpt-5", input: "And now?", previous_response_id: "resp_unknown" }),
    (error) => error instanceof OpenAI.APIError && error.status < 500,
  );
});

for (const streamed of [false, true]) {
  test(`a loop with tools writes every byte, ${streamed ? "streamed" : "whole"}`, async () => {
    await workThrough(gateway, async (task, run) => {
      const input = [{ role: "user", content: task }];
      for (;;) {
        const asked = { model: "gpt-5", input, tools, store: false };
        const answer = streamed
          ? await client.responses.stream(asked).finalResponse()
          : await client.responses.create(asked);
        input.push(...answer.output);
        const calls = answer.output.filter((item) => item.type === "function_call");
        if (!calls.length) return answer.output_text;
        for (const { call_id, name, arguments: given } of calls) {
          input.push({ type: "function_call_output", call_id, output: await run(name, JSON.parse(given)) });
        }
      }
    });
  });

  test(`@ai-sdk/openai: the same loop by its default API, ${streamed ? "streamed" : "whole"}`, async () => {
    await workThrough(gateway, async (prompt, run) => {
      const tools = Object.fromEntries(
        Object.entries(TOOLS).map(([name, parameters]) => [
          name,
          tool({ inputSchema: jsonSchema(parameters), execute: (input) => run(name, input) }),
        ]),
      );
      const model = createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey: KEY })("fitten-code");
      const asked = { model, prompt, tools, stopWhen: stepCountIs(9), maxRetries: 0 };
      if (!streamed) return (await generateText(asked)).text;
      const answer = streamText(asked);
      await answer.consumeStream();
      return answer.text;
    });
  });
}
