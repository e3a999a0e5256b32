"""One event's whole way through the loop, put together from what the topics say about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tiebreak.apps.cli_options import moment
from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.ids import label_id, task_id
from tiebreak.contracts.log import Record
from tiebreak.contracts.messages import (
    Annotation,
    DeadLetter,
    Label,
    Manifest,
    ModelEvent,
    ModelRecord,
    Prediction,
    Reason,
    Task,
)
from tiebreak.contracts.project import Labeling
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.routing import routed


@dataclass(slots=True)
class Journey:
    """What is known of one event; empty parts were not reached (yet), or are no longer kept. ``labeling`` says where tasks wait."""

    project: str
    event_id: str
    labeling: Labeling = field(default_factory=Labeling)
    predictions: list[Prediction] = field(default_factory=list)
    task: Task | None = None
    annotations: list[Annotation] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    models: list[ModelRecord] = field(default_factory=list)
    trained: list[Manifest] = field(default_factory=list)
    withdrawn_by: str = ""

    @property
    def task_id(self) -> str:
        """The id that the event's task has, whether or not there is one."""
        return task_id(self.project, self.event_id)

    @property
    def label_id(self) -> str:
        """The id that its label has."""
        return label_id(self.task_id)

    @property
    def known(self) -> bool:
        """Whether any topic has heard of it."""
        return bool(self.predictions or self.task or self.annotations or self.labels or self.dead)

    def take(self, record: Record) -> None:
        """Keep what ``record`` says about this event. Unreadable records say nothing."""
        topic = record.topic.rpartition(".")[2]
        event, task = self.event_id.encode(), self.task_id.encode()
        try:
            if topic == Topic.PREDICTIONS and record.key == event:
                self.predictions.append(codec.decode_prediction(record.value))
            elif topic == Topic.TASKS and record.key == task:
                said = codec.decode_task(record.value)
                self.task, self.withdrawn_by = self.task or said, said.withdrawn_by or self.withdrawn_by
            elif topic == Topic.ANNOTATIONS and record.key == task:
                self.annotations.append(codec.decode_annotation(record.value))
            elif topic == Topic.LABELS and record.key == task:
                self.labels.append(codec.decode_label(record.value))
            elif topic == Topic.MODELS:
                self.models.append(codec.decode_model(record.value))
            elif topic == Topic.DEAD:
                self._take_dead(codec.decode_dead(record.value))
        except BadRecord:
            return

    def _take_dead(self, letter: DeadLetter) -> None:
        # A dead event has no readable id of its own in general: its position stands for it.
        if f"{letter.topic}/{letter.partition}/{letter.offset}" == self.event_id or _is_about(letter, self.event_id):
            self.dead.append(letter)

    def take_manifest(self, manifest: Manifest) -> None:
        """A model of the store: kept when this event's label trained it."""
        if self.label_id in manifest.label_ids:
            self.trained.append(manifest)


def _is_about(letter: DeadLetter, event_id: str) -> bool:
    raw = event_id.encode()
    return len(raw) >= 4 and raw in letter.raw


Step = tuple[str, str]


def story(journey: Journey) -> Sequence[Step]:
    """The journey as (what, in plain words), in the order in which it happened."""
    return [
        *(_dead(letter) for letter in journey.dead),
        *_predicted(journey),
        *_asked(journey),
        *(_answered(a) for a in journey.annotations),
        *(_settled(label) for label in journey.labels),
        *_trained(journey),
    ]


def _dead(letter: DeadLetter) -> Step:
    where = f"{letter.topic}/{letter.partition}/{letter.offset}"
    return "set aside", f"{letter.reason.value}: {letter.detail} (raw bytes are on `dead`, from {where})"


def _predicted(journey: Journey) -> list[Step]:
    steps = []
    for p in journey.predictions:
        best = f"{p.label} ({max(p.probabilities):.3f})" if p.probabilities else "nothing: no model yet"
        model = f" by {p.model_version}" if p.model_version else ""
        steps.append(("scored", f"{best}{model}; {p.uncertainty_kind} uncertainty {p.uncertainty:.4f}"))
        if not p.selected:
            steps.append(("not asked", "its uncertainty did not reach the threshold, and chance did not draw it"))
    return steps


def _asked(journey: Journey) -> list[Step]:
    task = journey.task
    if task is None:
        return []
    s = task.selection
    slice_ = " (audit slice: measures, never trains)" if s.audit else ""
    told = f" (counts {s.burst_weight:.3g} in its error)" if s.burst_weight else ""
    burst = f", burst {s.burst_id}{told}" if s.burst_id else ""
    reached = f"{s.strategy} {s.uncertainty:.4f} against threshold {s.threshold:.4f}"
    if s.reason is Reason.RARE:
        reached = f"{s.strategy} is owed labels, uncertainty {s.uncertainty:.4f}"
    if s.price:
        reached += f" at the price of {s.price:.2f} answers"
    chance = f"propensity {s.propensity:.5f}{burst}, sampler state {s.state_digest[:12]}"
    if s.challenger:
        agree = "differ: looked for, counts" if s.counts < 1.0 else "agree: counts"
        chance += f"; {s.model_version} and challenger {s.challenger} {agree} {s.counts:.3g}"
    elif s.audit and s.weight:
        chance += f"; an origin that sends too much is held back, counts {s.counts:.3g}"
    return [
        ("selected", f"{s.reason.value}{slice_}: {reached}, {chance}"),
        ("task", f"{task.task_id}: {task.votes_wanted} vote(s) wanted, {_waits(routed(task, journey.labeling))}"),
        *(
            [("decided", f"model {journey.withdrawn_by} took it back, if nobody had begun it")]
            if journey.withdrawn_by
            else []
        ),
    ]


def _waits(task: Task) -> str:
    lane, _, skill = (task.lane or "normal").partition("+")
    who = f" for people with the skill {skill}" if skill else ""
    due = f", due {moment(task.deadline_ms)}" if task.deadline_ms else ""
    return f"lane {lane}{who}{due}"


def _answered(a: Annotation) -> Step:
    again = f", revision {a.revision}" if a.revision > 1 else ""
    flag = ", flagged" if a.flagged else ""
    said = f": {a.comment!r}" if a.comment else ""
    return "answer", f"{a.annotator}: {a.value or '-'} ({a.state.value}{again}, {a.lead_time_s:.1f} s{flag}){said}"


def _settled(label: Label) -> Step:
    if label.withdrawn:
        return "label", f"taken back (revision {label.revision})"
    return (
        "label",
        f"{label.value} by {label.method.value}, confidence {label.confidence:.3f}, revision {label.revision}",
    )


def _trained(journey: Journey) -> list[Step]:
    promoted = {m.version for m in journey.models if m.event in {ModelEvent.PROMOTED, ModelEvent.ROLLED_BACK}}
    names = [m.version + (" (served)" if m.version in promoted else "") for m in journey.trained]
    if names:
        more = f", {len(names) - 2} more" if len(names) > 3 else ""
        shown = names if len(names) <= 3 else [names[0], names[-1]]
        return [("trained", ", ".join(shown) + more)]
    if not journey.labels:
        return []
    kind = journey.labeling.answer.kind
    why = "no model has learned from it yet" if kind.trains else f"no model learns from {kind} answers"
    if kind.trains and journey.labels[-1].selection.audit:
        why = "an audit label never trains; it judged models instead"
    return [("trained", why)]
