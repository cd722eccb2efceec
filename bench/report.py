"""The budgets, and the table."""

import json
import platform
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple


class Ratio(NamedTuple):
    """Figures of the gateway beside those of nginx, in seconds, round by round."""

    work: str
    nginx: tuple[float, ...]
    gateway: tuple[float, ...]
    must: float
    """How many times nginx it may be."""
    aim: float | None
    """None: no further aim."""

    @property
    def ratio(self) -> float:
        """Return how many times nginx it is: the lowest of each, since noise only adds."""
        return min(self.gateway) / min(self.nginx)

    @property
    def middle(self) -> float:
        """Return the same for the medians: where it is far from the lowest, the machine was not quiet."""
        return median(self.gateway) / median(self.nginx)

    @property
    def spread(self) -> float:
        """Return how far the rounds of one program were apart, as a share of the lowest."""
        return max(max(rounds) / min(rounds) - 1 for rounds in (self.nginx, self.gateway))


class Figure(NamedTuple):
    """A figure of the gateway alone."""

    work: str
    value: float
    unit: str
    must: float | None
    """None: nothing is promised."""


def print_ratios(rows: list[Ratio]) -> None:
    """Print the table of ratios."""
    print(
        f"\n{'work':<38}{'nginx µs':>10}{'gateway µs':>12}{'spread':>8}{'median':>9}{'ratio':>9}{'must':>8}{'aim':>7}  verdict"
    )
    for row in rows:
        verdict = _verdict(row.ratio, row.must, row.aim)
        print(
            f"{row.work:<38}{min(row.nginx) * 1e6:>10.1f}{min(row.gateway) * 1e6:>12.1f}{row.spread:>8.0%}"
            f"{row.middle:>8.2f}x{row.ratio:>8.2f}x"
            f"{f'{row.must:g}x':>8}{'' if row.aim is None else f'{row.aim:g}x':>7}  {verdict}"
        )


def _verdict(value: float, must: float, aim: float | None) -> str:
    if aim is not None and value <= aim:
        return "aim met"
    return "met" if value <= must else f"MISSED by {value / must - 1:.0%}"


def print_figures(rows: list[Figure]) -> None:
    """Print the table of plain figures."""
    print(f"\n{'gateway':<46}{'value':>12}{'must':>12}  verdict")
    for row in rows:
        must = "" if row.must is None else f"{row.must:g} {row.unit}"
        verdict = "" if row.must is None else ("met" if row.value <= row.must else "MISSED")
        print(f"{row.work:<46}{f'{row.value:.2f} {row.unit}':>12}{must:>12}  {verdict}")


def write_json(path: Path, ratios: list[Ratio], figures: list[Figure], about: dict[str, Any]) -> None:
    """Write everything to a file."""
    document = {
        "about": about | {"python": platform.python_version(), "machine": platform.machine()},
        "ratios": [row._asdict() | {"ratio": row.ratio, "median": row.middle} for row in ratios],
        "figures": [row._asdict() for row in figures],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
