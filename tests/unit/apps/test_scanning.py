"""Listing a topic: what cannot be read is left out of the list, and named."""

from __future__ import annotations

from structlog.testing import capture_logs

from tests.support.models import project_of
from tests.support.training import log_for
from tiebreak.apps.scanning import readable, scan
from tiebreak.contracts.codec import decode_model
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.topics import Topic


async def test_a_record_that_cannot_be_read_is_left_out_and_named() -> None:
    """Topic, partition and offset, as any tool of the log takes them."""
    log = await log_for(project_of([2]))
    topic = Topic.MODELS.of("test")
    writer = log.writer()
    await writer.start()
    await writer.publish(Outputs([Message(topic, b"k", b"\xff", (), 0)]))
    with capture_logs() as logs:
        assert [readable(decode_model, record) async for record in scan(log, "test", [Topic.MODELS])] == [None]
    assert [(line["event"], line["at"]) for line in logs] == [("a record cannot be read", f"{topic}/0/0")]
