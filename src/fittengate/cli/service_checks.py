"""What doctor looks at outside this machine: account, way to the service, login, models, chat, tools, completion."""

import asyncio
import time
from collections.abc import AsyncIterator

from fittengate.cli.account import left, moment, signed_in, vault_of
from fittengate.cli.checks import Finding
from fittengate.cli.kept_checks import MAX_SHOWN, strange
from fittengate.cli.serve import account_missing
from fittengate.core.ask import Ask, FillAsk, Sampling, ToolUse
from fittengate.core.conversation import Conversation, Message, Role, Text, ToolCall, ToolResult, ToolSpec
from fittengate.core.events import Fold
from fittengate.core.faults import Fault, FaultKind
from fittengate.core.reply import Reply
from fittengate.server.assemble import shared, ssl_context
from fittengate.server.configure import Configured
from fittengate.services.clock import SystemClock
from fittengate.upstream.base import TokenVault
from fittengate.upstream.fitten import probe
from fittengate.upstream.fitten.client import Route
from fittengate.upstream.fitten.service import FittenService
from fittengate.upstream.fitten.session import Account

SKEW_SECONDS = 120.0
"""A clock that is off by more makes good tokens look old, and logs hard to read."""

QUESTION = "Answer with the one word: ready"

TOOL_QUESTION = "What is the meaning of the word answer? Look it up with the tool."
TOOL = ToolSpec(
    "look_up",
    "Looks up what a word means.",
    b'{"type":"object","properties":{"word":{"type":"string"}},"required":["word"]}',
)

CODE = "def add(a, b):\n    return "


async def account(configured: Configured) -> AsyncIterator[Finding]:
    """Yield what is stored, how long it lasts, and until when a refused login is not tried again."""
    async with shared(configured.settings, vault_of(configured)) as vault:
        async for finding in _account(configured, vault):
            yield finding


async def _account(configured: Configured, vault: TokenVault) -> AsyncIterator[Finding]:
    missing = await account_missing(configured, vault)
    given = configured.settings.account
    if missing is not None:
        yield Finding("fail", "account", missing.rstrip("."))
    elif vault.problem is not None:
        yield Finding("warn", "account", f"{vault.problem}; the next login writes it anew")
    tokens = await vault.load()
    now = time.time()
    if tokens is not None and missing is None:
        name = tokens.username or tokens.user_id
        ends = tokens.refresh_expires if tokens.refresh else tokens.access_expires
        over = ends is not None and ends <= now
        state = "fail" if over and not given.password else "ok"
        advice = "; run `fittengate login`" if state == "fail" else ""
        yield Finding(state, "account", f"login of {name}: {left(ends, now)}{advice}")  # type: ignore[arg-type]
    elif given.password and missing is None:
        yield Finding("ok", "account", f"{given.username} with a password from the settings; not signed in yet")
    noted = await vault.refusal()
    if noted is not None and given.password:
        account = Account(configured.settings.upstream.base_url, given.username, given.password)
        same = noted[0] == await asyncio.to_thread(lambda: account.fingerprint)
        if same and noted[1] > now:
            text = (
                f"the service refused account.username and account.password; not tried again before {moment(noted[1])}"
            )
            yield Finding("fail", "account", f"{text}. Correct them, or run `fittengate login`")


async def reach(configured: Configured) -> AsyncIterator[Finding]:
    """Yield how far one gets towards the service, and how far the clocks are apart."""
    upstream = configured.settings.upstream
    route = Route(upstream.base_url, upstream.models_url, upstream.connect_timeout, upstream.proxy, upstream.user_agent)
    found = await probe.probe(route, lambda: ssl_context(upstream.ca_file), SystemClock())
    if found.addresses:
        yield Finding("ok", "name", f"{found.where} is {', '.join(found.addresses[:4])}")
    if found.connect_seconds is not None:
        yield Finding("ok", "connection", f"{found.where} in {found.connect_seconds * 1000:.0f} ms")
    if not found.answered:
        yield Finding("fail", "service", f"{upstream.base_url}: {found.problem}")
        return
    trusted = ", its certificate is trusted" if upstream.base_url.startswith("https:") else ""
    yield Finding("ok", "service", f"{upstream.base_url} answers{trusted}")
    ahead = found.clock_ahead
    if ahead is None:
        yield Finding("ok", "clock", "not compared: the service sends no date")
    elif abs(ahead) > SKEW_SECONDS:
        direction = "ahead of" if ahead > 0 else "behind"
        text = f"this machine is {abs(ahead):.0f} s {direction} the service; set the clock, or let NTP do it"
        yield Finding("warn", "clock", text)
    else:
        yield Finding("ok", "clock", "agrees with the service's")


async def service(configured: Configured, *, chat: bool) -> AsyncIterator[Finding]:
    """Yield whether login, its renewal and the model list work and, where wanted, chat, tools and completion.

    That is seven calls at most, ten with ``chat``: nothing is asked twice.
    """
    try:
        async with signed_in(configured) as fitten:
            await fitten.keeper.user_info()
            tokens = await fitten.keeper.fresh()
            life = left(tokens.access_expires, time.time())
            yield Finding("ok", "login", f"accepted; access token {life}")
            yield await _refresh(fitten)
            failed = await fitten.refresh_models()
            if failed is None:
                yield Finding("ok", "models", f"{len(fitten.models())} models")
            else:
                text = f"{failed.message} The built-in list is used; check upstream.models_url"
                yield Finding("warn", "models", text)
            if chat:
                yield await _chat(fitten)
                yield await _tools(fitten)
                yield await _completion(fitten)
            else:
                yield Finding("ok", "chat", "left out (--no-chat), and so are tools and completion")
            for one in fitten.drift.news()[:MAX_SHOWN]:
                yield strange(one)
    except Fault as fault:
        yield Finding("fail", "login", fault.message.rstrip("."))


async def _refresh(fitten: FittenService) -> Finding:
    try:
        works = await fitten.keeper.try_refresh()
    except Fault as fault:
        return Finding(
            "fail" if fault.kind is FaultKind.UPSTREAM_LOGIN else "warn", "refresh", fault.message.rstrip(".")
        )
    if not works:
        return Finding("warn", "refresh", "the login cannot be renewed; run `fittengate login` when it ends")
    return Finding("ok", "refresh", "the login can be renewed")


async def _chat(fitten: FittenService) -> Finding:
    begun = time.monotonic()
    try:
        reply = await _asked(fitten, Ask(Conversation((_said("user", QUESTION),)), sampling=Sampling(max_tokens=64)))
    except Fault as fault:
        return Finding("fail", "chat", fault.message.rstrip("."))
    seconds = time.monotonic() - begun
    if not reply.text and not reply.thought:
        return Finding("fail", "chat", "the model answered nothing; try again in a moment")
    return Finding("ok", "chat", f"one short question was answered in {seconds:.1f} s")


async def _tools(fitten: FittenService) -> Finding:
    """Return whether the model calls a tool and goes on with what it gave."""
    question = _said("user", TOOL_QUESTION)
    use = ToolUse("required", parallel=False)
    try:
        reply = await _asked(fitten, Ask(Conversation((question,), (TOOL,)), tool_use=use))
        if not reply.calls:
            return Finding(
                "warn", "tools", "the model did not call the tool that it was given; agents may not work well"
            )
        call = reply.calls[0]
        done = ToolResult(call.id, (Text("The meaning is 42."),))
        turns = (
            question,
            Message("assistant", (ToolCall(call.id, call.name, call.arguments),)),
            Message("user", (done,)),
        )
        reply = await _asked(fitten, Ask(Conversation(turns, (TOOL,)), tool_use=ToolUse("none")))
    except Fault as fault:
        return Finding("fail", "tools", fault.message.rstrip("."))
    if not reply.text and not reply.thought:
        return Finding("warn", "tools", "a tool was called, but the model said nothing to what it gave")
    return Finding("ok", "tools", "a tool was called, and the model went on with its result")


async def _completion(fitten: FittenService) -> Finding:
    total = Fold()
    begun = time.monotonic()
    try:
        async for events in fitten.complete(FillAsk(CODE, "", "doctor.py")):
            total.feed(events)
    except Fault as fault:
        return Finding("fail", "completion", fault.message.rstrip("."))
    seconds = time.monotonic() - begun
    if not total.reply().text:
        return Finding("ok", "completion", f"answered in {seconds:.1f} s, with nothing to insert")
    return Finding("ok", "completion", f"a line of code was completed in {seconds:.1f} s")


async def _asked(fitten: FittenService, ask: Ask) -> Reply:
    total = Fold()
    async for events in fitten.chat(ask, fitten.models()[0]):
        total.feed(events)
    return total.reply()


def _said(role: Role, text: str) -> Message:
    return Message(role, (Text(text),))
