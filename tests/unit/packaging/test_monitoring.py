"""Prometheus and Grafana read what the processes write: every metric that rules and dashboards name is in the catalogue."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from scripts.dashboards import dashboard, metrics_in
from tests.support.compose import ROOT, service
from tests.support.redis_fixture import missing
from tiebreak.runtime.catalogue import CATALOGUE
from tiebreak.runtime.metric import Metric
from tiebreak.runtime.metrics import Metrics

PROMETHEUS = ROOT / "docker/prometheus"
GRAFANA = ROOT / "docker/grafana"
KNOWN = {metric.name: metric for metric in CATALOGUE}
_SELECTOR = re.compile(r"(tiebreak_[a-z_]+?)(_bucket|_sum|_count)?\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*[=!]")


def _rules() -> list[dict[str, Any]]:
    found = []
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            found += group["rules"]
    return found


def _dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((GRAFANA / "dashboards/loop.json").read_text())
    return loaded


def _expressions() -> list[str]:
    panels = [target["expr"] for panel in _dashboard()["panels"] for target in panel.get("targets", [])]
    return [*panels, *(rule["expr"] for rule in _rules())]


def _labels_of(metric: Metric) -> set[str]:
    return {"project", "le", "job", "instance", *metric.labels}


@pytest.mark.parametrize("expression", _expressions())
def test_an_expression_names_metrics_and_labels_that_exist(expression: str) -> None:
    """A metric that was renamed, or a label that it never had, would draw an empty graph and never raise an alarm."""
    names = metrics_in(expression)
    assert names <= set(KNOWN)
    for name, suffix, selector in _SELECTOR.findall(expression):
        metric = KNOWN.get(name) or KNOWN[name + suffix]
        assert set(_LABEL.findall(selector)) <= _labels_of(metric)
    for group in re.findall(r"by \(([^)]*)\)", expression):
        for label in (part.strip() for part in group.split(",")):
            assert any(label in _labels_of(KNOWN[name]) for name in names) or label == "job"


def test_the_dashboard_is_the_one_that_is_generated() -> None:
    """It is changed in scripts/dashboards.py, and nowhere else."""
    assert _dashboard() == dashboard()


def test_panels_do_not_overlap_and_explain_themselves() -> None:
    """Every graph has a place of its own and says what to do when it moves."""
    taken: set[tuple[int, int]] = set()
    for panel in _dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        taken |= cells
        if panel["type"] != "row" and "up{" not in panel["targets"][0]["expr"]:
            assert panel["description"]


def test_grafana_finds_its_source_and_its_dashboards_where_they_are_mounted() -> None:
    """Provisioning names the mounted folder, the dashboards' source is the provisioned one, its host is the service."""
    mounts = {
        mount.split(":")[1]: mount.split(":")[0] for mount in service("grafana")["volumes"] if mount.startswith(".")
    }
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/tiebreak.yaml").read_text())["providers"][0]
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert mounts[provider["options"]["path"]] == "./docker/grafana/dashboards"
    assert mounts["/etc/grafana/provisioning"] == "./docker/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090"
    sources = {panel["datasource"]["uid"] for panel in _dashboard()["panels"] if "datasource" in panel}
    assert sources == {source["uid"]}
    home = service("grafana")["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (GRAFANA / "dashboards" / home.rpartition("/")[2]).is_file()


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    """Somebody woken at night gets a sentence and a first step."""
    for rule in _rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert {"summary", "action"} <= set(rule["annotations"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["check", "rules", "rules/alerts.yml", "rules/slis.yml"],
        ["test", "rules", "tests/alerts_test.yml"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_has_no_complaint(arguments: list[str]) -> None:
    """Prometheus' own tool reads the configuration and the rules, and the rules' tests hold."""
    if shutil.which("promtool") is None:
        missing("promtool is not on the PATH: install Prometheus.")
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _rising() -> set[tuple[str, str]]:
    """What the rules ask the rise of, as (metric, selector)."""
    text = "\n".join(rule["expr"] for rule in _rules())
    asked = re.findall(r"(?:increase|rate)\((tiebreak_[a-z_]+)(?:\{([^}]*)\})?\[", text)
    return {(name, selector) for name, selector in asked if name in KNOWN and KNOWN[name].kind == "counter"}


@pytest.mark.parametrize(("name", "selector"), sorted(_rising()))
def test_what_a_rule_asks_the_rise_of_is_there_before_it_is_counted(name: str, selector: str) -> None:
    """The first rollback, the first refused model, a burst of bad records: a series that is born at 1 has no increase."""
    metrics = Metrics("p")
    metrics.begin(stage="scoring")
    said = {tuple(sorted(s.labels.items())) for m in metrics.registry.collect() for s in m.samples if s.name == name}
    assert said
    for label, pattern in re.findall(r'(\w+)=~?"([^"]*)"', selector):
        for value in pattern.split("|"):
            assert any((label, value) in labels for labels in said)


def test_what_is_known_of_a_counter_are_labels_of_it() -> None:
    """Values of a label that it does not have would raise at the start of every process."""
    for metric in CATALOGUE:
        assert metric.known.keys() <= set(metric.labels)
        assert not metric.known or metric.kind == "counter"
