"""Every setting, once: its name, default, unit and help stand here and nowhere else.

The records below are the table: the settings page, the environment names, the flags and the error messages are made
from :data:`TABLE`. Reading files and the environment is the work of ``server/configure.py``. Numbers: 0 means none.
A setting stands here together with the code that honours it.
"""

from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct
from msgspec.structs import fields

MOST = 10**12
"""Largest number that a setting takes: more than anybody needs, and little enough to be reckoned with everywhere."""


def _meta(help_text: str, unit: str = "", *, secret: bool = False, default_text: str = "", **bounds: Any) -> Meta:
    if "ge" in bounds:
        bounds.setdefault("le", MOST)
    return Meta(extra={"help": help_text, "unit": unit, "secret": secret, "default_text": default_text}, **bounds)


class _Section(Struct, frozen=True, kw_only=True):
    """A section of the table. Shows itself without its secrets (P10)."""

    def __repr__(self) -> str:
        """Show every value but the secret ones."""
        hints = get_type_hints(type(self), include_extras=True)
        shown = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            secret = get_args(hints[name])[1].extra["secret"] and value
            shown.append(f"{name}={'[secret]' if secret else repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Server(_Section, frozen=True, kw_only=True):
    """Where the gateway listens, and what it takes."""

    host: Annotated[str, _meta("address to listen on")] = "127.0.0.1"
    port: Annotated[int, _meta("port to listen on; 0 takes any free one", ge=0, le=65535)] = 5000
    api_key: Annotated[
        tuple[str, ...],
        _meta("keys that clients may use; without any, one is made at first start", secret=True),
    ] = ()
    state_dir: Annotated[
        str,
        _meta("where tokens, keys and the log are kept", default_text="`$XDG_STATE_HOME/fittengate`"),
    ] = ""
    max_body_bytes: Annotated[int, _meta("largest request body", "bytes", ge=0)] = 33_554_432
    max_head_bytes: Annotated[int, _meta("largest request line and headers together", "bytes", ge=0)] = 32_768
    max_connections: Annotated[int, _meta("most client connections at a time", "connections", ge=0)] = 4096
    head_timeout: Annotated[
        float, _meta("for a request's head, also for the first one after connecting", "seconds", ge=0)
    ] = 15
    body_idle_timeout: Annotated[float, _meta("longest pause within a request's body", "seconds", ge=0)] = 30
    body_timeout: Annotated[float, _meta("for a whole request body", "seconds", ge=0)] = 300
    write_timeout: Annotated[
        float,
        _meta(
            "a client that has an answer waiting and reads less than 16 KiB of it in so long is dropped",
            "seconds",
            ge=0,
        ),
    ] = 60
    keep_alive_timeout: Annotated[
        float, _meta("how long an idle connection is kept; most clients drop theirs after a minute", "seconds", ge=0)
    ] = 75
    hold_seconds: Annotated[
        float,
        _meta("how long the status line of a stream waits for the first word; 0 sends it at once", "seconds", ge=0),
    ] = 5
    heartbeat_seconds: Annotated[
        float,
        _meta(
            "a comment is sent into a stream that was silent for so long; 0 sends none, and no status line before the "
            "first word",
            "seconds",
            ge=0,
        ),
    ] = 10
    drain_seconds: Annotated[
        float, _meta("how long running replies may go on after SIGTERM; 0 cuts them", "seconds", ge=0)
    ] = 120
    cors_origins: Annotated[
        tuple[str, ...], _meta("web origins whose pages may call the gateway; `*` for all of them")
    ] = ()
    tls_cert: Annotated[str, _meta("PEM file with the certificate chain; set it with `tls_key` to serve HTTPS")] = ""
    tls_key: Annotated[str, _meta("PEM file with the private key")] = ""
    workers: Annotated[
        int, _meta("processes that serve the port together; more than one need `fleet.url`", "processes", ge=1, le=64)
    ] = 1
    also_ollama: Annotated[
        bool,
        _meta(
            "speak Ollama's API also on 127.0.0.1 at `ollama_port`, where every program of this machine is let in "
            "without a key"
        ),
    ] = False
    ollama_port: Annotated[int, _meta("that port; 0 takes any free one", ge=0, le=65535)] = 11434


class Account(_Section, frozen=True, kw_only=True):
    """The Fitten account. `fittengate login` keeps tokens instead of a password."""

    username: Annotated[str, _meta("user name, e-mail, or phone number with country code")] = ""
    password: Annotated[str, _meta("its password", secret=True)] = ""


class Upstream(_Section, frozen=True, kw_only=True):
    """How the service is called."""

    base_url: Annotated[str, _meta("the service: login, chat, completion")] = "https://fc.fittenlab.cn"
    models_url: Annotated[
        str,
        _meta(
            "the host that lists models; where only `base_url` is set, that one",
            default_text="`https://api.fittentech.com`",
        ),
    ] = ""
    connect_timeout: Annotated[float, _meta("for a connection to the service", "seconds", ge=0)] = 10
    first_token_timeout: Annotated[float, _meta("from the request to the first word", "seconds", ge=0)] = 120
    idle_timeout: Annotated[float, _meta("longest silence in a reply; keep-alives count as life", "seconds", ge=0)] = 60
    total_timeout: Annotated[float, _meta("for a whole reply", "seconds", ge=0)] = 900
    max_concurrency: Annotated[
        int,
        _meta("most calls to the service at a time; from 2 on one is kept for completion, one for chat", "calls", ge=0),
    ] = 8
    queue: Annotated[int, _meta("most requests that wait for their turn; with 0 none waits", "requests", ge=0)] = 32
    queue_timeout: Annotated[float, _meta("longest wait for a turn", "seconds", ge=0)] = 20
    retries: Annotated[int, _meta("further tries before the first word; a refusal is not tried again", ge=0, le=10)] = 2
    breaker_calls: Annotated[
        int,
        _meta(
            "where half of so many calls within 30 s failed, or of more, the service is left alone for a moment; 0: never",
            "calls",
            ge=0,
        ),
    ] = 20
    breaker_pause: Annotated[
        float,
        _meta(
            "that moment; after it single calls find out whether the service is back, twice as far apart each time, up to "
            "a minute",
            "seconds",
            ge=0,
        ),
    ] = 5
    proxy: Annotated[
        str,
        _meta(
            "HTTP proxy towards the service",
            secret=True,
            default_text="`HTTPS_PROXY`, `NO_PROXY`; loopback never proxied",
        ),
    ] = ""
    ca_file: Annotated[str, _meta("PEM file of further certificate authorities to trust")] = ""
    user_agent: Annotated[str, _meta("what the gateway calls itself", default_text="`fittengate/VERSION`")] = ""


class Store(_Section, frozen=True, kw_only=True):
    """What is kept in a database: client keys, replies that clients ask for later, and a receipt of each request."""

    url: Annotated[
        str,
        _meta(
            "database for client keys, kept responses and receipts: `sqlite:///PATH`, or "
            "`postgresql://USER:PASSWORD@HOST/DATABASE` for several replicas; `none` keeps some responses in memory, "
            "no keys and no receipts",
            secret=True,
            default_text="SQLite file `fittengate.db` in `state_dir`",
        ),
    ] = ""
    retention_days: Annotated[
        float, _meta("how long responses, receipts, and keys that no longer work are kept; 0: for ever", "days", ge=0)
    ] = 90


class Fleet(_Section, frozen=True, kw_only=True):
    """Several gateways that share keys, limits and one account ([how](fleet.md))."""

    url: Annotated[
        str,
        _meta(
            "the Valkey or Redis that the gateways share, `redis://[:PASSWORD@]HOST[:PORT][/NUMBER]` or `rediss://…`; it holds "
            "the account's tokens, so it must be private; empty: this gateway is alone",
            secret=True,
        ),
    ] = ""
    name: Annotated[str, _meta("what tells this fleet from others on the same server")] = "fittengate"
    local_share: Annotated[
        float,
        _meta("what a gateway may use of each limit by itself while that server is away", "percent", ge=1, le=100),
    ] = 30


class Limits(_Section, frozen=True, kw_only=True):
    """What clients may use. A key's own limits go before the first five, which hold for each key that has none."""

    rpm: Annotated[int, _meta("most requests of a key in any minute", "requests", ge=0)] = 0
    tpm: Annotated[int, _meta("most tokens of a key in any minute, of prompts and answers", "tokens", ge=0)] = 0
    concurrency: Annotated[int, _meta("most requests of a key at a time", "requests", ge=0)] = 0
    tokens_per_day: Annotated[int, _meta("most tokens of a key in a day by UTC", "tokens", ge=0)] = 0
    tokens_per_month: Annotated[int, _meta("most tokens of a key in a month by UTC", "tokens", ge=0)] = 0
    account_rpm: Annotated[int, _meta("most requests of all keys together in any minute", "requests", ge=0)] = 0
    account_tpm: Annotated[int, _meta("most tokens of all keys together in any minute", "tokens", ge=0)] = 0
    account_concurrency: Annotated[
        int, _meta("most requests of all keys together at a time; more are refused, not queued", "requests", ge=0)
    ] = 0
    account_tokens_per_day: Annotated[
        int, _meta("most tokens of all keys together in a day by UTC", "tokens", ge=0)
    ] = 0
    account_tokens_per_month: Annotated[
        int, _meta("most tokens of all keys together in a month by UTC", "tokens", ge=0)
    ] = 0


class Overload(_Section, frozen=True, kw_only=True):
    """Where the gateway is full. From 70 % of any measure on it sheds load by degrees; what was accepted goes on."""

    loop_lag: Annotated[float, _meta("how late it does what is due, twice in a row", "seconds", ge=0)] = 2
    memory_bytes: Annotated[int, _meta("its resident memory (on Linux)", "bytes", ge=0)] = 0
    open_requests: Annotated[int, _meta("requests under way, those in the queue included", "requests", ge=0)] = 2000
    queue_age: Annotated[
        float,
        _meta("how long the oldest request in the queue has waited; turns away background work alone", "seconds", ge=0),
    ] = 20


class Models(_Section, frozen=True, kw_only=True):
    """Names of models."""

    aliases: Annotated[
        dict[str, str],
        _meta("patterns of names, in the style of file names, and the model each means; replaces the whole table"),
    ] = {}
    context_window: Annotated[
        int, _meta("longest prompt; with 0 any is sent, and lists of models show the default", "tokens", ge=0)
    ] = 131_072


DEFAULT_ALIASES: tuple[str, ...] = (
    "claude-*",
    "gpt-*",
    "chatgpt-*",
    "o[0-9]*",
    "codex-*",
    "gemini-*",
    "qwen*",
    "deepseek-chat",
    "deepseek-reasoner",
    "deepseek-coder*",
    "mistral*",
    "codestral*",
    "llama*",
    "codellama*",
    "starcoder*",
)
"""Names that agents and editors send by themselves; without ``models.aliases`` they all mean ``fitten-code``."""


class Lsp(_Section, frozen=True, kw_only=True):
    """The language server (`fittengate lsp`)."""

    url: Annotated[str, _meta("a running gateway to ask; without it the account itself is asked")] = ""
    key: Annotated[str, _meta("the key for that gateway", secret=True)] = ""
    pause: Annotated[
        float, _meta("how long a request waits for a newer one before it is asked", "seconds", ge=0, le=10)
    ] = 0.075


class Log(_Section, frozen=True, kw_only=True):
    """What is written down about requests."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _meta("least level that is written")] = "info"
    format: Annotated[Literal["text", "json"], _meta("form of a line, on the terminal and in the file")] = "text"
    file: Annotated[
        str,
        _meta(
            "log file, rotated at 10 MB, five kept; `none` for no file", default_text="`fitten_api.log` in `state_dir`"
        ),
    ] = ""
    content: Annotated[bool, _meta("write the text of prompts and replies too (up to 8,192 characters each)")] = False


class Telemetry(_Section, frozen=True, kw_only=True):
    """What programs can watch of the gateway."""

    metrics: Annotated[bool, _meta("answer `/metrics` for Prometheus, with any key")] = True
    key_labels: Annotated[bool, _meta("count for each key too; the names of keys then stand in the metrics")] = False
    otlp_endpoint: Annotated[
        str,
        _meta(
            "send traces to this OpenTelemetry collector (OTLP over HTTP, such as `http://127.0.0.1:4318`); needs "
            "`pip install 'fittengate[tracing]'`"
        ),
    ] = ""
    otlp_headers: Annotated[
        dict[str, str], _meta("further headers for the collector, such as `authorization`", secret=True)
    ] = {}


class Recorder(_Section, frozen=True, kw_only=True):
    """What is kept in memory of the last requests, for `fittengate bundle`."""

    exchanges: Annotated[
        int, _meta("requests that are kept after their end; 0 turns the recorder off", "requests", ge=0)
    ] = 24
    bytes: Annotated[int, _meta("most memory for all of them; 0 turns the recorder off", "bytes", ge=0)] = 16_777_216
    artifact_bytes: Annotated[
        int,
        _meta(
            "most of what one side sent the other in a request; of more the two ends are kept, of 0 the size",
            "bytes",
            ge=0,
        ),
    ] = 262_144
    content: Annotated[
        bool, _meta("put the text of prompts and replies into a bundle; otherwise its length and a hash")
    ] = False


class Admin(_Section, frozen=True, kw_only=True):
    """How commands reach the gateway that runs (`fittengate bundle`)."""

    url: Annotated[str, _meta("where the gateway answers", default_text="what `server.host` and `server.port` say")] = (
        ""
    )
    key: Annotated[
        str,
        _meta("key with the scope `admin`", secret=True, default_text="one is made in the store for a minute"),
    ] = ""


class Settings(Struct, frozen=True, kw_only=True):
    """All settings. Made by ``server/configure.py``, read once, handed down in slices."""

    server: Server = Server()
    account: Account = Account()
    upstream: Upstream = Upstream()
    store: Store = Store()
    fleet: Fleet = Fleet()
    limits: Limits = Limits()
    overload: Overload = Overload()
    models: Models = Models()
    lsp: Lsp = Lsp()
    log: Log = Log()
    telemetry: Telemetry = Telemetry()
    recorder: Recorder = Recorder()
    admin: Admin = Admin()


class Row(NamedTuple):
    """One row of the table."""

    section: str
    name: str
    type: Any
    """The bare type: str, int, float, bool, ``tuple[str, ...]``, ``dict[str, str]`` or a Literal."""
    annotated: Any
    """The type with its bounds, as msgspec checks it."""
    default: Any
    default_text: str
    """How the default reads on the settings page where the plain value does not tell."""
    unit: str
    help: str
    secret: bool

    @property
    def key(self) -> str:
        """The name as it stands in errors and in TOML: ``server.port``."""
        return f"{self.section}.{self.name}"

    @property
    def flag(self) -> str:
        """The flag of the commands that take it: ``--port``, and ``--log-file`` where the name alone says too little."""
        section = f"{self.section}-" if self.section in {"log", "store"} else ""
        return f"--{section}{self.name}".replace("_", "-")

    @property
    def environment(self) -> str:
        """The environment variable: ``FITTENGATE_SERVER_PORT``."""
        return f"FITTENGATE_{self.section}_{self.name}".upper()

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if get_origin(self.type) is Literal:
            return "one of " + ", ".join(get_args(self.type))
        return {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(
            self.type, "a table of texts" if get_origin(self.type) is dict else "a text or a list of texts"
        )


def _rows() -> tuple[Row, ...]:
    found: list[Row] = []
    for section in fields(Settings):
        record = section.type
        hints = get_type_hints(record, include_extras=True)
        for field in fields(record):
            bare, meta = get_args(hints[field.name])
            extra = meta.extra
            default = field.default if field.default_factory.__class__ is not type else field.default_factory()
            found.append(
                Row(
                    section.name,
                    field.name,
                    bare,
                    hints[field.name],
                    default,
                    extra["default_text"],
                    extra["unit"],
                    extra["help"],
                    extra["secret"],
                )
            )
    return tuple(found)


TABLE: tuple[Row, ...] = _rows()
"""Every setting in order."""
