"""Takes secrets out of text that is about to be written down (P10).

It looks for secrets it was told of, and for what has the form of one: bearer tokens, JWTs, keys of ours (``fg_``), of
the service (``FT_``) and of other vendors (``sk-``, ``ghp_``, ``AKIA`` and the like), private keys, values behind telling names
in queries, JSON and headers, passwords in URLs, e-mail addresses and phone numbers. It errs on the side of hiding, and what
it has hidden once it leaves as it is.
"""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "[redacted]"

SHORT = 4
"""A secret with fewer characters is only hidden where it stands alone: else it would be cut out of every word."""

# Our own advice shows where a key goes: that word, alone between the quotes of code. More of it is a key that begins so.
_PLACEHOLDER = r"(?!(?:bearer )?(?-i:KEY)`(?=[.,]?(?:[\s\"']|\Z)))"

# Each part begins with something rare or at the beginning of a word, and repeats no more than it must: the time is
# linear in the length of the text, whoever wrote it. Letters are ASCII's, so that Chinese text around a number ends it.
_PATTERNS = re.compile(
    r"(?P<name>(?<![a-z])(?:password|passwd|passphrase|pwd|secret|authorization|x-api-key|api[_-]?key|phone|e?mail|cookie|"
    r"(?:access_|refresh_|client_|fico_|ft_|id_)?token|密码|口令)\\?[\"']?[ ]?[=:\uff1a][ ]?)" + _PLACEHOLDER +
    # A value in quotes, in quotes inside quotes, or bare; the end may have been cut off.
    r"(?:\[redacted\]|\"(?:[^\"\\]|\\.)*\"?|\\\"[^\"\\]*(?:\\\")?|'(?:[^'\\]|\\.)*'?|(?:bearer |basic )?[^\s&,;}\])\"']+)"
    r"|(?P<bearer>\bbearer\s{1,4})" + _PLACEHOLDER + r"[^\s,;\"']+"
    r"|\beyJ[\w-]{8,}(?:\.[\w-]+){0,4}"
    r"|\b(?:fg_|sk-|ft_|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|hf_|npm_|AIza)[\w-]{20,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,8000}(?:-----END)?"
    r"|(?P<scheme>://)[^\s/@\"']{1,256}@"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}"
    r"|(?<![\w.+-])\+\d[\d -]{6,16}\d(?!\d)"
    r"|(?<![\w.+-])(?:86[ -]?)?1[3-9]\d(?:\d{8}|-\d{4}-\d{4}|[ ]\d{4}[ ]\d{4})(?!\w|\.\d)",
    re.IGNORECASE | re.ASCII,
)


class Redactor:
    """Hides secrets. Told of none, it still hides what looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """``secrets`` are hidden as they are, and as they look inside JSON and URLs; blank ones are passed over."""
        known = {
            form
            for secret in secrets
            if secret.strip()
            for form in (
                secret,
                json.dumps(secret)[1:-1],
                json.dumps(secret, ensure_ascii=False)[1:-1],
                quote(secret, ""),
            )
        }
        # The longest first: one secret may be the beginning of another.
        forms = sorted(known, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(_alone, forms))) if forms else None

    def __call__(self, text: str) -> str:
        """Return ``text`` with every secret replaced by ``[redacted]``."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _PATTERNS.sub(_hidden, text)


def _alone(secret: str) -> str:
    escaped = re.escape(secret)
    return escaped if len(secret) >= SHORT else rf"(?<!\w){escaped}(?!\w)"


def _hidden(found: re.Match[str]) -> str:
    name, bearer, scheme = found.group("name", "bearer", "scheme")
    return f"{name or bearer or scheme or ''}{HIDDEN}{'@' if scheme else ''}"
