"""What the log hides, and what it leaves."""

import time

import pytest

from fittengate.services.keyring import _HOW
from fittengate.services.redact import Redactor

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWJqZWN0Ijp7fX0.c2lnbmF0dXJl"
KEY = "fg_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
        ("sent bearer  opaque-token-1, got 401", "sent bearer  [redacted], got 401"),
        (f"token {JWT} expired", "token [redacted] expired"),
        ("eyJhbGciOiJIUzI1NiI alone", "[redacted] alone"),
        (f"key {KEY}.", "key [redacted]."),
        ("FT_" + "a" * 50, "[redacted]"),
        ("wrong key sk-proj-" + "a" * 30, "wrong key [redacted]"),
        ("/codeapi/chat_auth?ft_token=64f0c0ffee&ide=vim", "/codeapi/chat_auth?ft_token=[redacted]&ide=vim"),
        ("/x?apikey=64f0c0ffee", "/x?apikey=[redacted]"),
        ('{"username":"u","password":"p w\\"q","a":1}', '{"username":"u","password":[redacted],"a":1}'),
        ("{'password': 'hunter2', 'a': 1}", "{'password': [redacted], 'a': 1}"),
        ('"{\\"access_token\\":\\"x.y\\",\\"a\\":1}"', '"{\\"access_token\\":[redacted],\\"a\\":1}"'),
        ('{"refresh_token": "cut off he', '{"refresh_token": [redacted]'),
        ("x-api-key: abc", "x-api-key: [redacted]"),
        ("proxy http://user:pw@proxy:3128 refused", "proxy http://[redacted]@proxy:3128 refused"),
        ("no user me.you+x@mail.example.org here", "no user [redacted] here"),
        ("用户me@x.example不存在", "用户[redacted]不存在"),
        ("手机号13800138000不正确", "手机号[redacted]不正确"),
        ("call +86 138-0013-8000 now", "call [redacted] now"),
        ('"phone":"555 12"', '"phone":[redacted]'),
        ("dial 138-0013-8000 or 138 0013 8000", "dial [redacted] or [redacted]"),
        ("86 13800138000 is wrong", "[redacted] is wrong"),
        ("密码：hunter2，再试", "密码：[redacted]"),
        ("api-key: abc", "api-key: [redacted]"),
        ("pwd=hunter2&x=1", "pwd=[redacted]&x=1"),
        ("ghp_" + "a" * 36, "[redacted]"),
        ("github_pat_" + "a" * 40, "[redacted]"),
        ("glpat-" + "a" * 20 + " here", "[redacted] here"),
        ("xoxb-" + "1" * 24, "[redacted]"),
        ("AIza" + "a" * 35, "[redacted]"),
        ("id AKIAIOSFODNN7EXAMPLE used", "id [redacted] used"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----", "[redacted] RSA PRIVATE KEY-----"),
        ("`Authorization: Bearer KEY1`", "`Authorization: [redacted]"),
        ("`Authorization: Bearer KEY`x`", "`Authorization: [redacted]"),
        ("`Authorization: Bearer key`", "`Authorization: [redacted]"),
        ("`x-api-key: KEY`.x", "`x-api-key: [redacted]"),
        ("password=[redacted] again", "password=[redacted] again"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, left):
    """Tokens, keys, passwords, addresses and numbers, in the forms in which they turn up in errors."""
    assert Redactor()(text) == left


TELLING = (
    *(
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "authorization",
        "x-api-key",
        "api_key",
        "api-key",
        "apikey",
    ),
    *("phone", "email", "mail", "cookie", "token", "access_token", "refresh_token", "client_token", "fico_token"),
    *("ft_token", "id_token", "\u5bc6\u7801", "\u53e3\u4ee4"),
)


@pytest.mark.parametrize("name", TELLING)
def test_the_value_behind_a_telling_name_is_hidden(name):
    """Whatever it looks like, in queries, headers, JSON, JSON in JSON and Python's own form."""
    for form in (
        "{}=hunter2",
        "{}: hunter2",
        '"{}":"hunter2"',
        '\\"{}\\":\\"hunter2\\"',
        "'{}': 'hunter2'",
        "x&{}=hunter2&y",
    ):
        for spelt in (name, name.upper(), name.title()):
            assert "hunter2" not in Redactor()(form.format(spelt))


@pytest.mark.parametrize(
    "beginning",
    [
        *("fg_", "sk-", "FT_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_", "npm_", "AIza"),
        *(f"xox{kind}-" for kind in "abeoprs"),
    ],
)
def test_a_key_of_any_vendor_is_hidden_wherever_it_stands(beginning):
    """From twenty characters behind its beginning on, and up to its last one; less of it is no key."""
    assert Redactor()(f"x {beginning}{'a-_Z' * 5} y") == "x [redacted] y"
    assert Redactor()(f"x {beginning}{'a' * 19} y") == f"x {beginning}{'a' * 19} y"


def test_keys_of_a_cloud_are_hidden_at_their_whole_length():
    """Those for good and those for a while; what is longer or shorter is a word."""
    for kind in ("AKIA", "ASIA"):
        assert Redactor()(f"x {kind}{'Z9' * 8}.") == "x [redacted]."
        for length in (15, 17):
            word = f"x {kind}{'Z' * length}."
            assert Redactor()(word) == word


@pytest.mark.parametrize(
    "text",
    [
        "ServerDisconnectedError: Server disconnected",
        _HOW,
        f"No key. {_HOW}\n",
        f'{{"message":"{_HOW} `fittengate keys create` makes one."}}',
        "the token time expired; tokens=12 max_tokens 5",
        "POST https://fc.fittenlab.cn/codeapi/chat_auth 502 after 1700000000123 ms",
        "at 1700000000.25 job 64f0c0ffee64f0c0ffee64f0 failed",
        "decorator @cached in client.py:120:_send",
        "task-force and desk-lamp",
        "bearer",
    ],
)
def test_ordinary_words_are_left(text):
    """A log that hides everything helps nobody."""
    assert Redactor()(text) == text


def test_known_secrets_are_hidden_in_every_form():
    """As they are, inside JSON, inside a URL; the longest first; short ones where they stand alone."""
    redact = Redactor(['pä"ss wörd', "pä", "abc", "abcdef", "", "  "])
    assert redact('x pä"ss wörd x') == "x [redacted] x"
    assert redact('{"p":"p\\u00e4\\"ss w\\u00f6rd"}') == '{"p":"[redacted]"}'
    assert redact('{"p":"pä\\"ss wörd"}') == '{"p":"[redacted]"}'
    assert redact("?q=p%C3%A4%22ss%20w%C3%B6rd&x") == "?q=[redacted]&x"
    assert redact("abcdef xabcdefx") == "[redacted] x[redacted]x"
    assert redact("abc xabc abc1 späte") == "[redacted] xabc abc1 späte"
    assert redact("nothing  here") == "nothing  here"
    assert Redactor(["four"])("xfourx") == "x[redacted]x", "four characters are enough to be cut out of a word"


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "a.", "eyJ", "eyJaaaaaaaaa.", "password", 'password="', "token ", "://", "+1 ", "1", "a@", "@a.", "\\"),
        *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "AKIA", "AKIAA", "138-", "138 0013 ", "86 ", "密码：", "ghp_"),
        *("bearer ", '"', "'", 'password:\\"', "bearer\n", "fg_", "86", "-", "secret='\\", "://a@"),
    ],
)
def test_hostile_text_costs_linear_time(piece):
    """Ten times the text costs about ten times as much: nobody stalls the log with a strange message."""
    redact = Redactor(["known secret"])

    def cost(size):
        text = (piece * size)[:size]
        best = 1e9
        for _ in range(3):
            start = time.thread_time()
            redact(text)
            best = min(best, time.thread_time() - start)
        return best

    cost(1000)
    assert cost(40_000) < 40 * max(cost(4_000), 0.0005)
