"""Writes docs/settings.md from the table in settings.py. Run it after every change of the table."""

from pathlib import Path
from typing import get_args, get_origin

from fittengate.settings import DEFAULT_ALIASES, MOST, TABLE, Row, Settings

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

HEAD = """\
# Settings

This page is made from the table in `src/fittengate/settings.py` by `scripts/settings_page.py`.

## Where settings come from

A setting can be given in several places. The first of these that has it counts:

1. a flag of the command (`fittengate serve --port 8080`);
2. an environment variable, named `FITTENGATE_`, section, `_`, name: `FITTENGATE_SERVER_PORT=8080`;
3. one TOML file;
4. `./config.ini` in the form of an older bridge: `[Main]` with `username=`, `password=` and `api_key=`;
5. the default.

The TOML file is the first of these that exists; the others are not read:

1. the file named by `--config`;
2. the file named by `FITTENGATE_CONFIG`;
3. `./fittengate.toml`;
4. `~/.config/fittengate/config.toml`.

```toml
[server]
port = 8080
api_key = ["a-key-of-yours", "another"]

[upstream]
total_timeout = 600

[models.aliases]
"gpt-4.1*" = "deepseek-v3"
```

- For numbers, 0 means none: no limit, no waiting time. The largest number is 10^12, where no smaller one is named.
- In a flag or a variable a list is written with commas (`FITTENGATE_SERVER_API_KEY=one,two`), and so is a table
  (`FITTENGATE_MODELS_ALIASES=gpt-*=deepseek-v3,claude-*=fitten-code`). A variable that is empty counts as not set.
- `true`, `yes`, `on` and `1` are true; `false`, `no`, `off` and `0` are false.
- A path may begin with `~/`. A relative one begins in the working directory.
- A name that does not exist, and a value of the wrong kind, are errors: fittengate says where each stands and what was
  expected, all of them at once, and ends with exit code 2. So are variables that begin with `FITTENGATE_` and are no
  setting; besides the settings there are `FITTENGATE_CONFIG` and `FITTENGATE_DEBUG` (`1` shows tracebacks).
- A file that was found in the working directory is named at start.

## Where credentials may go

`upstream.base_url`, `upstream.models_url`, `upstream.proxy` and `upstream.ca_file` decide who can read what is sent. A
file in a directory that came from somebody else must not lead your account elsewhere:

- `account.username` and `account.password` go only where their own source, or a higher one in the list above, says.
  With the password in the environment, a `base_url` in a TOML file is refused: put both into one place, or set
  `FITTENGATE_UPSTREAM_BASE_URL`.
- `./fittengate.toml` speaks for no credentials but those that it holds itself, and must not set `models_url`, `proxy`
  or `ca_file`, which could lead a stored login aside.
- A file that you name speaks with your word: `fittengate serve --config ./fittengate.toml` lifts both rules for
  that file. Named by `FITTENGATE_CONFIG` it counts as much as an environment variable.
- What `fittengate login` has stored belongs to the `base_url` it was made for and is sent to no other.
- A `store.url` that names a server decides who sees keys' hashes and what clients keep: it is not taken from a file that
  was found in the working directory. With a password in it, it is not taken from a flag either: everybody on a machine can read
  command lines.
- Nor does such a file decide who may use your account or what else is told to whom: a `server.host` that others can reach,
  `cors_origins`, `also_ollama`, `fleet.url`, `lsp.url`, `admin.url` and `otlp_endpoint` are refused there. `server.state_dir`,
  `log.file` and a SQLite file have to lie in that directory. Naming the file lifts this too.

## Listening to others

Unless told otherwise the gateway listens on this machine alone. With a `server.host` that others can reach, a key must
be set in `server.api_key`; without one the gateway does not start.
"""


def _kind(row: Row) -> str:
    if get_origin(row.type) is tuple:
        return "list"
    if get_origin(row.type) is dict:
        return "table"
    if row.type is str:
        return "text"
    return " or ".join(f"`{word}`" for word in get_args(row.type)) or {int: "integer", float: "number"}.get(
        row.type, "true or false"
    )


def _default(row: Row) -> str:
    if row.default_text:
        return row.default_text
    if row.key == "models.aliases":
        return "see below"
    if row.type is bool:
        return f"`{str(row.default).lower()}`"
    return f"`{row.default}`" if row.default not in ("", ()) else "none"


def _bounds(row: Row) -> str:
    most = row.annotated.__metadata__[0].le
    return "" if most in {None, MOST} else f", at most {most}"


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for section in Settings.__struct_fields__:
        record = type(getattr(Settings(), section))
        parts.append(f"\n## `[{section}]`\n\n{record.__doc__}\n")
        parts.append("| name | environment variable | kind | default | unit | meaning |\n|---|---|---|---|---|---|")
        parts.extend(
            f"| `{row.name}` | `{row.environment}` | {_kind(row)}{_bounds(row)} | {_default(row)} | {row.unit} | {row.help} |"
            for row in TABLE
            if row.section == section
        )
    aliases = ", ".join(f"`{pattern}`" for pattern in DEFAULT_ALIASES)
    parts.append(f"\nWithout `models.aliases`, these names mean `fitten-code`: {aliases}.")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
