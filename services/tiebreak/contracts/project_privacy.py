"""The part of the project file about personal data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from tiebreak.contracts.project_section import Section, Share
from tiebreak.contracts.retention import horizon_ms, topic_ms
from tiebreak.contracts.topics import DAY_MS, Topic


class MaskPattern(Section):
    """What else to mask."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_ -]{0,62}$")]
    """What errors call it."""
    regex: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    """What finds it. Give every repetition a bound, or make it possessive (`++`)."""
    score: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6
    """How sure a match is; below `privacy.threshold` it is left."""
    entity: Annotated[str, StringConstraints(pattern=r"^([A-Z][A-Z0-9_]{0,62})?$")] = ""
    """What its masks are named by; the name in capitals where it is not given."""

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        try:
            found = re.compile(self.regex).search("")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"regex: is no regular expression: {error}") from error
        if found:
            raise ValueError("regex: matches the empty text, so it would be found everywhere")
        return self

    @property
    def kind(self) -> str:
        """The entity that its masks are named by."""
        return self.entity or re.sub(r"[ -]", "_", self.name).upper()


EntityName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,62}$")]


Days = Annotated[float, Field(ge=1 / 24, le=36_500.0)]


class Retention(Section):
    """For how many days things are kept that may be about people.

    A topic that exists keeps the retention it has where the file does not name its key.
    """

    events_days: Days = 7.0
    """The topics `events`, unmasked, and `predictions`."""
    dead_days: Days = 28.0
    """The topic `dead`, unmasked."""
    tasks_days: Days | None = None
    """What people are shown, on `tasks` and in the queue; not set: for ever."""
    annotations_days: Days | None = None
    """What people said, one by one, on `annotations` and in their histories; not set: for ever."""
    labels_days: Days | None = None
    """What it came to, with features and votes, on `labels`, in the trainer's ledger and in exports made from then on; not set:
    for ever."""

    @model_validator(mode="after")
    def _what_is_built_on_lasts_longest(self) -> Self:
        for name, given in (("annotations_days", self.annotations_days), ("labels_days", self.labels_days)):
            if given is not None and (self.tasks_days is None or given < self.tasks_days):
                raise ValueError(
                    f"{name}: must not be below tasks_days, which has to be set with it: a task whose answers or label are gone"
                    " would be asked again"
                )
        return self

    def of_topics(self) -> Mapping[Topic, int]:
        """How long the log keeps records, in milliseconds, where the file says so."""
        named = {Topic.EVENTS: "events_days", Topic.PREDICTIONS: "events_days", Topic.DEAD: "dead_days"}
        given = {topic: name for topic, name in named.items() if name in self.model_fields_set}
        kept = {topic: round(getattr(self, name) * DAY_MS) for topic, name in given.items()}
        return kept | {topic: topic_ms(kept_ms) for topic, kept_ms in self.ordered_ms().items()}

    def ordered_ms(self) -> Mapping[Topic, int]:
        """How long what the trail ends is kept, in milliseconds; what is kept for ever is left out."""
        days = {
            Topic.TASKS: self.tasks_days,
            Topic.ANNOTATIONS: self.annotations_days,
            Topic.LABELS: self.labels_days,
        }
        return {topic: round(kept * DAY_MS) for topic, kept in days.items() if kept is not None}

    def horizons(self, now_s: float) -> dict[Topic, int]:
        """The horizon (``contracts.retention``) that is due for each of these."""
        due = {topic: horizon_ms(kept, round(now_s * 1000)) for topic, kept in self.ordered_ms().items()}
        return {topic: before_ms for topic, before_ms in due.items() if before_ms > 0}


class Ner(Section):
    """A named-entity model in the scoring process (needs the ``ner`` extra): a spaCy pipeline, trusted as code is."""

    folder: Annotated[str, StringConstraints(max_length=1000)] = ""
    """Where the pipeline is, relative to the project file."""
    package: Annotated[str, StringConstraints(pattern=r"^([A-Za-z][A-Za-z0-9_.-]{0,100})?$")] = ""
    """The installed package that it is, instead of a folder."""
    labels: Annotated[Mapping[str, EntityName], Field(max_length=500)] = {}
    """The entity that a label of the pipeline stands for, where it is not the usual one (`PER`: `PERSON`; `GPE`, `LOC`, `FAC`:
    `LOCATION`; `ORG`: `ORGANIZATION`; any other is its own)."""
    exclude: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    """Components that finding entities does not need, for speed."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.folder) == bool(self.package):
            raise ValueError("name the pipeline's `folder` or its `package`, and not both")
        return self


class Privacy(Section):
    """Masking of payloads before a task exists (needs the ``privacy`` extra), and how long things are kept."""

    mask: bool = False
    """Whether personal data is hidden in what people are shown."""
    entities: tuple[EntityName, ...] = ("EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "PHONE_NUMBER")
    """What to look for, by Presidio's names. What of them has no pattern (`PERSON`, `LOCATION`, ...) is found by the model of `ner`."""
    ner: Ner | None = None
    """A named-entity model, for what has no pattern."""
    patterns: Annotated[tuple[MaskPattern, ...], Field(max_length=50)] = ()
    """What else to look for."""
    columns: Annotated[Mapping[str, EntityName], Field(max_length=500)] = {}
    """Columns of tables that are personal whatever they hold: column to the entity that names its masks."""
    phone_regions: Annotated[tuple[str, ...], Field(max_length=20)] = ("US", "GB")
    """ISO countries whose national numbers are looked for as well."""
    threshold: Share = 0.3
    """What scores below it is left."""
    retention: Retention = Retention()
    """For how many days things are kept."""
