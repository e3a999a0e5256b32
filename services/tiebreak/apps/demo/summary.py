"""What the run adds up to: live arm against control, and whether everything that should have happened did. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from tiebreak.apps.demo.control import ArmResult, Needed, needed
from tiebreak.apps.demo.journal import Journal, Known
from tiebreak.apps.demo.picture import More, Picture
from tiebreak.apps.demo.recording import Recording, discovery, moving_accuracy
from tiebreak.apps.demo.world import CLASSES
from tiebreak.contracts.messages import Manifest, ModelEvent

Mask = NDArray[np.bool_]

_LAST_SHARE = 0.1
_WINDOW_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Against:
    """One figure of the live arm beside the random arms with as many labels: mean and standard deviation over their seeds."""

    active: float
    random: float
    spread: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a run. Accuracies are prequential (each event predicted before its label could be known), over the events
    that some model answered; ``used`` counts the labels that were there when the last serving model was made, in both arms; times in
    seconds; None where there is nothing to tell."""

    events: int
    predicted: int
    seconds: float
    questions: int
    labels: int
    overall: Against
    before: Against
    after: Against
    last: Against
    new_class: Against
    needed: Needed
    used: int
    discovery: int | None
    random_discovery: float | None
    seeds: int
    models: int
    held: int
    swaps: int
    label_to_live_s: float | None
    walked_off: int
    recovered: int
    by_hand: int
    bursts: int
    first_alarm: int | None
    dead: int

    @property
    def rate(self) -> float:
        """Events per second, from the first to the last."""
        return self.predicted / self.seconds if self.seconds else 0.0


def summarise(
    recording: Recording,
    manifests: Sequence[Manifest],
    arms: Sequence[ArmResult],
    journal: Journal,
    seconds: float,
) -> Summary:
    """Everything the last screen shows. ``manifests``: of the models that served."""
    world, counted = recording.world, recording.modelled
    n = len(world)
    at = np.arange(n)
    equal = [arm for arm in arms if arm.arm.share == 1.0]
    overall = _against(recording, equal, counted)
    finds = [found for arm in equal if (found := discovery(world, arm.labelled)) is not None]
    left = {e.task_id for e in journal.entries if e.call == "walk_off"}
    simulated = {e.annotator for e in journal.entries}
    alarms = [place for place in recording.alarms() if place >= world.drift]
    return Summary(
        events=n,
        predicted=recording.predicted,
        seconds=seconds,
        questions=len(recording.asked),
        labels=len(recording.settled),
        overall=overall,
        before=_against(recording, equal, counted & (at < world.drift)),
        after=_against(recording, equal, counted & (at >= world.drift)),
        last=_against(recording, equal, counted & (at >= n * (1.0 - _LAST_SHARE))),
        new_class=_against(recording, equal, counted & (world.truths == world.settings.absent)),
        needed=needed(overall.active, _by_share(arms, counted)),
        used=equal[0].labels if equal else 0,
        discovery=recording.discovery(),
        random_discovery=float(np.mean(finds)) if finds else None,
        seeds=len(equal),
        models=len(recording.promotions()),
        held=sum(1 for m in recording.models if m.event is ModelEvent.HELD),
        swaps=len(recording.versions) - 1,
        label_to_live_s=label_to_live_s(recording, manifests),
        walked_off=journal.count("walk_off", Known.OK),
        recovered=len(left & recording.settled.keys()),
        by_hand=recording.by_others(simulated),
        bursts=len(recording.bursts()),
        first_alarm=alarms[0] - world.drift if alarms else None,
        dead=recording.dead,
    )


def share_right(right: Mask, counted: Mask) -> float:
    """The accuracy over the counted events; 0 where none counts."""
    return float(right[counted].mean()) if counted.any() else 0.0


def _against(recording: Recording, equal: Sequence[ArmResult], counted: Mask) -> Against:
    shares = [share_right(arm.right, counted) for arm in equal]
    spread = float(np.std(shares, ddof=1)) if len(shares) > 1 else 0.0
    return Against(share_right(recording.right, counted), float(np.mean(shares)) if shares else 0.0, spread)


def _by_share(arms: Sequence[ArmResult], counted: Mask) -> list[tuple[float, float]]:
    shares = sorted({arm.arm.share for arm in arms})
    return [
        (share, float(np.mean([share_right(a.right, counted) for a in arms if a.arm.share == share])))
        for share in shares
    ]


def caught_up(recording: Recording, arms: Sequence[ArmResult]) -> bool:
    """Whether these arms, on average, were right as often as the live one."""
    counted = recording.modelled
    return bool(np.mean([share_right(a.right, counted) for a in arms]) >= share_right(recording.right, counted))


def label_to_live_s(recording: Recording, manifests: Iterable[Manifest]) -> float | None:
    """Median seconds from a person's answer to the first prediction of a model that learned from it."""
    live: dict[str, int] = {}
    for manifest in manifests:
        since = recording.live_ms.get(manifest.version)
        for label in manifest.label_ids if since is not None else ():
            live[label] = min(since or 0, live.get(label, since or 0))
    waits = [
        (live[settled.label_id] - recording.submitted_ms[settled.task_id]) / 1000
        for settled in recording.settled.values()
        if settled.label_id in live and settled.task_id in recording.submitted_ms
    ]
    return float(median(waits)) if waits else None


def picture_of(recording: Recording, arms: Sequence[ArmResult], summary: Summary) -> Picture:
    """What to draw of it."""
    counted = recording.modelled
    window = max(50, round(len(recording.world) * _WINDOW_SHARE / 50) * 50)
    equal = [moving_accuracy(arm.right, counted, window) for arm in arms if arm.arm.share == 1.0]
    most = max((arm.arm.share for arm in arms), default=1.0)
    more = [moving_accuracy(arm.right, counted, window) for arm in arms if arm.arm.share == most]
    firsts = (recording.first_event(version) for version in recording.versions[1:])
    return Picture(
        title=headline(summary),
        subtitle=(
            f"{summary.predicted:,} events, {summary.labels:,} of them labelled by people who err; "
            f"random: as many labels at the same times, mean and spread of {summary.seeds} runs"
        ),
        window=window,
        drift=recording.world.drift,
        active=moving_accuracy(recording.right, counted, window),
        random=np.stack(equal) if equal else np.full((1, len(counted)), np.nan),
        more=More(most, np.mean(more, axis=0)) if most > 1.0 else None,
        asked=sorted(asked.index for asked in recording.asked.values()),
        bursts=recording.bursts(),
        alarms=recording.alarms(),
        promotions=sorted(first for first in firsts if first is not None),
    )


def questions_of(recording: Recording) -> list[dict[str, object]]:
    """Each question in stream order: where it came from and why, what it shows, what people said, and when (for a closer look)."""
    rows = []
    for asked in sorted(recording.asked.values(), key=lambda a: a.index):
        label = recording.settled.get(asked.task_id)
        row: dict[str, object] = {"event": asked.index, "task_id": asked.task_id, "reason": asked.reason.value}
        row |= {"truth": CLASSES[recording.world.truths[asked.index]], "label": label.value if label else None}
        row |= {"model": recording.versions[max(0, int(recording.version[asked.index]))], "asked_ms": asked.created_ms}
        rows.append(row | {"settled_ms": label.settled_ms if label else None})
    return rows


def headline(summary: Summary) -> str:
    """The run in one sentence; it says so too when random did as well."""
    found, labels = summary.needed, summary.used
    if found.estimate is not None:
        return f"{labels:,} labels; random needs about {found.estimate * labels:,.0f} to be right as often"
    if found.high is None and found.low:
        return f"{labels:,} labels; random needs more than {found.low * labels:,.0f} to be right as often"
    return f"{labels:,} labels: in this run random did as well"
