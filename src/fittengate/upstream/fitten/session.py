"""Sign-in, refresh and expiry as a state machine. Pure: the clock is handed in, requests are yielded.

The laws (P4): tokens are only ever replaced by newer ones, a failure wipes nothing; whoever finds the token renewed by
somebody else uses that one; ``"Not expired"`` keeps what is there; a token is used until it truly expires when its
renewal fails; a login that was refused is not tried again before its time.

:func:`renewal` is a generator: it yields a :class:`Call`, is sent the :class:`Answer`, and returns the tokens to use.
"""

import hashlib
from collections.abc import Callable, Generator
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from fittengate.core.account import Tokens
from fittengate.core.faults import Fault, FaultKind
from fittengate.upstream.fitten.wire import (
    NOT_EXPIRED,
    Answer,
    Call,
    claims,
    login_call,
    refresh_access_call,
    refresh_refresh_call,
)

EARLY_SECONDS = 600.0
"""Renewal begins so long before the end of a token that lives a day; at most a fifth of a shorter life."""

LAST_SECONDS = 2.0
"""A token with less than this to live is not sent any more: it would die on the way."""

REFRESH_TOKEN_EARLY_SECONDS = 3 * 86400.0
"""The refresh token lives 30 days; when the service gives a new one is unknown, so it is asked in the last three."""

LOGIN_AGAIN_SECONDS = 60.0
"""A login that worked is not followed by another one sooner: a service that refuses its own tokens gets no loop."""

HURRIED_SECONDS = 600.0
"""But for one in so long a time: a service that was restarted may have forgotten what it gave a moment ago."""

REFUSALS = frozenset({400, 403, 404, 422})
"""What the service says no with, beside 401, where it does not say it with status 200."""

REFUSED_SECONDS = 60.0
REFUSED_MOST_SECONDS = 3600.0
"""After a refused login the next try waits a minute, then twice as long each time, up to an hour."""


class Account(Struct, frozen=True):
    """Whose account is used, and where. An empty password means that only stored tokens can be used."""

    base_url: str
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Show the name and the service, not the password."""
        return f"Account({self.username!r} at {self.base_url})"

    @property
    def fingerprint(self) -> str:
        """What tells one pair of credentials from another without giving them away; slow to guess from."""
        salt = f"fittengate:{self.base_url}:{self.username}".encode()
        return hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, 20_000).hex()

    def owns(self, tokens: Tokens) -> bool:
        """Tell whether stored tokens belong to this account: made by this service, and for this user if one is set."""
        return tokens.base_url == self.base_url and (
            not self.username or not tokens.username or tokens.username == self.username
        )


class Past(Struct, frozen=True):
    """What happened before that decides what may be tried now."""

    refused_until: float = 0.0
    """No login with these credentials before then, seconds since the epoch."""
    refused_message: str = ""
    refused_for: float = 0.0
    """How long the last refusal was waited out, in seconds."""
    logged_in_at: float = float("-inf")
    """When the last login of this process worked."""
    hurried_at: float = float("-inf")
    """When one worked that had followed another one sooner than LOGIN_AGAIN_SECONDS."""


class Refused(Fault):
    """The service does not accept the account: a login fault that says until when nothing is tried."""

    def __init__(self, message: str, *, retry_after: float, new: bool) -> None:
        """Make the fault; ``new`` says that the service was asked just now, so that the refusal is to be noted."""
        super().__init__(FaultKind.UPSTREAM_LOGIN, message, retry_after=max(60.0, retry_after))
        self.wait = retry_after
        self.new = new


Renewal: TypeAlias = Generator[Call, Answer, Tokens]


def early(tokens: Tokens) -> float | None:
    """Return when renewal of the access token should begin, seconds since the epoch; None: only after a 401."""
    if tokens.access_expires is None:
        return None
    said = claims(tokens.access)
    life = EARLY_SECONDS * 5
    if said.expires is not None and said.issued is not None:
        life = max(0.0, said.expires - said.issued)
    return tokens.access_expires - min(EARLY_SECONDS, life / 5)


def usable(tokens: Tokens, now: float) -> bool:
    """Tell whether the access token can still be sent."""
    return bool(tokens.access) and (tokens.access_expires is None or now < tokens.access_expires - LAST_SECONDS)


def renewal(
    tokens: Tokens | None,
    rejected: str | None,
    account: Account,
    past: Past,
    now: Callable[[], float],
    *,
    force_login: bool = False,
) -> Renewal:
    """Yield what must be sent for a good access token; return the tokens to use from then on.

    ``rejected`` is an access token that the service answered 401 to; None when renewal comes before expiry.
    ``force_login`` leaves out the refresh: it was tried and its fruit was rejected too. Raises Fault: upstream_login
    when there is no way in, upstream_broken when the service cannot be asked and the old token is dead, upstream_rate
    when it wants to be left alone.
    """
    if tokens is not None and rejected is not None and tokens.access != rejected and usable(tokens, now()):
        return tokens
    problem: Fault | None = None
    if tokens is not None and tokens.refresh and not force_login:
        tokens, renewed, problem = yield from _refresh(tokens, rejected, now)
        if renewed:
            return tokens
    if tokens is not None and tokens.access != rejected and usable(tokens, now()):
        return tokens
    if problem is not None and problem.retry_after is not None:
        # It asked not to be asked, as every 429 does; a login would be one more request.
        raise problem
    if not (account.username and account.password):
        raise problem or _no_way_in(tokens)
    try:
        return (yield from _login(account, past, now))
    except Refused as refused:
        if problem is not None and not refused.new:
            # Nothing was sent: what our own rules forbid is not why there are no tokens.
            raise problem from refused
        raise


def only_refresh(tokens: Tokens, now: Callable[[], float]) -> Renewal:
    """Yield what must be sent to try the refresh token of tokens that are still good; return the tokens to use then.

    Raises Fault: upstream_login when the service refuses it, upstream_broken or upstream_rate when it cannot be asked.
    """
    tokens, renewed, problem = yield from _refresh(tokens, None, now)
    if renewed:
        return tokens
    message = "The Fitten service refuses to renew the login. Run `fittengate login` before it ends."
    raise problem or Fault(FaultKind.UPSTREAM_LOGIN, message, detail="refresh refused")


def _refresh(
    tokens: Tokens, rejected: str | None, now: Callable[[], float]
) -> Generator[Call, Answer, tuple[Tokens, bool, Fault | None]]:
    """Return the tokens with what is new of them, and whether that is a way in.

    Where it is not, the fault tells of an outage; None where the token itself was refused.
    """
    message = "The Fitten service cannot renew the login just now. Try again in a moment."
    if tokens.refresh_expires is not None and now() > tokens.refresh_expires - REFRESH_TOKEN_EARLY_SECONDS:
        answer = yield refresh_refresh_call(tokens.refresh)
        given = answer.object() if answer.status == 200 else {}
        tokens = _adopt(tokens, given, now())
        if _is_token(given.get("access_token")) and given["access_token"] != rejected:
            return tokens, True, None
        if answer.status == 429 or answer.retry_after is not None:
            return tokens, False, _outage(answer, "refresh of the refresh token", message)
    answer = yield refresh_access_call(tokens.refresh)
    given = answer.object() if answer.status == 200 else {}
    access = given.get("access_token")
    if _is_token(access) and access != rejected:
        return _adopt(tokens, given, now()), True, None
    if access == NOT_EXPIRED and rejected is None and tokens.access:
        return tokens, True, None
    if given or _says_no(answer):
        return tokens, False, None
    return tokens, False, _outage(answer, "refresh", message)


def _says_no(answer: Answer) -> bool:
    """Tell whether a status is the service's own no, and not one of something in front of it."""
    return answer.status == 401 or (answer.status in REFUSALS and not answer.page and not _nowhere(answer))


def _nowhere(answer: Answer) -> bool:
    """Tell whether there is nothing at the path (protocol: HTTP errors on chat); a missing user is another 404."""
    return answer.status == 404 and answer.object().get("detail") == "Not Found"


def _outage(answer: Answer, what: str, message: str) -> Fault:
    """Return what an answer means that says neither yes nor no."""
    kind = FaultKind.UPSTREAM_BROKEN
    if answer.status == 429:
        kind = FaultKind.UPSTREAM_RATE
        message = "The Fitten service says that this account asks too often. Wait before trying again."
    detail = answer.error or f"{what}: status {answer.status}, {len(answer.body)} bytes"
    return Fault(kind, message, detail=detail, retry_after=answer.retry_after)


def _login(account: Account, past: Past, now: Callable[[], float]) -> Renewal:
    left = past.refused_until - now()
    if left > 0:
        raise Refused(past.refused_message, retry_after=left, new=False)
    since = now() - past.logged_in_at
    if 0 <= since < LOGIN_AGAIN_SECONDS and 0 <= now() - past.hurried_at < HURRIED_SECONDS:
        raise Refused(
            "The Fitten service refuses the tokens that it gave a moment ago. Wait a minute; if it stays, run "
            "`fittengate doctor`.",
            retry_after=LOGIN_AGAIN_SECONDS - since,
            new=False,
        )
    answer = yield login_call(account.username, account.password)
    given = answer.object() if 200 <= answer.status < 300 else {}
    access, refresh = given.get("access_token"), given.get("refresh_token")
    if isinstance(access, str) and _is_token(access):
        info = given.get("user_info")
        user_id = info.get("user_id") if isinstance(info, dict) else None
        if not (isinstance(user_id, str) and user_id):
            user_id = claims(access).user_id
        if user_id:
            empty = Tokens(account.base_url, account.username, user_id, "", "", None, None)
            return _adopt(empty, {"access_token": access, "refresh_token": refresh}, now())
    if not (_says_no(answer) or ("status_code" in given and given["status_code"] != 0)):
        message = "The Fitten service did not answer the login as it should. Try again in a moment."
        if _nowhere(answer):
            message = "There is no login of a Fitten service at this address. Check `upstream.base_url`."
        raise _outage(answer, "login", message)
    wait = min(REFUSED_MOST_SECONDS, max(REFUSED_SECONDS, past.refused_for * 2))
    raise Refused(
        "The Fitten service refused the user name or the password. Check `account.username` and `account.password`, "
        "or run `fittengate login`.",
        retry_after=wait,
        new=True,
    )


def _no_way_in(tokens: Tokens | None) -> Fault:
    what = "There is no Fitten account yet" if tokens is None else "The stored Fitten login is no longer accepted"
    return Refused(
        f"{what}. Run `fittengate login`, or set `account.username` and `account.password`.",
        retry_after=REFUSED_SECONDS,
        new=False,
    )


def _is_token(value: object) -> bool:
    """Tell whether a reply's field holds a token: any text but the words that say there is no new one."""
    return isinstance(value, str) and bool(value) and value != NOT_EXPIRED and value.isascii() and value.isprintable()


def _adopt(tokens: Tokens, given: dict[str, object], now: float) -> Tokens:
    """Return ``tokens`` with whatever new tokens the reply holds."""
    access, refresh = given.get("access_token"), given.get("refresh_token")
    if _is_token(access):
        tokens = replace(tokens, access=access, access_expires=expiry(str(access), now))
    if _is_token(refresh):
        tokens = replace(tokens, refresh=refresh, refresh_expires=expiry(str(refresh), now))
    return tokens


def expiry(token: str, now: float) -> float | None:
    """Return when a token that was just received dies, by our clock; None when it does not say.

    A clock that is wrong must not make good tokens look dead or dead ones good: the life that the token claims counts
    from now if that is sooner, or if by our clock it were dead on arrival.
    """
    said = claims(token)
    if said.expires is None:
        return None
    if said.issued is None or said.issued >= said.expires:
        return said.expires
    by_life = now + said.expires - said.issued
    return by_life if said.expires <= now else min(said.expires, by_life)


def from_refresh_token(token: str, base_url: str, now: float) -> Tokens:
    """Return tokens that hold just a refresh token given by hand. Raises Fault (caller_bad_request) if it is none."""
    user_id = claims(token).user_id
    if not _is_token(token) or user_id is None:
        raise Fault(FaultKind.CALLER_BAD_REQUEST, "This is no refresh token of a Fitten account.")
    return Tokens(base_url, "", user_id, "", token, None, expiry(token, now))
