"""One dataclass per topic. ``proto/tiebreak/v1`` is the wire; ``contracts/codec`` maps between the two.

Times are Unix milliseconds. Vectors are float32. Everything is frozen: a change is a new message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tiebreak.contracts.errors import DeadReason
from tiebreak.contracts.tensors import Form, Tensor


class PayloadKind(StrEnum):
    """What an annotator's page can show."""

    IMAGE = "image"
    TEXT = "text"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Payload:
    """What people look at. ``data``: image bytes, UTF-8 text, or a JSON object of column to value (table)."""

    kind: PayloadKind
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """Topic ``events``. A producer gives ``inputs`` or ``fields`` (named JSON values that the project maps to a tensor), not both;

    decoding makes ``inputs`` from ``fields``, so that whoever reads an event has the tensors the project expects.
    """

    event_id: str
    inputs: tuple[Tensor, ...] = ()
    fields: Mapping[str, object] | None = None
    payload: Payload | None = None
    subject: str = ""
    source: str = ""
    time_ms: int = 0


class Reason(StrEnum):
    """Why an event was selected."""

    UNCERTAIN = "uncertain"
    NOVEL = "novel"
    RARE = "rare"
    BURST = "burst"
    AUDIT = "audit"
    COLD_START = "cold_start"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Selection:
    """Why and with what probability this event was chosen.

    ``uncertainty`` is the acquisition value of kind ``strategy``; ``threshold`` the value it had to reach; ``propensity`` in
    (0, 1] the probability under the randomised policy. ``audit`` events are a uniform random slice and never train. ``price``: what
    the question costs in ordinary answers; 0 where prices do not differ.

    ``challenger``: the audit slice was drawn while it looked more often where the answers of ``model_version`` and this model differ;
    ``weight`` in (0, 1] makes up for that: 1 where the two agree, else the slice's own share over ``propensity``.

    ``burst_weight`` in (0, 1]: what the label counts in the error since the alarm that opened its burst; 0: nothing.
    """

    strategy: str
    uncertainty: float
    threshold: float
    propensity: float
    reason: Reason
    audit: bool
    model_version: str
    state_digest: str
    burst_id: str = ""
    price: float = 0.0
    weight: float = 0.0
    challenger: str = ""
    burst_weight: float = 0.0

    @property
    def counts(self) -> float:
        """What an audit label counts in every mean: ``weight``; 1 where there is none, or one that nobody here wrote."""
        return self.weight if 0.0 < self.weight <= 1.0 else 1.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """Topic ``predictions``. ``label`` is empty and ``probabilities`` too while there is no model."""

    event_id: str
    model_version: str
    label: str
    probabilities: tuple[float, ...]
    uncertainty: float
    uncertainty_kind: str
    selected: bool
    source_partition: int
    source_offset: int
    time_ms: int
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """Topic ``tasks``: one question to people about one event. ``payload`` is masked already.

    ``audience``: the only person it is for. ``gold``: the right answer is known. Gold without an audience is kept to be copied
    for people, never offered itself; gold never becomes a label. ``withdrawn_by``: a later record of the same task takes it back,
    since that model decides the event by now; where somebody has begun it, it stays. ``deadline_ms``: when the answer should be there
    (0: no matter); it orders the queue, and is answered late rather than never.
    ``unlabelled``: features of events that passed by, rows as long as ``features``, little-endian float32 (``training.unlabelled``).
    """

    task_id: str
    project: str
    event_id: str
    payload: Payload | None
    features: tuple[float, ...]
    predicted: str
    probabilities: tuple[float, ...]
    classes: tuple[str, ...]
    selection: Selection
    priority: float
    lane: str
    votes_wanted: int
    created_ms: int
    event_time_ms: int
    schema_version: int
    subject: str = ""
    source_partition: int = 0
    source_offset: int = 0
    audience: str = ""
    gold: str = ""
    withdrawn_by: str = ""
    deadline_ms: int = 0
    unlabelled: bytes = b""


class AnnotationState(StrEnum):
    """``late``: the lease had expired; kept, and counted if a vote is still wanted."""

    SUBMITTED = "submitted"
    WITHDRAWN = "withdrawn"
    LATE = "late"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Annotation:
    """Topic ``annotations``: one person's answer about one task. A change of mind is a higher ``revision`` of the same id.

    ``reviewer``: given in review; it settles the task alone. ``schema_version`` and ``schema_added`` (classes that people had added
    to an open set): what its annotator saw.
    """

    annotation_id: str
    task_id: str
    project: str
    annotator: str
    revision: int
    state: AnnotationState
    value: str
    lease_token: int
    lead_time_s: float
    claimed_ms: int
    submitted_ms: int
    schema_version: int
    comment: str = ""
    flagged: bool = False
    idempotency_key: str = ""
    reviewer: bool = False
    schema_added: int = 0
    suspect: bool = False


class LabelMethod(StrEnum):
    """How a label was settled."""

    CONSENSUS = "consensus"
    ADJUDICATED = "adjudicated"
    GOLD = "gold"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Vote:
    """One counted annotation inside a label."""

    annotation_id: str
    annotator: str
    value: str
    revision: int
    weight: float


@dataclass(frozen=True, slots=True)
class Label:
    """Topic ``labels``: what the votes settled on, with all a trainer needs (replaying this topic rebuilds every model).

    ``distribution`` maps class to probability and sums to 1. ``withdrawn`` takes an earlier revision back. ``unlabelled``: the task's.
    """

    label_id: str
    task_id: str
    event_id: str
    project: str
    revision: int
    value: str
    distribution: Mapping[str, float]
    confidence: float
    method: LabelMethod
    votes: tuple[Vote, ...]
    features: tuple[float, ...]
    selection: Selection
    predicted: str
    event_time_ms: int
    settled_ms: int
    schema_version: int
    subject: str = ""
    withdrawn: bool = False
    unlabelled: bytes = b""


class ModelEvent(StrEnum):
    """What happened to a model. The newest ``promoted`` or ``rolled_back`` record names the champion.

    ``shadow`` and ``canary`` start a stage of a rollout, which ``promoted``, ``held`` or ``rolled_back`` ends; ``compared`` is what
    a scorer counted of it.

    While ``pinned``, only people change what serves; ``unpinned`` ends it.
    """

    CANDIDATE = "candidate"
    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"
    HELD = "held"
    ROLLED_BACK = "rolled_back"
    PINNED = "pinned"
    UNPINNED = "unpinned"
    COMPARED = "compared"


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """Topic ``models``. ``version`` is the model to serve after this record for ``promoted`` and ``rolled_back``.

    ``reasons`` has every reason of the verdict in plain words; ``report`` is the evaluation as JSON, for ``compared`` the counts.
    ``share`` of the events that a ``canary`` answers. ``reference``: the version that challengers are compared with from now on,
    beside the champion; empty: the one before. ``order``: the digest of the record of the audit trail by which a person ordered it.
    """

    project: str
    version: str
    event: ModelEvent
    sha256: str
    parent: str
    dataset_version: int
    reasons: tuple[str, ...]
    report: str
    decided_by: str
    time_ms: int
    share: float = 0.0
    reference: str = ""
    order: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """``manifest.json`` beside ``model.onnx`` in the model store. ``inputs``: name -> (datatype, shape without batch axis)."""

    project: str
    version: str
    sha256: str
    size_bytes: int
    inputs: Mapping[str, tuple[str, tuple[int, ...]]]
    classes: tuple[str, ...]
    temperature: float
    dataset_version: int
    created_ms: int
    parent: str = ""
    label_ids: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    form: Form = Form.CLASSES


class DriftEvent(StrEnum):
    """Life of a suspicion."""

    WARNING = "warning"
    ALARM = "alarm"
    BURST_OPENED = "burst_opened"
    BURST_CLOSED = "burst_closed"


@dataclass(frozen=True, slots=True)
class DriftRecord:
    """Topic ``drift``. Of a burst that closed, ``ended`` says why (known, labels, time, replaced), and the error since its alarm was
    from ``error_low`` to ``error_high`` (an interval at 95 % that holds at any time), as ``error_labels`` labels of it told.
    ``burst_size`` is all its labels, over all replicas, in every event.
    """

    project: str
    event: DriftEvent
    detector: str
    signal: str
    statistic: float
    slice: str
    burst_id: str
    burst_size: int
    partition: int
    offset: int
    time_ms: int
    ended: str = ""
    error_low: float = 0.0
    error_high: float = 0.0
    error_labels: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Topic ``dead``: the raw bytes with where they came from and why. ``sha256`` is of ``raw``."""

    project: str
    topic: str
    partition: int
    offset: int
    reason: DeadReason
    detail: str
    raw: bytes
    sha256: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Topic ``audit``: who did what to what. ``digest`` covers all other fields, ``previous`` the record before."""

    project: str
    sequence: int
    actor: str
    action: str
    target: str
    detail: str
    time_ms: int
    previous: str
    digest: str
