"""Flags, environment and files to Settings: the one place that reads the environment.

Every source is read and checked whole, then the higher one wins, setting by setting: flags, environment variables, one
TOML file, ``./config.ini`` of the older bridge, defaults. The TOML file is the first of ``--config``,
``FITTENGATE_CONFIG``, ``./fittengate.toml`` and ``~/.config/fittengate/config.toml``; the others are not read. What is
wrong is told all at once. No message quotes a secret.

Where credentials may go. ``upstream.base_url``, ``models_url``, ``proxy`` and ``ca_file`` decide who can read what is
sent, so a file in somebody's repository must not set them for credentials that it does not know:

1. ``account.username`` and ``account.password`` are sent only where their own source, or a higher one, says. A file
   named by ``--config`` or ``FITTENGATE_CONFIG`` speaks here with the word of whoever named it. A file that merely lay
   in the working directory speaks for no credentials but its own.
2. A stored login belongs to the ``base_url`` that it was made for, and is sent to no other. What leads aside from there
   (``models_url``, ``proxy``, ``ca_file``) is not taken from a file that merely lay in the working directory, whatever
   else that file holds: it cannot be known here whether a stored login will be used.
3. Nor does such a file say who may use the account, by letting others or pages of the web reach the gateway, or where
   prompts and keys go; and it names places for files in its own directory alone, for lines at the end of a profile
   are run, and a database that is none of ours is moved aside.

A value equal to the default leads nobody astray. Naming the file with ``--config`` says that it is one's own. The
proxy variables that all programs share are the user's own too.
"""

import importlib.util
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from fittengate import __version__
from fittengate.server.sources import (
    DEBUG_VARIABLE,
    DEFAULT,
    ROWS,
    Gathered,
    Source,
    SourceKind,
    gather,
    located,
)
from fittengate.server.urls import (
    FLEET_FORM,
    PROXY_FORM,
    SERVICE_FORM,
    bypassed,
    fleet_url,
    loopback,
    proxy_url,
    service_url,
)
from fittengate.settings import DEFAULT_ALIASES, Settings

SQLITE = "sqlite:///"
"""What the URL of a SQLite file begins with; its path follows."""

_POSTGRES = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"

MODELS_URL = "https://api.fittentech.com"
"""Where the service lists its models; its main host does not (protocol: hosts)."""

LEADING = ("upstream.base_url", "upstream.models_url", "upstream.proxy", "upstream.ca_file")
"""Settings that decide who can read what is sent."""

CHOSEN = MappingProxyType(
    {
        "server.host": "it lets others use your account",
        "server.cors_origins": "it lets pages of the web use your account",
        "server.also_ollama": "it lets every program in without a key",
        "lsp.url": "the files that you edit are sent there",
        "admin.url": "a key that may do everything is sent there",
        "fleet.url": "the account's tokens are kept there",
        "telemetry.otlp_endpoint": "it is told of every request",
    }
)
"""What a file that merely lay in the working directory does not decide, and why."""

WRITTEN = ("server.state_dir", "log.file", "store.url")
"""Settings that say where files are made."""

_NOT_YOURS = "expected from a source that you chose, not from a file in the working directory"

MAX_KEY_CHARS = 512
"""Longer keys are refused unread (``services/keys.py``), so none is taken."""


_FLEET = re.compile(r"[A-Za-z0-9._-]{1,64}")

_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#\s]+")


class Configured(Struct, frozen=True):
    """Settings that can be used: checked, with every default filled in."""

    settings: Settings
    sources: Mapping[str, Source]
    """For every setting of the table, by its key, where its value came from."""
    notes: tuple[str, ...]
    """What the user should be told at start, a line each."""
    state_dir: Path
    """The same as ``settings.server.state_dir``; :func:`prepare_state_dir` makes it."""

    def __repr__(self) -> str:
        """Show where the state is kept, and no setting: some are secret."""
        return f"Configured(state_dir={str(self.state_dir)!r})"


TRACING_MODULES = ("requests", "opentelemetry.sdk.resources", "opentelemetry.proto.trace.v1.trace_pb2")
"""What traces stand on: the extra `tracing` brings them."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class ConfigurationError(Exception):
    """The settings cannot be used."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        """Everything that is wrong, a line each: source, key, what was expected. Quotes no secret."""


def configure(
    flags: Mapping[str, str],
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    home: Path | None = None,
    platform: str = sys.platform,
) -> Configured:
    """Return the settings that hold.

    ``flags`` are the flags that were given, by key (``server.port``), and ``config`` for ``--config``; all as text. The
    rest is what the process has, unless handed in. A variable that is empty counts as not set. Reads files, writes
    none. Raises ConfigurationError.
    """
    try:
        cwd = Path.cwd() if cwd is None else cwd
    except OSError as error:
        raise ConfigurationError(("The working directory is gone. Go to another one.",)) from error
    home = _home() if home is None else home
    environ = os.environ if environ is None else environ
    return _Resolution(gather(flags, environ, cwd, home), environ, cwd, home, platform).configured()


def _home() -> Path:
    """Return the home directory; for a user who has none, as in many a container, a place where no file can be."""
    try:
        home = Path.home()
    except RuntimeError:
        return Path(os.devnull)
    return home if home.is_absolute() else Path(os.devnull)


def debugging(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether ``FITTENGATE_DEBUG`` asks for tracebacks."""
    text = (os.environ if environ is None else environ).get(DEBUG_VARIABLE, "")
    return text.strip().lower() not in {"", "0", "false", "no", "off"}


def colourless(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether output is wanted without colours: NO_COLOR is set (https://no-color.org), or the terminal is dumb."""
    environ = os.environ if environ is None else environ
    return bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"


def prepare_state_dir(path: Path) -> None:
    """Make the directory that holds tokens, keys and the log, for its owner alone (0700). Raises ConfigurationError.

    So are the directories above it that have to be made (XDG Base Directory Specification): whoever could write to one
    of them could put another directory in its place.
    """
    try:
        for one in (*reversed(path.parents), path):
            one.mkdir(mode=0o700, exist_ok=True)
        if os.name == "posix":
            _close_to_others(path)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise _state_dir_error(path, f"cannot be made ready ({reason})") from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise _state_dir_error(path, "is not writable")


def _close_to_others(path: Path) -> None:
    found = path.stat()
    if found.st_mode & stat.S_ISVTX or path == Path(path.anchor):
        raise _state_dir_error(path, "is everybody's; it has to be a directory of its own")
    # Root's directory is how a volume comes into a container: writable through its group.
    if found.st_uid not in {0, os.geteuid()}:
        raise _state_dir_error(path, "belongs to another user")
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)


def _state_dir_error(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError((f"server.state_dir: {path} {what}. Set server.state_dir to another one.",))


def _installed(modules: tuple[str, ...]) -> bool:
    """Tell whether modules could be imported, without importing them."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in modules)
    except (ImportError, ValueError):
        return False


def _locked(path: str) -> bool:
    """Tell whether a PEM file has a private key that is encrypted (RFC 7468, section 11; RFC 1421 for the older form)."""
    with open(path, "rb") as file:  # noqa: PTH123 - as above
        data = file.read(1024 * 1024)
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data or b"Proc-Type: 4,ENCRYPTED" in data


class _Resolution:
    """Checks what settings mean together, and fills in the defaults that depend on others."""

    def __init__(self, gathered: Gathered, environ: Mapping[str, str], cwd: Path, home: Path, platform: str) -> None:
        self._gathered = gathered
        self._values = gathered.values
        self._environ = environ
        self._cwd = cwd
        self._home = home
        self._platform = platform

    def configured(self) -> Configured:
        """Return the whole. Raises ConfigurationError with everything that was found wrong."""
        self._urls()
        self._files()
        self._listening()
        self._account()
        self._trust()
        self._proxy()
        self._telemetry()
        if not self._get("models.aliases"):
            self._values["models.aliases"] = dict.fromkeys(DEFAULT_ALIASES, "fitten-code")
        if not self._get("upstream.user_agent"):
            self._values["upstream.user_agent"] = f"fittengate/{__version__}"
        gathered = self._gathered
        if gathered.problems:
            raise ConfigurationError(tuple(gathered.problems))
        nested: dict[str, dict[str, Any]] = {}
        for key, value in self._values.items():
            section, _, name = key.partition(".")
            nested.setdefault(section, {})[name] = value
        settings = msgspec.convert(nested, Settings)
        sources = MappingProxyType(gathered.sources)
        return Configured(settings, sources, tuple(gathered.notes), Path(settings.server.state_dir))

    def _get(self, key: str) -> Any:
        return self._values.get(key, ROWS[key].default)

    def _good(self, *keys: str) -> bool:
        return self._gathered.bad.isdisjoint(keys)

    def _rewrite(self, key: str, change: Callable[[str], str], wanted: str) -> None:
        if text := self._get(key):
            try:
                self._values[key] = change(text)
            except ValueError:
                self._gathered.wrong(key, f"expected {wanted}")

    def _urls(self) -> None:
        url = SERVICE_FORM
        self._rewrite("upstream.base_url", service_url, url)
        self._rewrite("upstream.models_url", service_url, url)
        self._rewrite("lsp.url", service_url, url)
        self._rewrite("admin.url", service_url, url)
        self._rewrite("upstream.proxy", proxy_url, PROXY_FORM)
        base = self._get("upstream.base_url")
        if not base:
            self._gathered.wrong("upstream.base_url", f"expected {url}")
        if not self._get("upstream.models_url"):
            self._values["upstream.models_url"] = MODELS_URL if base == ROWS["upstream.base_url"].default else base
        if base.startswith("http://") and not loopback(self._base_host()):
            self._gathered.notes.append(f"{base} is plain http: account and prompts travel unencrypted")

    def _base_host(self) -> str:
        good = self._good("upstream.base_url")
        return (urlsplit(self._get("upstream.base_url")).hostname or "") if good else ""

    def _files(self) -> None:
        certificates = ("upstream.ca_file", "server.tls_cert", "server.tls_key")
        if self._get("log.file").lower() == "none":
            self._values["log.file"] = "none"
        for key in ("server.state_dir", "log.file", *certificates):
            text = self._get(key)
            if text and not (key == "log.file" and text == "none"):
                self._values[key] = str(located(text, self._cwd, self._home))
        for key in certificates:
            text = self._get(key)
            if text and not (os.path.isfile(text) and os.access(text, os.R_OK)):  # noqa: PTH113 - Path's may raise
                self._gathered.wrong(key, f"expected a file that can be read; there is none at {text}")
        cert, key = self._get("server.tls_cert"), self._get("server.tls_key")
        if key and self._good("server.tls_key") and _locked(key):
            self._gathered.wrong("server.tls_key", "expected a key without a passphrase: nobody is there to type it")
        if cert and not key and self._good("server.tls_key"):
            self._gathered.wrong("server.tls_key", "expected the private key of server.tls_cert", DEFAULT)
        if key and not cert and self._good("server.tls_cert"):
            self._gathered.wrong("server.tls_cert", "expected the certificate of server.tls_key", DEFAULT)
        if not self._get("server.state_dir"):
            self._values["server.state_dir"] = str(self._default_state_dir())
        if not self._get("log.file"):
            self._values["log.file"] = str(Path(self._get("server.state_dir")) / "fitten_api.log")
        self._store()
        self._fleet()

    def _fleet(self) -> None:
        wrong = self._gathered.wrong
        self._rewrite("fleet.url", fleet_url, FLEET_FORM)
        if not _FLEET.fullmatch(self._get("fleet.name")):
            wrong("fleet.name", "expected at most 64 letters, digits, `.`, `_` and `-`")
        if self._get("server.workers") > 1 and self._good("server.workers", "fleet.url"):
            if not self._get("fleet.url"):
                what = (
                    "expected 1, or fleet.url, because several processes keep limits and the login together only there"
                )
                wrong("server.workers", what)
            elif self._platform == "win32":
                wrong("server.workers", "expected 1: Windows has no processes that share a port")
            elif 0 < self._get("upstream.max_concurrency") < self._get("server.workers"):
                wrong("server.workers", "expected at most upstream.max_concurrency, whose calls the processes share")

    def _store(self) -> None:
        url = self._get("store.url")
        if url.lower() == "none":
            self._values["store.url"] = "none"
        elif not url:
            self._values["store.url"] = f"{SQLITE}{Path(self._get('server.state_dir')) / 'fittengate.db'}"
        elif url.startswith(SQLITE) and url != SQLITE:
            self._values["store.url"] = f"{SQLITE}{located(url.removeprefix(SQLITE), self._cwd, self._home)}"
        elif url.lower().startswith("postgres"):
            self._server(url)
        else:
            self._gathered.wrong("store.url", f"expected {SQLITE}PATH, {_POSTGRES}, or none")

    def _server(self, url: str) -> None:
        from fittengate.services.postgres import check_url, password_of

        source = self._gathered.sources["store.url"]
        try:
            self._values["store.url"] = check_url(url)
        except ValueError as error:
            self._gathered.wrong("store.url", f"expected {_POSTGRES}; {error}")
            return
        if source.found:
            self._gathered.wrong("store.url", f"{_NOT_YOURS}: keys and what clients keep are sent there")
        if source.kind is SourceKind.FLAG and password_of(url):
            what = "expected without a password: everybody on this machine can read a command line"
            self._gathered.wrong("store.url", f"{what}; set FITTENGATE_STORE_URL")

    def _default_state_dir(self) -> Path:
        if self._platform == "win32":
            local = self._environ.get("LOCALAPPDATA")
            return (Path(local) if local else self._home / "AppData" / "Local") / "fittengate"
        base = Path(self._environ.get("XDG_STATE_HOME", ""))
        # A relative path there is to be ignored (XDG Base Directory Specification).
        return (base if base.is_absolute() else self._home / ".local" / "state") / "fittengate"

    def _listening(self) -> None:
        wrong = self._gathered.wrong
        keys: tuple[str, ...] = self._get("server.api_key")
        if any(
            not (key.isascii() and key.isprintable() and " " not in key) or len(key) > MAX_KEY_CHARS for key in keys
        ):
            wrong("server.api_key", f"expected keys of at most {MAX_KEY_CHARS} ASCII characters without spaces")
        host = self._get("server.host").strip()
        if not host:
            wrong("server.host", "expected an address, such as 127.0.0.1")
        elif self._good("server.host", "server.api_key") and not keys and not loopback(host):
            open_to = f"{host} can be reached by others, and no key is set"
            wrong(
                "server.host", f"{open_to}; expected server.api_key (FITTENGATE_SERVER_API_KEY) or a loopback address"
            )
        self._values["server.host"] = host
        origins = [origin.rstrip("/") for origin in self._get("server.cors_origins")]
        if not all(_ORIGIN.fullmatch(origin) for origin in origins):
            wrong("server.cors_origins", "expected web origins such as https://example.org, or *")
        self._values["server.cors_origins"] = origins

    def _account(self) -> None:
        if self._get("account.password") and not self._get("account.username") and self._good("account.username"):
            self._gathered.wrong("account.username", "expected the user whose password account.password is", DEFAULT)

    def _trust(self) -> None:
        """Hold the rules that the head of this file states."""
        self._found()
        default = ROWS["upstream.base_url"].default
        harmless = {"upstream.base_url": {default}, "upstream.models_url": {MODELS_URL, self._get("upstream.base_url")}}
        for key in LEADING:
            source, value, remedy = self._gathered.sources[key], self._get(key), self._remedy(key)
            if source is DEFAULT or not value or value in harmless.get(key, ()) or not self._good(key):
                continue
            if (theirs := self._credential_led_astray(source)) is not None:
                self._gathered.wrong(key, f"would decide where the account from {theirs.name} is sent; {remedy}")
            elif source.found and key != "upstream.base_url":
                self._gathered.wrong(key, f"{_NOT_YOURS}: it decides who can read a stored login; {remedy}")

    def _found(self) -> None:
        for key, why in CHOSEN.items():
            value, source = self._get(key), self._gathered.sources[key]
            if value and source.found and not (key == "server.host" and loopback(value)):
                self._gathered.wrong(key, f"{_NOT_YOURS}: {why}; {self._remedy(key)}")
        homes = [os.path.realpath(place) for place in (self._cwd, self._default_state_dir())]
        for key in WRITTEN:
            # Where nobody says so, they are in the state directory, and may be links there.
            told = WRITTEN[0] if self._gathered.sources[key] is DEFAULT else key
            if self._get(key) == "none" or not self._gathered.sources[told].found or not self._good(told):
                continue
            real = Path(os.path.realpath(self._get(key).removeprefix(SQLITE)))
            if not any(real.is_relative_to(home) for home in homes):
                self._gathered.wrong(told, f"expected a place in the working directory; {self._remedy(told)}")

    def _remedy(self, key: str) -> str:
        name = self._gathered.sources[key].name
        return f"if it is meant, set {ROWS[key].environment} or name the file: --config {name}"

    def _credential_led_astray(self, source: Source) -> Source | None:
        """Return the source of credentials for which ``source`` may not speak; None where it may for all."""
        for key in ("account.username", "account.password"):
            theirs = self._gathered.sources[key]
            if self._get(key) and theirs != source and (source.found or source.authority < theirs.kind):
                return theirs
        return None

    def _telemetry(self) -> None:
        self._rewrite("telemetry.otlp_endpoint", service_url, SERVICE_FORM)
        if not self._get("telemetry.otlp_endpoint"):
            return
        for name, value in self._get("telemetry.otlp_headers").items():
            if not (_HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable()):
                self._gathered.wrong("telemetry.otlp_headers", "expected names and values that HTTP takes as headers")
                break
        if not _installed(TRACING_MODULES):
            self._gathered.wrong("telemetry.otlp_endpoint", "needs a further part: pip install 'fittengate[tracing]'")

    def _proxy(self) -> None:
        if not self._good("upstream.base_url", "upstream.proxy"):
            return
        if loopback(self._base_host()):
            self._values["upstream.proxy"] = ""
        elif not self._get("upstream.proxy"):
            parts = urlsplit(self._get("upstream.base_url"))
            name = f"{parts.scheme}_proxy"
            variable = name if self._environ.get(name) else name.upper()
            text = self._environ.get(variable, "")
            no_proxy = self._environ.get("no_proxy") or self._environ.get("NO_PROXY", "")
            port = parts.port or (443 if parts.scheme == "https" else 80)
            if text and not bypassed(self._base_host(), port, no_proxy):
                self._values["upstream.proxy"] = text
                source = Source(SourceKind.ENVIRONMENT, variable, SourceKind.ENVIRONMENT)
                self._gathered.sources["upstream.proxy"] = source
                self._rewrite("upstream.proxy", proxy_url, PROXY_FORM)
