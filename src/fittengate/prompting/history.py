"""Turns that hold calls, or what calls gave, as the model reads them.

Law: a call is shown in exactly the form that the model is told to write, made from its arguments and not from what the
model once wrote, because a model imitates what it sees. The ids of clients never come into the prompt: a result has the
name of its tool and the number of its call in the turn before. Nothing is refused and nothing dropped, for clients cut
their histories: a call without a result says so, and so does a result without a call.
"""

from collections.abc import Iterator, Sequence

from fittengate.core.conversation import Image, Message, Text, ToolCall, ToolResult, ToolSpec
from fittengate.prompting.declared import declared
from fittengate.prompting.syntax import Tags, render_calls

LEFT_OUT = "[image left out: the service reads one per message]"
SHOWN = "[image: the one at the start of this message]"
NO_OUTPUT = "(no output)"
NO_RESULT = "(no result recorded)"


class CallHistory:
    """Takes the turns of one conversation in order, from the first one with a call or a result on."""

    def __init__(self, tags: Tags, tools: Sequence[ToolSpec] = ()) -> None:
        self._tags = tags
        self._schema = declared(tuple(tools)).schema
        self._names: dict[str, str] = {}
        """Tools of all calls so far, by the client's id."""
        self._waiting: list[ToolCall] = []
        """Calls of the turn before."""

    def words(self, messages: Sequence[Message], images: int) -> str:
        """Return the text of a turn that holds ``images`` pictures, the last of which is sent."""
        # One note for each picture, in order: nothing where the sent one stood.
        notes = iter([LEFT_OUT] * (images - 1) + [""])
        said: list[str] = []
        calls: list[ToolCall] = []
        results: list[tuple[ToolResult, str]] = []
        for message in messages:
            blocks: list[str] = []
            for part in message.parts:
                if isinstance(part, Text):
                    blocks.append(part.text)
                elif isinstance(part, Image):
                    blocks += filter(None, [next(notes)])
                elif isinstance(part, ToolCall):
                    calls.append(part)
                elif isinstance(part, ToolResult):
                    results.append((part, _output(part, notes)))
            if blocks:
                said.append("\n".join(blocks))
        if results or messages[0].role == "user":
            said[:0] = self._results(results)
        words = "\n\n".join(said)
        if not calls:
            return words
        self._waiting = calls
        self._names.update((call.id, call.name) for call in calls)
        block = render_calls([(call.name, call.arguments) for call in calls], self._tags, self._schema)
        return f"{words}\n{block}" if words else block

    def _results(self, results: list[tuple[ToolResult, str]]) -> list[str]:
        """Return the block with a result for each of the calls that wait, and what belongs to none of them."""
        calls, self._waiting = self._waiting, []
        places: dict[str, list[int]] = {}
        for at, call in reversed(list(enumerate(calls))):
            places.setdefault(call.id, []).append(at)
        found: dict[int, tuple[ToolResult, str]] = {}
        strays: list[str] = []
        for result, text in results:
            if free := places.get(result.call_id):
                found[free.pop()] = result, text
            else:
                strays.append(self._stray(result, text))
        if not calls:
            return strays
        tags = self._tags
        lines = [tags.results]
        for at, call in enumerate(calls):
            given = found.get(at)
            error = given is not None and given[0].is_error
            text = NO_RESULT if given is None else given[1] or NO_OUTPUT
            lines += (tags.result(call.name, at + 1, error=error), text, tags.result_end)
        return ["\n".join([*lines, tags.results_end]), *strays]

    def _stray(self, result: ToolResult, text: str) -> str:
        name = self._names.get(result.call_id)
        whose = "a call that is not in this conversation" if name is None else f"an earlier call of {name}"
        return f"({'Error' if result.is_error else 'Result'} of {whose}:)\n{text or NO_OUTPUT}"


def _output(result: ToolResult, notes: Iterator[str]) -> str:
    return "\n".join([part.text if isinstance(part, Text) else next(notes) or SHOWN for part in result.parts])
