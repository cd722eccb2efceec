"""Keeps the account's tokens fresh for everybody who asks: one renewal at a time, in this process and among several.

Law (P4): at most one renewal runs; everybody who needs its outcome waits for the same one; whoever leaves while waiting
does not stop it; after a failure nothing is tried before its time, and tokens that another process saved meanwhile end
the failure. Only a person who signs in by hand need not wait for that time. Decisions are ``session.py``'s, bytes are
``client.py``'s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fittengate.core.account import Tokens
from fittengate.core.faults import Fault, FaultKind
from fittengate.lib.clock import Clock
from fittengate.upstream.base import TokenVault
from fittengate.upstream.fitten import session
from fittengate.upstream.fitten.wire import Answer, Call, user_info_call

FAILED_SECONDS = 1.0
FAILED_MOST_SECONDS = 30.0
"""After an outage the next renewal waits a second, then twice as long each time, up to half a minute."""

LOOK_SECONDS = 1.0
"""While there is no way in, the vault is looked at so often: `fittengate login` elsewhere takes effect at once."""


class AccountKeeper:
    """Hands out tokens; renews them early, in the background."""

    def __init__(
        self, account: session.Account, vault: TokenVault, send: Callable[[Call], Awaitable[Answer]], clock: Clock
    ) -> None:
        self.account = account
        self.tokens: Tokens | None = None
        """What is in use; None before the first :meth:`fresh`."""
        self.problem: Fault | None = None
        """Why the last renewal failed; None when it worked. For the readiness probe and doctor."""
        self.renewals: dict[str, int] = {"done": 0, "failed": 0, "refused": 0}
        """Renewals of the session so far, by what became of them."""
        self.sent: dict[str, int] = {"refresh": 0, "login": 0}
        """What was sent to the service for them."""
        self.vault = vault
        self._send = send
        self._clock = clock
        self._flight: asyncio.Task[Tokens] | None = None
        self._not_before = float("-inf")
        self._asked_wait = 0.0
        """What the service's last answer asked to wait, in seconds."""
        self._failures = 0
        self._early: float | None = None
        self._looked_at = float("-inf")
        self._tried: Tokens | None = None
        """What the last renewal began with."""
        self._dead: str | None = None
        self._refused_for = 0.0
        self._logged_in_at = self._hurried_at = float("-inf")
        self._fingerprint: str | None = None

    def ready(self) -> Tokens | None:
        """Return tokens that can be sent now, without waiting; None when :meth:`fresh` must be awaited."""
        tokens = self.tokens
        if tokens is None or tokens.access == self._dead:
            return None
        if self._early is not None and (now := self._clock.now()) >= self._early:
            if not session.usable(tokens, now):
                return None
            if self._flight is None and self._clock.monotonic() >= self._not_before:
                self._start(None)
        return tokens

    async def fresh(self) -> Tokens:
        """Return good tokens, renewing them if need be. Raises Fault (upstream_login, upstream_broken)."""
        return self.ready() or await self._renewed(self._dead)

    async def replace(self, rejected: Tokens, *, force_login: bool = False) -> Tokens:
        """Return other tokens than ``rejected``, which the service answered 401 to. Raises Fault as :meth:`fresh`."""
        if self.tokens is not None and self.tokens.access == rejected.access:
            self._dead = rejected.access
        tokens = self.ready() or await self._renewed(rejected.access, force_login=force_login)
        if tokens.access == rejected.access:
            # The renewal that was under way had begun before anybody knew of the 401.
            tokens = await self._renewed(rejected.access, force_login=force_login)
        return tokens

    async def sign_in(self) -> Tokens:
        """Log in with the account's password because a person asks for it now; save and return the tokens.

        Stored tokens are replaced even if they are still good, and a login that was refused before is tried again.
        Raises Fault (upstream_login, upstream_broken); what is stored then stays as it was. Raises TimeoutError when
        another process keeps the lock, and OSError when nothing can be written.
        """
        return await self._by_hand(self._log_in)

    async def sign_in_with(self, refresh_token: str) -> Tokens:
        """Sign in by a refresh token that a person brought; save and return the tokens it gave.

        Raises Fault (caller_bad_request) for what is no token, and otherwise as :meth:`sign_in`.
        """
        given = session.from_refresh_token(refresh_token, self.account.base_url, self._clock.now())
        return await self._by_hand(lambda: self._adopt(given))

    async def try_refresh(self) -> bool:
        """Try the refresh token, though the access token is good, and keep what it gives; False where there is none.

        Raises Fault (upstream_login, upstream_broken); the tokens stay as they were then.
        """
        tokens = await self.fresh()
        if not tokens.refresh:
            return False
        await self._by_hand(lambda: self._refresh_only(tokens))
        return True

    async def user_info(self) -> dict[str, str]:
        """Return the texts of the account's own record, which hold an old token (protocol: other account endpoints).

        Raises Fault as :meth:`fresh`, and upstream_broken when the answer is no such record.
        """
        tokens = await self.fresh()
        answer = await self._send(user_info_call(tokens.access))
        if answer.status == 401:
            tokens = await self.replace(tokens)
            answer = await self._send(user_info_call(tokens.access))
        if answer.status == 401:
            message = "The Fitten service rejects the login that it renewed just now. Run `fittengate login`."
            raise Fault(FaultKind.UPSTREAM_LOGIN, message, detail="user_info: 401 after a renewal")
        found = {name: value for name, value in answer.object().items() if isinstance(value, str)}
        if answer.status != 200 or "user_id" not in found:
            message = "The Fitten service did not show the account. Try again in a moment."
            detail = answer.error or f"user_info: status {answer.status}"
            raise Fault(FaultKind.UPSTREAM_BROKEN, message, detail=detail)
        return found

    async def close(self) -> None:
        """Wait for a renewal under way, so that what the service gave is saved."""
        if self._flight is not None:
            await asyncio.wait({self._flight}, timeout=5)

    async def _renewed(self, rejected: str | None, *, force_login: bool = False) -> Tokens:
        if self._flight is None:
            await self._hold_back()
            if self._flight is None:
                self._start(rejected, force_login=force_login)
        flight = self._flight
        if flight is None:
            raise AssertionError("a renewal was just started")
        # Shielded: a client that leaves must not stop what others wait for, nor lose tokens between reply and disk.
        return await asyncio.shield(flight)

    async def _hold_back(self) -> None:
        """Raise the last failure while its time is not over, unless somebody else has signed in meanwhile."""
        now = self._clock.monotonic()
        if self.problem is None or now >= self._not_before:
            return
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            saved = await self.vault.load()
            if saved is not None and self.account.owns(saved) and saved != self._tried:
                return
        fault = self.problem
        raise Fault(fault.kind, fault.message, detail=fault.detail, retry_after=max(1.0, self._not_before - now))

    async def _by_hand(self, work: Callable[[], Coroutine[Any, Any, Tokens]]) -> Tokens:
        while self._flight is not None:
            await asyncio.wait({self._flight})
        return await asyncio.shield(self._fly(work()))

    def _start(self, rejected: str | None, *, force_login: bool = False) -> None:
        self._fly(self._renew(rejected, force_login=force_login))

    def _fly(self, work: Coroutine[Any, Any, Tokens]) -> "asyncio.Task[Tokens]":
        flight = self._flight = asyncio.get_running_loop().create_task(work)
        flight.add_done_callback(self._landed)
        return flight

    def _landed(self, flight: "asyncio.Task[Tokens]") -> None:
        self._flight = None
        now = self._clock.monotonic()
        if flight.cancelled():
            return
        problem = flight.exception()
        if problem is None:
            self.renewals["done"] += 1
            self._use(flight.result())
            return
        if isinstance(problem, Fault):
            self.problem = problem
        else:
            self.problem = Fault(FaultKind.GATEWAY_BROKEN, "The login could not be renewed.", detail=repr(problem))
        self.renewals["refused" if isinstance(problem, session.Refused) else "failed"] += 1
        self._failures += 1
        wait = min(FAILED_MOST_SECONDS, FAILED_SECONDS * 2 ** min(self._failures - 1, 10))
        if isinstance(problem, session.Refused):
            wait = max(session.REFUSED_SECONDS, problem.wait)
        elif isinstance(problem, Fault) and problem.retry_after is not None:
            wait = max(wait, problem.retry_after)
        self._not_before = now + wait

    def _use(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.problem = None
        self._failures = 0
        if tokens.access != self._dead:
            self._dead = None
        self._early = session.early(tokens)
        # A renewal that gave nothing new ("Not expired", or an outage with the old token still good) is not repeated
        # with the next request.
        soon = self._early is not None and self._clock.now() >= self._early
        wait = max(FAILED_MOST_SECONDS, self._asked_wait)
        self._not_before = self._clock.monotonic() + wait if soon else float("-inf")

    async def _renew(self, rejected: str | None, *, force_login: bool) -> Tokens:
        await self.vault.acquire()
        try:
            saved = await self.vault.load()
            known = self.tokens
            if saved is not None and self.account.owns(saved):
                known = saved
            self._tried = known
            if known is not None and rejected is None and self._far_from_end(known):
                return known
            return await self._run(known, rejected, await self._past(), force_login=force_login)
        finally:
            await self.vault.release()

    async def _log_in(self) -> Tokens:
        await self.vault.acquire()
        try:
            return await self._run(None, None, session.Past(), force_login=True)
        finally:
            await self.vault.release()

    async def _adopt(self, given: Tokens) -> Tokens:
        await self.vault.acquire()
        try:
            # Without a password: should the token be refused, no login takes its place.
            steps = session.renewal(
                given, None, session.Account(self.account.base_url), session.Past(), self._clock.now
            )
            tokens, _ = await self._walk(steps)
            await self.vault.save(tokens)
            await self.vault.clear_refusal()
            return tokens
        finally:
            await self.vault.release()

    async def _refresh_only(self, tokens: Tokens) -> Tokens:
        await self.vault.acquire()
        try:
            saved = await self.vault.load()
            if saved is not None and self.account.owns(saved):
                tokens = saved
            renewed, _ = await self._walk(session.only_refresh(tokens, self._clock.now))
            if renewed != tokens:
                await self.vault.save(renewed)
            return renewed
        finally:
            await self.vault.release()

    def _far_from_end(self, tokens: Tokens) -> bool:
        early = session.early(tokens)
        return bool(tokens.access) and (early is None or self._clock.now() < early)

    async def _run(
        self, known: Tokens | None, rejected: str | None, past: session.Past, *, force_login: bool
    ) -> Tokens:
        try:
            tokens, login = await self._walk(
                session.renewal(known, rejected, self.account, past, self._clock.now, force_login=force_login)
            )
        except session.Refused as refused:
            if refused.new:
                await self._note(refused)
            raise
        if tokens != known:
            await self.vault.save(tokens)
        if login:
            now = self._clock.now()
            if 0 <= now - self._logged_in_at < session.LOGIN_AGAIN_SECONDS:
                self._hurried_at = now
            self._logged_in_at = now
            self._refused_for = 0.0
            await self.vault.clear_refusal()
        return tokens

    async def _walk(self, steps: session.Renewal) -> tuple[Tokens, bool]:
        """Send what is yielded; return the tokens, and whether the last thing sent was a login."""
        login = False
        try:
            call = next(steps)
            while True:
                login = call.path.endswith("/login")
                self.sent["login" if login else "refresh"] += 1
                answer = await self._send(call)
                self._asked_wait = answer.retry_after or 0.0
                call = steps.send(answer)
        except StopIteration as done:
            tokens: Tokens = done.value
        return tokens, login

    async def _past(self) -> session.Past:
        noted = await self.vault.refusal() if self.account.password else None
        if noted is None or noted[0] != await self._print():
            return session.Past(logged_in_at=self._logged_in_at, hurried_at=self._hurried_at)
        _, until, message = noted
        return session.Past(until, message, self._refused_for, self._logged_in_at, self._hurried_at)

    async def _note(self, refused: session.Refused) -> None:
        self._refused_for = refused.wait
        await self.vault.note_refusal(await self._print(), self._clock.now() + refused.wait, refused.message)

    async def _print(self) -> str:
        # Slow on purpose, so computed once and off the loop.
        if self._fingerprint is None:
            self._fingerprint = await asyncio.to_thread(lambda: self.account.fingerprint)
        return self._fingerprint
