"""Logs are one JSON object per line away from a terminal, for our lines and the libraries' alike."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tiebreak.runtime.logs import configure_logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_every_line_is_a_json_object_with_the_process_name() -> None:
    """A collector can parse each line, whoever wrote it, tracebacks included."""
    out = io.StringIO()
    configure_logs("stream", stream=out)
    structlog.get_logger("ours").info("batch_done", events=3)
    logging.getLogger("theirs").warning("careful %s", "now")
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger("ours").exception("failed")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(x["process"], x["logger"], x["level"], x["event"]) for x in lines] == [
        ("stream", "ours", "info", "batch_done"),
        ("stream", "theirs", "warning", "careful now"),
        ("stream", "ours", "error", "failed"),
    ]
    assert lines[0]["events"] == 3
    assert "ValueError: boom" in lines[2]["exception"]


def test_below_the_level_nothing_is_written() -> None:
    """The level holds for ours and theirs; chatty libraries stay quiet below warnings."""
    out = io.StringIO()
    configure_logs("label", level="info", stream=out)
    structlog.get_logger("ours").debug("no")
    logging.getLogger("aiokafka.consumer").info("no")
    assert out.getvalue() == ""


def test_on_a_terminal_lines_are_for_people() -> None:
    """With json off the text is readable, not an object."""
    out = io.StringIO()
    configure_logs("train", json=False, stream=out)
    structlog.get_logger("ours").info("step", labels=25)
    assert "step" in out.getvalue()
    assert "labels" in out.getvalue()
    assert not out.getvalue().startswith("{")
