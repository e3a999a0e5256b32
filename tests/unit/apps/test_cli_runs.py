"""`tiebreak runs`: each candidate leaves parameters, figures and a model card that can be read, compared and drawn."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.labels import blob_labels, dataset_of
from tests.support.training import ServeAll
from tiebreak.apps.deploying import open_deployer
from tiebreak.apps.recording_runs import RecordingSink
from tiebreak.contracts.candidate import Candidate
from tiebreak.contracts.project import Project
from tiebreak.deployment.files_runs import RunFiles, audit_labels, card_of, run_of
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, resolve
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.export import read_back
from tiebreak.training.fitting import Stamp, material_of, train
from tiebreak.training.sklearn_learners import learner_of

TEXT = """\
project: tests
input: {tensors: [{name: x, shape: [2]}]}
classes: {names: [a, b, c]}
training: {min_labels: 10, committee: 3}
"""


def candidate(project: Project, n: int, before: Candidate | None = None) -> Candidate:
    ours = read_back(before.model) if before is not None else None
    serving = Serving(before.manifest.version, Contender(*ours)) if before is not None and ours is not None else None
    material = material_of(dataset_of(blob_labels(n)), project)
    return train(learner_of(project.training), project, material, serving, Stamp(n, 1_700_000_000_000))


@pytest.fixture
def two(project: Path, tmp_path: Path) -> tuple[str, str]:
    """Two recorded runs, the second with a larger committee; the first one brought twice."""
    first = load_project(project)
    second = first.model_copy(update={"training": first.training.model_copy(update={"committee": 5})})
    one, other, passed_on = candidate(first, 40), candidate(second, 60), ServeAll()

    async def work() -> None:
        for run in ((first, one), (first, one), (second, other)):
            await RecordingSink(run[0], RunFiles(tmp_path / "runs"), passed_on).consider(run[1])

    asyncio.run(work())
    assert passed_on.candidates == [one, one, other]
    return one.manifest.version, other.manifest.version


def test_runs_are_listed_shown_compared_and_drawn(
    project: Path, tmp_path: Path, two: tuple[str, str], tiebreak: CommandLine
) -> None:
    """Figures of each, the card of one, the parameters in which two differ, and the curves as a picture."""
    listed = tiebreak("runs", "list", project, "--data", tmp_path).out
    assert [listed.count(version) for version in two] == [1, 1]
    card = tiebreak("runs", "show", project, two[0], "--data", tmp_path).out
    assert "Made from 32 labels of data set version 40; 3 classes." in card
    assert "committee: 3" in card
    picture = tmp_path / "curves.png"
    compared = tiebreak("runs", "compare", project, "--plot", picture, "--data", tmp_path).out
    assert "committee" in compared
    assert "step_labels" not in compared
    assert picture.read_bytes()[1:4] == b"PNG"


def test_a_version_is_shown_whole_on_a_narrow_terminal(
    project: Path, tmp_path: Path, two: tuple[str, str], tiebreak: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what `runs show` and `models promote` are given; a pipe and a small window have 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    listed = tiebreak("runs", "list", project, "--data", tmp_path).out
    assert [listed.count(version) for version in two] == [1, 1]
    assert max(map(len, listed.splitlines()[:8])) <= 80


def test_the_list_says_what_became_of_them(
    project: Path, data: Path, two: tuple[str, str], tiebreak: CommandLine, tmp_path: Path
) -> None:
    """One came to serve and was taken back for one that a person chose: fates, retrain success, regret, NLL and entropy drop."""
    (tmp_path / "runs").rename(data / "runs")
    tiebreak("topics", "create", project, "--data", data)
    loaded = load_project(project)

    async def work() -> None:
        async with open_deployer(loaded, resolve(Options(data=str(data)), {}, 0)) as deployer:
            first = candidate(loaded, 40)
            await deployer.consider(first)
            await RecordingSink(loaded, RunFiles(data / "runs"), deployer).consider(candidate(loaded, 50, first))
            await deployer.rollback("ann", "odd answers")

    asyncio.run(work())
    said = tiebreak("runs", "list", project, "--data", data)
    rows = [line.split()[:3] for line in said.out.splitlines() if " v0000" in line and "NLL" not in line]
    assert [row[1] for row in rows if row[0] == two[0]] == ["serves"]
    assert any(line.split()[1:3] == ["taken", "back"] for line in said.out.splitlines() if "v000050-" in line)
    assert "Retrain success: 100.0% (2 of 2 models came to serve)." in said.out
    assert "Deployment regret: 50.0% (1 of 2 were taken back)." in said.out
    assert "Median entropy drop per promoted model: " in said.out
    assert "Held-out NLL of the newest promoted model, v000050-" in said.out


def test_the_card_counts_all_labels_that_trained(project: Path) -> None:
    """The evidence of labels left out is of the newest few alone: their number is not that of the labels it learned from."""
    loaded = load_project(project)
    young = loaded.model_copy(update={"gate": loaded.gate.model_copy(update={"young_labels": 5})})
    made = candidate(young, 40)
    assert made.evaluation.metrics["training_labels"] == len(made.manifest.label_ids) > 5


def test_labels_of_less_weight_are_counted_and_said(project: Path) -> None:
    """A rollout looked for some of them: the card says how many there were, and how many of equal weight they are worth."""
    loaded = load_project(project)
    one = candidate(loaded, 40)
    judged = int(one.evaluation.metrics["audit_labels"])
    assert f"On {judged} audit labels, a uniform sample" in card_of(run_of(loaded, one))
    accuracy = replace(one.evaluation.accuracy, n=judged - 2)
    run = run_of(loaded, replace(one, evaluation=replace(one.evaluation, accuracy=accuracy)))
    assert audit_labels(run) == judged
    assert f"On {judged} audit labels (weighted: worth {judged - 2} of equal weight), a uniform" in card_of(run)


def test_mistakes_are_one_clear_line(project: Path, tmp_path: Path, tiebreak: CommandLine) -> None:
    """Nothing recorded, an unknown run, a path in disguise: said, and nothing is made."""
    assert "There are no runs yet." in tiebreak("runs", "compare", project, "--data", tmp_path).err
    assert "There is no run 'v9'" in tiebreak("runs", "show", project, "v9", "--data", tmp_path).err
    assert "is not a name" in tiebreak("runs", "show", project, "../v9", "--data", tmp_path).err


def test_a_full_disk_costs_the_record_and_not_the_model(project: Path, tmp_path: Path) -> None:
    """The folder cannot be made: the candidate reaches the gate all the same."""
    (tmp_path / "runs").write_text("in the way")
    loaded, passed_on = load_project(project), ServeAll()
    asyncio.run(RecordingSink(loaded, RunFiles(tmp_path / "runs"), passed_on).consider(candidate(loaded, 40)))
    assert len(passed_on.candidates) == 1
