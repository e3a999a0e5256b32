"""The figures at the end: right for a run told by hand, and honest where random did as well."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from rich.console import Console

from tests.support.demo import asked, drifted, manifest, prediction, promoted, settled, small_world, told
from tiebreak.apps.demo.control import Arm, ArmResult, Needed
from tiebreak.apps.demo.journal import Entry, Journal, Known
from tiebreak.apps.demo.picture import save
from tiebreak.apps.demo.recording import Recording
from tiebreak.apps.demo.screen import Screen
from tiebreak.apps.demo.summary import Against, Summary, caught_up, headline, label_to_live_s, picture_of, summarise
from tiebreak.apps.demo.table import table_of
from tiebreak.apps.demo.view import Scene, line_of, render, sparkline
from tiebreak.apps.demo.world import CLASSES
from tiebreak.contracts.ids import task_id
from tiebreak.contracts.messages import DriftEvent
from tiebreak.runtime.clock import SystemClock

SECONDS = 10.0


@pytest.fixture
def recording() -> Recording:
    """1,000 events, no model for 100, then 80 % right; a burst; three questions, two labels."""
    world = small_world()
    records = [prediction(i, "", "", at_ms=i + 1) for i in range(100)]
    for i in range(100, 1000):
        truth = CLASSES[world.truths[i]]
        records.append(prediction(i, truth if i % 5 else "nothing", "v1" if i < 600 else "v2", at_ms=10 * i))
    records += [asked(50), asked(300), asked(900), settled(50, "0", 500), settled(300, "1", 4000)]
    records += [promoted("v1"), promoted("v2"), drifted(DriftEvent.ALARM, 520), drifted(DriftEvent.BURST_OPENED, 520)]
    return told(world, records)


def _arm(share: float, seed: int, hits: int) -> ArmResult:
    """Right on ``hits`` of each ten of the events that a model answered."""
    right = np.array([i >= 100 and i % 10 < hits for i in range(1000)])
    return ArmResult(Arm(share, seed), round(2 * share), right, (3, 519))


@pytest.fixture
def summary(recording: Recording) -> Summary:
    journal = Journal([_walk_off(50), _walk_off(900)])
    arms = [_arm(1.0, 1, 7), _arm(1.0, 2, 5), _arm(2.0, 1, 9)]
    return summarise(recording, [manifest("v1", [50]), manifest("v2", [50, 300])], arms, journal, SECONDS)


def _walk_off(index: int) -> Entry:
    return Entry(1, "person-01", "walk_off", Known.OK, task_id=task_id("digits-demo", f"digit-{index:06d}"))


def test_the_figures_are_those_of_the_run(summary: Summary) -> None:
    """Accuracy over the events that a model answered, beside the mean and the spread of the random arms of equal size."""
    found = summary.overall
    assert (found.active, found.random) == pytest.approx((0.8, 0.6))
    assert found.spread == pytest.approx(np.std([0.7, 0.5], ddof=1))
    assert (summary.events, summary.predicted, summary.questions, summary.labels, summary.used) == (1000, 1000, 3, 2, 2)
    assert (summary.models, summary.swaps, summary.bursts, summary.first_alarm, summary.dead) == (2, 2, 1, 20, 0)
    assert (summary.walked_off, summary.recovered, summary.rate) == (2, 1, 100.0)
    assert (summary.needed.low, summary.needed.high) == (1.0, 2.0)
    assert summary.needed.estimate == pytest.approx(2 ** (2 / 3))


def test_the_wait_from_an_answer_to_its_model_starts_at_the_answer(recording: Recording) -> None:
    """The first model that learned from a label counts; a label in no model yet does not."""
    recording.submitted_ms = {a.task_id: 400 for a in recording.asked.values()}
    manifests = [manifest("v2", [50, 300]), manifest("v1", [50])]
    assert label_to_live_s(recording, manifests) == pytest.approx(((1000 - 400) + (6000 - 400)) / 2 / 1000)
    assert label_to_live_s(recording, []) is None


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Needed(2.0, 3.0, 2.5), "600 labels; random needs about 1,500 to be right as often"),
        (Needed(3.0, None, None), "600 labels; random needs more than 1,800 to be right as often"),
        (Needed(0.0, 1.0, None), "600 labels: in this run random did as well"),
    ],
)
def test_the_headline_says_it_too_when_random_was_as_good(summary: Summary, found: Needed, sentence: str) -> None:
    """A bound is called a bound, and a defeat a defeat."""
    assert headline(replace(summary, needed=found, used=600)) == sentence


def test_random_has_caught_up_when_its_mean_reaches_the_live_accuracy(recording: Recording) -> None:
    """What stops the search for the number of labels that random needs."""
    assert not caught_up(recording, [_arm(2.0, 1, 7), _arm(2.0, 2, 8)])
    assert caught_up(recording, [_arm(2.0, 1, 7), _arm(2.0, 2, 9)])


def test_the_picture_is_written_twice_and_names_its_lines(
    recording: Recording, summary: Summary, tmp_path: Path
) -> None:
    """The SVG is XML whose text says what is what; the PNG is one; drawing again gives the same SVG."""
    picture = picture_of(recording, [_arm(1.0, 1, 7), _arm(1.0, 2, 5), _arm(2.0, 1, 9)], summary)
    svg, png = save(picture, tmp_path)
    words = " ".join("".join(ET.parse(svg).getroot().itertext()).split())  # noqa: S314 - our own file
    for expected in ("Tiebreak", "random, as many labels", "random, 2 times the labels", "the world drifts", "a burst"):
        assert expected in words
    first = svg.read_bytes()
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert save(picture, tmp_path)[0].read_bytes() == first


def test_a_run_without_any_model_still_has_a_picture_and_a_table(tmp_path: Path) -> None:
    """The trainer never came up: figures are empty, and nothing fails."""
    recording = told(small_world(), [prediction(i, "", "") for i in range(1000)])
    summary = summarise(recording, [], [ArmResult(Arm(1.0, 1), 0, np.zeros(1000, np.bool_), ())], Journal(), SECONDS)
    save(picture_of(recording, [ArmResult(Arm(1.0, 1), 0, np.zeros(1000, np.bool_), ())], summary), tmp_path)
    assert summary.overall == Against(0.0, 0.0, 0.0)
    assert _printed(table_of(summary, tmp_path / "demo.png")).count("demo.png") == 1
    json.dumps(asdict(summary))


def test_the_table_and_the_screen_show_the_run(recording: Recording, summary: Summary) -> None:
    """What a newcomer reads: the comparison, what the loop did, and while it runs where to label."""
    table = _printed(table_of(summary, Path("demo.png")))
    for expected in ("80.0 %", "60.0 ± 14.1 %", "about 3 (1.6 times)", "1,000 of 1,000", "2, 1 labelled by others"):
        assert expected in table
    scene = Scene(recording, Journal(), (90.0, 100.0), 1, "http://127.0.0.1:1/#token=t", "a note")
    screen = _printed(render(scene))
    for expected in ("http://127.0.0.1:1/#token=t", "1,000 of 1,000 events", "v2", "burst opened", "a note"):
        assert expected in screen
    assert "data set " in screen
    assert "labels 2  models 2  bursts 1  a note" in line_of(scene)


def test_the_screen_draws_before_anything_has_happened() -> None:
    """The first frame is drawn when nothing is known yet."""
    scene = Scene(Recording.of(small_world()), Journal(), (), 0, "http://127.0.0.1:1", "")
    assert "0 of 1,000 events" in _printed(render(scene))
    assert sparkline([]) == ""


async def test_a_line_of_a_log_stays_one_line(recording: Recording) -> None:
    """Where nobody looks on, as in CI, there are 80 columns: the line is longer, and was cut in two."""
    console, over = Console(width=80, file=StringIO()), asyncio.Event()
    over.set()
    screen = Screen(console, SystemClock(), recording, Journal(), "http://127.0.0.1:1")
    screen.note = "the stream is over; people finish what they hold"
    await screen.show(over)
    assert isinstance(console.file, StringIO)
    assert [line.rpartition("  ")[2] for line in console.file.getvalue().splitlines()] == [screen.note]


def _printed(what: object) -> str:
    console = Console(width=140, record=True, file=StringIO())
    console.print(what)
    return console.export_text()
