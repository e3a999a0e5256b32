"""`tiebreak token` and `tiebreak audit` against a real Redis: what people do is on record, and tampering is named."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import redis

from tests.support.command_line import CommandLine
from tiebreak.runtime.redis_server import RedisServer

pytestmark = pytest.mark.redis
TEXT = "project: small\npartitions: 2\ninput: {tensors: [{name: x, shape: [2]}]}\nclasses: {names: [a, b]}\n"


@pytest.mark.usefixtures("embedded_redis")
def test_the_first_admin_comes_by_command_and_is_on_record(
    tiebreak: CommandLine, project: Path, tmp_path: Path
) -> None:
    """No token exists until a command makes one; making, listing and ending it leave two records that verify."""
    data = ("--data", tmp_path / "data")
    assert tiebreak("token", "list", project, *data).out == ""
    made = tiebreak("token", "create", project, "--name", "root", "--role", "admin", *data)
    assert made.out.startswith("tb_")
    (line,) = tiebreak("token", "list", project, *data).out.splitlines()
    assert line.startswith("root  admin  ")
    assert made.out.strip() not in line
    assert tiebreak("token", "revoke", project, "--name", "root", *data).out == "1 token(s) of root ended.\n"
    assert tiebreak("token", "list", project, *data).out == ""
    tail = tiebreak("audit", "tail", project, "-n", 2, *data).out
    assert [line.split()[3:5] for line in tail.splitlines()] == [["token.created", "root"], ["token.revoked", "root"]]
    assert made.out.strip() not in tail
    verified = tiebreak("audit", "verify", project, *data)
    assert (verified.code, verified.out[:31]) == (0, "ok  2 records, 0 superseded, he")


def test_an_audit_log_that_was_cut_off_is_noticed_by_the_next_run(
    tiebreak: CommandLine, project: Path, embedded_redis: RedisServer, tmp_path: Path
) -> None:
    """The newest record is deleted from the log: what is left is a whole chain, but not the one that was seen before."""
    data = ("--data", tmp_path / "data")
    for name in ("ann", "bob"):
        tiebreak("token", "create", project, "--name", name, *data)
    head = tiebreak("audit", "verify", project, *data).out.split()[-1]
    with redis.Redis.from_url(embedded_redis.url) as client:
        client.flushall()
    tiebreak("token", "create", project, "--name", "ann", *data)
    cut = tiebreak("audit", "verify", project, *data)
    assert (cut.code, cut.out.splitlines()) == (
        1,
        [
            "BROKEN  The record with sequence 2 that was there before is gone or is another one.",
            f"If you know why, remove {tmp_path / 'data' / 'audit' / 'small.head'}.",
        ],
    )
    assert tiebreak("audit", "verify", project, "--expect", head, *data).code == 1
    assert tiebreak("audit", "verify", project, "--expect", "41", *data).code != 0


def test_a_broken_trail_still_shows_what_is_whole(
    tiebreak: CommandLine, project: Path, embedded_redis: RedisServer, tmp_path: Path
) -> None:
    """One record that nobody can read: it hid all others, and a token made then came with log lines before it."""
    data = ("--data", tmp_path / "data")
    tiebreak("token", "create", project, "--name", "ann", *data)
    with redis.Redis.from_url(embedded_redis.url) as client:
        (stream,) = [key for key in client.keys("*audit*") if client.type(key) == b"stream"]
        ((first, fields),) = client.xrange(stream)
        client.xadd(stream, {**fields, b"v": b"\xff"}, id=first.replace(b"1", b"2"))
    made = tiebreak("token", "create", project, "--name", "bob", *data)
    assert (made.out.count("\n"), made.out[:3]) == (1, "tb_")
    tail = tiebreak("audit", "tail", project, *data)
    assert [line.split()[4] for line in tail.out.splitlines()] == ["ann", "bob"]
    assert (tail.code, "BROKEN  The audit record at offset 1" in tail.err) == (1, True)
    as_json = tiebreak("audit", "tail", project, "--json", *data).out.splitlines()
    assert [orjson.loads(line)["target"] for line in as_json] == ["ann", "bob"]
    listed = tiebreak("token", "list", project, *data)
    assert (listed.code, [line.split()[0] for line in listed.out.splitlines()]) == (0, ["ann", "bob"])
    assert listed.err.startswith("warning: The audit record at offset 1 cannot be read (")
    broken = tiebreak("audit", "verify", project, *data)
    assert (broken.code, broken.out[:45]) == (1, "BROKEN  The audit record at offset 1 cannot b")
    for offsets, said in (
        ("5", "There is no broken record from offset 5 to 5"),
        ("2-1", "is not OFFSET or FIRST-LAST"),
    ):
        refused = tiebreak("audit", "accept", project, "--offsets", offsets, "--reason", "mine", *data)
        assert (refused.code != 0, said in refused.err) == (True, True)
    accept = ("audit", "accept", project, "--offsets", "1", "--reason", "a test's", "--by", "boss", *data)
    assert tiebreak(*accept).out == "1 broken record(s) accepted, on the audit trail.\n"
    verified = tiebreak("audit", "verify", project, *data)
    accepted, ok = verified.out.splitlines()
    assert (verified.code, ok[:13]) == (0, "ok  3 records")
    assert accepted.startswith("accepted  The audit record at offset 1 cannot be read (")
    assert all(word in accepted for word in ("boss", "faults.accepted", "a test's"))
    assert tiebreak(*accept).code != 0
    assert tiebreak("token", "list", project, *data).err == ""
    assert tiebreak("audit", "tail", project, *data).code == 0
