"""Writes docs/metrics.md from the table in server/metric_families.py. Run it after every change of the table."""

from pathlib import Path

from fittengate.server.metric_families import Parts, connections, families
from fittengate.services.exposition import PREFIX, Family

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"

PROCESS = {
    "process_virtual_memory_bytes": "Virtual memory of the process",
    "process_resident_memory_bytes": "Memory of the process",
    "process_start_time_seconds": "When the process began, seconds since the epoch",
    "process_cpu_seconds_total": "CPU time that the process has used",
    "process_open_fds": "Open files and sockets",
    "process_max_fds": "The most of them that the system allows",
}
"""What the library adds of the process itself, on Linux alone."""

HEAD = """\
# Metrics

This page is made from the table in `src/fittengate/server/metric_families.py` by `scripts/metrics_page.py`.

`GET /metrics` shows what the gateway counts, in Prometheus' text format, and in OpenMetrics for those who ask for it. It
takes any key. `fittengate keys create --name prometheus --model nothing --rpm 60` makes one that is good for nothing else;
`telemetry.metrics` switches the path off.

```yaml
scrape_configs:
  - job_name: fittengate
    authorization:
      credentials_file: /etc/prometheus/fittengate-key
    static_configs:
      - targets: ["127.0.0.1:5000"]
```

[`deploy/grafana-dashboard.json`](../deploy/grafana-dashboard.json) is a dashboard to import into Grafana, and
[`deploy/alerts.yaml`](../deploy/alerts.yaml) has rules for Prometheus; tests hold both to the metrics below.

- **What it costs.** Exchanges add to plain numbers; text is made only for a scrape, in a thread.
- **Labels are bounded.** Dialects, outcomes and kinds are closed lists; `model` is an id of the catalogue, `none` where
  it did not come to a model, and `other` beyond 100 pairs of dialect and model. What clients make up becomes no label. Names of
  keys are shown only with `telemetry.key_labels`, a thousand of them at most.
- **One process, one `/metrics`.** Counters are those of the process that answers, since its start. In a fleet let Prometheus scrape
  each replica at its own address, not through the load balancer, and sum over `instance`. With `--workers` a scrape reaches
  whichever worker takes the connection, so its counters are one worker's: they show what kind of things happen, not how often. For
  figures that add up run single processes behind a load balancer ([fleets](fleet.md)).

Requests are those to the paths that answer with a model, and those that were refused; model lists, probes and scrapes are not counted.

Every answer also says in `Server-Timing` where its time went, in milliseconds: `auth` (recognising the key), `queue` (waiting for a
turn), `upstream` (until the service's first event), `stream` (from there to the last event that is known when
the head goes out) and `translate` (reading the request, reserving what it needs, writing the answer). Answers that are no exchange with the
service have `total` alone.

## All of them

A histogram has `_bucket`, `_sum` and `_count` behind its name.

| metric | kind | labels | what |
|---|---|---|---|
"""


def every_family() -> list[Family]:
    """Return the whole table; its numbers lie nowhere, so nothing can be read."""
    nobody: list[None] = [None] * len(Parts.__struct_fields__)
    return [*families(Parts(*nobody), ""), connections(lambda: 0)]  # type: ignore[arg-type]


def page() -> str:
    """Return the whole page."""
    rows = [
        f"| `{family.full_name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)} | {family.help} |"
        for family in every_family()
    ]
    rows += [
        f"| `{PREFIX}_{name}` | {'counter' if name.endswith('_total') else 'gauge'} | | {text}; on Linux |"
        for name, text in PROCESS.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
