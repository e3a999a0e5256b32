"""The ledger: one SQLite file per project with every label, the weights they gave, and how far `labels` was read.

One transaction per step (WAL, ``synchronous=FULL``): a process killed at any moment leaves the file at a step's edge, and the
records after it are read again. A lost file is rebuilt from the topic. No pickle: raw bytes, JSON and columns.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tiebreak.contracts.errors import ConfigError, Conflict, SlowDown
from tiebreak.contracts.log import Partition
from tiebreak.training.dataset import Aside
from tiebreak.training.eras import Era
from tiebreak.training.retraction import Struck
from tiebreak.training.sqlite_changes import TABLE as CHANGES
from tiebreak.training.sqlite_changes import (
    Change,
    Erasure,
    Kind,
    Retraction,
    read_changes,
    read_retractions,
    retract,
    version_of,
    write_change,
)
from tiebreak.training.sqlite_eras import TABLE as ERAS
from tiebreak.training.sqlite_eras import read_eras, write_eras
from tiebreak.training.sqlite_erasing import HORIZONS, erase_before, erase_labels, horizon
from tiebreak.training.sqlite_schema import APPLICATION_ID, BY_TIME, ERASURES, RETRACTIONS, SCHEMA, SCHEMA_VERSION
from tiebreak.training.sqlite_vectors import TABLE as VECTORS
from tiebreak.training.sqlite_vectors import Pinned, pin, read_pinned

_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class LedgerLabel:
    """One revision of a label, where it was read, and its bytes as they were on the topic."""

    label_id: str
    revision: int
    value: str
    audit: bool
    withdrawn: bool
    settled_ms: int
    partition: Partition
    position: int
    wire: bytes


@dataclass(frozen=True, slots=True)
class AsideLabel:
    """A record that cannot be learned from as things are: kept with its reason, offered again when the project file changes."""

    partition: Partition
    position: int
    reason: Aside
    detail: str
    wire: bytes


@dataclass(frozen=True, slots=True)
class Weights:
    """What a step learned. ``state``: the exported model. ``replay``: the ids that trained it, in order."""

    digest: str
    state: bytes
    replay: Sequence[str]
    audited: int


@dataclass(frozen=True, slots=True)
class Step:
    """All that one step makes durable, together. ``weights`` None: labels were taken in, nothing was fitted.

    ``fitted``: the data set version that the weights are of. They are left out where the step comes to another one: somebody took
    something back meanwhile, and nothing that was learned from it shall be kept. None: of what the step comes to.
    """

    labels: Sequence[LedgerLabel] = ()
    aside: Sequence[AsideLabel] = ()
    positions: Mapping[Partition, int] = field(default_factory=dict)
    weights: Weights | None = None
    readmitted: Sequence[AsideLabel] = ()
    eras: Sequence[Era] = ()
    fitted: int | None = None


class Ledger:
    """One project's ledger. Created when missing. Raises ConfigError for a file that is foreign, corrupt or too new.

    Whatever writes raises SlowDown when the disk refuses (full, or an I/O error), opening it included: the file is as it was before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.OperationalError as error:
            # A disk that is full or fails has not made the file unsound: nobody shall move it away for that.
            raise self._refused(error) from error
        except sqlite3.DatabaseError as error:
            raise self._unusable(f"it is not a sound SQLite file ({error})") from error

    def claim(self, project: str, encoder: str = "") -> None:
        """Become the one writer, for this project and encoder (its digest; empty: none).

        Raises Conflict if another process writes, ConfigError for another project, or for another encoder once there are
        labels: embeddings of two encoders do not mix. May be called again after SlowDown.
        """
        if self._lock is None:
            self._lock = self._only_writer()
        known = self._db.execute("SELECT value FROM facts WHERE key = 'project'").fetchone()
        if known is not None and known[0] != project:
            raise self._unusable(f"it belongs to project {known[0]!r}, not {project!r}")
        before = self._db.execute("SELECT value FROM facts WHERE key = 'encoder'").fetchone()
        if before is not None and before[0] != encoder and self._has_labels():
            raise ConfigError(
                f"The labels in {self.path} carry embeddings of another model.encoder than the project has now.",
                fix="Go back to that encoder, or give the project another name.",
            )
        with self._writing():
            self._db.execute("INSERT OR IGNORE INTO facts VALUES ('project', ?)", (project,))
            self._db.execute("INSERT OR REPLACE INTO facts VALUES ('encoder', ?)", (encoder,))

    def _only_writer(self) -> int:
        lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise Conflict(f"Another trainer has {self.path} open.", fix="Run one trainer per project.") from error
        return lock

    def pin_vectors(self, digest: str) -> str | None:
        """From now on models are made with these vectors of the class names (their digest; empty: none).

        What it was before, where that changes what labels already here give; else None.
        """
        version = self.dataset_version()
        with self._writing():
            before = pin(self._db, digest, version)
        return before if self._has_labels() else None

    def _has_labels(self) -> bool:
        return self._db.execute("SELECT 1 FROM labels LIMIT 1").fetchone() is not None

    def vectors(self) -> tuple[Pinned, ...]:
        """The vectors of the class names that models were made with, oldest first; none where there never were any."""
        return read_pinned(self._db)

    def positions(self) -> dict[Partition, int]:
        """The next offset to read, per partition."""
        return {Partition(t, p): n for t, p, n in self._db.execute("SELECT topic, part, next FROM positions")}

    def labels(self, dataset_version: int | None = None) -> Iterator[LedgerLabel]:
        """Every revision up to a dataset version (all of them by default), in the order of arrival."""
        limit = dataset_version if dataset_version is not None else self.dataset_version()
        query = (
            "SELECT label_id, revision, value, audit, withdrawn, settled_ms, topic, part, position, wire"
            " FROM labels WHERE sequence <= ? ORDER BY sequence"
        )
        for label, revision, value, audit, withdrawn, settled, topic, part, position, wire in self._db.execute(
            query, (limit,)
        ):
            where = Partition(topic, part)
            yield LedgerLabel(label, revision, value, bool(audit), bool(withdrawn), settled, where, position, wire)

    def newest(self, *, audit: bool) -> Iterator[bytes]:
        """The standing labels of a kind as they were on the topic, the last settled first. Read only as far as it is asked."""
        query = (
            "SELECT wire FROM labels AS l INDEXED BY labels_by_time WHERE audit = ? AND withdrawn = 0 AND NOT EXISTS"
            " (SELECT 1 FROM labels AS n WHERE n.label_id = l.label_id AND n.revision > l.revision)"
            " ORDER BY settled_ms DESC, label_id DESC"
        )
        for (wire,) in self._db.execute(query, (audit,)):
            yield wire

    def revision(self, label_id: str) -> int:
        """The highest revision of a label, 0 where there is none."""
        query = "SELECT COALESCE(MAX(revision), 0) FROM labels WHERE label_id = ?"
        return int(self._db.execute(query, (label_id,)).fetchone()[0])

    def aside(self) -> tuple[AsideLabel, ...]:
        """What is kept aside, oldest first per partition."""
        rows = self._db.execute(
            "SELECT topic, part, position, reason, detail, wire FROM aside ORDER BY topic, part, position"
        )
        return tuple(
            AsideLabel(Partition(t, p), n, Aside(reason), detail, wire) for t, p, n, reason, detail, wire in rows
        )

    def eras(self) -> dict[str, int]:
        """The confirmed drifts: burst id to when, in milliseconds."""
        return read_eras(self._db)

    def dataset_version(self) -> int:
        """The sequence number of the newest label, or of what was taken back since; 0 when empty."""
        return version_of(self._db)

    def changes(self, after: int = 0, until: int | None = None) -> tuple[Change, ...]:
        """What was taken back above version ``after``, up to ``until`` (the newest), oldest first."""
        return read_changes(self._db, after, self.dataset_version() if until is None else until)

    def weights(self) -> Weights | None:
        """What the newest fitting step learned."""
        # One statement: a step that another process commits meanwhile is in all of it or in nothing.
        query = (
            "SELECT digest, state, replay, audited FROM weights, (SELECT audited FROM steps ORDER BY step DESC LIMIT 1)"
        )
        row = self._db.execute(query).fetchone()
        return None if row is None else Weights(row[0], row[1], tuple(json.loads(row[2])), int(row[3]))

    def steps(self) -> tuple[tuple[int, str, int, int], ...]:
        """(dataset version, digest, labels that trained, audit labels) of every fitting step, oldest first."""
        return tuple(self._db.execute("SELECT dataset_version, digest, trained, audited FROM steps ORDER BY step"))

    def retractions(self, version: int | None = None) -> tuple[Retraction, ...]:
        """Whose votes do not count, as of a version of the data set (the newest), oldest first."""
        return read_retractions(self._db, self.dataset_version() if version is None else version)

    def retract(self, retraction: Retraction) -> bool:
        """From now on this annotator's votes do not count; False, and no change, where that was so before.

        The trainer that has the ledger open takes it up at its next turn.
        """
        with self._writing():
            return retract(self._db, retraction)

    def struck(self, version: int | None = None) -> Struck:
        """Whose votes do not count, as of a version of the data set (the newest), who was erased, and what is too old."""
        subjects = frozenset(key for (key,) in self._db.execute("SELECT subject FROM erasures"))
        return Struck(frozenset(r.annotator for r in self.retractions(version)), subjects, horizon(self._db))

    def erase(self, erasure: Erasure) -> tuple[str, ...]:
        """Overwrite all that this person's labels hold, every revision, on disk too; the ids of those labels.

        What was learned from them goes with the next step: the trainer that has the ledger open takes it up at its next turn.
        """
        run = self._db.execute
        with self._writing():
            row = (erasure.subject, erasure.by, erasure.reason, erasure.time_ms)
            query = "INSERT OR IGNORE INTO erasures (subject, by, reason, time_ms) VALUES (?, ?, ?, ?)"
            new = run(query, row).rowcount > 0
            gone = erase_labels(self._db, Struck(subjects=frozenset({erasure.subject})))
            if new:
                write_change(self._db, Kind.ERASED, row, len(gone))
        run("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def erase_before(self, before_ms: int) -> int:
        """:meth:`erase`, for all that was settled before ``before_ms``; how many revisions it took now."""
        changed = erase_before(self._db, before_ms, self._writing)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return changed

    def commit(self, step: Step) -> int:
        """Make a step durable and return the dataset version. All of it or, when it raises, nothing.

        Raises SlowDown when the disk refuses (full, or an I/O error): try again, the file is as it was before.
        """
        with self._writing():
            self._write(step)
            return self.dataset_version()

    def close(self) -> None:
        """Give the file up. Safe to call twice."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write(self, step: Step) -> None:
        run = self._db.execute
        version = self.dataset_version()
        for label in step.labels:
            done = run(
                "INSERT OR IGNORE INTO labels (sequence, label_id, revision, value, audit, withdrawn, settled_ms, topic, part,"
                " position, wire) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(
                        version + 1,
                        label.label_id,
                        label.revision,
                        label.value,
                        label.audit,
                        label.withdrawn,
                        label.settled_ms,
                    ),
                    *(label.partition.topic, label.partition.index, label.position, label.wire),
                ),
            )
            version += done.rowcount
        for kept in step.aside:
            place = (kept.partition.topic, kept.partition.index, kept.position)
            run(
                "INSERT OR REPLACE INTO aside VALUES (?, ?, ?, ?, ?, ?)",
                (*place, kept.reason.value, kept.detail, kept.wire),
            )
        for back in step.readmitted:
            place = (back.partition.topic, back.partition.index, back.position)
            run("DELETE FROM aside WHERE topic = ? AND part = ? AND position = ?", place)
        for partition, position in step.positions.items():
            run("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (partition.topic, partition.index, position))
        write_eras(self._db, step.eras)
        now, learned = self.dataset_version(), step.weights
        if learned is not None and step.fitted in {None, now}:
            run(
                "INSERT OR REPLACE INTO weights VALUES (1, ?, ?, ?)",
                (learned.digest, learned.state, json.dumps(list(learned.replay))),
            )
            counts = (now, learned.digest, len(learned.replay), learned.audited)
            run("INSERT INTO steps (dataset_version, digest, trained, audited) VALUES (?, ?, ?, ?)", counts)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._transaction():
                yield
        except sqlite3.OperationalError as error:
            raise self._refused(error) from error
        except sqlite3.DatabaseError as error:
            raise self._unusable(f"it was damaged while in use ({error})") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # A failed COMMIT may have rolled back by itself; asking again would hide its error.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _open(self) -> None:
        owner = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and owner != APPLICATION_ID:
            raise self._unusable("another program made it")
        if version > SCHEMA_VERSION:
            raise self._unusable(f"it has format {version}, this Tiebreak reads up to {SCHEMA_VERSION}")
        fault = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise self._unusable(f"its content is damaged ({' '.join(fault.split())})")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if not tables:
            self._create()
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute(RETRACTIONS)
        self._db.execute(ERASURES)
        self._db.execute(HORIZONS)
        self._db.execute(BY_TIME)
        self._db.execute(ERAS)
        self._db.execute(VECTORS)
        self._db.execute(CHANGES)

    def _create(self) -> None:
        self.path.chmod(0o600)
        with self._writing():
            # executescript would commit our transaction: one statement at a time.
            for statement in SCHEMA.split(";\n"):
                if statement.strip():
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _refused(self, error: sqlite3.OperationalError) -> SlowDown:
        return SlowDown(
            f"The ledger {self.path} cannot be written ({error}).",
            retry_after_s=_RETRY_S,
            fix="Make room on the disk; nothing is lost meanwhile.",
        )

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError(
            f"The ledger {self.path} cannot be used: {why}.",
            fix="Move it away: the trainer rebuilds it from the topic `labels`.",
        )
