// Vercel's `ai` package against the gateway, through its providers for Chat and Messages: text, tools, errors.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

import { KEY, TOOLS, start, workThrough } from "./gateway.mjs";

const SAID = "你好 from Node 🚀";
const PROMPT = `repeat: ${SAID}`;

let gateway;

before(async () => {
  gateway = await start();
});
after(() => gateway.stop());
beforeEach(() => gateway.reset());

const quiet = { maxRetries: 0, onError: () => {} };

const PROVIDERS = {
  "@ai-sdk/openai": (apiKey) => createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey }).chat("fitten-code"),
  "@ai-sdk/openai-compatible": (apiKey) =>
    createOpenAICompatible({ name: "fittengate", baseURL: `${gateway.url}/v1`, apiKey, includeUsage: true })(
      "fitten-code",
    ),
  "@ai-sdk/anthropic": (apiKey) => createAnthropic({ baseURL: `${gateway.url}/v1`, apiKey })("claude-any"),
};

for (const [name, model] of Object.entries(PROVIDERS)) {
  test(`${name}: a whole answer has text, finish reason and usage`, async () => {
    const answer = await generateText({ model: model(KEY), prompt: PROMPT, ...quiet });
    assert.equal(answer.text, SAID);
    assert.equal(answer.finishReason, "stop");
    assert.ok(answer.usage.inputTokens > 0 && answer.usage.outputTokens > 0);
  });

  test(`${name}: a streamed answer has the same`, async () => {
    const answer = streamText({ model: model(KEY), prompt: PROMPT, ...quiet });
    let said = "";
    for await (const delta of answer.textStream) said += delta;
    assert.equal(said, SAID);
    assert.equal(await answer.finishReason, "stop");
    const usage = await answer.usage;
    assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0);
  });

  test(`${name}: reasoning stands apart`, async () => {
    await gateway.say({ reasoning: "let me think", text: "done" });
    const providerOptions = { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } };
    const answer = await generateText({ model: model(KEY), prompt: "Think.", providerOptions, ...quiet });
    assert.equal(answer.text, "done");
    // OpenAI's own provider does not know the field that other servers' reasoning comes in.
    if (name !== "@ai-sdk/openai") assert.equal(answer.reasoningText, "let me think");
  });

  test(`${name}: an error keeps its status and message`, async () => {
    await assert.rejects(
      generateText({ model: model("wrong"), prompt: PROMPT, ...quiet }),
      (error) => APICallError.isInstance(error) && error.statusCode === 401 && /not one of this gateway/.test(error.message),
    );
  });

  test(`${name}: an error in mid-stream is an error part, not an end`, async () => {
    await gateway.say({ text: "one two three", cut: "reset", cut_after: 2 });
    const kinds = [];
    let finish;
    for await (const part of streamText({ model: model(KEY), prompt: "Go.", ...quiet }).fullStream) {
      kinds.push(part.type);
      if (part.type === "finish") finish = part.finishReason;
    }
    assert.ok(kinds.includes("error"));
    assert.notEqual(finish, "stop");
  });

  for (const streamed of [false, true]) {
    test(`${name}: a loop with tools writes every byte, ${streamed ? "streamed" : "whole"}`, async () => {
      await workThrough(gateway, async (prompt, run) => {
        const tools = Object.fromEntries(
          Object.entries(TOOLS).map(([name, parameters]) => [
            name,
            tool({ inputSchema: jsonSchema(parameters), execute: (input) => run(name, input) }),
          ]),
        );
        const asked = { model: model(KEY), prompt, tools, stopWhen: stepCountIs(9), maxOutputTokens: 64000, ...quiet };
        if (!streamed) return (await generateText(asked)).text;
        const answer = streamText(asked);
        await answer.consumeStream();
        return answer.text;
      });
    });
  }
}
