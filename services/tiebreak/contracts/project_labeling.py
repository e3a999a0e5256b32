"""The project file's section ``labeling``: who is asked what, how often, and when an answer is settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tiebreak.contracts.messages import PayloadKind, Reason
from tiebreak.contracts.project_answers import Answer
from tiebreak.contracts.project_section import ClassName, Name, Section, Share


class RoutingRule(Section):
    """Tasks for which all that is said holds get what the rule says. Of each, the first rule that says holds."""

    uncertainty_over: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """Tasks whose uncertainty is above this; it is from 0 to 1 whatever the answers are."""
    predicted: tuple[ClassName, ...] = ()
    """Tasks whose predicted class is one of these."""
    reasons: tuple[Reason, ...] = ()
    """Tasks asked for one of these reasons."""
    lane: Literal["", "triage", "normal", "backfill"] = ""
    """They go to this lane."""
    skill: Literal[""] | Name = ""
    """They go to people with this skill only."""
    answer_within_s: Annotated[float, Field(ge=0.0, le=31_536_000.0)] = 0.0
    """They are to be answered within so many seconds of their making; 0: no matter."""
    cost: Annotated[float, Field(gt=0.0, le=1000.0)] | None = None
    """An answer there costs so many ordinary ones, which sampling weighs."""


class KnownAnswer(Section):
    """A question whose right answer is known: what people are shown, as live tasks show it."""

    answer: ClassName
    """The right class."""
    text: str = ""
    """What is shown, as a text."""
    columns: Mapping[str, str | bool | int | float | None] = Field(default_factory=dict)
    """What is shown, as the columns of a table."""
    media_type: str = ""
    """The text's media type, such as `text/markdown`."""

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
    """Tasks whose answer is known, among the others."""

    most: Share = 0.2
    """A new person gets this share of their tasks as gold."""
    least: Share = 0.03
    """A proven person gets this share of their tasks as gold."""
    accuracy: Share = 0.6
    """Somebody whose accuracy on gold is surely (95 %) below this gets no more tasks."""
    after: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Nobody is judged by fewer pieces of gold."""
    sure: Annotated[float, Field(gt=0.5, le=1.0)] = 0.99
    """A settled task is proposed as gold to reviewers once the answer is so sure, and two people at least gave it, and nobody
    another."""
    known: Annotated[tuple[KnownAnswer, ...], Field(max_length=10_000)] = ()
    """Questions to begin with. They are put on `tasks` once; one that is changed or removed here is asked no more."""


class Labeling(Section):
    """The queue: who is asked what, how often, and when an answer is settled."""

    votes: Annotated[int, Field(ge=1, le=25)] = 1
    """So many people answer each task; with `dawid_skene` it is a least."""
    max_votes: Annotated[int, Field(ge=1, le=25)] = 5
    """So many people at most, before a reviewer decides."""
    agreement: Annotated[float, Field(gt=0.5, le=1.0)] = 0.6
    """`majority` and `weighted` settle at this share of the votes."""
    consensus: Literal["majority", "weighted", "dawid_skene"] = "majority"
    """`majority`; `weighted` by people's estimated accuracy; `dawid_skene` weighs answers by what is learned of each person."""
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """`dawid_skene` settles once the answer is so sure."""
    checked_share: Share = 0.1
    """`dawid_skene`: this share of its tasks gets two answers at least, or a person nobody doubts would never be looked at again."""
    ask_best_s: Annotated[float, Field(ge=0.0, le=600.0)] = 5.0
    """A task that is not sure is kept for so long for whoever at work would tell most about it; 0: it is offered to everybody at
    once."""
    rules: tuple[RoutingRule, ...] = ()
    """Rules that route tasks to lanes and skills."""
    skills: Mapping[Name, tuple[str, ...]] = Field(default_factory=dict)
    """The people of each skill."""
    gold: Gold = Gold()
    """Tasks whose answer is known."""
    decided_below: Share = 0.25
    """When a model is promoted, waiting tasks are scored anew: one whose utility it puts below so many times the threshold it had
    to reach is taken back, since that model decides it; the others move to their new place. 0 takes none back."""
    pause_suspects: bool = False
    """Who answers one class, or together with others, settles nothing without somebody else, until a manager lets them go on;
    with this they get no new tasks either."""
    cost_per_answer: Annotated[float, Field(ge=0.0, le=1e6)] = 0.0
    """What an answer costs, gold included, in your unit of money."""
    cost_cap: Annotated[float, Field(gt=0.0, le=1e12)] | None = None
    """Once all answers that stand cost so much nobody is given a new task; what is in people's hands is still taken. An answer that
    is taken back costs nothing any more."""
    lane_head_start_s: Annotated[float, Field(ge=0.0, le=31_536_000.0)] = 3600.0
    """Of two tasks the older is served first: a triage task as if it were so much older, a backfill task as if it were as much
    younger, so that no lane waits for ever."""
    lease_s: Annotated[float, Field(ge=1.0, le=86_400.0)] = 60.0
    """A lease lasts so long without a heartbeat."""
    task_ttl_s: Annotated[float, Field(ge=1.0, le=31_536_000.0)] = 86_400.0
    """A task that nobody answered expires after so long."""
    undo_s: Annotated[float, Field(ge=0.0, le=3600.0)] = 10.0
    """An answer can be undone for so long."""
    payload: PayloadKind = PayloadKind.TEXT
    """What people are shown."""
    question: str = "Which class is this?"
    """The question above each task."""
    guidelines: str = ""
    """How to decide, for people."""
    answer: Answer = Answer()
    """What an answer is."""
    schema_version: Annotated[int, Field(ge=1)] = 1
    """Raise it when what is asked changes: answers say which version they were given to."""

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
