"""The page of metrics, the dashboard and the alert rules speak of metrics and labels that exist, and of no others."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fakes.line import ask

ROOT = Path(__file__).parents[2]

DASHBOARD = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text(encoding="utf-8"))

SCRAPED = {"instance", "job"}
"""Labels that Prometheus itself puts on everything."""


def script():
    spec = importlib.util.spec_from_file_location("metrics_page", ROOT / "scripts" / "metrics_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def known():
    """Return every name that a query may have, with its labels."""
    found = {f"fittengate_{name}": set() for name in script().PROCESS}
    for family in script().every_family():
        labels = set(family.labels)
        if family.kind == "histogram":
            found[f"{family.full_name}_bucket"] = labels | {"le"}
            found |= {f"{family.full_name}_{part}": labels for part in ("sum", "count")}
        else:
            found[family.full_name] = labels
    return found


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


QUERIES = [
    *((target["expr"], target["legendFormat"]) for panel in panels() for target in panel["targets"]),
    *((rule["expr"], str(rule["annotations"])) for group in ALERTS["groups"] for rule in group["rules"]),
]


def test_the_page_of_metrics_is_what_the_table_makes():
    """Nobody edits docs/metrics.md: after a change of the table run scripts/metrics_page.py."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == script().page()


async def test_every_metric_that_is_scraped_is_on_the_page(start):
    """A gateway that was used shows what the page lists, all of it, with the labels that the page names."""
    async with start(telemetry={"key_labels": True}) as gateway:
        await gateway.chat("hello")
        await gateway.request("POST", "/v1/messages", json.dumps(ask(max_tokens=9)).encode())
        text = (await gateway.request("GET", "/metrics")).body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    listed = known()
    for family in families.values():
        for sample in family.samples:
            assert listed[sample.name] == set(sample.labels), sample
    names = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in listed}
    assert {re.sub(r"_total$", "", name) for name in families} == names


@pytest.mark.parametrize(("query", "words"), QUERIES, ids=[query[:60] for query, _ in QUERIES])
def test_a_query_names_metrics_and_labels_that_exist(query, words):
    """Each name in it is a metric, each label that it picks or groups by is one of that metric, and so is what it shows."""
    metrics = known()
    names = re.findall(r"fittengate_\w+", query)
    assert names
    assert set(names) <= set(metrics), query
    for name, selector in re.findall(r"(fittengate_\w+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', '""', selector))) <= metrics[name] | SCRAPED, query
    grouped = [set(re.findall(r"\w+", labels)) for labels in re.findall(r"\bby \(([^)]*)\)", query)]
    everywhere = set.intersection(*(metrics[name] for name in names)) | SCRAPED
    for labels in grouped:
        assert labels <= everywhere, query
    shown = set(re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", words))
    assert shown <= set.union(SCRAPED if not grouped else set(), *grouped), query


def test_values_of_labels_in_queries_are_values_that_occur():
    """Kinds of faults, outcomes and places that the rules look for are those that the gateway counts."""
    from fittengate.core.caller import OUTCOMES
    from fittengate.core.faults import FaultKind

    occur = {*(kind.value for kind in FaultKind), *OUTCOMES, "done", "failed", "refused", "memory", "disk", "estimate"}
    found = [(query, re.findall(r'(?:kind|outcome|place|counted)!?=~?"([^"$]*)"', query)) for query, _ in QUERIES]
    assert any(values for _, values in found)
    for query, values in found:
        assert set("|".join(values).split("|")) <= occur | {""}, query


def test_every_panel_has_its_own_id_and_place():
    """Grafana shows each panel, and no two on the same spot."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(places)) == len(places)


def test_every_rule_says_what_is_wrong_and_how_bad_it_is():
    """A summary, a description and a severity."""
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"].endswith(".")
