"""Who may sign in, and which tokens count.

Law: a token counts if we signed it, its time and the leeway are not over, its account exists and it was not withdrawn.
"""

import hashlib
import uuid
from collections import deque
from typing import Any, Protocol

from msgspec import UNSET, structs

from fittengate.lib.clock import Clock
from fittengate.simulator import jwt
from fittengate.simulator.reply import Refused, json_reply, refusal, text_reply
from fittengate.simulator.scenario import AccountRecord, Scenario

NOT_EXPIRED = "Not expired"
_REMEMBERED = 4096
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Random(Protocol):
    """The part of ``random.Random`` that is needed."""

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of ``k`` random bits."""
        ...

    def random(self) -> float:
        """Return a number from 0 up to 1."""
        ...


class Accounts:
    """The accounts of a scenario and the tokens made for them. Handed a new scenario, tokens of old stay good."""

    def __init__(self, scenario: Scenario, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._withdrawn: set[str] = set()
        self._issued: deque[tuple[str, str, jwt.Kind]] = deque(maxlen=_REMEMBERED)
        """Id, account and kind of each token that was made."""
        self._opaque: dict[str, jwt.Claims] = {}
        self._known: dict[bytes, float] = {}
        """When each header that was checked ends to count."""
        self._newest: dict[str, float] = {}
        """When each account's newest access token was made."""
        self.take(scenario)

    def take(self, scenario: Scenario) -> None:
        """Serve the accounts and rules of this scenario from now on."""
        self._rules = scenario.tokens
        self._wrong_password = scenario.wrong_password
        records = list(scenario.accounts)
        if scenario.demo_account:
            records.append(AccountRecord(username="demo", password="demo", nickname="Demo"))  # noqa: S106 - play
        self._by_id: dict[str, AccountRecord] = {}
        self._by_name: dict[str, AccountRecord] = {}
        for given in records:
            record = given if given.user_id else structs.replace(given, user_id=_user_id(given.username))
            self._by_id.setdefault(record.user_id, record)
            for name in (record.username, record.email, record.phone):
                if name:
                    self._by_name.setdefault(name, record)
        self._known.clear()

    # Signing in

    def sign_in(self, body: Any) -> AccountRecord:
        """Return whom a login body belongs to; raises Refused for wrong credentials."""
        name, password = (body.get("username"), body.get("password")) if isinstance(body, dict) else (None, None)
        record = self._by_name.get(name) if isinstance(name, str) else None
        if record is None or record.password != password:
            if self._wrong_password == "401":  # noqa: S105
                raise refusal(401, "Incorrect username or password")
            raise Refused(json_reply({"data": "", "status_code": 2, "msg": "用户名或密码不正确"}))
        return record

    def named(self, name: str) -> AccountRecord | None:
        """Return the account of that user name, e-mail or phone; None if there is none."""
        return self._by_name.get(name)

    def of_key(self, key: str) -> AccountRecord | None:
        """Return the account of a key, which is a user id or of the ``FT_`` kind; None if there is none."""
        if key in self._by_id:
            return self._by_id[key]
        return next((record for record in self._by_id.values() if ft_key(record) == key), None)

    def of_old_token(self, authorization: str) -> AccountRecord:
        """Return the account of an old-style token; raises Refused."""
        scheme, _, token = authorization.partition(" ")
        if scheme == "Bearer":
            for record in self._by_id.values():
                if old_token(record) == token:
                    return record
        raise refusal(401, self._rules.invalid_detail if token else self._rules.missing_detail)

    def login_body(self, record: AccountRecord) -> dict[str, Any]:
        """Return what a successful login answers (protocol: login, new)."""
        return {
            "access_token": self.issue(record.user_id, "access"),
            "refresh_token": self.issue(record.user_id, "refresh"),
            "user_info": user_info(record),
        }

    # Tokens

    def issue(self, user_id: str, kind: jwt.Kind) -> str:
        """Return a new token."""
        rules = self._rules
        now = int(self._clock.now())
        life = rules.access_seconds if kind == "access" else rules.refresh_seconds
        jti = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        claims = jwt.Claims(subject=jwt.Subject(user_id), type=kind, exp=now + life, iat=now, jti=jti)
        self._issued.append((jti, user_id, kind))
        if kind == "access":
            self._newest[user_id] = now
        if kind == "access" and rules.access_form == "opaque":
            token = f"{self._random.getrandbits(256):064x}"
            self._opaque[token] = claims
            while len(self._opaque) > _REMEMBERED:
                del self._opaque[next(iter(self._opaque))]
            return token
        if kind == "access" and rules.access_form == "no_exp":
            claims = structs.replace(claims, exp=UNSET)
        return jwt.sign(claims, rules.secret)

    def check(self, authorization: str, kind: jwt.Kind = "access") -> jwt.Claims:
        """Return the claims of a Bearer token that counts; raises Refused with the texts of the service."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise refusal(401, self._rules.missing_detail)
        claims = self.read(token)
        if claims.type != kind and (kind == "refresh" or not self._rules.refresh_as_access):
            raise refusal(401, f"Invalid token: 'type' is not '{kind}'")
        if kind == "access":
            self._remember(authorization, self._ends(claims))
        return claims

    def read(self, token: str) -> jwt.Claims:
        """Return the claims of a token that counts, of either kind; raises Refused."""
        claims = self._opaque.get(token)
        if claims is None:
            try:
                claims = jwt.verify(token, self._rules.secret)
            except jwt.BadTokenError as error:
                if self._rules.bad_signature == "500":
                    raise Refused(text_reply("Internal Server Error", status=500)) from error
                raise refusal(401, self._rules.invalid_detail) from error
        if claims.jti in self._withdrawn or self._ends(claims) < self._clock.now():
            raise refusal(401, self._rules.expired_detail)
        return claims

    def counts(self, authorization: bytes) -> bool:
        """Whether this header was checked before and still counts: one dict lookup, for the fast reply."""
        return self._known.get(authorization, 0.0) >= self._clock.now()

    def owner(self, claims: jwt.Claims) -> AccountRecord:
        """Return the account of a token; raises Refused where it is gone."""
        record = self._by_id.get(claims.subject.uid)
        if record is None:
            raise refusal(404, "User not found")
        return record

    def withdraw(self, kind: jwt.Kind | None = None, user_id: str | None = None, keep: str = "") -> None:
        """Make the tokens that were issued so far stale: of one kind or account, or all, but for the id ``keep``."""
        for jti, uid, made in self._issued:
            if kind in (None, made) and user_id in (None, uid) and jti != keep:
                self._withdrawn.add(jti)
        if len(self._withdrawn) > _REMEMBERED:
            self._withdrawn &= {jti for jti, _, _ in self._issued}
        self._known.clear()

    def withdraw_one(self, jti: str) -> None:
        """Make one token stale."""
        self._withdrawn.add(jti)
        self._known.clear()

    def refreshed(self, claims: jwt.Claims) -> dict[str, Any]:
        """Return what ``refresh_access_token`` answers to a refresh token; raises Refused where the account is gone."""
        rules = self._rules
        user_id = self.owner(claims).user_id
        body = {
            "access_token": self._renew(user_id),
            "access_token_expires": duration(rules.access_seconds),
        }
        if rules.rotate_refresh:
            self.withdraw_one(claims.jti)
            body["refresh_token"] = self.issue(user_id, "refresh")
        return body

    def both_refreshed(self, claims: jwt.Claims) -> dict[str, Any]:
        """Return what ``refresh_refresh_token`` answers; raises Refused where the account is gone."""
        rules = self._rules
        user_id = self.owner(claims).user_id
        left = self._ends(claims) - rules.leeway_seconds - self._clock.now()
        due = left < rules.due_share * rules.refresh_seconds
        new = rules.refresh_renewal == "always" or (rules.refresh_renewal == "due" and due)
        return {
            "access_token": self._renew(user_id),
            "access_token_expires": duration(rules.access_seconds),
            "refresh_token": self.issue(user_id, "refresh") if new else NOT_EXPIRED,
            "refresh_token_expires": duration(rules.refresh_seconds),
        }

    def _renew(self, user_id: str) -> str:
        rules = self._rules
        if rules.access_renewal == "never" or (rules.access_renewal == "due" and not self._access_due(user_id)):
            return NOT_EXPIRED
        if rules.invalidate_previous:
            self.withdraw("access", user_id)
        return self.issue(user_id, "access")

    def _access_due(self, user_id: str) -> bool:
        age = self._clock.now() - self._newest.get(user_id, 0.0)
        return age > (1 - self._rules.due_share) * self._rules.access_seconds

    def _ends(self, claims: jwt.Claims) -> float:
        if claims.exp is UNSET:
            return claims.iat + self._rules.access_seconds + self._rules.leeway_seconds
        return claims.exp + self._rules.leeway_seconds

    def _remember(self, authorization: str, ends: float) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[authorization.encode("latin-1", "replace")] = ends


def user_info(record: AccountRecord) -> dict[str, Any]:
    """Return what is told of an account."""
    return {
        "user_id": record.user_id,
        "username": record.username,
        "phone": record.phone,
        "nickname": record.nickname or record.username,
        "email": record.email,
        "token": old_token(record),
        "registration_time": "2024-01-01 00:00:00",
        "user_type": "",
        "account_status": "",
        "register_username": record.username,
        "wechat_info": {"nickname": ""},
        "firebase_info": {"display_name": "", "email": ""},
        "client_token": "",
        "client_time": 0,
        "company": "",
    }


def old_token(record: AccountRecord) -> str:
    """Return the token of the old login, which never changes."""
    return hashlib.sha256(f"old token of {record.user_id}".encode()).hexdigest()


def ft_key(record: AccountRecord) -> str:
    """Return the old API key: ``FT_`` and 50 letters and digits."""
    digest = hashlib.sha512(f"key of {record.user_id}".encode()).digest()
    return "FT_" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:50])


def duration(seconds: int) -> str:
    """Return a length of time as ISO 8601 writes it."""
    return f"P{seconds // 86_400}D" if seconds and seconds % 86_400 == 0 else f"PT{seconds}S"


def _user_id(username: str) -> str:
    return hashlib.sha256(username.encode()).hexdigest()[:24]
