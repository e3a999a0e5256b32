"""The project file as frozen, validated objects. One definition: the JSON Schema in ``schemas/`` is generated from it.

Pydantic is used here and in the ``project_*.py`` beside it, and nowhere else in ``contracts``, because it gives the validation, the
errors that name the key, and the schema from the same lines (``docs/adr/0002-project-file-is-pydantic.md``). Reading the file is
``runtime/project_file.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tiebreak.contracts.messages import PayloadKind
from tiebreak.contracts.project_access import Access, Sso
from tiebreak.contracts.project_answers import Answer, AnswerKind
from tiebreak.contracts.project_gate import Canary, Gate, Slice
from tiebreak.contracts.project_labeling import Gold, Labeling, RoutingRule
from tiebreak.contracts.project_privacy import MaskPattern, Privacy, Retention
from tiebreak.contracts.project_sampling import (
    Balance,
    Budget,
    Burst,
    Detector,
    Drift,
    Floor,
    NearDuplicates,
    Sampling,
)
from tiebreak.contracts.project_section import ClassName, Name, Section, Share
from tiebreak.contracts.project_training import Training
from tiebreak.contracts.tensors import Form

__all__ = [
    "Access",
    "Answer",
    "AnswerKind",
    "Balance",
    "Budget",
    "Burst",
    "Canary",
    "ClassName",
    "Detector",
    "Drift",
    "Floor",
    "Gate",
    "Gold",
    "Labeling",
    "MaskPattern",
    "Name",
    "NearDuplicates",
    "Privacy",
    "Retention",
    "RoutingRule",
    "Sampling",
    "Section",
    "Share",
    "Slice",
    "Sso",
    "Training",
]

Datatype = Literal["BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"]


class TensorSpec(Section):
    """One input tensor of one event, without the batch axis."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The name of the model's input."""
    datatype: Datatype = "FP32"
    """What its numbers are, by the names of the Open Inference Protocol."""
    shape: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...]
    """Its axes without the batch: `[64]` is a vector of 64."""


class Input(Section):
    """What an event holds."""

    tensors: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    """The tensors of one event, each an input of the model."""
    fields: tuple[str, ...] = ()
    """For JSON events only: the JSON numbers that fill the single tensor, in order."""
    max_record_bytes: Annotated[int, Field(ge=64, le=64 * 2**20)] = 2**20
    """A larger event goes to the topic `dead`."""

    @model_validator(mode="after")
    def _fields_fill_one_tensor(self) -> Self:
        names = [t.name for t in self.tensors]
        if len(set(names)) != len(names):
            raise ValueError("tensors: two tensors have the same name")
        if self.fields and (len(self.tensors) != 1 or self.tensors[0].shape != (len(self.fields),)):
            n = len(self.fields)
            raise ValueError(
                f"fields: they are the numbers of the one tensor, so its shape must be [{n}], as many as there are fields"
            )
        return self


class Classes(Section):
    """The classes people choose from."""

    names: tuple[ClassName, ...] = ()
    """The classes, in the order in which people see them."""
    open: bool = False
    """Whether new ones may appear while the stream runs."""

    @model_validator(mode="after")
    def _no_class_twice(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError("names: a class is listed twice")
        return self


class Model(Section):
    """Where models come from. Paths are relative to the project file."""

    source: Literal["trainer", "file"] = "trainer"
    """`trainer`: Tiebreak's own. `file`: an ONNX classifier of yours, scored as it is."""
    file: str = ""
    """The ONNX model of yours, where `source` is `file`."""
    encoder: str = ""
    """A frozen ONNX encoder in front of the trainer's heads, which then learn from its output (`embedding`, or its only float
    output) instead of from the input tensors."""
    class_vectors: str = ""
    """A file (JSON, `.npz`) with one vector per class in the heads' space, say the embedding of its name, so that the first model
    knows something of each class; dropped where the labels show that it does not help."""
    output: str = ""
    """The graph's score output, where it is not obvious."""
    output_kind: Literal["auto", "probabilities", "logits", "values"] = "auto"
    """What that output holds."""
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    """Execution providers of onnxruntime, best first."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of one run of the model."""

    @model_validator(mode="after")
    def _file_is_named(self) -> Self:
        if self.source == "file" and not self.file:
            raise ValueError("file: is required when source is 'file'")
        if self.source == "file" and self.encoder:
            raise ValueError("encoder: belongs to source 'trainer': a model file of yours brings its own")
        if self.source == "file" and self.class_vectors:
            raise ValueError("class_vectors: belongs to source 'trainer': a model file of yours is not trained")
        return self


class Scoring(Section):
    """Micro-batches and outputs. A lone event never waits; a flood is drained in batches."""

    predictions: Literal["all", "selected", "none"] = "all"
    """Which predictions are published: of all events, of those that people are asked about, or none."""
    max_batch: Annotated[int, Field(ge=1, le=65_536)] = 4096
    """As many events at most go through the model at once."""
    max_bad_share: Share = 0.9
    """Above this share of bad records among the last `bad_window` the stage stops, instead of draining a broken stream into `dead`."""
    bad_window: Annotated[int, Field(ge=10, le=1_000_000)] = 1000
    """Over how many records that share is taken."""


class Project(Section):
    """A whole ``project.yaml``."""

    project: Name
    """The project's name; topics are `tiebreak.<project>.<name>`."""
    description: str = ""
    """What it is about, for people."""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 4
    """Partitions of the topics that are made."""
    input: Input
    """What an event holds, and how large it may be."""
    classes: Classes = Classes()
    """What people choose from."""
    model: Model = Model()
    """Where models come from."""
    scoring: Scoring = Scoring()
    """Micro-batches, and what is published."""
    sampling: Sampling = Sampling()
    """Whom to ask about."""
    budget: Budget = Budget()
    """How much people can be asked."""
    drift: Drift = Drift()
    """What watches for change, and what an alarm opens."""
    labeling: Labeling = Labeling()
    """How tasks are put to people, and when an answer is settled."""
    training: Training = Training()
    """How models learn from the answers."""
    gate: Gate = Gate()
    """When a new model may serve, and how it takes over."""
    privacy: Privacy = Privacy()
    """What is hidden from people, and how long things are kept."""
    access: Access = Access()
    """Who may use the API, and how fast."""

    @property
    def has_trainer(self) -> bool:
        """Whether `tiebreak train` belongs to it: models of ours learn from its answers."""
        return self.model.source == "trainer" and self.labeling.answer.kind.trains

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
        for i, piece in enumerate(self.labeling.gold.known):
            if not self.classes.open and piece.answer not in names:
                raise ValueError(f"labeling.gold.known.{i}: answer: is none of the classes")
        if answer.kind.is_structured and self.labeling.consensus != "majority":
            raise ValueError(f"labeling: consensus: {self.labeling.consensus} judges single classes, not {answer.kind}")
        if self.training.learner in {"trees", "partial_fit"} and answer.kind.form is not Form.CLASSES:
            raise ValueError(
                f"training.learner: {self.training.learner}: single classes only, not {answer.kind} answers"
            )
        if answer.kind.form is Form.MULTI and self.model.output_kind in {"logits", "values"}:
            raise ValueError(
                "model.output_kind: several classes need a probability for each, not " + self.model.output_kind
            )
        if answer.kind.form is Form.VALUES and "values" in {tensor.name for tensor in self.input.tensors}:
            raise ValueError("input.tensors: 'values' is the name of an output of models for numbers: rename it")
        unknown = [name for name in answer.examples if not self.classes.open and name not in names]
        if unknown:
            raise ValueError(f"labeling: answer: examples: {unknown[0]!r} is not one of the classes")
        return self

    @model_validator(mode="after")
    def _rules_are_about_the_classes(self) -> Self:
        names = self.classes.names
        for i, rule in enumerate(self.labeling.rules):
            strange = [name for name in rule.predicted if not self.classes.open and name not in names]
            if strange:
                raise ValueError(f"labeling.rules.{i}: predicted: {strange[0]!r} is not one of the classes")
        return self

    @model_validator(mode="after")
    def _vectors_are_of_single_classes(self) -> Self:
        if self.model.class_vectors and self.training.learner == "trees":
            raise ValueError("model.class_vectors: trees have no use for them (training.learner: auto or softmax)")
        if self.model.class_vectors and self.labeling.answer.kind is not AnswerKind.SINGLE:
            raise ValueError(
                f"model.class_vectors: help where people choose one class, not for {self.labeling.answer.kind}"
            )
        return self

    @model_validator(mode="after")
    def _estimators_fit_behind_an_encoder(self) -> Self:
        t = self.training
        if self.model.encoder and t.learner == "partial_fit" and t.estimator.name == "GaussianNB":
            # Its graph reduces by attributes that opset 18 has moved, and columns of an embedding are far from independent.
            raise ValueError("training.estimator: GaussianNB is for the columns of a table, not behind model.encoder")
        return self

    @model_validator(mode="after")
    def _smoothing_has_classes(self) -> Self:
        if self.training.label_smoothing and self.labeling.answer.kind.form is Form.VALUES:
            raise ValueError("training.label_smoothing: spreads an answer over classes, and numbers have none")
        return self

    @model_validator(mode="after")
    def _unlabelled_events_have_a_learner(self) -> Self:
        if not self.training.unlabelled:
            return self
        if self.training.learner != "auto" or self.labeling.answer.kind.form is not Form.CLASSES:
            raise ValueError(
                "training.unlabelled: teaches learner 'auto' where people choose one class, and nothing else"
            )
        if self.model.source == "file":
            raise ValueError(
                "training.unlabelled: belongs to model.source 'trainer': a model file of yours is not trained"
            )
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
        undeclared = [floor.name for floor in self.sampling.balance.slices if floor.name not in names]
        if undeclared:
            raise ValueError(f"sampling.balance.slices: {undeclared[0]!r} is not one of gate.slices")
        return self

    @model_validator(mode="after")
    def _money_buys_answers_of_a_price(self) -> Self:
        if self.budget.money_per_hour is not None and not self.labeling.cost_per_answer:
            raise ValueError("budget.money_per_hour: say what an answer costs (labeling.cost_per_answer)")
        return self

    @model_validator(mode="after")
    def _strategies_fit_the_answers(self) -> Self:
        kind = self.labeling.answer.kind
        if self.sampling.strategy == "bandit" and kind.form is not Form.CLASSES:
            raise ValueError(f"sampling.strategy: bandit is for answers of one class, not for {kind}")
        if self.sampling.strategy == "variance" and kind.form is not Form.VALUES:
            raise ValueError(f"sampling.strategy: variance is for answers that are numbers, not for {kind}")
        return self

    @model_validator(mode="after")
    def _what_is_counted_is_kept(self) -> Self:
        if self.labeling.cost_cap is not None and self.privacy.retention.annotations_days is not None:
            raise ValueError(
                "labeling.cost_cap: counts every answer there ever was, and privacy.retention.annotations_days ends them"
            )
        return self

    @model_validator(mode="after")
    def _rare_classes_are_predicted(self) -> Self:
        if self.sampling.balance.rare_share and self.labeling.answer.kind.form is not Form.CLASSES:
            raise ValueError(
                f"sampling.balance.rare_share: is for answers of one class, not for {self.labeling.answer.kind}"
            )
        return self
