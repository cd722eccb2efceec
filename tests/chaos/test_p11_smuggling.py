"""P11: a request whose end is doubtful is refused; none is ever answered twice, and none hides in another's body."""

import asyncio
import re
import shutil

import pytest

from fakes.chaos import LONG
from fakes.line import Line
from fakes.smuggling import ATTEMPTS, NEXT

SILENCE = 0.8
"""Seconds after which nothing more is believed to come."""

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
ANSWERED = re.compile(rb"x-request-id: (first|smuggled|next)\r\n")


async def answers(connect, raw, silence=SILENCE):
    """Return the statuses and the known ids of all answers, and whether the connection was ended."""
    got = b""
    reader, writer = await connect
    ended = True
    try:
        await Line(reader, writer).send(raw + NEXT)
        async with asyncio.timeout(silence):
            while data := await reader.read(65536):
                got += data
    except TimeoutError:
        ended = False
    except ConnectionError:
        ended = True
    finally:
        writer.transport.abort()
    statuses = [int(status) for status in STATUS.findall(got) if status != b"100"]
    return statuses, [name.decode() for name in ANSWERED.findall(got)], ended


def judged(attempt, statuses, names, ended):
    """Return what is wrong with the answers to an attempt, None where nothing is."""
    if "smuggled" in names:
        return "the smuggled request was answered"
    if len(statuses) != len(set(names)) and attempt.outcome == "one":
        return "not one answer for each request"
    if attempt.outcome == "refused":
        if len(statuses) != 1 or not 400 <= statuses[0] < 500:
            return "not refused once"
        return None if ended and "next" not in names else "refused, but it went on"
    if names == ["first", "next"] or (names == ["first"] and ended):
        return None
    return "not one request"


async def test_p11_no_request_is_smuggled(gateway, cases):
    """Each published attempt is refused with one error and the end of the connection, or is one clean request."""
    connect = asyncio.open_connection
    found = await asyncio.gather(*(answers(connect("127.0.0.1", gateway.port), attempt.raw) for attempt in ATTEMPTS))
    wrong = [
        (attempt.name, problem, got)
        for attempt, got in zip(ATTEMPTS, found, strict=True)
        if (problem := judged(attempt, *got))
    ]
    assert not wrong, "\n".join(map(str, wrong))
    assert (await gateway.chat("the next one")).status == 200
    cases(len(ATTEMPTS))


NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  log_format ids "$request_id $upstream_status $upstream_http_x_request_id"; access_log {folder}/access ids;
  upstream gateway {{ server 127.0.0.1:{port}; keepalive 2; }}
  server {{
    listen unix:{folder}/socket;
    location / {{
      proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Request-Id $request_id;
    }}
  }}
}}
"""


@pytest.mark.skipif(not LONG or shutil.which("nginx") is None, reason="long form; needs Debian's package nginx")
async def test_p11_nothing_is_smuggled_past_nginx(gateway, tmp_path, cases):
    """Behind a proxy that keeps connections, every answer belongs to the request that the proxy made, whatever came in."""
    (tmp_path / "conf").write_text(NGINX.format(folder=tmp_path, port=gateway.port))
    nginx = await asyncio.create_subprocess_exec(
        "nginx", "-p", tmp_path, "-e", tmp_path / "error", "-c", tmp_path / "conf", stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(5):
            while not (tmp_path / "socket").exists():
                await asyncio.sleep(0.01)
        connect = asyncio.open_unix_connection
        for attempt in ATTEMPTS:
            _, names, _ = await answers(connect(tmp_path / "socket"), attempt.raw, 0.2)
            # The proxy gives every request a name of its own: one with the caller's never was the proxy's request.
            assert names == [], attempt.name
        assert (await gateway.chat("the next one")).status == 200
    finally:
        nginx.terminate()
        await nginx.communicate()
    made = [line.split() for line in (tmp_path / "access").read_text().splitlines()]
    passed_on = [ids for ids in made if ids[1] != "-"]
    assert len(passed_on) > len(ATTEMPTS) / 4
    # 400s of the gateway for what is no HTTP to it carry no id.
    assert [ids for ids in passed_on if ids[2] not in (ids[0], "-")] == []
    cases(len(ATTEMPTS))
