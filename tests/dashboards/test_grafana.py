"""The Grafana dashboard asks for what we measure, and for all of it."""

import itertools
import json
import re
from pathlib import Path

import pytest

from orchestrator.telemetry import METRICS

PATH = Path(__file__).parents[2] / "dashboards" / "grafana" / "sweep.json"
WORDS = {"by", "or", "and", "on", "without", "unless"}
RAYS = {"NodeAddress", "WorkerId", "le"}  # labels that Ray, and histograms, add


def series_of(metric):
    """Names under which Ray exports a metric."""
    name = f"ray_{metric.name}"
    match metric.kind:
        case "counter":
            return [f"{name}_total"]
        case "histogram":
            return [f"{name}_bucket", f"{name}_count", f"{name}_sum"]
    return [name]


LABELS = {name: set(metric.labels) for metric in METRICS for name in series_of(metric)}


def names_in(expression):
    """Metrics of a PromQL expression, and the labels it speaks of."""
    labels = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expression))
    for listed in re.findall(r"\bby\s*\(([^)]*)\)", expression):
        labels |= set(re.findall(r"\w+", listed))
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby\s*\([^)]*\)", " ", expression)
    words = set(re.findall(r"\b([a-zA-Z_]\w*)\b(?!\s*\()", bare))
    return words - WORDS, labels


@pytest.fixture(scope="module")
def dashboard():
    return json.loads(PATH.read_text(encoding="utf-8"))


def expressions(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_names_are_found_in_expressions():
    metrics, labels = names_in('sum by (a, b) (rate(x_total{c=~"$d", e!="f"}[1m])) / sum(y) or z')
    assert metrics == {"x_total", "y", "z"}
    assert labels == {"a", "b", "c", "e"}


def test_every_panel_asks_for_what_is_measured_by_labels_that_it_has(dashboard):
    assert len(expressions(dashboard)) >= len(METRICS)
    for expression in expressions(dashboard):
        metrics, labels = names_in(expression)
        assert metrics, expression
        for name in metrics:
            assert name in LABELS, expression
            assert labels <= LABELS[name] | RAYS, expression


def test_everything_measured_is_on_a_panel(dashboard):
    asked = set().union(*(names_in(expression)[0] for expression in expressions(dashboard)))
    missing = [metric.name for metric in METRICS if not asked & set(series_of(metric))]
    assert missing == []


def test_every_query_heeds_the_chosen_studies_and_data_source(dashboard):
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert set(variables) == {"datasource", "study"}
    assert variables["study"]["definition"] == "label_values(ray_mpn_blocks, study)"
    for panel in dashboard["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            metrics, _ = names_in(target["expr"])
            assert target["expr"].count('study=~"$study"') >= len(metrics)


def test_panels_stand_side_by_side_and_say_what_they_show(dashboard):
    assert dashboard["title"]
    assert dashboard["schemaVersion"] >= 39
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = []
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        columns, rows = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        cells += itertools.product(columns, rows)
        assert [target["refId"] for target in panel["targets"]] == list("AB")[
            : len(panel["targets"])
        ]
    assert len(set(cells)) == len(cells)


def test_the_documentation_names_every_metric():
    text = (PATH.parents[2] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert [metric.name for metric in METRICS if f"`{metric.name}`" not in text] == []
