"""The part of the project file about what an answer is: a class, several, a number, spans of a text, boxes on a picture."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from tiebreak.contracts.project_section import ClassName, Section
from tiebreak.contracts.tensors import Form


class AnswerKind(StrEnum):
    """What people are asked for. ``docs/annotation-schema.md`` shows the form of each."""

    SINGLE = "single"
    ORDINAL = "ordinal"
    PAIRWISE = "pairwise"
    MULTI = "multi"
    NUMERIC = "numeric"
    SPANS = "spans"
    BOXES = "boxes"

    @property
    def is_structured(self) -> bool:
        """Whether an answer is JSON; else it is the name of a class."""
        return self in {AnswerKind.MULTI, AnswerKind.NUMERIC, AnswerKind.SPANS, AnswerKind.BOXES}

    @property
    def trains(self) -> bool:
        """Whether Tiebreak's trainer learns from such answers. The others are asked, settled and exported."""
        return self not in {AnswerKind.SPANS, AnswerKind.BOXES}

    @property
    def form(self) -> Form:
        """What a model for such answers gives."""
        return {AnswerKind.MULTI: Form.MULTI, AnswerKind.NUMERIC: Form.VALUES}.get(self, Form.CLASSES)

    @property
    def least_classes(self) -> int:
        """How many classes a closed set needs at least."""
        return {AnswerKind.NUMERIC: 0, AnswerKind.SPANS: 1, AnswerKind.BOXES: 1, AnswerKind.MULTI: 1}.get(self, 2)


class Answer(Section):
    """The annotation schema, together with ``classes``, ``labeling.guidelines`` and ``labeling.schema_version``."""

    kind: AnswerKind = AnswerKind.SINGLE
    """What people are asked for. `ordinal`: the classes in their order. `pairwise`: left, right and perhaps a tie, on tables of
    two columns. `multi`: several classes. `numeric`: a number. `spans` of a text, `boxes` on a picture."""
    least: float = 0.0
    """`numeric`: the least number."""
    most: float = 100.0
    """`numeric`: the greatest number."""
    step: Annotated[float, Field(ge=0.0)] = 1.0
    """`numeric`: numbers are so far apart; 0: any number."""
    unit: Annotated[str, StringConstraints(max_length=20)] = ""
    """`numeric`: the unit that people see."""
    tolerance: Annotated[float, Field(ge=0.0)] = 0.0
    """`numeric`: answers within so much of the median agree."""
    least_choices: Annotated[int, Field(ge=0, le=1000)] = 0
    """`multi`: the fewest classes an answer names."""
    most_choices: Annotated[int, Field(ge=1, le=1000)] = 1000
    """`multi`: the most classes an answer names."""
    overlap: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """`spans`, `boxes`: two with this intersection over union are the same one."""
    examples: Mapping[ClassName, tuple[str, ...]] = {}
    """Class to texts that belong to it, for people."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.most <= self.least:
            raise ValueError(f"most: {self.most:g} is not above least ({self.least:g})")
        if self.most_choices < self.least_choices:
            raise ValueError(f"most_choices: {self.most_choices} is below least_choices ({self.least_choices})")
        return self
