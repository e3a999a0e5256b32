"""The label benchmark's switches ask for what they say, and its rows follow from the cells by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from loadtests.bench_labels import CURVE, VARIANT_BUDGETS, Ask, cells
from loadtests.labels import panel, peers, prior
from loadtests.labels.cells import Cell, Result, Store, compute, learning_of, replay_of, told_of
from loadtests.labels.savings import Book
from loadtests.labels.tables import figures, print_figures, print_pairs, print_panel, print_variants
from tiebreak.contracts.project import Training
from tiebreak.training.sklearn_learners import contest_of


def _ask(**environment: str) -> Ask:
    return Ask.read({"STREAMS": "digits", "ARMS": "tiebreak periodic", "SEEDS": "1"} | environment)


def _variants(ask: Ask) -> set[tuple[str, int, float]]:
    return {(cell.arm, cell.delay, cell.error) for cell in cells(ask) if cell.delay or cell.error}


def test_delays_and_errors_are_crossed_for_every_arm() -> None:
    """Named, each delay goes with each error and every arm has them; not named, ours has either; named as nothing, nobody has."""
    asked = _variants(_ask(DELAYS="0 200", ERRORS="0 0.05"))
    arms = ("random", "tiebreak", "periodic")
    assert asked == {(arm, *one) for arm in arms for one in ((200, 0.0), (0, 0.05), (200, 0.05))}
    assert _variants(_ask()) == {(arm, *one) for arm in arms[:2] for one in ((200, 0.0), (0, 0.05))}
    assert _variants(_ask(DELAYS="0")) == set()
    with pytest.raises(ValueError, match="ERRORS shares below 1"):
        _ask(ERRORS="5")


def test_the_prior_asks_for_both_with_and_without_names() -> None:
    """Random over its curve, ours over its budgets, with names alone and with all help; without the switch nobody has names."""
    named = {(cell.arm, cell.budget) for cell in cells(_ask(PRIOR="1")) if "+names" in cell.arm}
    random = {("random+names", b) for b in (*CURVE, prior.ALL)} | {(f"random{prior.HELP}", b) for b in CURVE}
    assert named == random | {(arm, b) for arm in ("tiebreak+names", f"tiebreak{prior.HELP}") for b in prior.BUDGETS}
    assert not any("+names" in cell.arm for cell in cells(_ask()))
    # What 95 % is taken of is there, whatever else is left out.
    assert Cell("digits", "random", prior.ALL, 0) in set(cells(_ask(PRIOR="1", LARGE="0")))
    assert Cell("digits", "random", prior.ALL, 0) not in set(cells(_ask(LARGE="0")))


def _result(arm: str, budget: float, score: float, **more: Any) -> Result:
    cell = Cell("clinc150_lt", arm, budget, 0, **more)
    return Result(cell, 1000, round(1000 * budget), score, score, score, float("nan"), 0.0, ())


def _seeded(arm: str, seed: int, score: float) -> Result:
    found = _result(arm, 0.1, score)
    return replace(found, cell=replace(found.cell, seed=seed))


def _book(*results: Result) -> Book:
    return Book({result.cell: result for result in results})


def test_labels_to_95_per_cent_by_hand() -> None:
    """Of 80 % with all labels 76 % are wanted: between two budgets over the logarithm of labels, and not reached is not saved."""
    found = prior.figures(
        _book(
            *(_result("random", b, s) for b, s in ((0.1, 0.5), (0.4, 0.76), (prior.ALL, 0.8))),
            *(_result("random+names", b, s) for b, s in ((0.1, 0.66), (0.4, 0.86))),
            *(_result(f"tiebreak{prior.HELP}", b, s) for b, s in ((0.05, 0.7), (0.1, 0.76))),
            *(_result("random+auto", b, s) for b, s in ((0.1, 0.5), (0.25, 0.76))),
            _result("tiebreak", 0.1, 0.7),
        ),
        ("clinc150_lt", "digits"),
    )
    (row,) = found
    assert row.labels["random"] == pytest.approx(400.0)
    assert row.labels["random+names"] == pytest.approx(200.0)
    assert row.labels[f"tiebreak{prior.HELP}"] == pytest.approx(100.0)
    assert np.isnan(row.labels["tiebreak"])
    console = Console(record=True, width=150)
    prior.print_prior(console, found)
    printed = console.export_text()
    assert "100 (+75)" in printed
    assert "not reached" in printed
    assert "+60" in printed  # of random with the same learners
    (figure,) = prior.goal(found)
    assert figure["value"] == pytest.approx(0.75)
    assert prior.goal([]) == []


def test_what_is_not_reached_is_no_saving_of_nothing() -> None:
    """Ours stays below 95 %, or nobody knows what all labels give: the row says so, and the reach is missed without a value."""
    ours = [
        _result(f"tiebreak{prior.HELP}", 0.1, 0.7),
        *(_result("random", b, s) for b, s in ((0.1, 0.5), (0.4, 0.76))),
    ]
    for results, said in (([*ours, _result("random", prior.ALL, 0.8)], "80.0"), (ours, "no cell")):
        found = prior.figures(_book(*results), ("clinc150_lt",))
        console = Console(record=True, width=150)
        prior.print_prior(console, found)
        print_figures(console, prior.goal(found))
        printed = console.export_text()
        assert said in printed
        assert printed.count("not reached") >= 3
        (figure,) = prior.goal(found)
        assert (figure["value"], figure["ok"]) == (None, False)


def test_variants_are_printed_with_their_arm() -> None:
    """A row for each arm that has cells, against random under the same conditions."""
    late = {"delay": 200}
    book = _book(
        *(_result("random", b, s, **late) for b, s in ((0.05, 0.4), (0.1, 0.5), (0.2, 0.6))),
        _result("periodic", 0.05, 0.5, **late),
        _result("tiebreak", 0.1, 0.6, **late),
    )
    console = Console(record=True, width=150)
    print_variants(console, book, ("clinc150_lt",), ((200, 0.0), (0, 0.05)), VARIANT_BUDGETS)
    rows = [line for line in console.export_text().splitlines() if "200 events" in line]
    assert len(rows) == 2
    assert "periodic" in rows[0]
    assert "+50 (50.0)" in rows[0]
    assert "+50 (60.0)" in rows[1]


def test_arms_are_compared_seed_by_seed() -> None:
    """Seeds that both arms have are taken off one another, the others are left out; a single arm has no such table."""
    book = _book(
        *(_seeded("tiebreak", seed, score) for seed, score in enumerate((0.8, 0.7, 0.9))),
        *(_seeded("periodic", seed, score) for seed, score in enumerate((0.78, 0.66))),
    )
    console = Console(width=150, record=True)
    print_pairs(console, book, ["clinc150_lt"], ["tiebreak", "periodic"], [0.1])
    printed = console.export_text()
    # Student's t for two: 12.71 times the standard error of 2 and 4.
    assert "+3.0 ±12.7" in printed, printed
    assert "+2.0, +4.0" in printed, printed
    print_pairs(console, book, ["clinc150_lt"], ["tiebreak"], [0.1])
    assert console.export_text() == ""


def test_an_arm_is_measured_against_random_with_its_own_learner() -> None:
    """With all learners against random with all learners, whose cells are asked for; the figures speak of that arm."""
    wanted = set(cells(_ask(ARMS="tiebreak+auto", STREAMS="digits")))
    assert {(c.arm, c.budget) for c in wanted if c.arm == "random+auto"} == {
        ("random+auto", b) for b in (*CURVE, prior.ALL)
    }
    assert not any(c.arm == "random+auto" for c in cells(_ask(ARMS="tiebreak", STREAMS="digits")))
    weak = [_result("random", b, s) for b, s in ((0.05, 0.1), (0.1, 0.2), (0.8, 0.6))]
    strong = [_result("random+auto", b, s) for b, s in ((0.05, 0.4), (0.1, 0.5), (0.2, 0.6))]
    ours = _result("tiebreak+auto", 0.1, 0.6)
    arms, streams = ("tiebreak+auto",), ("clinc150_lt",)
    found = figures(_book(*weak, *strong, ours), streams, arms, (0.1,))
    assert next(row for row in found if row["figure"] == "saving, clinc150_lt at 10 %")["value"] == pytest.approx(0.5)
    console = Console(record=True, width=150)
    print_panel(console, _book(*weak, ours), streams, arms, (0.1,))
    assert "nan" not in console.export_text()  # nothing to measure against is no figure


def test_a_cell_feels_its_delay_and_its_errors() -> None:
    """On real digits, labels that come after the end teach nothing in time, and wrong ones teach wrong things."""
    plain, late, wrong = (
        compute(Cell("digits", "periodic", 0.1, 0, delay, error), None)
        for delay, error in ((0, 0.0), (10**6, 0.0), (0, 0.6))
    )
    assert late.second_half == 0.0
    assert plain.second_half > wrong.second_half > 0.0


def test_labels_raise_no_alarm_where_an_arm_is_unalarmed() -> None:
    """After a swap labels open a burst, and with ``+unalarmed`` they do not: all else is the same, the learner's too."""
    cell = Cell("swap", "tiebreak", 0.2, 0)
    entry = panel.entry(None, cell.stream)
    stream, training = told_of(cell, entry), learning_of(entry, cell.arm)
    told = []
    for arm in (cell.arm, "tiebreak+unalarmed"):
        contest = contest_of(training, stream.x.shape[1], names=stream.vectors)
        assert learning_of(entry, arm) == training
        told.append(replay_of(replace(cell, arm=arm), stream, training, contest).run().bursts.opened)
    assert len(told[0]) > len(told[1]), told


def test_rules_of_the_library_are_given_a_model() -> None:
    """They are asked once there is a model, so what is labelled for them before is enough for the first, however short the stream."""
    assert peers.given(0.02, 3506) == Training().min_labels
    assert peers.given(0.2, 3506) == peers.BOOTSTRAP


def test_a_stopped_run_is_taken_up_where_it_was(tmp_path: Path) -> None:
    """What is in the folder is read, not computed again; what is missing is computed by one worker and kept; all are told, in order."""
    store = Store(tmp_path)
    there, missing = (Cell("digits", "random", budget, 0) for budget in (0.02, 0.05))
    store.put(replace(compute(there, None), labels=7))
    told: list[Result] = []
    found = store.all([there, missing], None, 1, told.append)
    assert [(one.cell, one.labels) for one in told] == [(there, 7), (missing, found[missing].labels)]
    assert found[missing].labels > 20
    kept = Store(tmp_path).get(missing)
    assert kept is not None
    assert kept.labels == found[missing].labels


def test_the_long_tailed_half_of_a_stream_is_a_stream_by_name(tmp_path: Path) -> None:
    """Half of the events, the biggest classes whole or alike and the others falling off; of the rows held out the same shares."""
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(20), np.linspace(60, 30, 20).astype(int))
    x = rng.normal(size=(len(y), 3)) + y[:, None]
    np.savez(tmp_path / "toy.npz", X=x, y=y, Xt=x[::2], yt=y[::2], kind="text", timed=0)
    whole, tail = panel.entry(tmp_path, "toy").load(0), panel.entry(tmp_path, "toy+tail").load(0)
    sizes, all_sizes = np.bincount(tail.y, minlength=20), np.bincount(whole.y, minlength=20)
    assert abs(2 * len(tail) - len(whole)) <= 20
    assert (np.diff(sizes) <= 0).all()
    assert sizes[0] == all_sizes[0]
    assert sizes[19] * 7 < sizes[0]
    held, all_held = np.bincount(tail.held_y, minlength=20), np.bincount(whole.held_y, minlength=20)
    assert np.abs(held / all_held - sizes / all_sizes).max() < 0.05
    assert tuple(panel.entries(tmp_path)) == ("toy",)
    with pytest.raises(KeyError):
        panel.entry(tmp_path, "none+tail")
