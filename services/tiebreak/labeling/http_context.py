"""What the API works with, put together by ``apps``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import NotFound
from tiebreak.contracts.log import Writer
from tiebreak.contracts.ports import History
from tiebreak.contracts.ports_models import Models
from tiebreak.contracts.project import Project
from tiebreak.labeling.http_fields import Terms
from tiebreak.labeling.port import Queue
from tiebreak.labeling.stage import Doorbell
from tiebreak.labeling.stage_answers import Desk
from tiebreak.labeling.stage_door import Door, Issuer
from tiebreak.labeling.stage_people import People
from tiebreak.labeling.stage_recall import Recall
from tiebreak.labeling.stage_schema import Schema
from tiebreak.labeling.stage_withdrawals import Withdrawals
from tiebreak.labeling.tokens import Tokens
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.health import Health
from tiebreak.runtime.metrics import Metrics


def no_epoch() -> bytes | None:
    """For queues that do not tell when a token was made or ended: every request asks the token store."""
    return None


@dataclass(frozen=True, slots=True)
class LabelingContext:
    """``writer`` is started and closed by whoever made it. ``health`` adds the health and metrics routes.

    ``token_epoch``: see ``stage_token_cache.py``.

    ``people`` says who gets no new tasks and why, and gives managers their figures.

    ``recall`` reads the topics of labeling again, for answers that are taken back late.

    ``audit`` and ``originals`` (the topic ``events``) are what revealing an unmasked payload takes.
    """

    project: Project
    queue: Queue
    tokens: Tokens
    writer: Writer
    metrics: Metrics
    clock: Clock
    doorbell: Doorbell = field(default_factory=Doorbell)
    health: Health | None = None
    token_epoch: Callable[[], bytes | None] = no_epoch
    audit: AuditTrail | None = None
    issuer: Issuer | None = None
    door: Door = field(init=False)
    schema: Schema = field(init=False)
    desk: Desk = field(init=False)
    withdrawals: Withdrawals = field(init=False)

    def __post_init__(self) -> None:
        # One door for all routes: each person has one bucket, wherever they knock.
        object.__setattr__(self, "door", Door(self.tokens, self.clock, self.project.access, self.issuer))
        # And one desk: answers of one moment share their way to the log.
        object.__setattr__(self, "schema", Schema(self.project, self.queue, self.clock))
        judging = {"is_suspect": self.people.is_suspect} if self.people is not None else {}
        desk = Desk(self.project, self.queue, self.writer, self.metrics, self.schema, **judging)
        object.__setattr__(self, "desk", desk)
        object.__setattr__(self, "withdrawals", Withdrawals(self.desk, self.queue, self.recall))

    originals: History | None = None
    models: Models | None = None
    people: People | None = None
    recall: Recall | None = None

    def check_project(self, name: str) -> None:
        """Raise NotFound for every project but this one: a token is good for one project."""
        if name != self.project.project:
            raise NotFound("There is no such project.", fix="Your token belongs to one project; see where you got it.")

    async def terms(self) -> Terms:
        """What holds for everybody who works here now."""
        labeling = self.project.labeling
        return Terms(labeling.lease_s, labeling.undo_s, str(await self.schema.now()))
