"""The client that blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from random import random
from types import TracebackType
from typing import Self, TypeVar

import httpx

from tiebreak.client import calls
from tiebreak.client import models as m
from tiebreak.client.calls import Call
from tiebreak.client.disputes import Dispute
from tiebreak.client.errors import ApiError, Unavailable, error_of
from tiebreak.client.retries import Retries, asked_s

T = TypeVar("T")
_USUAL_S = 10.0
_BEATS_PER_LEASE = 3


@dataclass(slots=True)
class Kept:
    """A task whose lease is renewed meanwhile. ``lost``: it is no longer yours (answered, or given away): stop working on it."""

    task: m.Task
    lost: bool = False


class Client:
    """The labeling API as one person of one project, see the package. Raises ApiError's kinds; ``transport`` is for tests.

    A line break around the token, as a file has it, is no part of it; ValueError for what cannot be one.

    One object may be used by several threads.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str,
        project: str,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._project = project
        self._retries = retries or Retries()
        self._http = httpx.Client(base_url=url, headers=calls.bearer(token), timeout=_USUAL_S, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def claim(self, want: int = 1, wait_s: float = 0.0, skills: Sequence[str] = ()) -> m.Claim:
        """Hold ``want`` tasks (1 to 10): those you hold already, renewed, and new ones. Waits up to ``wait_s`` (30) for the first.

        ``skills``: of those the project grants you, the ones to use now (none named: all).
        """
        return self._do(calls.claim(self._project, want, wait_s, skills))

    def submit(
        self,
        task: m.Task,
        answer: object,
        *,
        lead_time_s: float | None = None,
        comment: str = "",
        flagged: bool = False,
        key: str = "",
    ) -> m.Annotation:
        """Answer a task: the name of a class, or JSON where the project asks another kind of question. On the log when it returns.

        ``lead_time_s``: active time. ``key``: an Idempotency-Key of your own, to be safe across a restart of your program.
        """
        more = {"lead_time_s": lead_time_s, "comment": comment, "flagged": flagged}
        return self._do(calls.submit(task, answer, key, **more))

    def submit_and_claim(
        self,
        task: m.Task,
        answer: object,
        want: int = 1,
        *,
        lead_time_s: float | None = None,
        comment: str = "",
        key: str = "",
    ) -> m.Annotation:
        """:meth:`submit`, and hold ``want`` tasks (1 to 10) after it, which are in ``next``: one request per task instead of two."""
        more = {"lead_time_s": lead_time_s, "comment": comment}
        return self._do(calls.submit(task, answer, key, want, **more))

    def skip(self, task: m.Task, reason: str = "", *, flagged: bool = False, key: str = "") -> m.Annotation:
        """Pass a task on to somebody else."""
        return self._do(calls.skip(task, reason, flagged, key))

    def undo(self, annotation: m.Annotation, key: str = "") -> m.Annotation:
        """Take an answer back within the project's ``undo_s``."""
        return self._do(calls.undo(annotation.annotation_id, key))

    def withdraw(self, annotation: m.Annotation | m.Done, key: str = "") -> m.Annotation:
        """Take an answer back at any later time: its label is withdrawn, the task goes to others. An old one takes seconds."""
        return self._do(calls.withdraw(annotation.annotation_id, key))

    def renew(self, task: m.Task) -> m.Renewed:
        """The heartbeat, once; see :meth:`keep`."""
        return self._do(calls.renew(task))

    def release(self, task: m.Task) -> None:
        """Give a task back unanswered, at once."""
        self._do(calls.release(task))

    def answers(self, task: m.Task | str) -> Dispute:
        """For reviewers: what people said about a task in review that you hold, and how sure the consensus is.

        Raises Conflict where it is not in review (it is answered blind then), or no longer in your hands.
        """
        return self._do(calls.answers(task))

    def me(self) -> m.Me:
        """Who you are here."""
        return self._do(calls.me())

    def history(self, limit: int = 50) -> m.History:
        """Your newest answers."""
        return self._do(calls.history(limit))

    def project(self) -> m.ProjectInfo:
        """The question, the guidelines, the classes, and how much is open."""
        return self._do(calls.project(self._project))

    def resume(self, person: str, key: str = "") -> None:
        """For managers: let a paused person go on."""
        self._do(calls.resume(self._project, person, key))

    def reopen(
        self, person: str, reason: str, *, since_ms: int | None = None, last: int | None = None, key: str = ""
    ) -> m.Reopened:
        """For managers: take a person's answers back, from ``since_ms`` on, at most the ``last`` newest; the tasks go to others.

        With neither, those after the last gold that they answered right. A call takes a thousand: where some are ``left``, the same
        call with the same ``key`` goes on, and takes nothing that was said since.
        """
        return self._do(calls.reopen(self._project, person, reason, since_ms, last, key))

    def add_class(self, name: str, key: str = "") -> str:
        """Add a class to an open set; the class as it is now known."""
        return self._do(calls.add_class(self._project, name, key))

    def crowd(self) -> m.Crowd:
        """For managers: accuracy on gold with its interval, agreement, speed and cost, of the project and of each person."""
        return self._do(calls.crowd(self._project))

    def keep_gold(self, task: m.Task | m.Proposal | str, answer: str, reason: str = "", key: str = "") -> str:
        """For reviewers: make gold of a task (or its id), proposed or still on the queue; the id of the piece.

        Its answer must be certain. Again: the same piece; with another answer than it has: Conflict.
        """
        return self._do(calls.keep_gold(self._project, task, answer, reason, key))

    def gold_proposals(self, limit: int = 20) -> tuple[m.Proposal, ...]:
        """For reviewers: settled tasks of which people are sure, the newest first. :meth:`keep_gold` says yes."""
        return self._do(calls.gold_proposals(self._project, limit))

    def decline_gold(self, proposal: m.Proposal | str, reason: str = "", key: str = "") -> None:
        """For reviewers: no gold is to be made of a task that is proposed (or its id), for good."""
        self._do(calls.decline_gold(self._project, proposal, reason, key))

    def reveal(self, task: m.Task | str, reason: str, key: str = "") -> m.Revealed:
        """For managers: the payload as the producer sent it, unmasked. Who, which task and why is on the audit trail."""
        return self._do(calls.reveal(task, reason, key))

    def models(self) -> m.Models:
        """For managers: what serves, and the newest decisions about models."""
        return self._do(calls.models(self._project))

    def served(self, at: datetime | None = None) -> m.Decision:
        """For managers: the decision by which a model served at a time, or serves now. Without a zone the time is UTC."""
        return self._do(calls.served(self._project, at))

    def model(self, version: str) -> m.Model:
        """For managers: what a model was made from, how it did, and what was decided about it."""
        return self._do(calls.model(self._project, version))

    def diff(self, version: str, other: str) -> m.Diff:
        """For managers: two models side by side."""
        return self._do(calls.diff(self._project, version, other))

    def promote(self, version: str, reason: str, key: str = "") -> str:
        """For managers: let this version serve from now on, whatever the gate said; what serves now.

        As :meth:`rollback`, :meth:`pin` and :meth:`unpin` it is on the audit trail with your reason. Sent again with the same ``key``
        it is the same deed, with the same answer, whatever was decided since.
        """
        return self._do(calls.promote(self._project, version, reason, key))

    def rollback(self, reason: str, key: str = "") -> str:
        """For managers: end the rollout under way, else let the model before this one serve again; what serves now."""
        return self._do(calls.word_on_models(self._project, "rollback", reason, key))

    def pin(self, reason: str, key: str = "") -> str:
        """For managers: keep what serves until it is unpinned; what serves now."""
        return self._do(calls.word_on_models(self._project, "pin", reason, key))

    def unpin(self, reason: str, key: str = "") -> str:
        """For managers: let the gate decide again; what serves now."""
        return self._do(calls.word_on_models(self._project, "unpin", reason, key))

    @contextmanager
    def keep(self, task: m.Task) -> Iterator[Kept]:
        """Renew the lease of ``task`` in the background as long as the block runs. If the block raises, the task is given back."""
        kept, done = Kept(task), threading.Event()
        beat = threading.Thread(target=self._beat, args=(kept, done), name="tiebreak heartbeat", daemon=True)
        beat.start()
        try:
            yield kept
        except BaseException:
            done.set()
            with suppress(ApiError):
                self.release(task)
            raise
        finally:
            done.set()
            beat.join()

    def _beat(self, kept: Kept, done: threading.Event) -> None:
        while not done.wait(kept.task.lease.lease_s / _BEATS_PER_LEASE):
            try:
                self.renew(kept.task)
            except Unavailable:
                continue  # the next beat is soon enough
            except ApiError:
                kept.lost = True
                return

    def _do(self, call: Call[T]) -> T:
        attempt = 0
        while True:
            attempt += 1
            status, problem, wait_s = 0, None, 0.0
            try:
                answer = self._http.request(
                    call.method,
                    call.path,
                    json=call.body,
                    params=call.params,
                    headers=call.headers(),
                    timeout=_USUAL_S + call.wait_s,
                )
                if answer.is_success:
                    return call.read(answer.json() if answer.content else {})
                status, problem, wait_s = answer.status_code, _json(answer), asked_s(answer.headers.get("retry-after"))
            except httpx.TransportError as error:
                problem = {"detail": f"The server does not answer: {type(error).__name__}."}
            pause_s = self._retries.wait_s(attempt, status, wait_s, random())
            if pause_s is None:
                raise error_of(status, problem)
            time.sleep(pause_s)


def _json(answer: httpx.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return None  # not ours: a proxy's page
