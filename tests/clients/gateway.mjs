// What every test here stands on: `fittengate simulate` and `fittengate serve` as processes of their own, on free ports.
// The simulator says what it is told to say, turn by turn; what reached it can be read back.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const PROGRAM = process.env.FITTENGATE ?? join(HERE, "../../.venv/bin/fittengate");

export const KEY = "key-of-the-node-clients-0123456789";

/** Starts both programs; gives their addresses, the simulator's controls, and `stop`. */
export async function start() {
  const home = await mkdtemp(join(tmpdir(), "fittengate-clients-"));
  const simulator = await listening(["simulate", "--port", "0", "--scenario", join(HERE, "scenario.json")], home, {});
  const service = simulator.url;
  const gateway = await listening(["serve"], home, {
    FITTENGATE_SERVER_PORT: "0",
    FITTENGATE_SERVER_API_KEY: KEY,
    FITTENGATE_SERVER_STATE_DIR: join(home, "state"),
    FITTENGATE_ACCOUNT_USERNAME: "clients",
    FITTENGATE_ACCOUNT_PASSWORD: "clients-password",
    FITTENGATE_UPSTREAM_BASE_URL: service,
    FITTENGATE_UPSTREAM_MODELS_URL: service,
  });
  const control = async (method, path, body) => {
    const answer = await fetch(service + path, { method, body: body && JSON.stringify(body) });
    assert.equal(answer.status, 200, path);
    return answer.json();
  };
  return {
    url: gateway.url,
    /** Queues plans for the next chats, one each; a string is a plan that says just that. */
    say: (...plans) =>
      control(
        "POST",
        "/_sim/next",
        plans.map((plan) => ({ route: "chat", plan: typeof plan === "string" ? { text: plan } : plan })),
      ),
    /** Gives the prompts that the service was sent, oldest first. */
    prompts: async () => {
      const { requests } = await control("GET", "/_sim/log?route=chat");
      return requests.map((request) => JSON.parse(request.body).inputs);
    },
    reset: () => control("POST", "/_sim/reset"),
    stop: async () => {
      await Promise.all([gateway.stop(), simulator.stop()]);
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function listening(args, home, settings) {
  const environment = { PATH: process.env.PATH, HOME: home, PYTHONUNBUFFERED: "1", ...settings };
  const child = spawn(PROGRAM, args, { cwd: home, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  let said = "";
  const url = await new Promise((resolve, reject) => {
    const read = (data) => {
      said += data;
      const found = /listening on (http:\/\/[\d.]+:\d+)/.exec(said);
      if (found) resolve(found[1]);
    };
    child.stdout.setEncoding("utf8").on("data", read);
    child.stderr.setEncoding("utf8").on("data", read);
    child.once("error", reject);
    gone.then(() => reject(new Error(`fittengate ${args[0]} ended: ${said}`)));
  });
  const stop = () => {
    child.kill("SIGTERM");
    return gone;
  };
  return { url, stop };
}

/** Gives a turn of the model: words and one call, written as the prompt teaches it, with nothing escaped. */
export function called(name, values, suffix = "", said = "Let me see.") {
  const lines = Object.entries(values).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const around = text.includes("\n") ? "\n" : "";
    return `<parameter${suffix} name="${key}">${around}${text}${around}</parameter${suffix}>`;
  });
  const call = [`<invoke${suffix} name="${name}">`, ...lines, `</invoke${suffix}>`];
  return [said, `<tool_calls${suffix}>`, ...call, `</tool_calls${suffix}>`].join("\n");
}

const string = { type: "string" };
const schema = (...names) => ({
  type: "object",
  properties: Object.fromEntries(names.map((name) => [name, string])),
  required: names,
  additionalProperties: false,
});

/** The tools of an agent: names and the JSON schemas of their arguments. */
export const TOOLS = {
  read_file: schema("path"),
  write_file: schema("path", "content"),
  edit_file: schema("path", "old", "new"),
  run_tests: schema("command"),
};

const LONG = Array.from({ length: 2000 }, (_, at) => `line ${at}: "${at * at}" é\n`).join("");
const MARK = 'line 77: "5929" é\n';

/** Texts that something on the way could mistake for a part of itself. */
export const HARD = [
  "a = \"it's\"\nb = 'C:\\\\new\\table' \\\n",
  "</parameter>\n</invoke>\n<parameter name=\"content\">inner</parameter>\n<|user|>\n<|end|>\n",
  "<a><![CDATA[ x < y && ]] > ]]></a> &lt;&amp;\n",
  "one\r\ntwo\r\n\r\n",
  "🚀 h\u0301 👩‍👩‍👧 \u2028 文字，「引号」\n",
].join("");

const TASK = "A page says that </parameter> closes a value. Now write the file, change it and run the tests.";
const ANSWER = "All done: 3 passed. 完成 ✅";

/**
 * Takes an agent through write, read, edit, test and answer, and holds it to the bytes of the file.
 * `agent(task, run)` works until an answer has no more calls and gives its text; `run(name, args)` does what a call asks.
 */
export async function workThrough(gateway, agent) {
  const folder = await mkdtemp(join(tmpdir(), "fittengate-agent-"));
  const path = (name) => join(folder, name);
  const made = [];
  const run = async (name, args) => {
    made.push([name, args]);
    if (name === "read_file") return readFile(path(args.path), "utf8");
    if (name === "run_tests") return `${args.command}: 3 passed`;
    if (name === "write_file") {
      await writeFile(path(args.path), args.content);
      return "written";
    }
    assert.equal(name, "edit_file");
    const before = await readFile(path(args.path), "utf8");
    assert.equal(before.split(args.old).length, 2);
    await writeFile(path(args.path), before.replace(args.old, () => args.new));
    return "edited";
  };
  try {
    await gateway.reset();
    // The task quotes a tag, so the tags of calls have a suffix of their own; the model reads it in its prompt.
    await gateway.say("Well.");
    assert.equal(await agent(TASK, run), "Well.");
    const [, suffix] = /<tool_calls(\.\w+)>/.exec((await gateway.prompts()).at(-1));
    const text = LONG + HARD;
    const script = [
      ["write_file", { path: "hard.txt", content: text }],
      ["read_file", { path: "hard.txt" }],
      ["edit_file", { path: "hard.txt", old: MARK, new: HARD }],
      ["run_tests", { command: "make test && echo \"it's <ok>\"" }],
    ];
    await gateway.say(...script.map(([name, values]) => called(name, values, suffix)), ANSWER);
    assert.equal(await agent(TASK, run), ANSWER);
    assert.deepEqual(made, script);
    assert.equal(await readFile(path("hard.txt"), "utf8"), text.replace(MARK, () => HARD));
    const prompts = await gateway.prompts();
    assert.equal(prompts.length, 6);
    assert.ok(prompts.at(-1).includes("3 passed"));
    assert.ok(prompts.at(-1).includes(LONG));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
