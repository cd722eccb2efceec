// Structured outputs over all three SDKs: an answer that is to be JSON of a schema is just that, whole and streamed.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { Output, generateText, streamText } from "ai";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { KEY, start } from "./gateway.mjs";

const City = z.object({ name: z.string(), founded: z.number().int(), rivers: z.array(z.string()) });
const VALUE = { name: "Köln \"am\" Rhein", founded: -38, rivers: ["Rhein", "</parameter>", "河"] };
const FENCED = `Here it is:\n\`\`\`json\n${JSON.stringify(VALUE, null, 2)}\n\`\`\`\n`;
const messages = [{ role: "user", content: "Tell me of a city." }];

let gateway, openai, anthropic;

before(async () => {
  gateway = await start();
  openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: KEY, maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: gateway.url, apiKey: KEY, maxRetries: 0 });
});
after(() => gateway.stop());
beforeEach(async () => {
  await gateway.reset();
  await gateway.say(FENCED);
});

test("openai: parse gives the value of a fenced answer", async () => {
  const asked = { model: "gpt-5", messages, response_format: zodResponseFormat(City, "city") };
  const answer = await openai.chat.completions.parse(asked);
  assert.deepEqual(answer.choices[0].message.parsed, VALUE);
  assert.deepEqual(JSON.parse(answer.choices[0].message.content), VALUE);
});

test("openai: the stream helper gives the same value", async () => {
  const asked = { model: "gpt-5", messages, response_format: zodResponseFormat(City, "city") };
  const answer = await openai.chat.completions.stream(asked).finalChatCompletion();
  assert.deepEqual(answer.choices[0].message.parsed, VALUE);
});

test("openai: JSON mode gives JSON without fences, whole and streamed", async () => {
  const asked = { model: "gpt-5", messages, response_format: { type: "json_object" } };
  const whole = await openai.chat.completions.create(asked);
  assert.deepEqual(JSON.parse(whole.choices[0].message.content), VALUE);
  await gateway.say(FENCED);
  let said = "";
  for await (const chunk of await openai.chat.completions.create({ ...asked, stream: true })) {
    said += chunk.choices[0]?.delta.content ?? "";
  }
  assert.deepEqual(JSON.parse(said), VALUE);
});

test("anthropic: parse gives the value of a fenced answer", async () => {
  const asked = { model: "claude-any", max_tokens: 1000, messages, output_config: { format: zodOutputFormat(City) } };
  const answer = await anthropic.messages.parse(asked);
  assert.deepEqual(answer.parsed_output, VALUE);
});

const PROVIDERS = {
  "@ai-sdk/openai": () => createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey: KEY }).chat("fitten-code"),
  "@ai-sdk/openai-compatible": () =>
    createOpenAICompatible({
      name: "fittengate",
      baseURL: `${gateway.url}/v1`,
      apiKey: KEY,
      supportsStructuredOutputs: true,
    })("fitten-code"),
  "@ai-sdk/anthropic": () => createAnthropic({ baseURL: `${gateway.url}/v1`, apiKey: KEY })("claude-opus-4-6"),
};

for (const [name, model] of Object.entries(PROVIDERS)) {
  test(`${name}: an object as output, whole and streamed`, async () => {
    const asked = { model: model(), prompt: "Tell me of a city.", output: Output.object({ schema: City }), maxRetries: 0 };
    assert.deepEqual((await generateText(asked)).output, VALUE);
    await gateway.say(FENCED);
    const streamed = streamText(asked);
    await streamed.consumeStream();
    assert.deepEqual(await streamed.output, VALUE);
  });
}
