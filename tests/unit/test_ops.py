"""The dashboard and the alerts ask for nothing that a process does not show, and leave nothing out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.telemetry_help import Watched, every_event

from agentclock.core.errors import StoreUnavailable
from agentclock.telemetry.definitions import EVERY

ROOT: Final = Path(__file__).parents[2]
OPS: Final = ROOT / "ops"
GUIDE: Final = ROOT / "docs" / "how-to" / "monitoring.md"
#: Labels that Prometheus adds, and the one of histograms.
GIVEN: Final = frozenset({"instance", "job", "le"})

_SELECTED: Final = re.compile(r"\b(agentclock_\w+)(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")
_GROUPED: Final = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


def dashboard() -> dict[str, Any]:
    return dict(json.loads((OPS / "grafana" / "agentclock.json").read_text(encoding="utf-8")))


def alerts() -> list[dict[str, Any]]:
    read = yaml.safe_load((OPS / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in read["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Where each expression stands, and the expression."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]["query"]
    for rule in alerts():
        yield f"alert {rule['alert']}", rule["expr"]


@pytest.fixture
async def shown() -> dict[str, dict[str, set[str]]]:
    """The values of each label of each series that a process shows to which everything has happened."""
    watched = Watched()
    watched.hear(*every_event())
    await watched.execute()
    await watched.store.fire_due(lambda *_: None, limit=1)  # type: ignore[arg-type,return-value]
    watched.bare_store.away = True
    with pytest.raises(StoreUnavailable):
        await watched.store.now()
    watched.bare_store.away = False
    found: dict[str, dict[str, set[str]]] = {}
    for name, labels in await watched.shown():
        values = found.setdefault(name, {})
        for label, value in labels:
            values.setdefault(label, set()).add(value)
    return found


async def test_what_is_asked_for_is_shown(shown: dict[str, dict[str, set[str]]]) -> None:
    count = 0
    for place, expression in expressions():
        labels_here: set[str] = set(GIVEN)
        for name, selector in _SELECTED.findall(expression):
            count += 1
            assert name in shown, f"{place}: {name}"
            labels_here |= shown[name].keys()
            for label, wanted in _MATCHER.findall(selector or ""):
                assert label in GIVEN or label in shown[name], f"{place}: {name} has no label {label}"
                values = shown[name].get(label, set())
                words = [] if label in GIVEN else wanted.split("|")
                assert not [word for word in words if word not in values], f"{place}: {label} is never {wanted}"
        for grouped in _GROUPED.findall(expression):
            unknown = {label.strip() for label in grouped.split(",")} - labels_here
            assert not unknown, f"{place}: nothing to group by {unknown}"
    assert count >= 60


def test_everything_that_is_shown_is_asked_for() -> None:
    asked = {name for _, expression in expressions() for name, _ in _SELECTED.findall(expression)}
    parts = {f"{one.name}{part}": one.name for one in EVERY for part in ("", "_bucket", "_sum", "_count")}
    assert not {one.name for one in EVERY} - {parts[name] for name in asked}


def test_brackets_match_in_every_expression() -> None:
    for place, expression in expressions():
        for left, right in ("()", "{}", "[]"):
            assert expression.count(left) == expression.count(right), place


def test_legends_and_annotations_use_labels_that_are_left() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = {label.strip() for found in _GROUPED.findall(target["expr"]) for label in found.split(",")}
            is_aggregate = bool(re.search(r"\b(sum|max|min|topk)\b", target["expr"]))
            assert not used - (grouped if is_aggregate else GIVEN), panel["title"]
    for rule in alerts():
        used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        grouped = {label.strip() for found in _GROUPED.findall(rule["expr"]) for label in found.split(",")}
        aggregated = bool(re.search(r"\b(sum|max|min|absent)\b", rule["expr"]))
        assert not used - (grouped if aggregated else GIVEN | {"schedule"}), rule["alert"]


def test_panels_do_not_cover_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_every_alert_says_what_it_is_and_the_guide_what_to_do() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    for rule in alerts():
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert f"`{rule['alert']}`" in guide
    assert {f"`{rule['alert']}`" for rule in alerts()} == set(re.findall(r"`Agentclock[A-Z]\w+`", guide))


def test_the_scrape_reads_the_alerts() -> None:
    config = yaml.safe_load((OPS / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert config["rule_files"] == ["alerts.yml"]
    assert config["scrape_configs"][0]["job_name"] == "agentclock"
