"""Metrics in the forms that Prometheus reads, made from numbers that lie elsewhere, and only when somebody asks.

Law: a :class:`Family` says where its numbers are; nothing is copied, labelled or formatted before a scrape. A scrape
has two steps: :meth:`Exposition.taken` copies the numbers on the event loop, :func:`written` makes the text of them in a
thread, with a registry that holds nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct

from fittengate.services.figures import Durations

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

PREFIX = "fittengate"

OPENMETRICS = "application/openmetrics-text"

Sample: TypeAlias = tuple[tuple[str, ...], float | Durations]
"""The values of the labels, and what was counted."""


class Family(Struct, frozen=True):
    """One metric."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    """Without the prefix and, for a counter, without ``_total``."""
    help: str
    read: Callable[[], Iterable[Sample]]
    """Called on the event loop; Durations are copied."""
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name as it is scraped; a histogram's has ``_bucket``, ``_sum`` or ``_count`` behind it."""
        return f"{PREFIX}_{self.name}{'_total' if self.kind == 'counter' else ''}"


def one(read: Callable[[], float]) -> Callable[[], list[Sample]]:
    """Return what reads a metric without labels."""
    return lambda: [((), read())]


def each(read: Callable[[], Mapping[str, float]]) -> Callable[[], list[Sample]]:
    """Return what reads a metric with one label, from a mapping of its values."""
    return lambda: [((label,), value) for label, value in read().items()]


Taken: TypeAlias = list[tuple[Family, list[tuple[tuple[str, ...], Any]]]]
"""A copy of all numbers: those of a histogram as edges, counts and sum."""


class Exposition:
    """All metrics of a process, but for those of the process itself, which :func:`written` adds."""

    def __init__(self, families: Iterable[Family] = ()) -> None:
        self.families = list(families)

    def add(self, family: Family) -> None:
        """Let one more metric be shown. Raises ValueError if there is one of that name."""
        if any(known.name == family.name for known in self.families):
            raise ValueError(f"there is a metric {family.name} already")
        self.families.append(family)

    def taken(self) -> Taken:
        """Return a copy of all numbers as they are now."""
        return [(family, [(labels, _copy(value)) for labels, value in family.read()]) for family in self.families]


def _copy(value: float | Durations) -> Any:
    return (value.edges, list(value.counts), value.total) if isinstance(value, Durations) else value


def written(taken: Taken, accept: str) -> tuple[bytes, bytes]:
    """Return the text of a scrape and its content type; ``accept`` is what the request says of the latter.

    Takes some milliseconds, and some tens for the first time: call it in a thread.
    """
    from prometheus_client import exposition, openmetrics
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(taken))
    _add_process(registry)
    if OPENMETRICS in accept:
        text = openmetrics.exposition.generate_latest(registry, version="1.0.0")  # type: ignore[no-untyped-call]
        return text, openmetrics.exposition.CONTENT_TYPE_LATEST.encode()
    text = exposition.generate_latest(registry)
    return text, exposition.CONTENT_TYPE_PLAIN_0_0_4.encode()


def _add_process(registry: "CollectorRegistry") -> None:
    """Add memory, CPU time and open files of this process, where the system tells them (Linux)."""
    from prometheus_client import ProcessCollector

    ProcessCollector(namespace=PREFIX, registry=registry)


class _Collector:
    """Numbers that were taken, as the library's own records."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken

    def describe(self) -> list["Metric"]:
        """Return nothing: what is registered here was never registered before."""
        return []

    def collect(self) -> Iterator["Metric"]:
        """Yield every metric."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for family, samples in self._taken:
            name = f"{PREFIX}_{family.name}"
            if family.kind == "histogram":
                spread = HistogramMetricFamily(name, family.help, labels=family.labels)
                for labels, (edges, counts, total) in samples:
                    spread.add_metric(labels, _cumulated(edges, counts), total)
                yield spread
            else:
                kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
                metric = kind(name, family.help, labels=family.labels)
                for labels, value in samples:
                    metric.add_metric(labels, value)
                yield metric


def _cumulated(edges: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus has them: each counts all that is not longer."""
    buckets: list[tuple[str, float]] = []
    sum_so_far = 0
    for edge, count in zip((*edges, float("inf")), counts, strict=True):
        sum_so_far += count
        buckets.append(("+Inf" if edge == float("inf") else str(edge), sum_so_far))
    return buckets
