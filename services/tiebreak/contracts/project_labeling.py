"""The project file's section ``labeling``: who is asked what, how often, and when an answer is settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tiebreak.contracts.messages import PayloadKind, Reason
from tiebreak.contracts.project_answers import Answer
from tiebreak.contracts.project_section import ClassName, Name, Section, Share


class RoutingRule(Section):
    """Tasks for which all that is said holds go to ``lane``, and to people with ``skill`` only; they are to be answered within

    ``answer_within_s`` of their making (0: no matter).

    ``cost``: an answer there costs so many ordinary ones, which sampling weighs. Of each, the first rule that says holds.
    """

    uncertainty_over: float | None = None
    predicted: tuple[ClassName, ...] = ()
    reasons: tuple[Reason, ...] = ()
    lane: Literal["", "triage", "normal", "backfill"] = ""
    skill: Literal[""] | Name = ""
    answer_within_s: Annotated[float, Field(ge=0.0, le=31_536_000.0)] = 0.0
    cost: Annotated[float, Field(gt=0.0, le=1000.0)] | None = None


class KnownAnswer(Section):
    """A question whose right answer is known: what people are shown (a text, or the columns of a table), as live tasks show it."""

    answer: ClassName
    text: str = ""
    columns: Mapping[str, str | bool | int | float | None] = Field(default_factory=dict)
    media_type: str = ""

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if bool(self.text) == bool(self.columns):
            raise ValueError("give either text or columns")
        return self

    @property
    def payload(self) -> PayloadKind:
        """What it shows."""
        return PayloadKind.TEXT if self.text else PayloadKind.TABLE


class Gold(Section):
    """Tasks whose answer is known, among the others. A new person gets ``most`` of their tasks as gold, a proven one ``least``.

    Somebody whose accuracy on gold is surely (95 %) below ``accuracy`` after ``after`` of them gets no more tasks.

    A settled task is proposed as gold to reviewers once the answer is ``sure``, and two people at least gave it, and nobody another.

    ``known``: questions to begin with. They are put on ``tasks`` once; one that is changed or removed here is asked no more.
    """

    most: Share = 0.2
    least: Share = 0.03
    accuracy: Share = 0.6
    after: Annotated[int, Field(ge=1, le=10_000)] = 8
    sure: Annotated[float, Field(gt=0.5, le=1.0)] = 0.99
    known: Annotated[tuple[KnownAnswer, ...], Field(max_length=10_000)] = ()


class Labeling(Section):
    """The queue. ``votes`` people answer each task; a lease lasts ``lease_s`` without a heartbeat.

    ``consensus``: ``majority`` and ``weighted`` (by people's estimated accuracy) settle at the share ``agreement``; ``dawid_skene``
    weighs answers by what is learned of each person and settles once the answer is ``confidence`` sure, so ``votes`` is then a least.
    A ``checked_share`` of its tasks gets two answers at least, or a person nobody doubts would never be looked at again. A task that is
    not sure is kept for ``ask_best_s`` for whoever at work would tell most about it; 0: it is offered to everybody at once.

    When a model is promoted, waiting tasks are scored anew: one whose utility it puts below ``decided_below`` times the threshold it
    had to reach is taken back, since that model decides it; the others move to their new place. 0 takes none back.

    ``rules`` route tasks to lanes and skills. Of two tasks the older is served first, a triage task as if it were ``lane_head_start_s``
    older and a backfill task as if it were as much younger, so that no lane waits for ever. ``skills`` names the
    people of each. Answers cost ``cost_per_answer`` each, gold included; once they cost ``cost_cap`` nobody is given a new task, and
    what is in people's hands is still taken. Who answers one class, or together with others, settles nothing without somebody else,
    until a manager lets them go on; with ``pause_suspects`` they get no new tasks either.
    """

    votes: Annotated[int, Field(ge=1, le=25)] = 1
    max_votes: Annotated[int, Field(ge=1, le=25)] = 5
    agreement: Annotated[float, Field(gt=0.5, le=1.0)] = 0.6
    consensus: Literal["majority", "weighted", "dawid_skene"] = "majority"
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    checked_share: Share = 0.1
    ask_best_s: Annotated[float, Field(ge=0.0, le=600.0)] = 5.0
    rules: tuple[RoutingRule, ...] = ()
    skills: Mapping[Name, tuple[str, ...]] = Field(default_factory=dict)
    gold: Gold = Gold()
    decided_below: Share = 0.25
    pause_suspects: bool = False
    cost_per_answer: Annotated[float, Field(ge=0.0, le=1e6)] = 0.0
    cost_cap: Annotated[float, Field(gt=0.0, le=1e12)] | None = None
    lane_head_start_s: Annotated[float, Field(ge=0.0, le=31_536_000.0)] = 3600.0
    lease_s: Annotated[float, Field(ge=1.0, le=86_400.0)] = 60.0
    task_ttl_s: Annotated[float, Field(ge=1.0, le=31_536_000.0)] = 86_400.0
    undo_s: Annotated[float, Field(ge=0.0, le=3600.0)] = 10.0
    payload: PayloadKind = PayloadKind.TEXT
    question: str = "Which class is this?"
    guidelines: str = ""
    answer: Answer = Answer()
    schema_version: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _votes_in_order(self) -> Self:
        if self.max_votes < self.votes:
            raise ValueError(f"max_votes: {self.max_votes} is below votes ({self.votes})")
        return self

    @model_validator(mode="after")
    def _gold_looks_like_the_rest(self) -> Self:
        for i, piece in enumerate(self.gold.known):
            if piece.payload is not self.payload:
                raise ValueError(f"gold.known.{i}: shows {piece.payload}, while payload is {self.payload}")
            if self.answer.kind.is_structured:
                raise ValueError(f"gold.known.{i}: the answer is a class, not {self.answer.kind}")
        return self

    @model_validator(mode="after")
    def _skills_have_people(self) -> Self:
        for rule in self.rules:
            if rule.skill and not self.skills.get(rule.skill):
                raise ValueError(f"rules: nobody has the skill {rule.skill!r}: name its people under skills")
        return self
