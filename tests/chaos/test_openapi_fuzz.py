"""Requests made from the gateway's own description, good ones and bad ones: no 5xx, and answers as described."""

import asyncio
import logging
import warnings

from fakes.chaos import LONG, spread
from fakes.line import KEY

EXAMPLES = 60 if LONG else 2
"""Requests for each operation, of each sort."""


def tried(url, description):
    """Send what the description allows and what it does not; return how many requests there were, and what was wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import schemathesis
        from hypothesis import HealthCheck, Phase, given, seed, settings
        from hypothesis.errors import Unsatisfiable
        from schemathesis import GenerationMode
        from schemathesis.checks import not_a_server_error

    schema = schemathesis.openapi.from_dict(description)
    schema.config.update(base_url=url)
    count = 0
    problems = []

    for found in spread(list(schema.get_all_operations()), 8):
        operation = found.ok()
        for mode in list(GenerationMode) if LONG else (GenerationMode.NEGATIVE,):

            @seed(1)
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def one(case):
                nonlocal count
                count += 1
                response = case.call(headers={"Authorization": f"Bearer {KEY}"}, timeout=10)
                case.validate_response(response, checks=[not_a_server_error])

            try:
                one()
            except Unsatisfiable:
                # There is no wrong way to ask for what has no parameters.
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the rest
                problems.append((operation.label, mode.name, str(error)))
    return count, problems


async def test_p11_what_the_description_allows_and_what_it_does_not(serve, cases):
    """Schemathesis over ``/openapi.json``: no request that it thinks of makes the gateway fail."""
    logging.getLogger("schemathesis").setLevel(logging.ERROR)
    process = await serve(upstream_retries=0)
    await process.ready()
    description = (await process.request("GET", "/openapi.json")).json
    count, problems = await asyncio.to_thread(tried, f"http://127.0.0.1:{process.port}", description)
    assert not problems, "\n\n".join(map(str, problems))
    assert count >= 5 * EXAMPLES
    assert (await process.chat("the next one")).status == 200
    assert "Traceback" not in process.stderr
    cases(count)
