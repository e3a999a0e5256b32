"""The ledger: a step is in it whole or not at all, and a file that is not ours is never written to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tiebreak.contracts.errors import ConfigError, Conflict, SlowDown
from tiebreak.contracts.log import Partition
from tiebreak.training.dataset import Aside
from tiebreak.training.sqlite import AsideLabel, Ledger, LedgerLabel, Step, Weights

PART = Partition("tiebreak.tests.labels", 0)


def entry(label: str, revision: int = 1, wire: bytes = b"wire") -> LedgerLabel:
    return LedgerLabel(label, revision, "a", False, False, 5, PART, 0, wire)


def test_a_step_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Labels, aside, positions and weights of a committed step survive closing the file."""
    kept = AsideLabel(PART, 7, Aside.UNKNOWN_CLASS, "no such class", b"raw")
    weights = Weights("d" * 64, b"state", ("one", "two"), 3)
    with_all = Step([entry("one"), entry("two")], [kept], {PART: 9}, weights)
    ledger = Ledger(tmp_path / "t.ledger")
    ledger.claim("tests")
    assert ledger.commit(with_all) == 2
    ledger.close()
    again = Ledger(tmp_path / "t.ledger")
    assert list(again.labels()) == [entry("one"), entry("two")]
    assert again.aside() == (kept,)
    assert again.positions() == {PART: 9}
    assert again.weights() == weights
    assert again.steps() == ((2, "d" * 64, 2, 3),)
    again.commit(Step(readmitted=[kept]))
    assert again.aside() == ()
    again.close()


def test_a_dataset_version_can_be_read_again(tmp_path: Path) -> None:
    """Version 2 is the first two events for ever, whatever came after; a replayed revision makes no new version."""
    ledger = Ledger(tmp_path / "t.ledger")
    assert ledger.commit(Step([entry("one"), entry("two")])) == 2
    assert ledger.commit(Step([entry("one"), entry("one", 2)])) == 3
    assert [(x.label_id, x.revision) for x in ledger.labels(2)] == [("one", 1), ("two", 1)]
    assert [(x.label_id, x.revision) for x in ledger.labels()] == [("one", 1), ("two", 1), ("one", 2)]
    ledger.close()


def test_a_failed_step_leaves_nothing(tmp_path: Path) -> None:
    """The disk is full in the middle of a step: SlowDown, the file is as before, and the same step goes in later."""
    ledger = Ledger(tmp_path / "t.ledger")
    ledger.commit(Step([entry("one")], positions={PART: 1}))
    ledger._db.execute("PRAGMA max_page_count = 20")
    large = Step([entry(f"l{i}", wire=b"x" * 4000) for i in range(50)], positions={PART: 51})
    with pytest.raises(SlowDown, match="cannot be written"):
        ledger.commit(large)
    assert (ledger.positions(), ledger.dataset_version()) == ({PART: 1}, 1)
    ledger._db.execute("PRAGMA max_page_count = 100000")
    assert ledger.commit(large) == 51
    assert ledger.positions() == {PART: 51}
    ledger.close()


def test_one_writer_per_ledger_and_one_project_per_file(tmp_path: Path) -> None:
    """A second trainer on the file is refused while the first lives; another project is refused always."""
    first, second = Ledger(tmp_path / "t.ledger"), Ledger(tmp_path / "t.ledger")
    first.claim("tests")
    with pytest.raises(Conflict, match="Another trainer"):
        second.claim("tests")
    first.close()
    with pytest.raises(ConfigError, match="belongs to project 'tests'"):
        second.claim("other")
    second.close()


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()


def _newer(path: Path) -> None:
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def _torn(path: Path) -> None:
    ledger = Ledger(path)
    ledger.commit(Step([entry(f"l{i}", wire=b"x" * 4000) for i in range(50)]))
    ledger.close()
    data = bytearray(path.read_bytes())
    data[4096:40_000] = b"\xff" * (40_000 - 4096)
    path.write_bytes(data)


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


@pytest.mark.parametrize("spoil", [_garbage, _foreign, _newer, _torn])
def test_a_file_that_is_not_a_sound_ledger_is_refused_untouched(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Garbage, another program's database, a newer format, damaged pages: one clear line, and not a byte is changed."""
    path = tmp_path / "t.ledger"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"cannot be used: .* Move it away"):
        Ledger(path)
    assert path.read_bytes() == before


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Labels may be personal data: the file is created 0600."""
    ledger = Ledger(tmp_path / "deep" / "t.ledger")
    assert ledger.path.stat().st_mode & 0o777 == 0o600
    ledger.close()


def test_embeddings_of_two_encoders_do_not_mix(tmp_path: Path) -> None:
    """Another encoder with an empty ledger is fine; once there are labels it is refused, and the first one still works."""
    for encoder in ("one", "two"):
        ledger = Ledger(tmp_path / "l")
        ledger.claim("tests", encoder)
        ledger.close()
    ledger = Ledger(tmp_path / "l")
    ledger.claim("tests", "two")
    ledger.commit(Step([entry("one")]))
    ledger.close()
    again = Ledger(tmp_path / "l")
    with pytest.raises(ConfigError, match=r"another model\.encoder"):
        again.claim("tests", "one")
    again.close()
    last = Ledger(tmp_path / "l")
    last.claim("tests", "two")
    last.close()
