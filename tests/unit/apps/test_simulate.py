"""A simulation is the real policy and the real learner: what it reports must be what happened, the same every time."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tiebreak.apps import cli
from tiebreak.apps.simulate import picture
from tiebreak.apps.simulate.arms import Arm, sampling_of
from tiebreak.apps.simulate.files import FORMS, load_stream
from tiebreak.apps.simulate.judging import f1
from tiebreak.apps.simulate.replay import Outcome, Pace, People, Replay
from tiebreak.apps.simulate.report import lines
from tiebreak.apps.simulate.run import Trial, run_arm
from tiebreak.apps.simulate.selecting import PeriodicSelector, UniformSelector
from tiebreak.apps.simulate.stream import Stream, held_back, shuffled, stream_of_arrays, stream_of_rows
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Classes, Input, Project, Sampling, TensorSpec, Training
from tiebreak.sampling.appraisal import Scored
from tiebreak.training.contest import Contest
from tiebreak.training.discriminant import Discriminant, Taught
from tiebreak.training.plans import Plan


def _blobs(events: int = 600) -> Stream:
    """Five overlapping Gaussian classes in eight dimensions, a third of the events held out."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 5, events)
    x = rng.normal(size=(5, 8))[y] * 1.5 + rng.normal(size=(events, 8))
    return held_back(stream_of_arrays("blobs", {"X": x, "y": y}), 0.3, 1)


def _trial(stream: Stream, delay: int = 0, error_rate: float = 0.0) -> Trial:
    project = Project(
        project="simulated",
        input=Input(tensors=(TensorSpec(name="input", shape=(stream.x.shape[1],)),)),
        classes=Classes(open=True),
        sampling=Sampling(audit_share=0.0),
    )
    return Trial(stream, project, People(delay, error_rate), Pace())


def _told(outcome: Outcome) -> tuple[list[int], list[int], float]:
    return outcome.asked.tolist(), outcome.predicted.tolist(), outcome.held_out


def test_repeats() -> None:
    """The same arm asks the same questions and predicts the same, run after run; another seed does not."""
    trial = _trial(_blobs())
    first = run_arm(trial, Arm("default", 0.2, 1))
    assert _told(run_arm(trial, Arm("default", 0.2, 1))) == _told(first)
    assert run_arm(trial, Arm("default", 0.2, 2)).asked.tolist() != first.asked.tolist()


def test_learns_from_its_labels() -> None:
    """With every label right and at once, a model comes that tells the classes apart far better than chance."""
    outcome = run_arm(_trial(_blobs()), Arm("default", 0.3, 1))
    assert outcome.models > 1
    assert outcome.held_out > 0.6
    assert [point.labels for point in outcome.curve][-1] == len(outcome.asked)


def test_late_labels() -> None:
    """Labels that come after the end of the stream train nothing while it runs: no event is predicted."""
    outcome = run_arm(_trial(_blobs(), delay=10_000), Arm("uniform", 0.5, 1))
    assert set(outcome.predicted.tolist()) == {-1}
    assert len(outcome.asked) > 100


def test_events_that_pass_by_teach_in_a_replay_too() -> None:
    """With `training.unlabelled` the learner that is taught by them ends better, and the same on each run."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 8, 2000)
    loud = rng.normal(size=(6, 256))
    x = rng.normal(size=(8, 256))[y] + rng.normal(0, 3, (2000, 6)) @ loud + rng.normal(0, 3, (2000, 256))
    stream = held_back(stream_of_arrays("passing", {"X": x, "y": y}), 0.3, 1)

    def held(along: int) -> float:
        training = Training(unlabelled=along, committee=1, step_labels=8)
        contest = Contest([Plan("taught", Taught(Discriminant(1, 7)), 1000, 1000, 7)], 7)
        replay = Replay(stream, UniformSelector(0.05, 1), contest, training, People(), Pace(), 1)
        return replay.run().held_out

    first = held(8)
    assert first > held(0) + 0.03
    assert held(8) == first


def test_wrong_answers() -> None:
    """Answers that are mostly wrong make a worse model than answers that are right, from the same questions."""
    right = run_arm(_trial(_blobs()), Arm("uniform", 0.5, 1))
    wrong = run_arm(_trial(_blobs(), error_rate=0.8), Arm("uniform", 0.5, 1))
    assert wrong.asked.tolist() == right.asked.tolist()
    assert wrong.held_out < right.held_out


def test_spends_its_budget() -> None:
    """A policy asks for its share of the stream: never for more than what it may run ahead."""
    stream = _blobs(3000)
    outcome = run_arm(_trial(stream), Arm("margin", 0.1, 1))
    assert abs(len(outcome.asked) - 0.1 * len(stream)) <= 3


def test_periodic_is_even() -> None:
    """A tenth of the events is every tenth, however the stream is cut into batches."""
    selector = PeriodicSelector(0.1)

    def picked(start: int, stop: int) -> list[int]:
        ids = [b"%d" % i for i in range(start, stop)]
        return [
            start + pick.row
            for pick in selector.select(Scored(ids, "", np.zeros((stop - start, 0), np.float32)), start)
        ]

    whole = picked(0, 100)
    assert whole == list(range(9, 100, 10))
    assert picked(0, 7) + picked(7, 55) + picked(55, 100) == whole


def test_savings_by_hand() -> None:
    """A saving is read off the uniform arms' curve, over the logarithm of labels, and left open beyond its ends."""

    def outcome(labels: int, accuracy: float) -> Outcome:
        base = run_arm(_trial(_blobs(120)), Arm("uniform", 0.1, 0))
        return replace(base, asked=np.arange(labels), held_out=accuracy)

    arms = [Arm("uniform", 0.1, 0), Arm("uniform", 0.4, 0), Arm("default", 0.1, 0), Arm("default", 0.2, 0)]
    found = lines(arms, [outcome(100, 0.5), outcome(400, 0.7), outcome(100, 0.6), outcome(100, 0.9)])
    saved = [line.saved.value for line in found]
    assert saved[:3] == pytest.approx([0.0, 0.0, 0.5])
    assert np.isnan(saved[3])


def test_f1_of_a_class_nobody_names() -> None:
    """A class that is neither there nor predicted counts as nothing learned."""
    assert f1(np.array([0, 0]), np.array([0, 0]), (0, 7)) == 0.5


def test_changes_of_a_policy() -> None:
    """A policy's text changes exactly the keys it names."""
    changed = sampling_of(Sampling(), "entropy:temper=0,near_duplicates.memory=8")
    expected = Sampling().model_dump() | {"strategy": "entropy", "temper": 0.0}
    expected["near_duplicates"]["memory"] = 8
    assert changed.model_dump() == expected
    assert sampling_of(Sampling(), "split:seed=3").model_dump() == Sampling().model_dump() | {
        "rule": "split",
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("margn", "strategy"),
        ("margin:temper", "no key=value"),
        ("margin:warmth=1", "no key 'warmth'"),
        ("margin:near_duplicates.memory=-1", "near_duplicates.memory"),
    ],
)
def test_a_policy_that_cannot_be(policy: str, said: str) -> None:
    """A mistake in a policy's text is named before anything runs."""
    with pytest.raises(ConfigError, match=said):
        sampling_of(Sampling(), policy)


def test_the_same_stream_from_every_format(tmp_path: Path) -> None:
    """CSV, JSON Lines, Parquet and npz of the same events are the same stream."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 2)).astype(np.float32), np.array(["yes", "no"])[rng.integers(0, 2, 60)]
    rows = [
        {"id": str(i), "a": float(a), "b": float(b), "label": str(c)}
        for i, ((a, b), c) in enumerate(zip(x, y, strict=True))
    ]
    np.savez(tmp_path / "s.npz", X=x, y=y)
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "s.csv").write_text(
        "id,a,b,label\n" + "".join(f"{r['id']},{r['a']},{r['b']},{r['label']}\n" for r in rows)
    )
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "s.parquet")
    streams = [load_stream(tmp_path / f"s.{suffix}", "label") for suffix in ("npz", "jsonl", "csv", "parquet")]
    for stream in streams:
        assert stream.x.tolist() == x.tolist()
        assert [stream.classes[i] for i in stream.y] == y.tolist()


def test_bad_files(tmp_path: Path) -> None:
    """A file that cannot be replayed is one clear error: no label, a word among numbers, one class, too short, no such format."""
    with pytest.raises(ConfigError, match="row 1 has no column 'team'"):
        stream_of_rows("f", [{"a": 1.0, "label": "x"}], "team")
    with pytest.raises(ConfigError, match=r"row 1, column a: 'red' is not a number"):
        stream_of_rows("f", [{"a": "red", "label": "x"}], "label")
    with pytest.raises(ConfigError, match="row 2 has 1 features, the first has 2"):
        stream_of_rows("f", [{"v": [1, 2], "label": "x"}, {"v": [1], "label": "y"}], "label")
    with pytest.raises(ConfigError, match="one class only"):
        stream_of_arrays("f", {"X": np.zeros((60, 1)), "y": np.zeros(60)})
    with pytest.raises(ConfigError, match="at least 50"):
        stream_of_arrays("f", {"X": np.zeros((9, 1)), "y": np.arange(9)})
    with pytest.raises(ConfigError, match="Cannot tell the format"):
        load_stream(tmp_path / "events.xml", "label")


RANDOM = np.random.default_rng(5).bytes(4000)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("r.csv", RANDOM, "line 1 is not UTF-8"),
        ("r.jsonl", RANDOM, "line 1 is not JSON (column 1)"),
        ("r.parquet", RANDOM, "is damaged, or no Parquet"),
        ("r.npz", RANDOM, "is damaged, or no .npz"),
        ("torn.npz", b"PK\x03\x04 and no more", "is damaged, or no .npz"),
        ("e.parquet", b"", "is damaged, or no Parquet"),
        ("e.npz", b"", "is damaged, or no .npz"),
        ("twice.csv", b"a,a,label\n1,2,x\n", "the first line names column 'a' twice"),
        ("short.csv", b"a,b,label\n1,2,x\n1,2\n", "line 3 has 2 cells under 3 columns"),
        ("latin.csv", "a,label\n1,café\n".encode("latin-1"), "line 2 is not UTF-8"),
        (
            "long.csv",
            b"a,label\n" + b"1" * 200_000 + b",x\n",
            "line 2 is not CSV: field larger than field limit (131072)",
        ),
        ("list.jsonl", b'{"a": 1, "label": "x"}\n[1]\n', "line 2 is not a JSON object"),
        ("pretty.json", b'[\n{"a": 1}\n]\n', "line 1 is not JSON (column 1)"),
        ("deep.jsonl", b"[" * 5000, "line 1 is not JSON (column 1026)"),
        ("inputs.jsonl", b'{"inputs": 5}', "line 1: `inputs` is not a list of tensors"),
        ("tensors.jsonl", b'{"inputs": ["x"]}', "line 1: `inputs` is not a list of tensors"),
        ("fields.jsonl", b'{"fields": [1, 2]}', "line 1: `fields` is not an object"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_place_and_what_is_taken(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    """Whatever bytes it holds, and whatever another reader set for the process: our words and not a library's."""
    csv.field_size_limit(2**20)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError) as refused:
        load_stream(tmp_path / name, "label")
    assert (refused.value.message, refused.value.fix) == (f"{tmp_path / name}: {said}.", FORMS)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"X": np.zeros((60, 2)), "y": np.array([{}] * 60, dtype=object)},
            "array y is damaged, or holds Python objects",
        ),
        ({"X": np.zeros((60, 2), complex), "y": np.zeros(60)}, "X holds complex numbers"),
        ({"X": np.zeros((60, 2)), "y": np.zeros((60, 2))}, "y is no list of answers"),
        ({"X": np.zeros((60, 2)), "y": np.float64(2)}, "y is one number"),
        ({"X": np.float64(1), "y": np.zeros(60)}, "X does not hold numbers"),
    ],
)
def test_arrays_that_are_no_stream_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    """Of another kind or shape than events and their answers."""
    np.savez(tmp_path / "odd.npz", X=arrays["X"], y=arrays["y"])
    with pytest.raises(ConfigError, match=rf"odd\.npz.*{said}"):
        load_stream(tmp_path / "odd.npz", "label")


def test_one_array_is_no_archive(tmp_path: Path) -> None:
    """numpy gives another kind of object for it."""
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ConfigError, match="is one array, not an archive of several"):
        load_stream(tmp_path / "one.npz", "label")


def test_vectors_of_class_names_come_with_the_file() -> None:
    """A row for each name, whichever of them occur; none without names; another shape is said with the file's name."""
    arrays = {"X": np.zeros((60, 2)), "y": np.arange(60) % 2, "classes": np.array(["a", "b", "c"])}
    vectors = stream_of_arrays("f", {**arrays, "class_emb": np.eye(3, 2)}).vectors
    assert {name: vector.tolist() for name, vector in vectors.items()} == {"a": [1, 0], "b": [0, 1], "c": [0, 0]}
    assert stream_of_arrays("f", {"X": arrays["X"], "y": arrays["y"], "class_emb": np.eye(3, 2)}).vectors == {}
    for wrong in (np.eye(2), np.eye(3)):
        with pytest.raises(
            ConfigError, match=r"f: class_emb is .*a row of 2 numbers for each of the classes is needed"
        ):
            stream_of_arrays("f", {**arrays, "class_emb": wrong})
    with pytest.raises(ConfigError, match="f: class_emb does not hold numbers"):
        stream_of_arrays("f", {**arrays, "class_emb": np.array(["x", "y", "z"])})


def test_shuffling_keeps_events_whole() -> None:
    """Another order is the same pairs of features and label."""
    stream = _blobs(200)
    mixed = shuffled(stream, 5)
    assert mixed.y.tolist() != stream.y.tolist()
    assert sorted(map(tuple, np.column_stack([mixed.x, mixed.y]).tolist())) == sorted(
        map(tuple, np.column_stack([stream.x, stream.y]).tolist())
    )


def test_picture(tmp_path: Path) -> None:
    """The picture is written, with a line for each policy, and the same runs draw the same file."""
    pytest.importorskip("matplotlib")
    trial = _trial(_blobs(300))
    arms = [Arm(policy, budget, 0) for policy in ("default", "uniform") for budget in (0.1, 0.3)]
    outcomes = [run_arm(trial, arm) for arm in arms]
    picture.save(arms, outcomes, "blobs", tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    assert "default" in drawn
    assert "uniform" in drawn


def test_command(tmp_path: Path) -> None:
    """The command prints a line per policy and budget for programs, each with what was really spent."""
    stream = _blobs(300)
    np.savez(tmp_path / "s.npz", X=stream.x, y=stream.y)
    options = [
        "--policy",
        "margin",
        "--policy",
        "uniform",
        "--budget",
        "0.2",
        "--seeds",
        "1",
        "--workers",
        "1",
        "--json",
    ]
    result = CliRunner().invoke(cli.build(), ["simulate", str(tmp_path / "s.npz"), *options])
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["policy"], line["budget"]) for line in found] == [("margin", 0.2), ("uniform", 0.2)]
    assert all(0 < line["labels"]["value"] < 100 for line in found)
