"""What flags, environment variables and settings files say, checked against the table, with every mistake noted.

This file knows values one at a time; what they mean together is ``configure.py``'s. No message quotes a secret.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_origin

import msgspec
from msgspec import Struct

from fittengate.settings import MOST, TABLE, Row, Settings

ROWS: Mapping[str, Row] = MappingProxyType({row.key: row for row in TABLE})
_BY_VARIABLE: Mapping[str, Row] = MappingProxyType({row.environment: row for row in TABLE})

PREFIX = "FITTENGATE_"
CONFIG_VARIABLE = "FITTENGATE_CONFIG"
DEBUG_VARIABLE = "FITTENGATE_DEBUG"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

MAX_FILE_BYTES = 1024 * 1024
"""A larger settings file is some other file."""

INI_NAME = "./config.ini"
INI_KEYS = {"username": "account.username", "password": "account.password", "api_key": "server.api_key"}
"""What ``[Main]`` of the older bridge's config.ini held, and its names here."""


class SourceKind(IntEnum):
    """Kinds of sources; a higher number wins."""

    DEFAULT = 0
    CONFIG_INI = 1
    TOML = 2
    ENVIRONMENT = 3
    FLAG = 4


class Source(Struct, frozen=True):
    """Where a value came from."""

    kind: SourceKind
    name: str
    """As a person would name it: ``--port``, ``FITTENGATE_SERVER_PORT``, ``./fittengate.toml``."""
    authority: SourceKind
    """Whose word it is: for a file that was named, the kind of the source that named it."""
    found: bool = False
    """A file that nobody named: it lay in the working directory."""


DEFAULT = Source(SourceKind.DEFAULT, "default", SourceKind.DEFAULT)


class Gathered:
    """What the sources said so far. Law: sources are taken from the lowest to the highest, each as a whole."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        """Values of the right type and inside their bounds, by key; none for what no source has."""
        self.sources: dict[str, Source] = dict.fromkeys(ROWS, DEFAULT)
        self.bad: set[str] = set()
        """Keys with a problem: nothing further is concluded from their values."""
        self.problems: list[str] = []
        self.notes: list[str] = []

    def take_text(self, row: Row | None, name: str, text: str, source: Source) -> None:
        """Take a flag or a variable called ``name``; no row means that there is no such setting."""
        if row is None:
            known = _BY_VARIABLE if source.kind is SourceKind.ENVIRONMENT else ROWS
            self.problems.append(f"{source.name}: there is no such setting{_nearest(name, known)}")
            return
        try:
            value = _parsed(row, text)
        except ValueError:
            self.refuse(row, text, source)
        else:
            self.take(row, value, source)

    def take(self, row: Row, value: Any, source: Source) -> None:
        """Take a value that may be of any type."""
        # What a password may hold is the service's business.
        plain = row.type is str and row.section != "account" and isinstance(value, str)
        if plain and _CONTROL.search(value.strip()):
            self.wrong(row.key, "expected text without control characters", source)
            return
        try:
            checked = _checked(row, value)
        except (ValueError, OverflowError):
            self.refuse(row, value, source)
        else:
            self.values[row.key] = checked
            self.sources[row.key] = source

    def refuse(self, row: Row, value: Any, source: Source) -> None:
        """Note that a value is not what the table wants; show it where it can hold no secret."""
        hidden = row.secret or row.type is str or isinstance(value, dict | list)
        shown = "" if hidden else f", not {str(value)[:40]!r}"
        self.wrong(row.key, f"expected {expected(row)}{shown}", source)

    def wrong(self, key: str, what: str, source: Source | None = None) -> None:
        """Note a problem with a setting; without a source, with the value that holds."""
        self.bad.add(key)
        source = source or self.sources[key]
        self.problems.append(f"{key}: {what}" if source is DEFAULT else f"{source.name}: {key}: {what}")


def gather(flags: Mapping[str, str], environ: Mapping[str, str], cwd: Path, home: Path) -> Gathered:
    """Return what all sources say. Never raises for what they say."""
    gathered = Gathered()
    _take_ini(gathered, cwd)
    _take_toml(gathered, flags.get("config", ""), environ.get(CONFIG_VARIABLE, ""), cwd, home)
    for name, text in environ.items():
        if name.startswith(PREFIX) and text and name not in {CONFIG_VARIABLE, DEBUG_VARIABLE}:
            source = Source(SourceKind.ENVIRONMENT, name, SourceKind.ENVIRONMENT)
            gathered.take_text(_BY_VARIABLE.get(name), name, text, source)
    for key, text in flags.items():
        if key != "config":
            row = ROWS.get(key)
            flag = f"--{key.rpartition('.')[2]}" if row is None else row.flag
            gathered.take_text(row, key, text, Source(SourceKind.FLAG, flag, SourceKind.FLAG))
    return gathered


def located(text: str, cwd: Path, home: Path) -> Path:
    """Return the absolute path that ``text`` means; ``~/`` is the home directory."""
    return home / text[2:] if text.startswith("~/") else cwd / text


def items(text: str) -> list[str]:
    """Return the parts of a list written with commas, without blank ones."""
    return [item.strip() for item in text.split(",") if item.strip()]


def expected(row: Row) -> str:
    """Return in words what a setting takes, with its bounds and its unit."""
    meta = row.annotated.__metadata__[0]
    text = row.expected
    if meta.ge is not None:
        text += f" from {meta.ge} to {'10^12' if meta.le == MOST else meta.le}"
    if get_origin(row.type) is dict:
        text += " (pattern = model)" if row.section == "models" else " (name = value)"
    return text + (f" ({row.unit})" if row.unit else "")


def _parsed(row: Row, text: str) -> Any:
    """Return what ``text`` says, for a flag or a variable. Raises ValueError."""
    kind = get_origin(row.type) or row.type
    if kind is int or kind is float:
        return kind(text)
    if kind is bool:
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if (word := words.get(text.strip().lower())) is None:
            raise ValueError
        return word
    if kind is dict:
        pairs = [item.partition("=") for item in items(text)]
        return {pattern.strip(): model.strip() for pattern, _, model in pairs}
    return text


def _checked(row: Row, value: Any) -> Any:
    """Return ``value`` as the setting's type, inside its bounds. Raises ValueError, OverflowError."""
    kind = get_origin(row.type) or row.type
    if kind is tuple:
        if isinstance(value, str):
            value = items(value)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError
        return tuple(item.strip() for item in value if item.strip())
    if kind is dict:
        if not isinstance(value, dict) or not all(
            key and isinstance(item, str) and item for key, item in value.items()
        ):
            raise ValueError
        return value
    wanted = {float: (float, int), Literal: (str,)}.get(kind, (kind,))
    if not isinstance(value, wanted) or (kind is float and not math.isfinite(value)):
        raise ValueError
    if kind is Literal:
        value = value.strip().lower()
    # Checks the bounds, and that True is no number. A ValidationError is a ValueError.
    return msgspec.convert(value, row.annotated)


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the name that was probably meant, if there is one."""
    from difflib import get_close_matches

    bare = name.removeprefix(PREFIX).lower()
    names = {other.removeprefix(PREFIX).lower(): other for other in known}
    # Leaving out the section is as common as a typo.
    found = [other for other in names if re.split(r"[._]", other, maxsplit=1)[-1] == bare]
    found = found or get_close_matches(bare, list(names), n=1, cutoff=0.75)
    return f"; did you mean {names[found[0]]}?" if found else ""


class _UnusableError(Exception):
    """A settings file cannot be used, for the reason given."""


def _read(path: Path, *, named: bool = False) -> bytes | None:
    """Return what a file holds; None where there is none, or where nobody named it and its directory is closed to us."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        if not named and _closed(path.parent):
            return None
        raise _UnusableError(f"cannot be read ({(error.strerror or type(error).__name__).lower()})") from error
    if len(data) > MAX_FILE_BYTES:
        raise _UnusableError(f"expected a settings file, but it is larger than {MAX_FILE_BYTES} bytes")
    return data


def _closed(directory: Path) -> bool:
    """Tell whether files in a directory are out of reach: another user's, where somebody began us."""
    try:
        (directory / "..").stat()
    except PermissionError:
        return True
    return False


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnusableError("expected UTF-8 text; save it in that encoding") from error


def _take_ini(gathered: Gathered, cwd: Path) -> None:
    try:
        main = _ini_main(cwd / "config.ini")
    except _UnusableError as error:
        gathered.problems.append(f"{INI_NAME}: {error}")
        return
    source = Source(SourceKind.CONFIG_INI, INI_NAME, SourceKind.CONFIG_INI, found=True)
    taken = [option for option in main if option in INI_KEYS]
    for option in taken:
        gathered.take(ROWS[INI_KEYS[option]], main[option], source)
    if taken:
        others = ", ".join(option for option in main if option not in INI_KEYS)
        gathered.notes.append(f"settings from {INI_NAME}" + (f" (ignored there: {others})" if others else ""))


def _ini_main(path: Path) -> dict[str, str]:
    """Return what ``[Main]`` holds, without empty values."""
    from configparser import ConfigParser, Error

    data = _read(path)
    # The name is a common one: a file without the bridge's section is another program's, and none of our business.
    if data is None or b"[main]" not in data.replace(b"\0", b"").lower():
        return {}
    parser = ConfigParser(interpolation=None, strict=False, allow_no_value=True, default_section="")
    try:
        text = _decoded(data)
    except _UnusableError:
        if b"\0" in data:
            raise
        # Its comments may be in another encoding, of which nothing is known but that ASCII is ASCII in it.
        text = data.decode("latin-1")
    try:
        parser.read_string(text)
    except Error as error:
        # The parser's own words quote the line, which may be the password's.
        raise _UnusableError("expected [Main] with lines such as username=…, password=…, api_key=…") from error
    main = {key: value for name in parser.sections() if name.lower() == "main" for key, value in parser.items(name)}
    if any(value and "\n" in value for value in main.values()):
        raise _UnusableError("expected each line of [Main] to begin with a name, not with a space")
    if any(value and not value.isascii() for key, value in main.items() if key in INI_KEYS):
        _decoded(data)
    return {key: _single(value) for key, value in main.items() if value}


def _single(value: str) -> str:
    """Return a value with a percent sign for each two, as the bridge read it; it read none with a single one."""
    return value if "%" in value.replace("%%", "") else value.replace("%%", "%")


def _take_toml(gathered: Gathered, flag: str, variable: str, cwd: Path, home: Path) -> None:
    import tomllib

    for path, source in _toml_files(flag, variable, cwd, home):
        try:
            data = _read(path, named=source.authority is not SourceKind.TOML)
            if data is None:
                if source.authority is SourceKind.TOML:
                    continue
                raise _UnusableError(f"expected a settings file, but there is none at {path}")
            document = tomllib.loads(_decoded(data))
        except _UnusableError as error:
            gathered.problems.append(f"{source.name}: {error}")
        except (ValueError, RecursionError) as error:
            gathered.problems.append(f"{source.name}: expected TOML, but it is not: {error}")
        else:
            _take_document(gathered, document, source)
            if source.found:
                gathered.notes.append(f"settings from {source.name}")
        return


def _toml_files(flag: str, variable: str, cwd: Path, home: Path) -> Iterator[tuple[Path, Source]]:
    """Yield the places to look at; where the user named one, only that."""
    if flag:
        yield located(flag, cwd, home), Source(SourceKind.TOML, flag, SourceKind.FLAG)
    elif variable:
        yield located(variable, cwd, home), Source(SourceKind.TOML, variable, SourceKind.ENVIRONMENT)
    else:
        here = Source(SourceKind.TOML, "./fittengate.toml", SourceKind.TOML, found=True)
        yield cwd / "fittengate.toml", here
        own = Source(SourceKind.TOML, "~/.config/fittengate/config.toml", SourceKind.TOML)
        yield home / ".config" / "fittengate" / "config.toml", own


def _take_document(gathered: Gathered, document: dict[str, Any], source: Source) -> None:
    sections = Settings.__struct_fields__
    near = (*sections, *ROWS)
    for section, table in document.items():
        if section not in sections:
            gathered.problems.append(f"{source.name}: there is no section [{section}]{_nearest(section, near)}")
        elif not isinstance(table, dict):
            gathered.problems.append(f"{source.name}: {section}: expected a section, [{section}]")
        else:
            for name, value in table.items():
                key = f"{section}.{name}"
                if key in ROWS:
                    gathered.take(ROWS[key], value, source)
                else:
                    gathered.problems.append(f"{source.name}: {key}: there is no such setting{_nearest(key, ROWS)}")
