"""P11: requests made from the gateway's own description, as it allows them and as it does not: no 5xx."""

import asyncio
import json
import sys
from pathlib import Path

from fakes.chaos import LONG
from fakes.line import KEY

PROGRAM = Path(__file__).parents[1] / "fakes/described.py"
EXAMPLES, OPERATIONS = ("60", "0") if LONG else ("2", "8")


async def test_p11_what_the_description_allows_and_what_it_does_not(serve, cases):
    """Schemathesis over ``/openapi.json``: no request that it thinks of makes the gateway fail."""
    process = await serve(upstream_retries=0)
    await process.ready()
    pipe = asyncio.subprocess.PIPE
    url = f"http://127.0.0.1:{process.port}"
    program = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, url, KEY, EXAMPLES, OPERATIONS, stdout=pipe, stderr=pipe
    )
    out, err = await program.communicate()
    assert program.returncode == 0, err.decode()
    found = json.loads(out)
    assert not found["problems"], "\n\n".join(found["problems"])
    assert found["count"] >= 5 * int(EXAMPLES)
    assert (await process.chat("the next one")).status == 200
    assert "Traceback" not in process.stderr
    cases(found["count"])
