"""Chat: the request is checked as the service checks it, the reply is a stream of JSON lines (protocol: chat).

Nothing here sends: a reply is a list of pieces with pauses before them.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import structs

from fittengate.simulator import answers, calls, toolbox, turns
from fittengate.simulator.plan import NATURAL, Plan
from fittengate.simulator.reply import Piece, Pieces, Refused, Reply, Request, invalid, json_reply, read_json, refusal
from fittengate.simulator.scenario import Fast, Pace, Scenario

NDJSON = "application/x-ndjson"
PADDING = "\x00" * 8 + "\n\n"
HIDDEN_TOKENS = 80
"""What the service adds to every prompt, going by how much it bills for short ones."""


class Line(NamedTuple):
    """A line of the stream, without its end."""

    delay: float
    """Seconds before it."""
    text: str
    is_text: bool = False
    """Whether it counts as a text piece."""


def chat(scenario: Scenario, request: Request, plan: Plan, user_id: str = "") -> Reply:
    """Return the stream for a request; raises Refused for a bad one. ``user_id`` is whose token it had, if any."""
    inputs, model = read(scenario, request, user_id)
    prompt = turns.parse(inputs)
    if prompt.prefill is None:
        request.problems.append("the prompt does not end with an open assistant turn")
    if plan.calls:
        plan = _with_calls(plan, prompt)
    elif not plan.scripted:
        plan = _merged(plan, answers.answer(prompt, model))
    if plan.input_tokens is None:
        plan = structs.replace(plan, input_tokens=answers.tokens(inputs) + HIDDEN_TOKENS)
    return stream(plan, scenario.pace)


def read(scenario: Scenario, request: Request, user_id: str = "") -> tuple[str, str]:
    """Return the prompt and the display name of the chosen model; raises Refused."""
    body = read_json(request)
    if not isinstance(body, dict):
        raise _unprocessable("model_attributes_type", [], "Input should be a valid dictionary or object", body)
    if "inputs" not in body:
        raise Refused(json_reply({"detail": [invalid("missing", "inputs", "Field required", body)]}, 422))
    inputs = body["inputs"]
    if not isinstance(inputs, str):
        entry = invalid("string_type", "inputs", "Input should be a valid string", inputs)
        raise Refused(json_reply({"detail": [entry]}, 422))
    if scenario.max_input_chars and len(inputs) > scenario.max_input_chars:
        text = f"String should have at most {scenario.max_input_chars} characters"
        raise Refused(json_reply({"detail": [invalid("string_too_long", "inputs", text, inputs)]}, 422))
    # Whether the service compares them is not known; every client sends the same in all three places.
    if user_id and {request.key, body.get("ft_token")} != {user_id}:
        request.problems.append("the key in the query, ft_token and the token are not the same user's")
    meta = body.get("meta_datas")
    return inputs, _model(scenario, request, meta if isinstance(meta, dict) else {})


def _unprocessable(kind: str, place: list[str], text: str, value: Any) -> Refused:
    return Refused(json_reply({"detail": [{"type": kind, "loc": ["body", *place], "msg": text, "input": value}]}, 422))


def _model(scenario: Scenario, request: Request, meta: dict[str, Any]) -> str:
    chosen = [meta[name] for name in ("model", "agentModel") if name in meta]
    if len(chosen) > 1:
        request.problems.append("both model and agentModel are given")
    if not chosen:
        return "Default"
    listed = scenario.models.agent if "agentModel" in meta else scenario.models.chat
    for model in listed:
        if model.selection_name == chosen[-1]:
            return f"{model.display_name} ({model.selection_name})"
    request.problems.append(f"model {chosen[-1]!r} is not listed")
    if scenario.models.unknown == "refuse":
        raise refusal(400, "Model not found")
    return "Default"


def _with_calls(plan: Plan, prompt: turns.Prompt) -> Plan:
    """Return ``plan`` with its calls behind its text, written as it says."""
    block = calls.written(plan.calls, plan.call_form, toolbox.toolbox(prompt).template, plan.call_flaws)
    return structs.replace(plan, text=f"{plan.text}\n{block}" if plan.text else block)


def _merged(plan: Plan, said: Plan) -> Plan:
    """Return ``plan`` with what the answer says wherever the plan says nothing."""
    names = ("text", "reasoning", "interval_ms", "cut", "cut_after")
    return structs.replace(
        plan, **{name: getattr(said, name) for name in names if getattr(plan, name) == getattr(NATURAL, name)}
    )


def stream(plan: Plan, pace: Pace) -> Reply:
    """Return the streamed reply that a plan describes."""
    first = (pace.first_ms if plan.first_ms is None else plan.first_ms) / 1000
    interval = (pace.interval_ms if plan.interval_ms is None else plan.interval_ms) / 1000
    if plan.raw is not None:
        return Reply(pieces=[Piece(first, plan.raw)], content_type=NDJSON)
    if plan.lines is not None:
        lines: Iterator[Line] = (Line(interval, line, is_text=True) for line in plan.lines)
    else:
        lines = _lines(plan, interval)
    pieces: Pieces = []
    sent = count = 0
    cut_at = None
    if plan.cut_after == 0:
        cut_at = 0
    for delay, line, is_text in lines:
        data = _written(line, plan)
        if not pieces and plan.bom:
            data = b"\xef\xbb\xbf" + data
        pieces.append(Piece(delay if pieces else first + (0 if is_text else delay), data))
        sent += len(data)
        count += is_text
        if is_text and count == plan.cut_after:
            cut_at = sent
    if plan.wrap != "none":
        pieces.append(Piece(0, b"data: [DONE]\n\n"))
    if not plan.last_line_end and pieces:
        last = pieces[-1]
        pieces[-1] = Piece(last.delay, (last.data or b"").rstrip(b"\r\n"))
    return Reply(pieces=pieces, content_type=NDJSON, cut=plan.cut, cut_at=cut_at)


def _lines(plan: Plan, interval: float) -> Iterator[Line]:
    padding = Line(plan.padding_ms / 1000, _encoded({"delta": plan.heartbeat or PADDING}, plan))
    yield from (padding,) * plan.padding
    if plan.padding:
        yield Line(0, _encoded({"delta": ""}, plan))
    thoughts = list(_thoughts(plan))
    yield from (Line(interval, _encoded(fields, plan)) for fields in thoughts)
    if plan.tracedata is not None:
        yield Line(0, _encoded({"tracedata": plan.tracedata}, plan))
    deltas = answers.pieces(plan.text or "") if plan.deltas is None else plan.deltas
    yield from _texts(plan, deltas, interval, padding)
    if plan.final_delta:
        yield Line(0, _encoded({"delta": ""}, plan))
    if plan.usage != "none":
        yield Line(0, _encoded({"usage": _usage(plan, len(deltas) + len(thoughts))}, plan))


def _thoughts(plan: Plan) -> Iterator[dict[str, str]]:
    for name, text in (("reasoning_delta", plan.reasoning), ("thinking_delta", plan.thinking)):
        for piece in answers.pieces(text):
            yield {"delta": "", name: piece} if plan.reasoning_with_delta else {name: piece}


def _texts(plan: Plan, deltas: Sequence[str], interval: float, padding: Line) -> Iterator[Line]:
    middle = len(deltas) // 2
    for index, delta in enumerate(deltas):
        if index == middle:
            yield from (Line(0, line) for line in plan.mid_lines)
        if plan.padding_every and index and index % plan.padding_every == 0:
            yield padding
        yield Line(interval, _encoded({"delta": delta}, plan), is_text=True)
    if not deltas:
        yield from (Line(0, line) for line in plan.mid_lines)


def _usage(plan: Plan, pieces: int) -> dict[str, int | str]:
    given = plan.input_tokens or 0
    made = pieces if plan.output_tokens is None else plan.output_tokens
    if plan.usage == "strings":
        return {"input_tokens": str(given), "output_tokens": str(made), "status": plan.usage_status}
    return {"input_tokens": given, "output_tokens": made, "status": plan.usage_status}


def _encoded(fields: dict[str, Any], plan: Plan) -> str:
    if plan.wrap == "openai":
        if "usage" in fields:
            usage = fields["usage"]
            fields = {
                "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": usage["input_tokens"], "completion_tokens": usage["output_tokens"]},
            }
        else:
            fields = {"choices": [{"index": 0, "delta": {"content": fields.get("delta", "")}, "finish_reason": None}]}
    return json.dumps(fields, ensure_ascii=plan.ascii, separators=(",", ":"))


def _written(line: str, plan: Plan) -> bytes:
    if plan.wrap != "none":
        line = f"data: {line}{plan.line_end}"
    end = plan.line_end * 2 if plan.blank_lines else plan.line_end
    # A lone surrogate cannot be UTF-8; it is written as the bytes it would have been, which no decoder accepts.
    return (line + end).encode("utf-8", "surrogatepass")


def fast_chunks(fast: Fast) -> list[bytes]:
    """Return the lines of the fixed reply, each to be sent after the interval; the last carries the end of the text."""
    said = fast.pieces or (fast.text,) * fast.deltas
    pieces = [piece.data or b"" for piece in stream(Plan(deltas=said, input_tokens=HIDDEN_TOKENS), Pace()).pieces or []]
    return [*pieces[: max(len(said) - 1, 0)], b"".join(pieces[max(len(said) - 1, 0) :])]
