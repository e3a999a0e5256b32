"""Learners against river and scikit-learn, and what the gate lets through: DATA=folder of .npz streams; QUICK=1 is short.

SECTIONS="rollouts slower" chooses; the default is all of them, in this order. On two cores, as far as they were timed:

- rollouts: A/A and worse challengers of classes and of numbers, flattered ones, one class collapsed, what an accuracy is worth:
  simulated, two minutes
- broken: NaN, one class always, one slice collapsed; trained, exported, checked, judged: 3 minutes (RUNS=100 of each)
- slower: perceptrons of the same cost and of 1.3 times the cost, through the sandbox: 15 minutes (RUNS=100 of each)
- cost: a step after 10^3 and 10^6 labels (LABELS): 5 minutes, most of them to fill ledgers
- live: from an annotator's submit to a model that learned from it: two minutes
- learners: prequential accuracy on the streams of DATA: hours (EVENTS, STREAMS, SEEDS, LIMIT make it less)
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtests.models import broken, contest, costs, disagreements, entrant, lines, live, numbers, rollouts, steps
from loadtests.models.peers import peers
from tiebreak.contracts.project import Gate

RESULTS = Path(__file__).parent / "results" / "models.json"
SECTIONS = ("rollouts", "broken", "slower", "cost", "live", "learners")
_MARGIN = 0.005


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the results. ``ok`` None: there is nothing to reach, it is for information."""

    figure: str
    value: float | None
    reach: str
    ok: bool | None


@dataclass(frozen=True, slots=True)
class Ask:
    """From the environment: DATA, QUICK, EVENTS (0: whole streams), PORTION, STREAMS, SEEDS, LIMIT (processor seconds for one learner
    on one stream), LABELS (in the ledger, for the cost of a step), RUNS (of each kind of broken or slower challenger), SECTIONS."""

    data: Path | None
    quick: bool
    events: int
    portion: int
    streams: tuple[str, ...]
    labels: int
    seeds: tuple[int, ...]
    limit_s: float
    runs: int
    sections: tuple[str, ...]

    @classmethod
    def read(cls, environment: dict[str, str]) -> Ask:
        """With defaults."""
        quick = environment.get("QUICK", "") not in {"", "0"}
        return cls(
            data=Path(environment["DATA"]).resolve() if environment.get("DATA") else None,
            quick=quick,
            events=int(environment.get("EVENTS", "1500" if quick else "0")),
            portion=int(environment.get("PORTION", "100")),
            streams=tuple(environment.get("STREAMS", "").split()),
            labels=int(environment.get("LABELS", "20000" if quick else "1000000")),
            seeds=tuple(int(seed) for seed in environment.get("SEEDS", "0").split()),
            limit_s=float(environment.get("LIMIT", "300")),
            runs=int(environment.get("RUNS", "5" if quick else "100")),
            sections=tuple(environment.get("SECTIONS", "").replace(",", " ").split()) or SECTIONS,
        )


def learners(ask: Ask, console: Console) -> list[Figure]:
    """Prequential accuracy with all labels, in portions, on each stream. What was measured is kept: a run can be taken up."""
    if ask.data is None:
        console.print("Learners are compared on real streams: name their folder with DATA=.")
        return []
    found: list[Figure] = []
    better = total = 0
    title = f"Prequential accuracy, {ask.portion} labels at a time (events reached in {ask.limit_s:g} s, where not all)"
    table = Table("stream", "events", "Tiebreak", *peers(), title=title)
    for seed in ask.seeds:
        for stream in contest.streams(ask.data, ask.events, ask.streams, seed):
            own = entrant.track(stream, ask.portion, ask.limit_s)
            tracks = {name: _peer(stream, name, ask) for name in peers()}
            # A peer that was too slow for the whole stream is compared on the events that it reached; without one, on none.
            gaps = [own.accuracy(t.reached(own)) - t.accuracy(t.reached(own)) for t in tracks.values() if len(t.hits)]
            table.add_row(
                f"{stream.name} {seed or ''}",
                str(len(stream.x)),
                *(_cell(track, own) for track in (own, *tracks.values())),
            )
            name, gap = f"{stream.name}{f' (seed {seed})' if seed else ''}", min(gaps)
            found.append(
                Figure(f"{name}: points above the best peer", round(100.0 * gap, 2), ">= -0.5", gap >= -_MARGIN)
            )
            better, total = better + (gap > 0.0), total + 1
    console.print(table)
    found.append(
        Figure(f"streams on which it is better, of {total}", float(better), f"> {total / 2:g}", better > total / 2)
    )
    return found


def _peer(stream: contest.Stream, name: str, ask: Ask) -> contest.Track:
    def run() -> contest.Track:
        return contest.prequential(stream, peers()[name](stream), ask.portion, ask.limit_s)

    return contest.kept(contest.place(stream, ask.portion, name), run)


def _cell(track: contest.Track, own: contest.Track) -> str:
    if not len(track.hits):
        return f"predicted nothing in {track.seconds:.0f} s"
    reached = track.reached(own)
    beside = f"; ours there {own.accuracy(reached):.4f}" if reached < len(own.hits) else ""
    return f"{track.accuracy():.4f} ({len(track.hits)}, {track.seconds:.0f} s{beside})"


def simulated(ask: Ask) -> list[Figure]:
    """A/A rollouts and challengers of known worth."""
    rule, runs, labels = Gate(), 200 if ask.quick else 2000, 400 if ask.quick else 2000
    same = rollouts.peek(runs, labels, 0.0, rule.alpha)
    found = [
        Figure(
            f"A/A, {runs} rollouts looked at after each of {labels} labels: false rollback",
            same.worse,
            "<= 0.05",
            same.worse <= 0.05,
        ),
        Figure("A/A: false better", same.better, "<= 0.05", same.better <= 0.05),
    ]
    for worse in (0.02, 0.05, 0.10):
        seen = rollouts.peek(runs // 10, labels if worse > 0.02 else 5 * labels, worse, rule.alpha)
        name = f"{100 * worse:g} points worse"
        found += [
            Figure(f"{name}: rolled back", seen.worse, ">= 0.95", seen.worse >= 0.95),
            Figure(f"{name}: median labels", seen.median_labels, "", None),
            Figure(
                f"{name}: labels of a fixed-sample test with power 0.5",
                float(rollouts.fixed_sample(worse, rule.alpha)),
                "",
                None,
            ),
            Figure(
                f"{name}: labels of a fixed-sample test with power 0.95",
                float(rollouts.fixed_sample(worse, rule.alpha, 0.95)),
                "",
                None,
            ),
        ]
    found += _looked_for(runs, labels, rule)
    found += _numbers(runs, labels, rule)
    for audit in (20, 30, 60, 300, 1000):
        promoted = rollouts.flattered(200, rule, audit, 0.1)
        name = f"flattered by selected labels, 10 points worse on {audit} audit labels: promoted of 200"
        found.append(Figure(name, float(promoted), "0", promoted == 0))
    for audit in (20, 30, 60, 200):
        fair = rollouts.fair(200, rule, audit, rollouts.Worth(0.02))
        name = f"2 points better, as selected labels say, on {audit} audit labels: promoted of 200"
        found.append(Figure(name, float(fair), "", None))
    found += _lines(ask, rule)
    lost = rollouts.collapsed(200, rule, 10, rule.young_labels)
    found.append(Figure("one class of 10 collapsed: promoted of 200", float(lost), "0", lost == 0))
    return [*found, *_honesty(ask, rule)]


def _lines(ask: Ask, rule: Gate) -> list[Figure]:
    """Lines of challengers that differ little, each from the one before."""
    found = []
    for name, line in lines.LINES.items():
        told = lines.follow(line, rule, 5 if ask.quick else 20)
        same = not line.better
        reach, ok = ("<= 0.05", told.rolled_back <= 0.05) if same else ("", None)
        found += [
            Figure(f"line, {name}: rolled back", told.rolled_back, reach, ok),
            Figure(f"line, {name}: held", told.held, "", None),
            Figure(f"line, {name}: accuracy served at the end", told.served, "", None),
            Figure(f"line, {name}: accuracy of the newest model", told.newest, "", None),
        ]
    return found


def _looked_for(runs: int, labels: int, rule: Gate) -> list[Figure]:
    """The same where as many labels as the audit slice has are looked for on events on which the two models differ."""
    same = disagreements.peek(runs, labels, 0.0, rule.alpha, 1.0)
    where = "labels looked for where the two differ"
    found = [
        Figure(f"A/A, {where}: false rollback", same.worse, "<= 0.05", same.worse <= 0.05),
        Figure(f"A/A, {where}: false better", same.better, "<= 0.05", same.better <= 0.05),
    ]
    for name, sign in (("worse", 1.0), ("better", -1.0)):
        for points in (0.02, 0.05, 0.10):
            many = labels if points > 0.02 else 5 * labels
            for more, how in ((0.0, "a uniform slice"), (1.0, where)):
                seen = disagreements.peek(runs // 10, many, sign * points, rule.alpha, more)
                said = seen.worse if sign > 0 else seen.better
                what = f"{100 * points:g} points {name}, {how}"
                found.append(Figure(f"{what}: said so", said, ">= 0.95", said >= 0.95))
                found.append(Figure(f"{what}: median audit labels", seen.median_labels, "", None))
    honest, naive = disagreements.weighted_coverage(runs, rule.alpha)
    lowest = 1 - rule.alpha - 0.015
    found.append(Figure(f"accuracy, {where}: interval covers it", honest, f">= {lowest:g}", honest >= lowest))
    found.append(Figure(f"accuracy, {where}: without weights", naive, "", None))
    return found


def _numbers(runs: int, labels: int, rule: Gate) -> list[Figure]:
    """The same of models that give numbers: a point is an absolute error of a hundredth of the declared range."""
    found = []
    for more, how in ((0.0, "a uniform slice"), (1.0, "as many labels looked for")):
        same = numbers.peek(runs, labels, 0.0, rule.alpha, more)
        for name, share in (("rollback", same.worse), ("better", same.better)):
            found.append(Figure(f"numbers, {how}, A/A: false {name}", share, "<= 0.05", share <= 0.05))
        for worse in (0.02, 0.05, 0.10):
            seen = numbers.peek(runs // 10, labels, worse, rule.alpha, more)
            what = f"numbers, {how}, {100 * worse:g} points worse"
            found.append(Figure(f"{what}: rolled back", seen.worse, ">= 0.95", seen.worse >= 0.95))
            found.append(Figure(f"{what}: median labels", seen.median_labels, "", None))
            if not more:
                fixed = float(rollouts.fixed_sample(worse, rule.alpha, 0.95, numbers.spread(worse)))
                found.append(Figure(f"{what}: labels of a fixed-sample test with power 0.95", fixed, "", None))
    return found


def broken_ones(ask: Ask) -> list[Figure]:
    """Through training, export, sandbox and judgement; the control is the champion trained again."""
    found, runs = [], ask.runs
    for way, promoted in asyncio.run(broken.promoted(runs)).items():
        wanted = runs if way == broken.CONTROL else 0
        found.append(Figure(f"challenger, {way}: promoted of {runs}", float(promoted), f"{wanted}", promoted == wanted))
    return found


def slower_ones(ask: Ask) -> list[Figure]:
    """What the mechanical gate says of models whose cost is known."""
    seen, runs = asyncio.run(costs.refused(ask.runs)), ask.runs
    crept = asyncio.run(costs.creep())
    return [
        Figure(
            "challengers each a tenth dearer than the champion, 8 in a row: cost at the end",
            crept,
            "<= 1.2",
            crept <= 1.2,
        ),
        Figure(f"challenger of the same cost: refused of {runs}", float(seen.same), "0", seen.same == 0),
        Figure(
            f"challenger of 1.3 times the cost: refused of {runs}", float(seen.dearer), f"{runs}", seen.dearer == runs
        ),
    ]


def _honesty(ask: Ask, rule: Gate) -> list[Figure]:
    """What an accuracy is worth that is measured on audit labels, and on those that were selected."""
    honest, naive = rollouts.coverage(200 if ask.quick else 2000, rule.alpha)
    return [
        Figure(
            "accuracy from audit labels: its interval covers the truth",
            honest,
            f">= {1 - rule.alpha - 0.015:g}",
            honest >= 1 - rule.alpha - 0.015,
        ),
        Figure("accuracy from selected labels: the naive interval covers it", naive, "", None),
    ]


def cost(ask: Ask) -> list[Figure]:
    """What a training step costs."""
    many = ask.labels
    with tempfile.TemporaryDirectory() as folder:
        small, bounded, large = (steps.step_cost(Path(folder), n) for n in (1000, 4000, many))
    with tempfile.TemporaryDirectory() as folder:
        few, most = (steps.step_cost(Path(folder), n, "softmax") for n in (1000, many))
    growth, beyond = large.seconds / small.seconds, large.seconds / bounded.seconds
    return [
        Figure("step after 1,000 labels (CPU s)", small.seconds, "", None),
        Figure("step after 4,000 labels (CPU s)", bounded.seconds, "", None),
        Figure(f"step after {many:,} labels (CPU s)", large.seconds, "", None),
        Figure(f"step after {many:,} labels against after 1,000", growth, "<= 1.2", growth <= 1.2),
        Figure(
            f"the same with learner softmax ({most.seconds:.3f} against {few.seconds:.3f} CPU s)",
            most.seconds / few.seconds,
            "<= 1.2",
            most.seconds <= 1.2 * few.seconds,
        ),
        Figure(f"step after {many:,} labels against after 4,000", beyond, "", None),
        Figure(f"ledger of {many:,} labels (bytes)", float(large.ledger_bytes), "", None),
        Figure(f"opening a ledger of {many:,} labels (CPU s)", large.opening_seconds, "", None),
    ]


def to_live(ask: Ask, console: Console) -> list[Figure]:
    """From submit to the first prediction of a model that learned from it."""
    with tempfile.TemporaryDirectory() as folder:
        median, p95 = asyncio.run(steps.label_to_live(Path(folder), 10 if ask.quick else 40))
    with tempfile.TemporaryDirectory() as folder:
        waits = asyncio.run(live.label_to_live(Path(folder), 20 if ask.quick else 100))
    own, own_p95 = (live.quantile(waits.own, share) for share in (0.5, 0.95))
    every, every_p95 = (live.quantile(waits.every, share) for share in (0.5, 0.95))
    served, labels = len(waits.own), len(waits.every)
    for verdict, many in waits.verdicts.items():
        console.print(f"{many} of {labels} labels' own models {verdict}", soft_wrap=True)
    return [
        Figure("label to live, in one process: median (s)", median, "", None),
        Figure("label to live, in one process: p95 (s)", p95, "<= 2", p95 <= 2.0),
        Figure(f"label to live, `tiebreak up`, model let through ({served} of {labels}): median (s)", own, "", None),
        Figure(f"label to live, `tiebreak up`, model let through ({served} of {labels}): p95 (s)", own_p95, "", None),
        Figure("the same of all training labels, the gate's holds included: median (s)", every, "", None),
        Figure(
            "the same of all training labels, the gate's holds included: p95 (s)", every_p95, "<= 2", every_p95 <= 2.0
        ),
        Figure("accuracy served meanwhile", waits.accuracy, "", None),
        Figure("deployment regret meanwhile", waits.regret, "", None),
    ]


def main() -> None:
    """Print the tables, write the results."""
    ask, console = Ask.read(dict(os.environ)), Console(width=160)
    parts: tuple[Callable[[], list[Figure]], ...] = (
        lambda: simulated(ask),
        lambda: broken_ones(ask),
        lambda: slower_ones(ask),
        lambda: cost(ask),
        lambda: to_live(ask, console),
        lambda: learners(ask, console),
    )
    named = dict(zip(SECTIONS, parts, strict=True))
    if unknown := set(ask.sections) - set(named):
        raise SystemExit(f"SECTIONS: {', '.join(sorted(unknown))} is none of {', '.join(SECTIONS)}.")
    found: list[Figure] = []
    for name, part in named.items():
        if name in ask.sections:
            began = time.monotonic()
            found += part()
            console.print(f"{name}: {time.monotonic() - began:.0f} s")
    table = Table("figure", "value", "reach", "")
    for figure in found:
        mark = {True: "ok", False: "MISSED", None: ""}[figure.ok]
        table.add_row(figure.figure, "never" if figure.value is None else f"{figure.value:.4g}", figure.reach, mark)
    console.print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(figure) for figure in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
