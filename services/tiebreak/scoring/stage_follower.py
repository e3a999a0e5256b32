"""Follow topic ``models``: whatever serves by decision is what this replica scores with. The shell around one question:
which version does the newest decision name, and which one is on trial beside it?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from tiebreak.contracts.champions import DECIDES, line_after
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import decode_model
from tiebreak.contracts.errors import BadRecord, CheckLate, ModelRefused, NotFound, Unreachable
from tiebreak.contracts.log import Batch, Partition, Reader
from tiebreak.contracts.messages import Manifest, ModelEvent, ModelRecord
from tiebreak.contracts.ports import ModelStore
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.reading import short_of, stuck
from tiebreak.scoring.stage import Scorer
from tiebreak.scoring.trial import Trial

_TRIES = frozenset({ModelEvent.SHADOW, ModelEvent.CANARY})
_MAX_RECORDS = 500
_POLL_S = 0.5
_RETRY_S = 1.0
_PATIENCE_S = 10.0
_MOST_LATE = 2  # a model that is too slow by itself is not tried for ever
_MOST_TRIED = 5  # champions of a store that was emptied are not looked for one by one for minutes


class ModelFollower:
    """Keeps a :class:`Scorer` on the champion. ``reader`` has no group: it reads topic ``models`` from the start."""

    def __init__(
        self, project: str, reader: Reader, store: ModelStore, scorer: Scorer, metrics: Metrics, clock: Clock
    ) -> None:
        self._project = project
        self._reader = reader
        self._store = store
        self._scorer = scorer
        self._metrics = metrics
        self._clock = clock
        self._line: tuple[str, ...] = ()
        self._left: tuple[
            str, ...
        ] = ()  # of the line: what was not refused; empty once the newest was while another serves
        self._judged: dict[str, str] = {}
        self._trial: Trial | None = None
        self._late = 0
        self._behind: dict[Partition, int] = {}
        self._moved_at = clock.monotonic()
        # Set once the newest decision is known and tried, or there is none: until then, no model does not mean cold start.
        self.caught_up = asyncio.Event()
        self._log = structlog.get_logger().bind(stage="scoring", project=project)

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set. While the champion's file is missing or refused, the champion before it serves, after a restart too;
        a missing one is tried again. A silent log is waited for."""
        await self._reader.start()
        try:
            self._behind = short_of(self._reader, await self._reader.end_positions())
            self._moved_at = self._clock.monotonic()
            if not self._behind:
                self.caught_up.set()
            while not stop.is_set():
                await self._turn()
        finally:
            await self._reader.close(_RETRY_S)

    async def _turn(self) -> None:
        try:
            batch = await self._reader.poll(_MAX_RECORDS, _POLL_S)
        except Unreachable as error:
            self._log.warning("models_unreachable", error=str(error))
            await self._clock.sleep(_RETRY_S)
            return
        records = list(self._read(batch))
        for record in records:
            if record.sha256:
                self._judged.setdefault(record.version, record.sha256)
        self._decided(record for record in records if record.event in DECIDES)
        self._trial = newest_trial(records, self._trial)
        self._catch_up(batch)
        # Decisions older than our start are skipped over: a model that was rolled back since must not serve for a moment.
        if self._behind:
            return
        await self._serve_newest()
        if self._trial != self._scorer.trial:
            await self._try(self._trial)
        self.caught_up.set()

    def _decided(self, decisions: Iterable[ModelRecord]) -> None:
        for record in decisions:
            self._line = self._left = line_after(self._line, record)
            self._late = 0

    def _catch_up(self, batch: Batch) -> None:
        """Strike off the partitions read as far as they went at the start; all of them when nothing more comes."""
        if not self._behind:
            return
        self._behind = short_of(self._reader, self._behind)
        now = self._clock.monotonic()
        self._moved_at = now if batch else self._moved_at
        if self._behind and now - self._moved_at >= _PATIENCE_S:
            # No event waits for what may never come: the newest decision that can be read is followed.
            self._log.warning("models_held_back", error=str(stuck(self._reader, self._behind)))
            self._behind = {}

    def _read(self, batch: Batch) -> Iterable[ModelRecord]:
        for records in batch.values():
            for record in records:
                try:
                    said = decode_model(record.value)
                except BadRecord as bad:
                    self._log.warning("model_record_unreadable", offset=record.offset, reason=bad.reason.value)
                    continue
                if said.project == self._project:
                    yield said

    async def _serve_newest(self) -> None:
        # Who serves nothing yet, and cannot serve the champion, serves what was trusted before it until it can.
        for version in [*dict.fromkeys(reversed(self._left))][:_MOST_TRIED]:
            if version == self._scorer.version:
                return
            await self._serve(version)
            if self._scorer.version or self._late:
                return

    async def _serve(self, version: str) -> None:
        try:
            await self._scorer.swap(*await self._get(version))
        except ModelRefused as refusal:
            self._log.error("model_refused", version=version, reason=str(refusal), serving=self._scorer.version)
            self._late = self._late + 1 if isinstance(refusal, CheckLate) else _MOST_LATE
            if self._late < _MOST_LATE:
                return  # the machine was busy, or asleep: it passed the gate, and is checked again
            self._late = 0
            # The same file would be refused again.
            self._left = () if self._scorer.version else tuple(v for v in self._left if v != version)
        except (NotFound, OSError) as error:
            self._metrics.count("tiebreak_scoring_swaps_total", outcome="missing")
            self._log.warning("model_missing", version=version, error=str(error), serving=self._scorer.version)
            await self._clock.sleep(_RETRY_S)
        else:
            self._late = 0
            self._log.info("model_serving", version=version, champion=self._line[-1])

    async def _get(self, version: str) -> tuple[Manifest, bytes]:
        manifest, model = await self._store.get(self._project, version)
        # Whoever can write to the store's folder can write a manifest that fits other bytes; what was judged is on the topic.
        if manifest.sha256 != self._judged.get(version, manifest.sha256):
            raise ModelRefused(
                f"The store holds another model {version} than the one that topic `models` names by its sha256."
            )
        return manifest, model

    async def _try(self, trial: Trial | None) -> None:
        if trial is None:
            await self._scorer.unshare()
            return
        try:
            await self._scorer.share(trial, *await self._get(trial.version))
        except ModelRefused as refusal:
            self._log.error("challenger_refused", version=trial.version, reason=str(refusal))
            await self._scorer.fail(trial)
        except (NotFound, OSError) as error:
            self._log.warning("challenger_missing", version=trial.version, error=str(error))
            await self._clock.sleep(_RETRY_S)
        else:
            self._log.info("challenger_shares", version=trial.version, share=trial.share)


def newest_trial(records: Iterable[ModelRecord], trial: Trial | None) -> Trial | None:
    """The stage of a rollout after ``records`` (oldest first), when ``trial`` was under way before them."""
    for record in records:
        if record.event in _TRIES:
            trial = Trial(record.version, record.share)
        elif record.event in DECIDES or (record.event is ModelEvent.HELD and trial and trial.version == record.version):
            trial = None
    return trial
