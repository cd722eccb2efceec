"""Which pictures of a conversation are needed, and what is to stand in their places. Pure.

The service reads one picture per turn (protocol: images), and a turn is what the prompt makes of it: adjacent messages
of one role. So of each turn only the newest picture matters; the prompt has a note in place of the others, which are
left as they came, unread.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from fittengate.core.conversation import Image, Message, Part, Text, ToolResult
from fittengate.upstream.addresses import is_remote
from fittengate.upstream.picture_data import read_data_url

MAX_REMOTE = 8
"""Different pictures fetched for one request: the newest ones. A request that names more is no error, because clients
send their whole history again and again."""

LEFT_OUT = f"[image left out: only the newest {MAX_REMOTE} remote images are fetched]"


class Plan(Struct, frozen=True):
    """What is to be done about the pictures of a conversation."""

    remote: tuple[Image, ...]
    """To be fetched, newest first: one for each URL, standing for the newest place that names it."""
    newest: tuple[Image, ...]
    """The newest picture of each turn."""
    swaps: Mapping[int, Text | Image]
    """What is known already to stand in place of a picture, by the picture's ``id()``: one URL may have many places."""


def plan_pictures(messages: Sequence[Message]) -> Plan | None:
    """Return what to do; None where there are no pictures. Raises Fault (caller_bad_request) for a bad data URL."""
    turns = _picture_turns(messages)
    if not turns:
        return None
    remote: dict[str, Image] = {}
    swaps: dict[int, Text | Image] = {}
    for turn in reversed(turns):
        newest = turn[-1]
        if not is_remote(newest.url):
            url = read_data_url(newest.url, newest.where)
            if url != newest.url:
                swaps[id(newest)] = Image(url, newest.where)
        elif newest.url in remote or len(remote) < MAX_REMOTE:
            remote.setdefault(newest.url, newest)
        else:
            swaps.update((id(image), Text(LEFT_OUT)) for image in turn)
    return Plan(tuple(remote.values()), tuple(turn[-1] for turn in turns), swaps)


def carry_out(plan: Plan, messages: tuple[Message, ...], fetched: Mapping[str, str]) -> tuple[Message, ...]:
    """Return the messages with pictures exchanged, ``fetched`` being data URLs by URL.

    What needs no change stays the same object, and so do ``messages`` when nothing does.
    """
    swaps = dict(plan.swaps)
    swaps.update((id(image), Image(fetched[image.url], image.where)) for image in plan.newest if image.url in fetched)
    if not swaps:
        return messages
    return tuple(_swap_message(message, swaps) for message in messages)


def _picture_turns(messages: Sequence[Message]) -> list[list[Image]]:
    """Return the pictures of each turn that has any, in order; those in tool results too."""
    turns: list[list[Image]] = []
    here: list[Image] = []
    role = ""
    for message in messages:
        if message.role != role:
            role = message.role
            if here:
                turns.append(here)
                here = []
        for part in message.parts:
            kind = type(part)  # every message of every request passes here: cheaper than isinstance or match
            if kind is Image:
                here.append(part)  # type: ignore[arg-type]
            elif kind is ToolResult:
                here.extend(inner for inner in part.parts if isinstance(inner, Image))  # type: ignore[union-attr]
    if here:
        turns.append(here)
    return turns


def _swap_message(message: Message, swaps: Mapping[int, Text | Image]) -> Message:
    parts = tuple(_swap_part(part, swaps) for part in message.parts)
    if all(new is old for new, old in zip(parts, message.parts, strict=True)):
        return message
    return replace(message, parts=parts)


def _swap_part(part: Part, swaps: Mapping[int, Text | Image]) -> Part:
    if isinstance(part, ToolResult) and any(id(inner) in swaps for inner in part.parts):
        return replace(part, parts=tuple(swaps.get(id(inner), inner) for inner in part.parts))
    return swaps.get(id(part), part)
