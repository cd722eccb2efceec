"""Reading settings: precedence, types, files, defaults, and where credentials may go."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fittengate.server import configure as configuring
from fittengate.server.assemble import redactor
from fittengate.server.configure import ConfigurationError, colourless, configure, debugging, prepare_state_dir
from fittengate.server.sources import SourceKind
from fittengate.settings import DEFAULT_ALIASES, TABLE

HOME_FILE = "home/.config/fittengate/config.toml"
EVIL = "https://evil.example"


class Place:
    """A working directory and a home, both empty at first."""

    def __init__(self, root: Path):
        self.root, self.cwd, self.home = root, root / "work", root / "home"
        self.cwd.mkdir()
        self.home.mkdir()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def configure(self, flags=(), environ=(), platform="linux"):
        return configure(dict(flags), dict(environ), self.cwd, self.home, platform)

    def settings(self, flags=(), **environ):
        return self.configure(flags, environ).settings

    def problems(self, flags=(), **environ):
        with pytest.raises(ConfigurationError) as caught:
            self.configure(flags, environ)
        return caught.value.problems


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_without_any_source_everything_has_its_default(place):
    """Defaults hold, and those that depend on others are filled in."""
    done = place.configure()
    assert done.settings.server.host == "127.0.0.1"
    assert done.settings.server.port == 5000
    assert done.settings.upstream.models_url == "https://api.fittentech.com"
    assert done.settings.upstream.user_agent.startswith("fittengate/")
    assert done.settings.models.aliases == dict.fromkeys(DEFAULT_ALIASES, "fitten-code")
    assert done.state_dir == place.home / ".local/state/fittengate"
    assert done.settings.server.state_dir == str(done.state_dir)
    assert done.settings.log.file == str(done.state_dir / "fitten_api.log")
    assert done.notes == ()
    assert {source.kind for source in done.sources.values()} == {SourceKind.DEFAULT}
    assert set(done.sources) == {row.key for row in TABLE}


def test_the_higher_source_wins_setting_by_setting(place):
    """Flag before variable before TOML before config.ini before default."""
    place.write("work/config.ini", "[Main]\nusername=ini\npassword=ini\napi_key=ini\n")
    assert place.settings().account.username == "ini"
    place.write("work/fittengate.toml", '[account]\nusername="toml"\n[server]\nport=1\nhost="127.0.0.2"\n')
    assert place.settings().account.username == "toml"
    assert place.settings().account.password == "ini"
    assert place.settings().server.port == 1
    assert place.settings(FITTENGATE_SERVER_PORT="2").server.port == 2
    done = place.configure({"server.port": "3"}, {"FITTENGATE_SERVER_PORT": "2"})
    assert done.settings.server.port == 3
    assert done.settings.server.host == "127.0.0.2"
    assert done.settings.server.api_key == ("ini",)
    assert {key: done.sources[key].name for key in ("server.port", "server.host", "server.api_key", "log.level")} == {
        "server.port": "--port",
        "server.host": "./fittengate.toml",
        "server.api_key": "./config.ini",
        "log.level": "default",
    }


def test_the_first_toml_file_is_the_only_one_that_is_read(place):
    """--config, FITTENGATE_CONFIG, ./fittengate.toml, the one in the home directory: in this order."""
    place.write(HOME_FILE, "[server]\nport=4\nmax_connections=7")
    assert place.settings().server.port == 4
    place.write("work/fittengate.toml", "[server]\nport=3")
    assert place.settings().server.port == 3
    assert place.settings().server.max_connections == 4096
    place.write("work/two.toml", "[server]\nport=2")
    assert place.settings(FITTENGATE_CONFIG="two.toml").server.port == 2
    place.write("home/one.toml", "[server]\nport=1")
    assert place.settings({"config": "~/one.toml"}, FITTENGATE_CONFIG="two.toml").server.port == 1


def test_files_found_in_the_working_directory_are_named(place):
    """Who starts the gateway in a strange directory is told whose settings hold; a file in the home is no news."""
    place.write(HOME_FILE, "[server]\nport=4")
    assert place.configure().notes == ()
    place.write("work/fittengate.toml", "")
    place.write("work/config.ini", "[Main]\nusername=a\npassword=b\nport=80\n")
    assert place.configure().notes == (
        "settings from ./config.ini (ignored there: port)",
        "settings from ./fittengate.toml",
    )
    assert place.configure({"config": "fittengate.toml"}).notes == ("settings from ./config.ini (ignored there: port)",)


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("FITTENGATE_SERVER_PORT", " 0 ", "server.port", 0),
        ("FITTENGATE_SERVER_HOLD_SECONDS", "1", "server.hold_seconds", 1.0),
        ("FITTENGATE_SERVER_HOLD_SECONDS", "0.5", "server.hold_seconds", 0.5),
        ("FITTENGATE_LOG_CONTENT", "Yes", "log.content", True),
        ("FITTENGATE_LOG_CONTENT", "0", "log.content", False),
        ("FITTENGATE_LOG_LEVEL", "WARNING", "log.level", "warning"),
        ("FITTENGATE_SERVER_API_KEY", " a, ,b,", "server.api_key", ("a", "b")),
        ("FITTENGATE_MODELS_ALIASES", "gpt-* = x ,o[0-9]*=y", "models.aliases", {"gpt-*": "x", "o[0-9]*": "y"}),
        ("FITTENGATE_ACCOUNT_USERNAME", " spaces stay ", "account.username", " spaces stay "),
        ("FITTENGATE_SERVER_PORT", "", "server.port", 5000),
        ("FITTENGATE_SERVER_CORS_ORIGINS", "*,https://a.example/", "server.cors_origins", ("*", "https://a.example")),
    ],
)
def test_a_variable_is_read_by_the_type_of_its_setting(place, variable, text, key, value):
    """Text becomes what the table says; an empty variable counts as not set."""
    section, _, name = key.partition(".")
    got = getattr(getattr(place.settings(**{variable: text}), section), name)
    assert got == value
    assert type(got) is type(value)


def test_toml_values_keep_their_types(place):
    """An integer does for a number, a text for a list of one, and a list for a list."""
    text = '[server]\nhold_seconds=3\napi_key="a,b"\ncors_origins=["https://c.example"]\n[log]\ncontent=true\n'
    named = place.write("work/fittengate.toml", text + '[models.aliases]\n"gpt-4.1*"="fitten-code"\n')
    got = place.settings({"config": str(named)})
    assert got.server.hold_seconds == 3
    assert got.server.api_key == ("a", "b")
    assert got.server.cors_origins == ("https://c.example",)
    assert got.log.content is True
    assert got.models.aliases == {"gpt-4.1*": "fitten-code"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[server]\nport='5000'", "server.port: expected a whole number from 0 to 65535, not '5000'"),
        ("[server]\nport=true", "server.port: expected a whole number from 0 to 65535, not 'True'"),
        ("[server]\nport=1.0", "server.port: expected a whole number from 0 to 65535, not '1.0'"),
        ("[server]\nport=65536", "server.port: expected a whole number from 0 to 65535, not '65536'"),
        ("[server]\nhost=1", "server.host: expected text"),
        ("[server]\nhold_seconds=nan", "server.hold_seconds: expected a number from 0 to 10^12 (seconds), not 'nan'"),
        ("[server]\nhold_seconds=inf", "server.hold_seconds: expected a number from 0 to 10^12 (seconds), not 'inf'"),
        ("[server]\nhold_seconds=true", "server.hold_seconds: expected a number from 0 to 10^12 (seconds), not 'True'"),
        (
            "[server]\nmax_body_bytes=-1",
            "server.max_body_bytes: expected a whole number from 0 to 10^12 (bytes), not '-1'",
        ),
        ("[server]\napi_key=[1]", "server.api_key: expected a text or a list of texts"),
        ("[server]\napi_key=12345", "server.api_key: expected a text or a list of texts"),
        ("[account]\npassword=12345", "account.password: expected text"),
        ("[log]\nlevel='loud'", "log.level: expected one of debug, info, warning, error, not 'loud'"),
        ("[log]\nlevel=7", "log.level: expected one of debug, info, warning, error, not '7'"),
        ("[log]\ncontent='true'", "log.content: expected true or false, not 'true'"),
        ("[log]\ncontent=1", "log.content: expected true or false, not '1'"),
        ("[models]\naliases=['a']", "models.aliases: expected a table of texts (pattern = model)"),
        ("[models.aliases]\ngpt-4.1='a'", "models.aliases: expected a table of texts (pattern = model)"),
        (
            "[models]\naliases=2024-01-01",
            "models.aliases: expected a table of texts (pattern = model), not '2024-01-01'",
        ),
        ("server=1", "server: expected a section, [server]"),
        ("[server]\nprot=1", "server.prot: there is no such setting; did you mean server.port?"),
        ("[server]\nzzzzzzz=1", "server.zzzzzzz: there is no such setting"),
        ("[sever]\nport=1", "there is no section [sever]; did you mean server?"),
        ("port=1", "there is no section [port]; did you mean server.port?"),
    ],
)
def test_a_wrong_value_in_toml_is_named_with_its_file(place, text, line):
    """Source, key and what was expected stand in one line."""
    place.write("work/fittengate.toml", text)
    assert place.problems() == (f"./fittengate.toml: {line}",)


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("FITTENGATE_SERVER_PORT", "http", "server.port: expected a whole number from 0 to 65535, not 'http'"),
        (
            "FITTENGATE_SERVER_PORT",
            "9" * 5000,
            f"server.port: expected a whole number from 0 to 65535, not {'9' * 40!r}",
        ),
        ("FITTENGATE_SERVER_PORT", "1.5", "server.port: expected a whole number from 0 to 65535, not '1.5'"),
        ("FITTENGATE_LOG_CONTENT", "maybe", "log.content: expected true or false, not 'maybe'"),
        ("FITTENGATE_MODELS_ALIASES", "gpt", "models.aliases: expected a table of texts (pattern = model)"),
        ("FITTENGATE_MODELS_ALIASES", "=x", "models.aliases: expected a table of texts (pattern = model)"),
        ("FITTENGATE_SERVER_PROT", "1", "there is no such setting; did you mean FITTENGATE_SERVER_PORT?"),
        ("FITTENGATE_PORT", "1", "there is no such setting; did you mean FITTENGATE_SERVER_PORT?"),
        ("FITTENGATE_NONSENSE", "1", "there is no such setting"),
        ("FITTENGATE_UPSTREAM_RETRIES", "11", "upstream.retries: expected a whole number from 0 to 10, not '11'"),
    ],
)
def test_a_wrong_variable_is_named(place, variable, text, line):
    """Values of variables are checked as those of files; an unknown variable with our prefix is an error."""
    assert place.problems(**{variable: text}) == (f"{variable}: {line}",)


def test_a_wrong_flag_is_named_as_it_was_typed(place):
    """The message says --port, not server.port alone."""
    assert place.problems({"server.port": "x", "server.zzzzzzzz": "1"}) == (
        "--port: server.port: expected a whole number from 0 to 65535, not 'x'",
        "--zzzzzzzz: there is no such setting",
    )


def test_config_and_debug_are_no_settings(place):
    """FITTENGATE_CONFIG and FITTENGATE_DEBUG are known; other programs' variables are nobody's business."""
    place.write("work/x.toml", "")
    place.settings(FITTENGATE_CONFIG="x.toml", FITTENGATE_DEBUG="1", OTHER_PORT="x", FITTEN="y")
    assert debugging({"FITTENGATE_DEBUG": "1"})
    assert not debugging({"FITTENGATE_DEBUG": "0"})
    assert not debugging({})


def test_colours_are_left_out_where_nobody_wants_them():
    """NO_COLOR counts when it is not empty (https://no-color.org), and a dumb terminal knows no colours."""
    assert colourless({"NO_COLOR": "1", "TERM": "xterm"})
    assert colourless({"TERM": "dumb"})
    assert not colourless({"NO_COLOR": "", "TERM": "xterm"})
    assert not colourless({})


def test_everything_wrong_is_told_at_once(place):
    """Whoever repairs one mistake is not met by the next."""
    place.write("work/fittengate.toml", "[server]\nport='x'\nnope=1\n[upstream]\nbase_url='ftp://x'")
    place.write("work/config.ini", b"[Main]\nusername=\xff\n")
    got = place.problems({"server.port": "y"}, FITTENGATE_LOG_LEVEL="z", FITTENGATE_SERVER_TLS_KEY="missing.pem")
    assert [line.partition(":")[0] for line in got] == [
        "./config.ini",
        "./fittengate.toml",
        "./fittengate.toml",
        "FITTENGATE_LOG_LEVEL",
        "--port",
        "./fittengate.toml",
        "FITTENGATE_SERVER_TLS_KEY",
        "server.tls_cert",
    ]


def test_p10_the_password_of_a_proxy_is_a_secret(place):
    """It is in no repr, and the log is told of it, whatever a library may say of the proxy."""
    url = "http://me:hunter2%40@proxy.example:8080"
    settings = place.settings(FITTENGATE_UPSTREAM_PROXY=url, FITTENGATE_UPSTREAM_BASE_URL="https://far.example")
    assert settings.upstream.proxy == url
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in redactor(settings)("no way to me hunter2@ and hunter2%40 there")


def test_p10_no_message_and_no_repr_shows_a_secret(place):
    """P10: whatever is wrong with a password, a key or a URL with one in it, the value is not quoted."""
    place.write("work/config.ini", "[Main]\nusername=u\n  hunter2=\npassword=hunter2\nhunter2\n")
    toml = '[account]\npassword=["hunter2"]\n[server]\napi_key={hunter2=1}\n[upstream]\nproxy="ftp://u:hunter2@h"\n'
    place.write("work/fittengate.toml", toml + 'base_url="https://u:hunter2@h"')
    got = place.problems(FITTENGATE_SERVER_API_KEY="hunter2 with space", HTTPS_PROXY="socks5://u:hunter2@h")
    assert len(got) == 6
    assert "hunter2" not in "".join(got)
    other = place.root / "other"
    other.mkdir()
    environ = {"FITTENGATE_ACCOUNT_USERNAME": "u", "FITTENGATE_ACCOUNT_PASSWORD": "hunter2"}
    assert "hunter2" not in repr(configure({}, environ, other, place.home))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[server\n", "expected TOML"),
        (b"[server]\nport = \n", "line 2"),
        (b"[server]\nhost='\xff'\n", "expected UTF-8"),
        ("[server]\nport=1\n".encode("utf-16"), "expected UTF-8"),
        (b"#" * (1024 * 1024 + 1), "larger than"),
        (b"[a]\nx = " + b"[" * 5000, "expected TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_one_line(place, data, words):
    """Broken files are told in a line that names the file."""
    place.write("work/fittengate.toml", data)
    (line,) = place.problems()
    assert line.startswith("./fittengate.toml: ")
    assert words in line
    assert "\n" not in line


def test_a_byte_order_mark_does_no_harm(place):
    """Windows editors write one; neither file stumbles over it."""
    place.write("work/fittengate.toml", b"\xef\xbb\xbf[server]\nport=1\n")
    place.write("work/config.ini", b"\xef\xbb\xbf[Main]\r\nusername=u\r\npassword=p\r\n")
    assert place.settings().server.port == 1
    assert place.settings().account.password == "p"


def test_a_named_file_has_to_exist(place):
    """A typo in --config does not silently start with other settings."""
    place.write("work/fittengate.toml", "[server]\nport=1\n")
    (line,) = place.problems({"config": "typo.toml"})
    assert line == f"typo.toml: expected a settings file, but there is none at {place.cwd / 'typo.toml'}"
    (line,) = place.problems(FITTENGATE_CONFIG=str(place.cwd))
    assert "there is none at" in line


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_one_line(place):
    """A found file without read permission is a problem, not a silence."""
    place.write("work/fittengate.toml", "").chmod(0)
    assert place.problems() == ("./fittengate.toml: cannot be read (permission denied)",)


def test_the_older_bridge_file_is_read_as_it_is(place):
    """Percent signs, colons, semicolons and hashes belong to the password; section names are forgiven their case."""
    place.write(
        "work/config.ini", "; old\n[main]\nUsername = u:x\npassword = 50%(x)s;#:=\napi_key = a, b\n[Other]\nx=1\n"
    )
    got = place.settings()
    assert got.account.username == "u:x"
    assert got.account.password == "50%(x)s;#:="
    assert got.server.api_key == ("a", "b")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("50%%", "50%"), ("%%%%a", "%%a"), ("50%", "50%"), ("a%b%%", "a%b%%"), ("%(x)s%%", "%(x)s%%")],
)
def test_a_percent_sign_is_read_as_the_older_bridge_read_it(place, written, meant):
    """It took a doubled sign for one, and no file with a single one: that one means itself here."""
    place.write("work/config.ini", f"[Main]\nusername=u\npassword={written}\n")
    assert place.settings().account.password == meant


def test_comments_of_the_older_bridge_file_may_be_in_any_encoding(place):
    """Editors of Chinese systems save in GBK. What is read of the file is ASCII there, or it is an error."""
    place.write("work/config.ini", "; 账号 [配置]\n[Main]\n# 密码\nusername=u\npassword=p\n".encode("gbk"))
    assert (place.settings().account.username, place.settings().account.password) == ("u", "p")
    place.write("work/config.ini", "[Main]\nusername=u\npassword=密\n".encode("gbk"))
    (line,) = place.problems()
    assert "expected UTF-8" in line


@pytest.mark.parametrize(
    "data",
    [b"", b"no ini at all", b"[other]\nusername=x\n", b"\xff\xfe\x00", b"[Main]\nlogo=x.png\n", b"[Main]\nusername=\n"],
)
def test_a_config_ini_of_another_program_is_left_alone(place, data):
    """The name is a common one: without the bridge's section and keys the file is not ours."""
    place.write("work/config.ini", data)
    done = place.configure()
    assert done.notes == ()
    assert done.settings.account.username == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"username=x\n[Main]\n", "expected [Main] with lines"),
        ("[Main]\nusername=u\n".encode("utf-16"), "expected UTF-8"),
        (b"[Main]\nusername=u\n password=p\n", "begin with a name"),
    ],
)
def test_a_broken_config_ini_is_one_line(place, data, words):
    """A file with the bridge's section that cannot be understood is told."""
    place.write("work/config.ini", data)
    (line,) = place.problems()
    assert line.startswith("./config.ini: expected")
    assert words in line


# Where credentials may go


ACCOUNT_INI = "[Main]\nusername=u\npassword=p\n"
ACCOUNT_TOML = '[account]\nusername="u"\npassword="p"\n'
ACCOUNT = {
    "variable": {"FITTENGATE_ACCOUNT_USERNAME": "u", "FITTENGATE_ACCOUNT_PASSWORD": "p"},
    "flag": {"account.username": "u", "account.password": "p"},
}
RANKS = ["ini", "found", "home", "named by variable", "named by flag", "variable", "flag"]


FILE_OF = {"ini": "work/config.ini", "found": "work/fittengate.toml", "home": HOME_FILE}


def arranged(place, account, target, line):
    """Put the account into one source and a line of [upstream] into another; return flags and environ."""
    name, _, value = line.partition("=")
    flags, environ, files = {}, {}, {}
    texts = {account: ACCOUNT_INI if account == "ini" else ACCOUNT_TOML}
    texts[target] = texts.get(target, "") + f"[upstream]\n{name}={value!r}\n"
    if account in {"variable", "flag"}:
        (environ if account == "variable" else flags).update(ACCOUNT[account])
    if target in {"variable", "flag"}:
        given, key = (
            (environ, f"FITTENGATE_UPSTREAM_{name.upper()}") if target == "variable" else (flags, f"upstream.{name}")
        )
        given[key] = value
    if "named by variable" in texts:
        environ["FITTENGATE_CONFIG"] = "named.toml"
    if "named by flag" in texts:
        flags["config"] = "named.toml"
    files = {kind: text for kind, text in texts.items() if kind not in {"variable", "flag", None}}
    for kind, text in files.items():
        place.write(FILE_OF.get(kind, "work/named.toml"), text)
    return flags, environ


SENT = {
    # account from: targets that may say where it goes
    "ini": {"home", "named by variable", "named by flag", "variable", "flag"},
    "found": {"found", "variable", "flag"},
    "home": {"home", "variable", "flag"},
    "named by variable": {"named by variable", "variable", "flag"},
    "named by flag": {"named by flag", "variable", "flag"},
    "variable": {"variable", "flag", "named by variable", "named by flag"},
    "flag": {"flag", "named by flag"},
}

COMBINATIONS = [
    (account, target)
    for account in RANKS
    for target in RANKS
    # There is one TOML file at a time, and config.ini leads nowhere.
    if target != "ini" and (account == target or not ({account, target} <= set(RANKS[1:5])))
]


@pytest.mark.parametrize(("account", "target"), COMBINATIONS)
def test_a_password_goes_only_where_its_own_source_or_a_higher_one_says(place, account, target):
    """Every pair of sources: who knows the password, and who says where it goes."""
    flags, environ = arranged(place, account, target, f"base_url={EVIL}")
    if target in SENT[account]:
        assert place.configure(flags, environ).settings.upstream.base_url == EVIL
    else:
        (line,) = place.problems(flags, **environ)
        assert "upstream.base_url: would decide where the account from" in line
        assert "--config" in line


@pytest.mark.parametrize("name", ["models_url", "proxy", "ca_file"])
@pytest.mark.parametrize(("account", "target"), COMBINATIONS)
def test_what_leads_aside_follows_the_same_rule(place, account, target, name):
    """models_url, proxy and ca_file as base_url; a found file may set them for nobody, its own account included."""
    flags, environ = arranged(
        place, account, target, f"{name}={place.write('ca.pem', '') if name == 'ca_file' else EVIL}"
    )
    if target in SENT[account] - {"found"}:
        place.configure(flags, environ)
    else:
        (line,) = place.problems(flags, **environ)
        assert f"upstream.{name}: " in line


@pytest.mark.parametrize("name", ["models_url", "proxy", "ca_file"])
@pytest.mark.parametrize("target", RANKS[1:])
def test_a_found_file_does_not_lead_a_stored_login_aside(place, target, name):
    """Without a password anywhere a stored login may be used: a file in a repository says nothing about its way."""
    flags, environ = arranged(place, None, target, f"{name}={place.write('ca.pem', '') if name == 'ca_file' else EVIL}")
    if target == "found":
        (line,) = place.problems(flags, **environ)
        assert "stored login" in line
    else:
        place.configure(flags, environ)


def test_half_of_the_credentials_is_enough_for_a_refusal(place):
    """A found file that names a user cannot lead the password of the environment to its own service."""
    place.write("work/fittengate.toml", f'[account]\nusername="u"\n[upstream]\nbase_url="{EVIL}"\n')
    (line,) = place.problems(FITTENGATE_ACCOUNT_PASSWORD="p")
    assert "FITTENGATE_ACCOUNT_PASSWORD" in line
    (line,) = place.problems(FITTENGATE_ACCOUNT_USERNAME="me", FITTENGATE_ACCOUNT_PASSWORD="p")
    assert "FITTENGATE_ACCOUNT_USERNAME" in line


def test_a_password_in_a_found_file_does_not_open_the_way_to_a_stored_login(place):
    """The trick: a made-up account in the file, the real service, and a proxy that reads along."""
    text = ACCOUNT_TOML + f'[upstream]\nbase_url="https://fc.fittenlab.cn"\nproxy="{EVIL}"\n'
    place.write("work/fittengate.toml", text)
    assert "stored login" in place.problems()[0]


def test_values_equal_to_the_defaults_lead_nobody_astray(place):
    """A found file that spells out the default service is harmless."""
    text = '[upstream]\nbase_url="https://FC.fittenlab.cn/"\nmodels_url="https://api.fittentech.com"\nproxy=""\n'
    place.write("work/fittengate.toml", text)
    assert place.settings(**ACCOUNT["variable"]).upstream.base_url == "https://fc.fittenlab.cn"


def test_a_found_file_may_name_a_service_that_stored_logins_do_not_know(place):
    """With no account configured, the login that is stored for that very service is the only one that can be sent."""
    place.write("work/fittengate.toml", '[upstream]\nbase_url="https://fitten.corp.example/"\n')
    got = place.settings().upstream
    assert got.base_url == got.models_url == "https://fitten.corp.example"


def test_a_password_without_a_user_is_refused(place):
    """Half an account can never log in."""
    (line,) = place.problems(FITTENGATE_ACCOUNT_PASSWORD="p")
    assert line == "account.username: expected the user whose password account.password is"


# URLs, proxies, files, addresses


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://Host.Example/", "https://host.example"),
        (" http://127.0.0.1:5100 ", "http://127.0.0.1:5100"),
        ("HTTPS://h/Prefix//", "https://h/Prefix"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_urls_are_kept_in_one_spelling(place, text, url):
    """Stored logins are compared by URL: case of the host and slashes at the end make no difference."""
    got = place.settings(FITTENGATE_UPSTREAM_BASE_URL=text).upstream
    assert got.base_url == got.models_url == url


@pytest.mark.parametrize(
    "text",
    [
        *("fc.fittenlab.cn", "ftp://h", "https://", "https://u@h", "https://u:p@h", "https://h?x", "https://h#x"),
        *("http://h:0", "http://h:99999", "http://h:x", "http://a b", "http://[::1", "http://h\\x"),
        "http://é.example",
    ],
)
def test_what_is_no_url_of_a_service_is_refused(place, text):
    """Every malformed URL is one problem."""
    (line,) = place.problems(FITTENGATE_UPSTREAM_BASE_URL=text)
    assert line.startswith("FITTENGATE_UPSTREAM_BASE_URL: upstream.base_url: expected an http:// or https:// URL")


def test_the_model_host_follows_the_service(place):
    """Models are asked for where the service is, except that the public service has a host of its own for them."""
    own = place.settings(
        FITTENGATE_UPSTREAM_BASE_URL="https://p.example", FITTENGATE_UPSTREAM_MODELS_URL="https://m.x/"
    )
    assert own.upstream.models_url == "https://m.x"
    same = place.settings(FITTENGATE_UPSTREAM_BASE_URL="https://fc.fittenlab.cn")
    assert same.upstream.models_url == "https://api.fittentech.com"


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": "http://p:3128/"}, "http://p:3128"),
        ({"https_proxy": "p:3128", "HTTPS_PROXY": "http://no"}, "http://p:3128"),
        ({"HTTPS_PROXY": "http://u:pw@p"}, "http://u:pw@p"),
        ({"HTTP_PROXY": "http://p"}, ""),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, ""),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "a, fittenlab.cn"}, ""),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": ".fittenlab.cn"}, ""),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "*.FITTENLAB.cn"}, ""),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "fc.fittenlab.cn:443"}, ""),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "fc.fittenlab.cn:80"}, "http://p"),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "lab.cn,tenlab.cn"}, "http://p"),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "x", "NO_PROXY": "*"}, "http://p"),
        ({"HTTPS_PROXY": "http://p", "FITTENGATE_UPSTREAM_PROXY": "q:1", "NO_PROXY": "*"}, "http://q:1"),
        ({"HTTPS_PROXY": "http://p", "FITTENGATE_UPSTREAM_BASE_URL": "http://localhost:5100"}, ""),
        ({"http_proxy": "http://p", "FITTENGATE_UPSTREAM_BASE_URL": "http://127.0.0.1:5100"}, ""),
        ({"FITTENGATE_UPSTREAM_PROXY": "http://p", "FITTENGATE_UPSTREAM_BASE_URL": "https://[::1]"}, ""),
        ({"HTTP_PROXY": "http://p", "FITTENGATE_UPSTREAM_BASE_URL": "http://10.1.2.3"}, "http://p"),
        ({"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8", "FITTENGATE_UPSTREAM_BASE_URL": "http://10.1.2.3"}, ""),
    ],
)
def test_the_proxy_is_the_one_other_programs_use(place, environ, proxy):
    """HTTPS_PROXY and NO_PROXY as elsewhere, our own setting before them, loopback never proxied."""
    done = place.configure({}, environ)
    assert done.settings.upstream.proxy == proxy
    if proxy:
        assert done.sources["upstream.proxy"].kind is SourceKind.ENVIRONMENT


def test_a_proxy_of_another_kind_is_not_silently_bypassed(place):
    """A SOCKS proxy cannot be used: that is said, with the variable's name and without its value."""
    (line,) = place.problems(HTTPS_PROXY="socks5://p:1080")
    assert line == "HTTPS_PROXY: upstream.proxy: expected the URL of an HTTP proxy: http://host:port"


def test_plain_http_to_a_strange_host_is_told(place):
    """Whoever sends a password over plain http should know."""
    done = place.configure({}, {"FITTENGATE_UPSTREAM_BASE_URL": "http://fitten.corp.example"})
    assert done.notes == ("http://fitten.corp.example is plain http: account and prompts travel unencrypted",)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway.example", "127.0.0.1.example"])
def test_an_address_that_others_reach_needs_a_key(place, host):
    """Nobody opens an account to the network by accident."""
    (line,) = place.problems({"server.host": host})
    assert line.startswith(f"--host: server.host: {host} can be reached by others")
    assert place.settings({"server.host": host}, FITTENGATE_SERVER_API_KEY="k").server.host == host
    assert len(place.problems({"server.host": host}, FITTENGATE_SERVER_API_KEY=" , ")) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_key(place, host):
    """Only this machine can reach it."""
    assert place.settings({"server.host": host}).server.host == host


@pytest.mark.parametrize("key", ["ключ", "a b", "k" * 513, "a\tb"])
def test_keys_that_no_client_could_send_are_refused(place, key):
    """Such a key would never be accepted later on."""
    (line,) = place.problems(FITTENGATE_SERVER_API_KEY=key)
    assert "server.api_key: expected keys" in line
    assert key not in line


def test_origins_are_origins(place):
    """An address with a path would never match what a browser sends."""
    assert len(place.problems(FITTENGATE_SERVER_CORS_ORIGINS="https://a.example/path")) == 1
    assert len(place.problems(FITTENGATE_SERVER_CORS_ORIGINS="a.example")) == 1


def test_certificate_and_key_come_together(place):
    """One without the other cannot serve HTTPS; both have to be there."""
    cert, key = place.write("work/c.pem", ""), place.write("home/k.pem", "")
    got = place.settings(FITTENGATE_SERVER_TLS_CERT="c.pem", FITTENGATE_SERVER_TLS_KEY="~/k.pem").server
    assert (got.tls_cert, got.tls_key) == (str(cert), str(key))
    assert "server.tls_key" in place.problems(FITTENGATE_SERVER_TLS_CERT="c.pem")[0]
    assert "server.tls_cert" in place.problems(FITTENGATE_SERVER_TLS_KEY="~/k.pem")[0]
    (line,) = place.problems(FITTENGATE_SERVER_TLS_CERT="c.pem", FITTENGATE_SERVER_TLS_KEY="no.pem")
    assert "server.tls_key: expected a file that can be read" in line
    assert len(place.problems(FITTENGATE_UPSTREAM_CA_FILE="no.pem")) == 1


@pytest.mark.parametrize("head", ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"])
def test_a_key_behind_a_passphrase_is_refused(place, head):
    """Nobody is there to type it when a server starts; asking on the terminal would hold up the start for ever."""
    place.write("work/c.pem", "")
    place.write("work/k.pem", f"{head}\n")
    (line,) = place.problems(FITTENGATE_SERVER_TLS_CERT="c.pem", FITTENGATE_SERVER_TLS_KEY="k.pem")
    assert "FITTENGATE_SERVER_TLS_KEY: server.tls_key: expected a key without a passphrase" in line


def test_where_state_is_kept(place):
    """XDG_STATE_HOME if absolute, the home directory else; LOCALAPPDATA on Windows; or what was set."""

    def at(environ, platform="linux"):
        return place.configure({}, environ, platform).state_dir

    assert at({"XDG_STATE_HOME": "/x"}) == Path("/x/fittengate")
    assert at({"XDG_STATE_HOME": "x"}) == place.home / ".local/state/fittengate"
    assert at({"LOCALAPPDATA": "/l"}, "win32") == Path("/l/fittengate")
    assert at({}, "win32") == place.home / "AppData/Local/fittengate"
    assert at({"FITTENGATE_SERVER_STATE_DIR": "~/s"}) == place.home / "s"
    assert at({"FITTENGATE_SERVER_STATE_DIR": "s"}) == place.cwd / "s"


@pytest.mark.parametrize("home", [None, "relative"])
def test_who_has_no_home_needs_a_state_directory_and_nothing_else(place, monkeypatch, home):
    """A user that is but a number, as in a container: nothing is looked for in a home, and none is made where we stand."""

    def lookup():
        if home is None:
            raise RuntimeError
        return Path(home)

    monkeypatch.setattr(Path, "home", lookup)
    place.write("work/relative/.config/fittengate/config.toml", "[server]\nport=1\n")
    done = configure({"server.state_dir": "s"}, {}, place.cwd)
    assert (done.state_dir, done.settings.server.port) == (place.cwd / "s", 5000)
    assert configure({}, {"XDG_STATE_HOME": "/x"}, place.cwd).state_dir == Path("/x/fittengate")
    with pytest.raises(ConfigurationError, match=r"Set server\.state_dir to another one"):
        prepare_state_dir(configure({}, {}, place.cwd).state_dir)
    assert list((place.cwd / "relative").iterdir()) == [place.cwd / "relative" / ".config"]


def test_the_log_file_can_be_none(place):
    """The word none means no file, not a file of that name; other paths become absolute."""
    assert place.settings(FITTENGATE_LOG_FILE="None").log.file == "none"
    assert place.settings(FITTENGATE_LOG_FILE="x.log").log.file == str(place.cwd / "x.log")


def test_the_store_is_a_file_a_server_or_none(place):
    """It lies in the state directory unless it is put elsewhere; another kind of database is an error, not ignored."""
    settings = place.settings(FITTENGATE_SERVER_STATE_DIR="s")
    assert settings.store.url == f"sqlite:///{place.cwd / 's' / 'fittengate.db'}"
    assert place.settings(FITTENGATE_STORE_URL="None").store.url == "none"
    assert place.settings(FITTENGATE_STORE_URL="sqlite:///x.db").store.url == f"sqlite:///{place.cwd / 'x.db'}"
    for wrong in ("mysql://host/name", "sqlite:///", "x.db"):
        with pytest.raises(ConfigurationError, match=r"expected sqlite:///PATH, postgresql://.*, or none"):
            place.settings(FITTENGATE_STORE_URL=wrong)


def test_the_store_can_be_on_a_server(place):
    """The address is checked when the settings are read; its password is in no message and in no repr."""
    url = "postgresql://u:hunter2@h:5432/fg?sslmode=require"
    settings = place.settings(FITTENGATE_STORE_URL=url)
    assert settings.store.url == url
    assert "hunter2" not in repr(settings)
    for wrong in ("postgresql://u:hunter2@h", "postgresql://u:hunter2@h:x/fg", "postgresql://u:hunter2@h/fg?x=1"):
        (line,) = place.problems(FITTENGATE_STORE_URL=wrong)
        assert line.startswith("FITTENGATE_STORE_URL: store.url: expected postgresql://")
        assert "hunter2" not in line


def test_a_found_file_does_not_choose_the_server_of_the_store(place):
    """What lies in the working directory may be somebody else's; a file that was named may, a password in a flag may not."""
    named = place.write("work/fittengate.toml", "[store]\nurl='postgresql://u:hunter2@evil.example/fg'\n")
    (line,) = place.problems()
    assert "a source that you chose" in line
    assert "hunter2" not in line
    assert place.settings({"config": str(named)}).store.url.endswith("evil.example/fg")
    named.unlink()
    assert place.settings({"store.url": "postgresql://u@h/fg"}).store.url == "postgresql://u@h/fg"
    (line,) = place.problems({"store.url": "postgresql://u:hunter2@h/fg"})
    assert "set FITTENGATE_STORE_URL" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("key", ["server.state_dir", "log.file", "store.url", "server.tls_key", "upstream.user_agent"])
def test_a_text_holds_no_control_characters(place, key):
    """Neither a path nor a header can have them; a line end around the text is a slip, and no part of it."""
    section, name = key.split(".")
    for text in (r"sqlite:///a\u0000b", r"sqlite:///a\r\nb"):
        place.write("work/x.toml", f'[{section}]\n{name} = "{text}"\n')
        assert f"x.toml: {key}: expected text without control characters" in place.problems({"config": "x.toml"})
    assert place.settings(FITTENGATE_SERVER_HOST="127.0.0.2\n").server.host == "127.0.0.2"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("server.host", "0.0.0.0", "others use your account"),
        ("server.cors_origins", "https://evil.example", "pages of the web use your account"),
    ],
)
def test_a_found_file_opens_the_account_to_nobody(place, key, value, why):
    """A repository's file could name a key of its own too, and then whoever wrote it could use the stored login."""
    section, name = key.split(".")
    named = place.write("work/fittengate.toml", f'[{section}]\n{name} = "{value}"\napi_key = "evil"\n')
    (line,) = place.problems()
    assert line.startswith(f"./fittengate.toml: {key}: expected from a source that you chose")
    assert why in line
    assert "--config ./fittengate.toml" in line
    assert place.settings({"config": str(named)}).server.api_key == ("evil",)
    named.write_text('[server]\nhost = "localhost"\n')
    assert place.settings().server.host == "localhost"


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("log", "file", "~/.profile"),
        ("log", "file", "../above.log"),
        ("log", "file", "link/x.log"),
        ("server", "state_dir", "~/state"),
        ("server", "state_dir", "link"),
        ("store", "url", "sqlite:///../other.db"),
        ("store", "url", "sqlite:///link/other.db"),
    ],
)
def test_a_found_file_makes_no_files_elsewhere(place, section, name, value):
    """What is written there would run or be lost: lines at the end of a profile, a database moved aside. Links count too."""
    named = place.write("work/fittengate.toml", f'[{section}]\n{name} = "{value}"\n')
    (named.parent / "link").symlink_to(place.home)
    (line,) = place.problems()
    assert line.startswith(f"./fittengate.toml: {section}.{name}: expected a place in the working directory")
    assert "--config ./fittengate.toml" in line
    place.settings({"config": str(named)})


@pytest.mark.parametrize("name", ["fitten_api.log", "fittengate.db"])
def test_a_found_state_directory_leads_nowhere_else_by_links(place, name):
    """What lies in a directory that a repository names may be a link to a file that is the user's own."""
    place.write("work/fittengate.toml", '[server]\nstate_dir = "state"\n')
    place.write("work/state/kept", "")
    (place.cwd / "state" / name).symlink_to(place.write("home/.profile", ""))
    (line,) = place.problems()
    assert line.startswith("./fittengate.toml: server.state_dir: expected a place in the working directory")


def test_a_found_file_may_keep_what_is_kept_beside_it(place):
    """A project's own state directory, log and database are nobody else's business."""
    place.write(
        "work/fittengate.toml",
        '[server]\nstate_dir = "state"\n[log]\nfile = "logs/x.log"\n[store]\nurl = "sqlite:///x.db"\n',
    )
    place.settings()
    place.write("work/fittengate.toml", '[log]\nfile = "none"\n[store]\nurl = "none"\n')
    place.settings()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_state_directory_is_closed_to_others(tmp_path):
    """It is made with 0700 whatever the umask, with what is missing above it; an older one of ours is narrowed to that."""
    fresh = tmp_path / "a" / "b" / "c"
    before = mode(tmp_path)
    old = os.umask(0)
    try:
        prepare_state_dir(fresh)
    finally:
        os.umask(old)
    assert {mode(one) for one in (fresh, fresh.parent, fresh.parent.parent)} == {0o700}
    assert mode(tmp_path) == before
    fresh.chmod(0o755)
    prepare_state_dir(fresh)
    assert mode(fresh) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_directory_of_everybody_is_not_taken(tmp_path, monkeypatch):
    """Pointing state_dir at /tmp neither changes its mode nor puts tokens there."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(ConfigurationError, match="everybody's"):
        prepare_state_dir(shared)
    assert mode(shared) == 0o1777
    # Whoever runs the tests as root keeps the root directory as it is, whatever the code does.
    monkeypatch.setattr(Path, "chmod", lambda *_: pytest.fail("changed the mode of a directory that is not ours alone"))
    with pytest.raises(ConfigurationError, match="everybody's"):
        prepare_state_dir(Path("/"))


def test_a_state_directory_that_cannot_be_made_is_one_line(tmp_path):
    """A file in the way, or a place that takes no directory, names itself and the setting."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere/x")):
        with pytest.raises(ConfigurationError) as caught:
            prepare_state_dir(path)
        (line,) = caught.value.problems
        assert str(path) in line
        assert "server.state_dir" in line


def test_the_process_s_own_environment_is_the_default(tmp_path):
    """Called with flags alone, everything else is what the process has."""
    code = (
        "from fittengate.server.configure import configure; c=configure({}); print(c.settings.server.port, c.state_dir)"
    )
    environ = os.environ | {"FITTENGATE_SERVER_PORT": "81", "XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, check=True, capture_output=True)
    assert done.stdout.decode().split() == ["81", str(tmp_path / "fittengate")]


def test_importing_it_is_quick_and_brings_nothing_heavy():
    """`--help` has 0.3 s: no HTTP library, no event loop, no TOML parser before one is needed."""
    code = "import sys, fittengate.server.configure; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    loaded = set(done.stdout.decode().split())
    assert not loaded & {"asyncio", "aiohttp", "uvicorn", "starlette", "logging", "tomllib", "configparser", "difflib"}


def test_no_file_that_lies_about_opens_the_port_without_a_key(place):
    """Somebody's repository must not let every program in; a file that was named may."""
    place.write("work/fittengate.toml", "[server]\nalso_ollama = true\n")
    (problem,) = place.problems()
    assert "server.also_ollama" in str(problem)
    assert place.settings(FITTENGATE_SERVER_ALSO_OLLAMA="true").server.also_ollama is True
    assert place.settings({"config": str(place.cwd / "fittengate.toml")}).server.also_ollama is True


def test_no_file_that_lies_about_says_where_the_edited_files_go(place):
    """An editor starts the language server in somebody's repository."""
    place.write("work/fittengate.toml", f'[lsp]\nurl = "{EVIL}"\n')
    (problem,) = place.problems()
    assert "lsp.url" in str(problem)
    assert place.settings(FITTENGATE_LSP_URL=f"{EVIL}/").lsp.url == EVIL


COLLECTOR = {"FITTENGATE_TELEMETRY_OTLP_ENDPOINT": "http://127.0.0.1:4318/"}


def test_traces_without_their_extra_are_a_configuration_error(place, monkeypatch):
    """Where a module is missing, it is said which part to install; without the setting nobody asks."""
    monkeypatch.setattr(configuring, "TRACING_MODULES", ("no_such_package.inside",))
    assert place.settings().telemetry.otlp_endpoint == ""
    (problem,) = place.problems(**COLLECTOR)
    assert "FITTENGATE_TELEMETRY_OTLP_ENDPOINT" in problem
    assert "pip install 'fittengate[tracing]'" in problem


def test_a_collector_is_named_by_a_url(place):
    """A slash at its end does no harm; what is no URL is an error."""
    assert place.settings(**COLLECTOR).telemetry.otlp_endpoint == "http://127.0.0.1:4318"
    (problem,) = place.problems(FITTENGATE_TELEMETRY_OTLP_ENDPOINT="127.0.0.1:4318")
    assert "telemetry.otlp_endpoint" in problem or "OTLP_ENDPOINT" in problem


def test_a_file_that_was_found_may_not_name_a_collector(place):
    """A hostile ./fittengate.toml learns nothing of the requests here."""
    place.write("work/fittengate.toml", '[telemetry]\notlp_endpoint = "http://collector.example"\n')
    (problem,) = place.problems()
    assert "telemetry.otlp_endpoint" in problem
    assert "told of every request" in problem


def test_headers_for_a_collector_that_are_none_are_an_error_that_shows_no_secret(place):
    """A line end in a value would be another header."""
    (problem,) = place.problems(**COLLECTOR, FITTENGATE_TELEMETRY_OTLP_HEADERS="authorization=Bearer s3cr3t\nx: y")
    assert "otlp_headers" in problem.lower()
    assert "s3cr3t" not in problem
