"""Numbers, levels and lists of classes are replayed as single classes are: the same policy, budget and audit, figures of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from river import datasets
from typer.testing import CliRunner

from tiebreak.apps import cli
from tiebreak.apps.cli_simulate import told
from tiebreak.apps.simulate.answers import target_for
from tiebreak.apps.simulate.arms import Arm, checked
from tiebreak.apps.simulate.judging import Judge
from tiebreak.apps.simulate.replay import Outcome, Pace, People
from tiebreak.apps.simulate.report import Mean, measure_of
from tiebreak.apps.simulate.run import Trial, run_arm
from tiebreak.apps.simulate.stream import Schema, Stream, held_back, shuffled, stream_of_arrays, stream_of_rows
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Answer, AnswerKind, Classes, Input, Labeling, Project, Sampling, TensorSpec

NUMERIC, ORDINAL, MULTI = (Schema(kind) for kind in (AnswerKind.NUMERIC, AnswerKind.ORDINAL, AnswerKind.MULTI))


def _of(schema: Schema, events: int = 800) -> Stream:
    """Answers that depend on six inputs: their sum, in four levels, or the list of those above zero."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(events, 6))
    total = x[:, :3].sum(axis=1) + 0.1 * rng.normal(size=events)
    answers = {
        AnswerKind.NUMERIC: total,
        AnswerKind.ORDINAL: np.digitize(total, [-1.5, 0.0, 1.5]),
        AnswerKind.MULTI: x[:, :4] > 0.4,
    }
    return held_back(stream_of_arrays("made", {"X": x, "y": answers[schema.kind]}, schema), 0.25, 1)


def _project(stream: Stream, **sampling: object) -> Project:
    return Project(
        project="simulated",
        input=Input(tensors=(TensorSpec(name="input", shape=(stream.x.shape[1],)),)),
        classes=Classes(names=stream.classes),
        labeling=Labeling(answer=stream.answer),
        sampling=Sampling.model_validate({"audit_share": 0.2} | sampling),
    )


def _run(stream: Stream, policy: str = "default", error_rate: float = 0.0, budget: float = 0.2) -> Outcome:
    return run_arm(Trial(stream, _project(stream), People(0, error_rate), Pace()), Arm(policy, budget, 1))


@pytest.mark.parametrize(("schema", "least"), [(NUMERIC, 0.95), (ORDINAL, 0.9), (MULTI, 0.75)])
def test_every_kind_is_learned_within_its_budget(schema: Schema, least: float) -> None:
    """The model comes close, spends its share, audits a part of it, and the same arm finds the same again."""
    stream = _of(schema)
    outcome = _run(stream)
    assert outcome.held_out > least
    assert abs(len(outcome.asked) - 0.2 * len(stream)) <= 6
    assert _run(stream).asked.tolist() == outcome.asked.tolist()
    assert _run(stream, error_rate=0.8).held_out < outcome.held_out


def test_credits_by_hand() -> None:
    """Numbers lose by their distance over the range, levels by levels, lists by the Jaccard index; before a model nothing counts."""
    numbers = replace(_of(NUMERIC), answer=Answer(kind=AnswerKind.NUMERIC, least=-10.0, most=10.0, step=0.0))
    judge = Judge(numbers, target_for(_project(numbers), ()))
    judge.see(
        0, np.array([[float(numbers.texts[0]) + 5.0], [float(numbers.texts[1])]], np.float32), np.zeros(0, np.int64)
    )
    assert judge.credit[:3].tolist() == pytest.approx([0.75, 1.0, 0.0])
    assert float(judge.said(1)) == pytest.approx(float(numbers.texts[1]), abs=1e-6)
    assert judge.said(2) == ""
    levels = _of(ORDINAL)
    judge = Judge(levels, target_for(_project(levels), levels.classes))
    judge.see(0, np.eye(4, dtype=np.float32)[[0]], np.arange(4))
    assert judge.credit[0] == pytest.approx(1.0 - levels.y[0] / 3.0)
    lists = replace(_of(MULTI), texts=('["label0","label1"]', *_of(MULTI).texts[1:]))
    judge = Judge(lists, target_for(_project(lists), lists.classes))
    judge.see(0, np.array([[0.9, 0.2, 0.8, 0.1]], np.float32), np.zeros(0, np.int64))
    assert judge.credit[0] == pytest.approx(1.0 / 3.0)
    assert judge.said(0) == '["label0","label2"]'


def test_figures_are_told_in_their_own_unit() -> None:
    """An error in the unit of the answers, levels off, or per cent of the Jaccard index, each with its interval."""
    numbers = replace(_of(NUMERIC), answer=Answer(kind=AnswerKind.NUMERIC, least=0.0, most=50.0))
    assert measure_of(numbers).told(Mean(0.9, 0.02)) == "5 ±1"
    assert measure_of(_of(ORDINAL)).told(Mean(0.9, float("nan"))) == "0.3"
    assert measure_of(_of(MULTI)).told(Mean(0.9, float("nan"))) == "90.0"
    assert told(numbers) == f"made: {len(numbers)} events, numbers from 0 to 50"


def test_texts_go_with_their_events() -> None:
    """Mixed, and held back in part, each answer is still that of its inputs."""
    whole = stream_of_arrays("f", {"X": np.arange(80.0)[:, None], "y": np.arange(80.0)}, NUMERIC)
    mixed = held_back(shuffled(whole, 4), 0.3, 2)
    assert [float(text) for text in mixed.texts] == mixed.x[:, 0].tolist()
    assert [float(text) for text in mixed.held_texts] == mixed.held_x[:, 0].tolist()
    assert len(mixed.held_texts) > 10


def test_lists_and_levels_from_tables() -> None:
    """A list is a list, JSON or names between bars, perhaps empty; levels of numbers go by size, not by the alphabet."""
    cells: list[object] = [["b", "a"], '["a"]', "b | c", ""]
    rows = [{"x": float(i), "label": cells[i % 4]} for i in range(60)]
    stream = stream_of_rows("f", rows, "label", MULTI)
    assert stream.classes == ("a", "b", "c")
    assert stream.texts[:4] == ('["a","b"]', '["a"]', '["b","c"]', "[]")
    levels = stream_of_rows("f", [{"x": 0.0, "label": str(10 - i % 3)} for i in range(60)], "label", ORDINAL)
    assert levels.classes == ("8", "9", "10")
    assert levels.y[:3].tolist() == [2, 1, 0]


def test_lists_and_levels_from_arrays() -> None:
    """Classes of the file name what ``y`` holds: columns of a matrix, places of levels. Those of a project file come first, and
    a matrix without names of its own has theirs."""
    x, y, names = np.zeros((60, 2)), np.arange(60) % 3, np.array(["low", "mid", "high"])
    levels = stream_of_arrays("f", {"X": x, "y": y, "classes": names}, ORDINAL)
    assert (levels.classes, levels.y.tolist()) == (("low", "mid", "high"), y.tolist())
    turned = stream_of_arrays("f", {"X": x, "y": y, "classes": names}, replace(ORDINAL, classes=("high", "mid", "low")))
    assert turned.y.tolist() == (2 - y).tolist()
    held = stream_of_arrays("f", {"X": x, "y": y, "Xt": x[:2], "yt": y[1:3], "classes": names}, ORDINAL)
    assert held.held_y.tolist() == [1, 2]
    matrix = {"X": x, "y": np.eye(3, dtype=np.int64)[np.zeros(60, np.int64)]}
    assert stream_of_arrays("f", {**matrix, "classes": names}, MULTI).classes == ("low", "mid", "high")
    ours = stream_of_arrays("f", matrix, replace(MULTI, classes=("a", "b", "c")))
    assert (ours.classes, ours.texts[0]) == (("a", "b", "c"), '["a"]')
    with pytest.raises(ConfigError, match="f: 3 columns of answers and 2 classes; they must be as many"):
        stream_of_arrays("f", matrix, replace(MULTI, classes=("a", "b")))
    with pytest.raises(ConfigError, match="row 4: '3' is not one of the levels"):
        stream_of_arrays("f", {"X": x, "y": np.arange(60) % 4, "classes": names}, ORDINAL)


def test_answers_that_cannot_be() -> None:
    """A bad cell is one error with its row: no number, out of the range, no class, no level; floats without --answer are told of it."""
    table = {"X": np.zeros((60, 1)), "y": np.arange(60) / 7.0}
    with pytest.raises(ConfigError, match="row 1: 'much' is not a finite number"):
        stream_of_rows("f", [{"a": 1.0, "label": "much"}] * 60, "label", NUMERIC)
    narrow = replace(NUMERIC, answer=Answer(kind=AnswerKind.NUMERIC, least=0.0, most=5.0))
    with pytest.raises(ConfigError, match=r"row 37: 5.142857143 is not from 0 to 5"):
        stream_of_arrays("f", table, narrow)
    with pytest.raises(ConfigError, match="row 1: 'z' is not one of the project's classes"):
        stream_of_rows("f", [{"a": 1.0, "label": "z"}] * 60, "label", replace(MULTI, classes=("a", "b")))
    with pytest.raises(ConfigError, match="row 1: 'z' is not one of the levels"):
        stream_of_rows("f", [{"a": 1.0, "label": "z"}] * 60, "label", replace(ORDINAL, classes=("a", "b")))
    with pytest.raises(ConfigError, match="nearly every answer is a number of its own"):
        stream_of_arrays("f", table)
    with pytest.raises(ConfigError, match="nearly every answer is a number of its own"):
        stream_of_rows("f", [{"a": 1.0, "label": f"{i / 7.0}"} for i in range(60)], "label")
    named = stream_of_rows("f", [{"a": 1.0, "label": f"user {i}.5"} for i in range(60)], "label")
    assert len(named.classes) == 60
    with pytest.raises(ConfigError, match="bandit is for answers of one class, not for numeric"):
        checked(_project(_of(NUMERIC)), ("bandit",), (0.1,))
    with pytest.raises(ConfigError, match="variance is for answers that are numbers, not for ordinal"):
        checked(_project(_of(ORDINAL)), ("variance",), (0.1,))


def test_command_with_lists_of_a_real_stream(tmp_path: Path) -> None:
    """Genes of yeast with their functions, from a package: a line per policy, and the picture says what is drawn."""
    pytest.importorskip("matplotlib")
    rows = [row for row, _ in zip(datasets.Yeast(), range(400), strict=False)]  # type: ignore[no-untyped-call]
    lines = [{"v": list(x.values()), "label": [name for name, there in y.items() if there]} for x, y in rows]
    file = tmp_path / "yeast.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    picture = tmp_path / "p.svg"
    options = ["--answer", "multi", "--policy", "entropy", "--policy", "uniform", "--budget", "0.2", "--seeds", "1"]
    more = ["--workers", "1", "--json", "--save", str(picture)]
    result = CliRunner().invoke(cli.build(), ["simulate", str(file), *options, *more])
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["policy"] for line in found] == ["entropy", "uniform"]
    assert all(0.2 < line["accuracy"]["value"] < 0.9 for line in found), found
    assert all(line["labels"]["value"] > 40 for line in found)
    assert "Jaccard before the label is known" in picture.read_text()
    wrong = CliRunner().invoke(cli.build(), ["simulate", str(file), "--answer", "many"])
    assert wrong.exit_code != 0
