"""The project file as frozen, validated objects. One definition: the JSON Schema in ``schemas/`` is generated from it.

Pydantic is used here, and only here in ``contracts``, because it gives the validation, the errors that name the key, and the
schema from the same lines (``docs/adr/0002-project-file-is-pydantic.md``). Reading the file is ``runtime/project_file.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tiebreak.contracts.messages import PayloadKind
from tiebreak.contracts.project_answers import Answer, AnswerKind
from tiebreak.contracts.project_labeling import Gold, Labeling, RoutingRule
from tiebreak.contracts.project_privacy import MaskPattern, Privacy
from tiebreak.contracts.project_section import ClassName, Name, Section, Share

__all__ = [
    "Answer",
    "AnswerKind",
    "ClassName",
    "Gold",
    "Labeling",
    "MaskPattern",
    "Name",
    "Privacy",
    "RoutingRule",
    "Section",
    "Share",
]

Datatype = Literal["BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"]


class TensorSpec(Section):
    """One input tensor of one event, without the batch axis. The default is a vector of 32-bit floats."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    datatype: Datatype = "FP32"
    shape: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...]


class Input(Section):
    """What an event holds. ``fields`` (JSON events only) names the JSON numbers that fill the single tensor, in order."""

    tensors: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    fields: tuple[str, ...] = ()
    max_record_bytes: Annotated[int, Field(ge=64, le=64 * 2**20)] = 2**20

    @model_validator(mode="after")
    def _fields_fill_one_tensor(self) -> Self:
        names = [t.name for t in self.tensors]
        if len(set(names)) != len(names):
            raise ValueError("tensors: two tensors have the same name")
        if self.fields and (len(self.tensors) != 1 or self.tensors[0].shape != (len(self.fields),)):
            raise ValueError(f"fields: {len(self.fields)} fields need exactly one tensor of shape [{len(self.fields)}]")
        return self


class Classes(Section):
    """The classes people choose from. ``open``: new ones may appear while the stream runs."""

    names: tuple[ClassName, ...] = ()
    open: bool = False

    @model_validator(mode="after")
    def _no_class_twice(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError("names: a class is listed twice")
        return self


class Model(Section):
    """Where models come from. ``trainer``: Tiebreak's own. ``file``: an ONNX classifier of yours, scored as it is.

    ``file`` is relative to the project file. So is ``encoder``: a frozen ONNX encoder in front of the trainer's heads, which
    then learn from its output (``embedding``, or its only float output) instead of from the input tensors. ``output`` names
    the graph's score output where it is not obvious, and ``output_kind`` says what it holds. ``providers`` are onnxruntime
    execution providers, best first.
    """

    source: Literal["trainer", "file"] = "trainer"
    file: str = ""
    encoder: str = ""
    output: str = ""
    output_kind: Literal["auto", "probabilities", "logits", "values"] = "auto"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: Annotated[int, Field(ge=1, le=256)] = 1

    @model_validator(mode="after")
    def _file_is_named(self) -> Self:
        if self.source == "file" and not self.file:
            raise ValueError("file: is required when source is 'file'")
        if self.source == "file" and self.encoder:
            raise ValueError("encoder: belongs to source 'trainer': a model file of yours brings its own")
        return self


class Scoring(Section):
    """Micro-batches and outputs. A lone event never waits; a flood is drained in batches of up to ``max_batch``."""

    predictions: Literal["all", "selected", "none"] = "all"
    max_batch: Annotated[int, Field(ge=1, le=65_536)] = 4096
    max_bad_share: Share = 0.9
    bad_window: Annotated[int, Field(ge=10, le=1_000_000)] = 1000


class NearDuplicates(Section):
    """Events like one of the last ``memory`` selected (cosine above ``similarity``) are worth less."""

    memory: Annotated[int, Field(ge=0, le=4096)] = 32
    similarity: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.75


class Sampling(Section):
    """Whom to ask about. ``window`` is how many past scores the adaptive threshold looks at; another ``rule`` is a published one.

    ``origin_share``: what part of the last 200 questions one source (``ce_source``) or one record key may cause; 1: all of them.
    """

    strategy: Literal[
        "margin", "least_confidence", "entropy", "expected_gradient_length", "vote_entropy", "kl", "bald", "random"
    ] = "margin"
    rule: Literal["adaptive", "fixed", "variable", "randomised", "split", "biqf"] = "adaptive"
    audit_share: Share = 0.1
    temper: Annotated[float, Field(ge=0.0, le=10.0)] = 0.25
    window: Annotated[int, Field(ge=16, le=65_536)] = 256
    target_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.02
    near_duplicates: NearDuplicates = NearDuplicates()
    novelty: bool = True
    origin_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7


class Budget(Section):
    """How many labels people can give. ``carry_over`` caps what unspent budget may pile up to; tasks stop at ``max_open_tasks``."""

    labels_per_hour: Annotated[float, Field(gt=0.0, le=1e9)] = 600.0
    carry_over: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    max_open_tasks: Annotated[int, Field(ge=1, le=10_000_000)] = 1000


class Burst(Section):
    """What an alarm opens: the selection rate times ``multiplier`` for at most ``labels`` labels, then ``cooldown_events`` of rest."""

    multiplier: Annotated[float, Field(ge=1.0, le=100.0)] = 4.0
    labels: Annotated[int, Field(ge=0, le=1_000_000)] = 60
    cooldown_events: Annotated[int, Field(ge=0, le=100_000_000)] = 2000


class Detector(StrEnum):
    """river's drift detectors, by river's names."""

    ADWIN = "ADWIN"
    KSWIN = "KSWIN"
    PAGE_HINKLEY = "PageHinkley"


class Drift(Section):
    """Which detectors watch which signals, and how many must agree within ``vote_window`` events for an alarm."""

    detectors: tuple[Detector, ...] = (Detector.ADWIN, Detector.PAGE_HINKLEY)
    signals: tuple[Literal["uncertainty", "predicted_class", "input", "audit_error"], ...] = (
        "uncertainty",
        "predicted_class",
        "input",
    )
    votes: Annotated[int, Field(ge=1, le=12)] = 2
    vote_window: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    burst: Burst = Burst()


class Training(Section):
    """One step per batch of new labels: at ``step_labels`` of them, or after ``step_s`` with at least one.

    After a step the trainer rests ``rest`` times as long as the step took, the gate included: it takes 1 / (1 + rest) of a core.
    ``learner``: ``auto`` (begins with ``softmax``; from a few hundred labels on, whichever of several predicted the newest ones best),
    ``softmax`` (heads over Gaussian kernels, any input) or ``trees`` (forests, for tables; needs the extra ``trees``).
    ``hidden``: units of the hidden layer (Gaussian kernels, each at one label); 0 is a linear head. Where it is not given the
    width of the features decides: 256 below 256 features, none from there on (embeddings are linear enough).
    """

    learner: Literal["auto", "softmax", "trees"] = "auto"
    hidden: Annotated[int | None, Field(ge=0, le=4096)] = None
    committee: Annotated[int, Field(ge=1, le=64)] = 5
    step_labels: Annotated[int, Field(ge=1, le=100_000)] = 25
    step_s: Annotated[float, Field(gt=0.0, le=86_400.0)] = 0.15
    rest: Annotated[float, Field(ge=0.0, le=1000.0)] = 1.0
    min_labels: Annotated[int, Field(ge=2, le=1_000_000)] = 20
    refit_below: Annotated[int, Field(ge=0, le=1_000_000)] = 2000
    l2: Annotated[float, Field(ge=0.0, le=100.0)] = 1e-3
    window: Annotated[int, Field(ge=10, le=100_000_000)] = 20_000
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7

    @model_validator(mode="after")
    def _keys_of_the_learner(self) -> Self:
        idle = sorted({"hidden", "l2"} & self.model_fields_set) if self.learner == "trees" else []
        if idle:
            raise ValueError(f"{idle[0]}: belongs to learner 'softmax', trees have none")
        return self


class Canary(Section):
    """How a challenger takes over under ``gate.rollout: canary``: first as a shadow, then answering these ``shares`` of the events.

    Both models score at least the share ``compared``. A stage lasts for ``events`` such events and ``seconds`` at least.
    The challenger goes at once above ``max_shift``, the total variation between the classes that the two predict, and above
    ``max_disagreement``, the share of events that they answer differently.
    """

    shares: Annotated[tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...], Field(min_length=1)] = (0.01, 0.05, 0.25)
    compared: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    events: Annotated[int, Field(ge=1, le=100_000_000)] = 500
    seconds: Annotated[float, Field(ge=0.0, le=604_800.0)] = 30.0
    max_shift: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    max_disagreement: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5

    @model_validator(mode="after")
    def _shares_rise(self) -> Self:
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError("shares: each must be above the one before it")
        return self


class Slice(Section):
    """A part of the stream on which a challenger must not be worse: events whose ``field`` (one of ``input.fields``) is at least

    ``at_least`` and below ``below``; a side that is not given is open.
    """

    name: ClassName
    field: str
    at_least: float | None = None
    below: float | None = None


class Gate(Section):
    """When a challenger may serve. Below ``young_labels`` audit labels the fast lane for young models decides.

    ``slices``: beside the classes, the parts of the stream on which it must not be shown to be worse.
    ``rollout``: what passes the gate serves at once (``direct``), or by stages (``canary``), young models excepted.

    ``max_latency_ratio``: it may take so many times the champion's time for a batch, where the difference is noticeable.
    """

    non_inferiority: Annotated[float, Field(ge=0.0, le=0.5)] = 0.02
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    young_labels: Annotated[int, Field(ge=0, le=1_000_000)] = 300
    slices: tuple[Slice, ...] = ()
    rollout: Literal["direct", "canary"] = "direct"
    canary: Canary = Canary()
    max_latency_ratio: Annotated[float, Field(ge=1.0, le=100.0)] = 2.0
    max_model_bytes: Annotated[int, Field(ge=1024, le=4 * 2**30)] = 256 * 2**20
    max_nodes: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    probe_timeout_s: Annotated[float, Field(gt=0.0, le=600.0)] = 20.0


RoleName = Literal["viewer", "annotator", "reviewer", "manager", "admin"]


class Sso(Section):
    """An OpenID Connect issuer whose JWTs are accepted. ``roles``: from its roles to ours; who has none of them stays out.

    ``name_claim`` becomes the name on answers: choose one that its owner cannot change.
    """

    issuer: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    audience: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    jwks_url: Annotated[
        str, StringConstraints(pattern=r"^(https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/])", max_length=1000)
    ]
    roles: Mapping[str, RoleName]
    roles_claim: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "roles"
    name_claim: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "sub"
    leeway_s: Annotated[float, Field(ge=0.0, le=300.0)] = 30.0


class Access(Section):
    """Who may use the API besides holders of tokens, and how fast: a person's requests, an address' guesses, per process."""

    sso: Sso | None = None
    requests_per_s: Annotated[float, Field(gt=0.0, le=1e6)] = 200.0
    request_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    failures_per_s: Annotated[float, Field(gt=0.0, le=1e6)] = 5.0
    failure_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 100


class Project(Section):
    """A whole ``project.yaml``."""

    project: Name
    description: str = ""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 4
    input: Input
    classes: Classes
    model: Model = Model()
    scoring: Scoring = Scoring()
    sampling: Sampling = Sampling()
    budget: Budget = Budget()
    drift: Drift = Drift()
    labeling: Labeling = Labeling()
    training: Training = Training()
    gate: Gate = Gate()
    privacy: Privacy = Privacy()
    access: Access = Access()

    @model_validator(mode="after")
    def _pictures_are_not_masked(self) -> Self:
        if self.privacy.mask and self.labeling.payload is PayloadKind.IMAGE:
            raise ValueError(
                "privacy.mask: finds personal data in texts and tables, not in pictures (labeling.payload: image)"
            )
        return self

    @model_validator(mode="after")
    def _answers_fit_the_classes(self) -> Self:
        answer, names = self.labeling.answer, self.classes.names
        least = answer.kind.least_classes
        if not self.classes.open and len(names) < least:
            raise ValueError(f"classes: names: a closed set needs at least {least} classes (or set open: true)")
        if self.classes.open and answer.kind is not AnswerKind.SINGLE:
            raise ValueError(f"classes: open: new classes may appear where people choose one, not for {answer.kind}")
        if answer.kind.is_structured and self.labeling.consensus != "majority":
            raise ValueError(f"labeling: consensus: {self.labeling.consensus} judges single classes, not {answer.kind}")
        unknown = [name for name in answer.examples if not self.classes.open and name not in names]
        if unknown:
            raise ValueError(f"labeling: answer: examples: {unknown[0]!r} is not one of the classes")
        return self

    @model_validator(mode="after")
    def _slices_are_of_fields(self) -> Self:
        names = [cut.name for cut in self.gate.slices]
        unknown = sorted({cut.field for cut in self.gate.slices} - set(self.input.fields))
        if unknown:
            raise ValueError(f"gate.slices: {unknown[0]!r} is not one of input.fields")
        if self.gate.slices and self.model.encoder:
            raise ValueError("gate.slices: an encoder hides the fields from the gate")
        if len(set(names)) != len(names):
            raise ValueError("gate.slices: two slices have the same name")
        return self
