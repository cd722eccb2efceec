"""``serve`` with a collector in its settings, as a process."""

import asyncio
import signal
import sys
from pathlib import Path

from fakes.collector import collector


async def test_a_process_sends_its_traces_and_ends_well(serve):
    """Spans of a process are with the collector; SIGTERM ends it with code 0, whatever is still to be sent."""
    async with collector() as seen:
        process = await serve(telemetry_otlp_endpoint=seen.url)
        await process.ready()
        assert (await process.chat("hello")).status == 200
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert {span.name for span in seen.spans} >= {"POST /v1/chat/completions", "chat fitten-code", "queue"}


async def test_a_collector_without_the_extra_is_bad_configuration(tmp_path):
    """Exit code 2 and one line that names what to install; there is no traceback."""
    hide = "import sys; sys.modules['opentelemetry'] = None; from fittengate.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        hide,
        "serve",
        "--port",
        "0",
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "FITTENGATE_TELEMETRY_OTLP_ENDPOINT": "http://127.0.0.1:1",
        },
        cwd=Path(tmp_path),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"pip install 'fittengate[tracing]'" in said
    assert b"Traceback" not in said
    assert len(said.splitlines()) == 1
