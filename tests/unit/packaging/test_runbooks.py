"""Who is paged reads a runbook: there is one per alert, and what it names exists."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
import yaml

from tests.support.compose import ROOT
from tiebreak.apps.cli import build
from tiebreak.contracts.project import Project
from tiebreak.runtime.catalogue import CATALOGUE

RUNBOOKS = ROOT / "docs/runbooks"
RULES = ROOT / "docker/prometheus/rules"
PAGES = sorted(page.stem for page in RUNBOOKS.glob("*.md") if page.name != "README.md")


def _rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((RULES / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _project_keys() -> set[str]:
    return {
        f"{section}.{key}"
        for section, field in Project.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    } | {"drift.burst.labels"}


def _metrics() -> set[str]:
    return {metric.name for metric in CATALOGUE} | {rule["record"] for rule in _rules("slis.yml")}


def _exists(words: list[str]) -> bool:
    """Whether the command line takes these words, up to the first that is an argument or an option."""
    command = typer.main.get_command(build())
    for word in words:
        commands = getattr(command, "commands", None)
        if commands is None:
            return True
        if word not in commands:
            return False
        command = commands[word]
    return True


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    """An alert without a page leaves whoever is woken alone; the index lists all with their severity."""
    alerts = {rule["alert"]: rule for rule in _rules("alerts.yml")}
    assert sorted(alerts) == PAGES
    assert {name: rule["annotations"]["runbook"] for name, rule in alerts.items()} == {
        name: f"docs/runbooks/{name}.md" for name in alerts
    }
    rows = re.findall(r"\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|", (RUNBOOKS / "README.md").read_text())
    assert sorted(rows) == sorted((name, name, rule["labels"]["severity"]) for name, rule in alerts.items())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_metrics_keys_and_commands_that_exist(name: str) -> None:
    """A page that names what was renamed since sends people the wrong way at night."""
    named = re.findall(r"`([^`]+)`", (RUNBOOKS / f"{name}.md").read_text())
    metrics = {found for text in named for found in re.findall(r"tiebreak[_:][a-z_0-9:]+", text)}
    assert metrics - _metrics() == set()
    sections = "|".join(Project.model_fields)
    keys = {text for text in named if re.fullmatch(rf"({sections})(\.[a-z_]+)+", text)}
    assert keys - _project_keys() == set()
    commands = [text.split()[1:] for text in named if text.startswith("tiebreak ")]
    assert [words for words in commands if not _exists(words)] == []
