"""Runs as files: ``<root>/<project>/<version>/{run.json, card.md}``, one per candidate, for people and for other tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiebreak.contracts.candidate import Candidate
from tiebreak.contracts.errors import NotFound
from tiebreak.contracts.project import Project
from tiebreak.deployment.naming import checked_name, natural_order
from tiebreak.deployment.report import report_of

_RUN, _CARD = "run.json", "card.md"


class RunFiles:
    """What was tried, with which parameters, from which data set version, and how it did."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def record(self, project: Project, candidate: Candidate) -> None:
        """Write a candidate's run; the same one again changes nothing. Raises OSError."""
        await asyncio.to_thread(self._record, project, candidate)

    def versions(self, project: str) -> tuple[str, ...]:
        """Oldest first."""
        home = self._root / checked_name(project, "Project")
        names = [place.parent.name for place in home.glob(f"*/{_RUN}")]
        return tuple(sorted(names, key=natural_order))

    def read(self, project: str, version: str) -> Mapping[str, Any]:
        """One run. Raises NotFound."""
        return dict(json.loads(self._text(project, version, _RUN)))

    def card(self, project: str, version: str) -> str:
        """The model card, in Markdown. Raises NotFound."""
        return self._text(project, version, _CARD)

    def _text(self, project: str, version: str, name: str) -> str:
        place = self._root / checked_name(project, "Project") / checked_name(version, "Version") / name
        try:
            return place.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise NotFound(f"There is no run {version!r} of project {project!r}.") from error

    def _record(self, project: Project, candidate: Candidate) -> None:
        version = checked_name(candidate.manifest.version, "Version")
        home = self._root / checked_name(project.project, "Project") / version
        if (home / _RUN).exists():
            return
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        run = run_of(project, candidate)
        (home / _CARD).write_text(card_of(run), encoding="utf-8")
        partial = home / f".{_RUN}"
        partial.write_text(json.dumps(run, sort_keys=True, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        partial.rename(home / _RUN)  # it is there whole, or not at all


def run_of(project: Project, candidate: Candidate) -> dict[str, Any]:
    """Everything about a run that is a figure or a parameter."""
    m = candidate.manifest
    return {
        "project": m.project,
        "version": m.version,
        "created_ms": m.created_ms,
        "dataset_version": m.dataset_version,
        "labels": len(m.label_ids),
        "classes": list(m.classes),
        "champion": candidate.evaluation.champion,
        "parameters": project.training.model_dump(mode="json"),
        "report": json.loads(report_of(candidate)),
    }


def audit_labels(run: Mapping[str, Any]) -> int:
    """How many labels of the audit slice judged it, whatever each counts.

    >>> audit_labels({"report": {"accuracy": {"n": 374}, "metrics": {"audit_labels": 383.0}}})
    383
    """
    report = run["report"]
    return int(report["metrics"].get("audit_labels", report["accuracy"]["n"]))


def card_of(run: Mapping[str, Any]) -> str:
    """A model card: what it is, what it was made from, how it did, what it must not be taken for."""
    report = run["report"]
    accuracy = report["accuracy"]
    labels = audit_labels(run)
    # Labels that a rollout looked for count less than one: the interval is of as many as they are worth.
    worth = f" (weighted: worth {accuracy['n']} of equal weight)" if labels != accuracy["n"] else ""
    lines = [
        f"# {run['project']} {run['version']}",
        "",
        f"Made from {run['labels']} labels of data set version {run['dataset_version']}; {len(run['classes'])} classes.",
        f"Compared with {run['champion'] or 'nothing: it is the first'}.",
        "",
        "## How it did",
        "",
        (
            f"On {labels} audit labels{worth}, a uniform sample of the stream that never trains: accuracy"
            f" {accuracy['estimate']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f})."
        ),
        "",
        "| class | accuracy | from | to | audit labels |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {i['estimate']:.3f} | {i['low']:.3f} | {i['high']:.3f} | {i['n']} |"
            for name, i in report["per_class"].items()
        ),
        "",
        *(f"- {name}: {value:.4g}" for name, value in sorted(report["metrics"].items())),
        "",
        "## Parameters",
        "",
        *(f"- {name}: {value}" for name, value in sorted(run["parameters"].items())),
        "",
        "## Limits",
        "",
        (
            "It knows the classes above and events like those that were labelled. Accuracy on classes with few audit labels is"
            " as uncertain as its interval says."
        ),
        "",
    ]
    return "\n".join(lines)
