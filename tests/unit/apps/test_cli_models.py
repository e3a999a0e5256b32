"""`tiebreak models` over a real log and store: people see what serves and why, and their word is a decision like the gate's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.labels import blob_labels, dataset_of
from tiebreak.apps.deploying import open_deployer
from tiebreak.contracts.candidate import Candidate
from tiebreak.contracts.project import Project
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, resolve
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.export import read_back
from tiebreak.training.fitting import Stamp, material_of, train
from tiebreak.training.sklearn_learners import learner_of

TEXT = """\
project: tests
partitions: 2
input: {tensors: [{name: x, shape: [2]}]}
classes: {names: [a, b, c]}
training: {min_labels: 10, committee: 3}
"""


def candidate(project: Project, n: int, before: Candidate | None) -> Candidate:
    serving = None
    if before is not None:
        ours = read_back(before.model)
        assert ours is not None
        serving = Serving(before.manifest.version, Contender(*ours))
    material = material_of(dataset_of(blob_labels(n)), project)
    return train(learner_of(project.training), project, material, serving, Stamp(n, 1_700_000_000_000))


@pytest.fixture
def two(project: Path, data: Path, tiebreak: CommandLine) -> tuple[str, str]:
    """Two promoted versions, older first."""
    tiebreak("topics", "create", project, "--data", data)
    loaded = load_project(project)

    async def work() -> tuple[str, str]:
        async with open_deployer(loaded, resolve(Options(data=str(data)), {}, 0)) as deployer:
            first = candidate(loaded, 20, None)
            second = candidate(loaded, 60, first)
            await deployer.consider(first)
            await deployer.consider(second)
            return first.manifest.version, second.manifest.version

    return asyncio.run(work())


def test_people_promote_roll_back_and_pin(
    project: Path, data: Path, two: tuple[str, str], tiebreak: CommandLine
) -> None:
    """Each command is a decision with who and why, and the mark moves to what serves."""
    older, newer = two

    def call(*words: str) -> str:
        done = tiebreak("models", *words, "--data", data)
        assert done.code == 0, done.err
        return done.out

    def serving() -> str:
        return next(line for line in call("list", str(project)).splitlines() if line.startswith("*"))

    assert newer in serving()
    assert call("rollback", str(project), "--by", "ann", "--reason", "odd answers") == f"{older} serves again.\n"
    assert f"{older}  rolled_back" in serving()
    assert "by ann  odd answers" in serving()
    assert call("promote", str(project), newer, "--by", "bob") == f"{newer} serves.\n"
    assert call("pin", str(project), "--by", "bob") == f"{newer} is pinned.\n"
    assert f"{newer} is pinned by bob." in tiebreak("models", "list", project, "--data", data).err
    assert "until the gate decides otherwise" in call("unpin", str(project))
    assert f"{newer}  promoted" in serving()
    trail = tiebreak("audit", "tail", project, "--data", data).out.splitlines()
    deeds = [line.split()[2:5] for line in trail]
    assert deeds[:3] == [
        ["ann", "model.rolled_back", load_project(project).project],
        ["bob", "model.promoted", newer],
        ["bob", "model.pinned", load_project(project).project],
    ]
    assert [deed[1] for deed in deeds[3:]] == ["model.unpinned"]


def test_a_model_is_shown_whole_and_beside_another(
    project: Path, data: Path, two: tuple[str, str], tiebreak: CommandLine
) -> None:
    """Figures with their intervals, the decisions with their reasons, and in JSON what programs need."""
    older, newer = two
    shown = tiebreak("models", "show", project, newer, "--data", data)
    assert f"{newer} (serves)" in shown.out
    assert "accuracy (audit)" in shown.out
    assert "fast lane for young models" in shown.out
    said = json.loads(tiebreak("models", "show", project, newer, "--json", "--data", data).out)
    assert said["manifest"]["version"] == newer
    assert [d["event"] for d in said["decisions"]] == ["candidate", "promoted"]
    compared = tiebreak("models", "diff", project, older, newer, "--data", data).out
    assert "labels only here" in compared
    assert "audit_labels" in compared


def test_what_served_when(project: Path, data: Path, two: tuple[str, str], tiebreak: CommandLine) -> None:
    """A date has an answer, a date before the first model has none, and what is no date is said to be none."""
    assert two[1] in tiebreak("models", "list", project, "--at", "2999-01-01", "--data", data).out
    assert two[1] in tiebreak("models", "at", project, "2999-01-01", "--data", data).out
    assert "No model served" in tiebreak("models", "at", project, "1999-01-01", "--data", data).err
    early = tiebreak("models", "list", project, "--at", "1999-01-01", "--data", data)
    assert (early.code != 0, early.err) == (True, "error: No model served at 1999-01-01.\n")
    assert "is not a time" in tiebreak("models", "list", project, "--at", "noon", "--data", data).err


@pytest.mark.parametrize("words", [("promote", "v9"), ("show", "v9"), ("diff", "v9", "v8")])
def test_an_unknown_version_is_one_clear_line(
    project: Path, data: Path, two: tuple[str, str], tiebreak: CommandLine, words: tuple[str, ...]
) -> None:
    """A typing error changes nothing and names the version."""
    del two
    done = tiebreak("models", words[0], project, *words[1:], "--data", data)
    assert done.code != 0
    assert done.err == (
        "error: There is no model 'v9' of project 'tests' in this store. "
        "`tiebreak models list` names them; they are under the --data of `tiebreak train`.\n"
    )
