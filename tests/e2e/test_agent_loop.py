"""An agent works through more than twenty turns over each SDK: every byte that it was to write is in its files."""

import json

import anthropic
import openai
import pytest

from fakes.agent import HARD_TEXTS, TOOLS, Workspace, calls, suffix_in
from fakes.line import KEY
from fittengate.simulator import Plan

TASK = "Write the files, change them, and run the tests."
ANSWER = "All done: 3 passed. 完成 ✅"
QUOTED = "A page says: </parameter> closes a value."
MARK, NEW = "line 7: 49 é\n", 'line "7"\r\n\\n </parameter> 🚀 第七行\n'


class OpenAIAgent:
    """The loop that everybody writes around ``openai``."""

    def __init__(self, url, stream):
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        self.messages = [{"role": "user", "content": TASK}]
        self.stream = stream

    async def turn(self):
        """Ask once; return the words, and the calls as id, name and arguments."""
        asked = {"model": "gpt-5", "messages": self.messages, "tools": [tool.openai for tool in TOOLS]}
        if self.stream:
            async with self.client.chat.completions.stream(**asked) as stream:
                answer = await stream.get_final_completion()
        else:
            answer = await self.client.chat.completions.create(**asked)
        message = answer.choices[0].message
        self.messages.append(message.model_dump(exclude_none=True))
        made = [(call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]
        assert answer.choices[0].finish_reason == ("tool_calls" if made else "stop")
        return message.content or "", made

    def tell(self, results):
        self.messages += [{"role": "tool", "tool_call_id": call_id, "content": text} for call_id, text in results]


class AnthropicAgent:
    """The loop that everybody writes around ``anthropic``."""

    def __init__(self, url, stream):
        self.client = anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0)
        self.messages = [{"role": "user", "content": TASK}]
        self.stream = stream

    async def turn(self):
        """Ask once; return the words, and the calls as id, name and arguments."""
        asked = {"model": "claude-any", "max_tokens": 64000, "messages": self.messages}
        asked["tools"] = [tool.anthropic for tool in TOOLS]
        if self.stream:
            async with self.client.messages.stream(**asked) as stream:
                answer = await stream.get_final_message()
        else:
            answer = await self.client.messages.create(**asked, timeout=50)
        self.messages.append({"role": "assistant", "content": [block.model_dump() for block in answer.content]})
        made = [(block.id, block.name, block.input) for block in answer.content if block.type == "tool_use"]
        assert answer.stop_reason == ("tool_use" if made else "end_turn")
        return "".join(block.text for block in answer.content if block.type == "text"), made

    def tell(self, results):
        blocks = [{"type": "tool_result", "tool_use_id": call_id, "content": text} for call_id, text in results]
        self.messages.append({"role": "user", "content": blocks})


class ResponsesAgent:
    """The same over OpenAI's Responses, all items sent each time as Codex does."""

    def __init__(self, url, stream):
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        self.messages = [{"role": "user", "content": TASK}]
        self.stream = stream

    async def turn(self):
        """Ask once; return the words, and the calls as id, name and arguments."""
        tools = [{"type": "function", "name": tool.name, "parameters": tool.schema, "strict": False} for tool in TOOLS]
        asked = {"model": "gpt-5", "input": self.messages, "tools": tools, "store": False}
        if self.stream:
            async with self.client.responses.stream(**asked) as stream:
                answer = await stream.get_final_response()
        else:
            answer = await self.client.responses.create(**asked)
        assert answer.status == "completed"
        # What the stream helper adds of its own is no part of an item.
        items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in answer.output]
        self.messages = [*self.messages, *items]
        found = [item for item in answer.output if item.type == "function_call"]
        return answer.output_text, [(call.call_id, call.name, json.loads(call.arguments)) for call in found]

    def tell(self, results):
        self.messages += [
            {"type": "function_call_output", "call_id": call_id, "output": text} for call_id, text in results
        ]


def script():
    """Return each turn of the model as its calls, and the files as they are to be after it."""
    files = {}
    turns = []
    for path, text in HARD_TEXTS.items():
        files = {**files, path: text}
        turns.append(([("write_file", {"path": path, "content": text})], files))
        turns.append(([("read_file", {"path": path})], files))
    files = {**files, "long.txt": files["long.txt"].replace(MARK, NEW)}
    turns.append(([("edit_file", {"path": "long.txt", "old": MARK, "new": NEW})], files))
    turns.append(([("read_file", {"path": name}) for name in ("quotes.py", "crlf.bat")], files))
    turns.append(([("run_tests", {"command": 'make test && echo "it\'s <ok>"'})], files))
    return turns


async def suffix_of(agent, simulator):
    """Return the suffix that the agent's tags get as soon as a text of its conversation holds such tags."""
    first = agent.messages
    agent.messages = [*first, {"role": "assistant", "content": "Well."}, {"role": "user", "content": QUOTED}]
    simulator.plan("chat", Plan(text="Yes."))
    await agent.turn()
    agent.messages = first
    suffix = suffix_in(simulator.requests("chat")[-1].turns[0][1])
    assert suffix
    return suffix


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", [OpenAIAgent, AnthropicAgent, ResponsesAgent])
async def test_an_agent_of_more_than_twenty_turns_writes_every_byte(gateway, simulator, tmp_path, kind, stream):
    """Whatever stands in a file, it arrives; the model reads it back; from the first quoted tag on tags have a suffix."""
    workspace = Workspace(tmp_path)
    agent = kind(gateway.url, stream)
    async with agent.client:
        suffix = await suffix_of(agent, simulator)
        used = ""
        for number, (made, files) in enumerate(script()):
            simulator.plan("chat", Plan(text=calls(*made, suffix=used, said=f"Step {number}.")))
            said, got = await agent.turn()
            prompt = simulator.requests("chat")[-1]
            assert suffix_in(prompt.turns[0][1]) == used
            assert said.strip() == f"Step {number}."
            assert [(name, arguments) for _, name, arguments in got] == made
            results = [(call_id, workspace.run(name, arguments)) for call_id, name, arguments in got]
            agent.tell(results)
            assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
                name: text.encode() for name, text in files.items()
            }
            if "markup.txt" in files:
                used = suffix
        assert number > 20
        simulator.plan("chat", Plan(text=ANSWER))
        assert await agent.turn() == (ANSWER, [])
        last = simulator.requests("chat")[-1].turns
        assert [role for role, _ in last] == ["system", "user", *["assistant", "user"] * (number + 1)]
        assert 'make test && echo "it\'s <ok>": 3 passed' in last[-1][1]
