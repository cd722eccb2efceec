"""Requests that Schemathesis makes from a gateway's description, good ones and bad ones. A program of its own.

``python tests/fakes/described.py URL KEY EXAMPLES OPERATIONS`` asks URL for its ``/openapi.json``, sends so many
requests of each sort for each of so many operations (0: all, of both sorts), and prints how many there were and what
was wrong. Apart from the tests because its import takes seconds where pytest looks at every module.
"""

import json
import sys
import urllib.request
import warnings

warnings.simplefilter("ignore")

import schemathesis  # noqa: E402 - its imports warn of things that are its own
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402


def main(url, key, examples, few):
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as reply:
        schema = schemathesis.openapi.from_dict(json.load(reply))
    schema.config.update(base_url=url)
    operations = list(schema.get_all_operations())
    modes = [GenerationMode.NEGATIVE] if few else list(GenerationMode)
    count, problems = 0, []

    for found in operations[:: max(1, len(operations) // few) if few else 1]:
        operation = found.ok()
        for mode in modes:

            @seed(1)
            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def one(case):
                nonlocal count
                count += 1
                response = case.call(headers={"Authorization": f"Bearer {key}"}, timeout=10)
                case.validate_response(response, checks=[not_a_server_error])

            try:
                one()
            except Unsatisfiable:
                # There is no wrong way to ask for what has no parameters.
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told with the rest
                problems.append(f"{operation.label}, {mode.name}: {error}")
    print(json.dumps({"count": count, "problems": problems}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
