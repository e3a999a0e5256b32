"""Drift: detection delay and false alarms per 100,000 events, beside always-fire and never-fire, on streams with and without drift."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tiebreak.contracts.project import Drift
from tiebreak.sampling import drift
from tiebreak.sampling.mistakes import Checked, Mistakes, heard, level_at

Floats = NDArray[np.float64]

CLASSES = 8
BATCH = 256
AT = 4000  # events before the change
SEARCH = 6000  # events after a change in which an alarm is a detection
BUDGETS = (0.02, 0.05, 0.1, 0.2, 1.0)  # parts of the events that are labelled, for the alarm of labels alone
REACH = 1.0  # false bursts per 100,000 events
ASKED = 20  # one event in so many is labelled
DAY = 20_000  # events a day, of all traffic: that without a cycle has hours, too
DAYS = 3  # of a daily cycle before a change
LEARNT = 2  # days after which an hour has been seen twice
DAY_MS = 86_400_000
FIRST_MS = 20_000 * DAY_MS + 1
MISTAKEN = 0.6  # of its uncertainty is how often a calm model is wrong
ALWAYS_EVERY = Drift().burst.cooldown_events
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What detectors see of ``n`` events: uncertainty ``(n,)``, predicted classes ``(n,)``, input statistics ``(n, 4)``, and with the
    labels of some of them whether the model was ``wrong``, which ``luck`` ``(n,)`` in [0, 1) decides."""

    uncertainty: Floats
    predicted: NDArray[np.int64]
    inputs: Floats
    luck: Floats

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """``(n,)``: as often as the uncertainty says, also where that has changed."""
        return self.luck < MISTAKEN * self.uncertainty


Maker = Callable[[np.random.Generator, int], Traffic]


def steady(rng: np.random.Generator, n: int) -> Traffic:
    """Nothing changes."""
    uncertainty, predicted, inputs = rng.beta(1.2, 4.0, n), rng.choice(CLASSES, n, p=_shares()), rng.normal(size=(n, 4))
    return Traffic(uncertainty, predicted, inputs, rng.random(n))


def daily(rng: np.random.Generator, n: int) -> Traffic:
    """The mix of classes and the uncertainty follow the hour: ten days of 200,000 events."""
    return _cycled(steady(rng, n), rng, 0, 1.0)


def steep(rng: np.random.Generator, n: int) -> Traffic:
    """The same, twice as far."""
    return _cycled(steady(rng, n), rng, 0, 2.0)


def _cycled(base: Traffic, rng: np.random.Generator, first: int, far: float) -> Traffic:
    """With a daily cycle laid over it; ``first`` is the number of its first event."""
    n = len(base.predicted)
    hour = 0.5 - 0.5 * np.cos(2.0 * np.pi * (first + np.arange(n)) / DAY)
    busy = rng.random(n) < 0.3 * far * hour
    predicted = np.where(busy, rng.integers(0, 2, n), base.predicted)
    return replace(base, uncertainty=np.clip(base.uncertainty + 0.03 * far * hour, 0.0, 1.0), predicted=predicted)


def surge(rng: np.random.Generator, n: int) -> Traffic:
    """Ten times the traffic, of the same kind: by the count of events nothing moves, and bursts of one class come in runs."""
    base = steady(rng, n)
    predicted = base.predicted.copy()
    for start in rng.integers(0, n, n // 2000):
        predicted[start : start + 40] = predicted[start]
    return replace(base, predicted=predicted)


def swap(rng: np.random.Generator, n: int) -> Traffic:
    """At ``AT`` the inputs move by half of their spread and the model is less sure: a concept was replaced."""
    base, after = steady(rng, n), np.arange(n) >= AT
    uncertainty = np.where(after, rng.beta(2.0, 3.0, n), base.uncertainty)
    return replace(base, uncertainty=uncertainty, inputs=base.inputs + 0.5 * after[:, None])


def new_class(rng: np.random.Generator, n: int) -> Traffic:
    """At ``AT`` a tenth of the events is of a class nobody knows: uncertain, and predicted as one of the old ones."""
    base = steady(rng, n)
    novel = (np.arange(n) >= AT) & (rng.random(n) < 0.1)
    uncertainty = np.where(novel, rng.beta(4.0, 2.0, n), base.uncertainty)
    inputs = base.inputs + 1.5 * novel[:, None]
    return Traffic(uncertainty, np.where(novel, 0, base.predicted), inputs, np.where(novel, 0.0, base.luck))


def shares(rng: np.random.Generator, n: int) -> Traffic:
    """At ``AT`` the mix of classes turns round, and nothing else."""
    base, after = steady(rng, n), np.arange(n) >= AT
    return replace(base, predicted=np.where(after, CLASSES - 1 - base.predicted, base.predicted))


def gradual(rng: np.random.Generator, n: int) -> Traffic:
    """From ``AT`` on, over 3,000 events, inputs and uncertainty wander off."""
    base, part = steady(rng, n), np.clip((np.arange(n) - AT) / 3000.0, 0.0, 1.0)
    return replace(
        base, uncertainty=np.clip(base.uncertainty + 0.12 * part, 0.0, 1.0), inputs=base.inputs + 0.6 * part[:, None]
    )


def answers(rng: np.random.Generator, n: int) -> Traffic:
    """From ``AT`` on three of four predictions are wrong; inputs and probabilities show nothing of it."""
    base = steady(rng, n)
    return replace(base, luck=np.where(np.arange(n) < AT, base.luck, rng.random(n) >= 0.75))


CHANGING: dict[str, Maker] = {
    "swap": swap,
    "new class": new_class,
    "class shares": shares,
    "gradual": gradual,
    "answers": answers,
}
CALM: dict[str, Maker] = {
    "steady": steady,
    "daily cycle": daily,
    "traffic surge": surge,
    "a daily cycle twice as steep": steep,
}


def in_a_cycle(maker: Maker, rng: np.random.Generator) -> tuple[Traffic, int]:
    """The change of ``maker`` after three days of a daily cycle, which goes on, at any hour; and the number of its event."""
    before = DAYS * DAY + int(rng.integers(0, DAY)) - AT
    calm, change = steady(rng, before), maker(rng, AT + SEARCH)
    whole = Traffic(*(np.concatenate([getattr(one, f.name) for one in (calm, change)]) for f in fields(Traffic)))
    return _cycled(whole, rng, 0, 1.0), before + AT


def _time_of(start: int, row: int) -> int:
    return FIRST_MS + (start + row) * DAY_MS // DAY


def alarms(traffic: Traffic, settings: Drift) -> list[int]:
    """Event numbers of the alarms that the default detectors raise; labels come with the end of their batch."""
    state, found = drift.fresh(settings), list[int]()

    for start in range(0, len(traffic.predicted), BATCH):
        part = slice(start, start + BATCH)
        seen = drift.Observed(
            events=len(traffic.predicted[part]),
            classes=CLASSES,
            uncertainty=traffic.uncertainty[part],
            predicted=traffic.predicted[part],
            inputs=traffic.inputs[part],
            time_of=partial(_time_of, start),
        )
        state, fired = drift.observe(state, seen, settings, start)
        found += [one.at for one in fired if one.alarm]
        for at in range(start, start + seen.events, ASKED):
            checked = Checked(float(traffic.uncertainty[at]), bool(traffic.wrong[at]))
            state, told = drift.observe_label(state, checked, settings, start + seen.events, level_at(1.0 / ASKED))
            found += [one.at for one in told if one.alarm]
    return found


def main() -> int:
    """Print the tables and write the figures; 1 when there are more false alarms than the reach allows."""
    quick = os.environ.get("QUICK", "") not in {"", "0"}
    first = int(os.environ.get("FIRST_SEED", "0"))
    seeds, calm = (5, 60_000) if quick else (30, 200_000)
    settings, console = Drift(), Console(width=120)
    table = Table(title=f"A change after {AT:,} events ({seeds} seeds each): is it found, and how many events later?")
    for name in ("change", "found", "median delay", "90 %", "always-fire", "never-fire"):
        table.add_column(name, justify="left" if name == "change" else "right")
    rows: list[dict[str, object]] = []
    for name, delays in _changes(range(first, first + seeds), settings):
        found = sorted(delay for delay in delays if delay is not None)
        middle, late = (float(np.median(found)), float(np.quantile(found, 0.9))) if found else (np.nan, np.nan)
        table.add_row(
            name, f"{len(found)} of {seeds}", f"{middle:,.0f}", f"{late:,.0f}", f"{ALWAYS_EVERY // 2:,}", "never"
        )
        rows.append(_figure(f"{name}: share found within {SEARCH:,} events", len(found) / seeds))
        rows.append(_figure(f"{name}: median delay in events", middle))
    console.print(table)
    rows += _print_calm(console, calm, range(first, first + (2 if quick else 3)), settings)
    rows += _print_labels(console, 100_000 if quick else 1_000_000)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "drift.json").write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    return 1 if any(row["ok"] is False for row in rows) else 0


def _changes(seeds: Sequence[int], settings: Drift) -> Iterator[tuple[str, list[int | None]]]:
    """Each change, by itself and in a daily cycle, and its delays, None where it is not found."""
    for number, (name, maker) in enumerate(CHANGING.items()):
        streams = (maker(np.random.default_rng((seed, 1, number)), AT + SEARCH) for seed in seeds)
        yield name, [_delay(alarms(stream, settings), AT) for stream in streams]
    for number, (name, maker) in enumerate(list(CHANGING.items())[:4]):
        cycles = (in_a_cycle(maker, np.random.default_rng((seed, 4, number))) for seed in seeds)
        yield f"{name}, in a daily cycle", [_delay(alarms(stream, settings), at) for stream, at in cycles]


def _print_calm(console: Console, events: int, seeds: Sequence[int], settings: Drift) -> list[dict[str, object]]:
    times = f"{len(seeds)} times {events:,} events"
    table = Table(title=f"Nothing to find ({times}, of {DAY:,} a day): false alarms per 100,000 events")
    for name in ("traffic", "Tiebreak", "from the third day on", "always-fire", "never-fire"):
        table.add_column(name, justify="left" if name == "traffic" else "right")
    rows = []
    for number, (name, maker) in enumerate(CALM.items()):
        streams = (maker(np.random.default_rng((seed, 2, number)), events) for seed in seeds)
        found = [alarms(stream, settings) for stream in streams]
        rate = 1e5 * sum(map(len, found)) / (events * len(seeds))
        later = sum(at >= LEARNT * DAY for at in chain.from_iterable(found))
        rest = 1e5 * later / ((events - LEARNT * DAY) * len(seeds))
        table.add_row(name, f"{rate:.2f}", f"{rest:.2f}", f"{1e5 / ALWAYS_EVERY:.0f}", "0")
        # A cycle as steep as that is a change until it has been seen twice.
        reach = None if maker is steep else REACH
        rows.append(_figure(f"{name}: false alarms per 100,000 events", rate, reach))
        rows.append(_figure(f"{name}: false alarms per 100,000 events, from the third day on", rest, REACH))
    console.print(table)
    return rows


def _print_labels(console: Console, labels: int) -> list[dict[str, object]]:
    """The alarm of labels alone, by how many events are labelled: the more, the more chances to be wrong and the higher its level."""
    table = Table(title=f"Labels alone, nothing to find ({labels:,} labels each): false alarms per 100,000 events")
    for name in ("labelled", "level", "labels at random", "uncertain ones", "at most"):
        table.add_column(name, justify="right")
    rows = []
    for share in BUDGETS:
        level = level_at(share)
        rates = [1e5 * share * _false(labels, level, hard=hard) / labels for hard in (False, True)]
        bound = 1e5 * share * float(np.exp(-level))
        table.add_row(f"{share:.0%}", f"{level:.2f}", *(f"{rate:.2f}" for rate in rates), f"{bound:.2f}")
        rows.append(_figure(f"labels of {share:.0%} of the events: false alarms per 100,000 events", max(rates), REACH))
    console.print(table)
    return rows


def _false(labels: int, level: float, *, hard: bool) -> int:
    """False alarms over ``labels`` of events like those of steady traffic, or of mostly uncertain ones (``hard``)."""
    rng = np.random.default_rng((3, hard))
    uncertainty = rng.beta(3.0, 2.0, labels) if hard else rng.beta(1.2, 4.0, labels)
    wrong = rng.random(labels) < MISTAKEN * uncertainty
    mistakes, found = Mistakes(), 0
    for one, mistaken in zip(uncertainty.tolist(), wrong.tolist(), strict=True):
        mistakes, alarm = heard(mistakes, one, wrong=mistaken, level=level)
        found += alarm
    return found


def _delay(alarms_at: Sequence[int], change: int) -> int | None:
    """From the change to the first alarm after it."""
    return next((at - change for at in alarms_at if at >= change), None)


def _figure(name: str, value: float, reach: float | None = None) -> dict[str, object]:
    return {"figure": name, "value": value, "reach": reach, "ok": None if reach is None else value <= reach}


def _shares() -> Floats:
    weights = np.exp(-0.5 * np.arange(CLASSES))
    return np.asarray(weights / weights.sum())


if __name__ == "__main__":
    sys.exit(main())
