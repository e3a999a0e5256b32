"""The generated files: up to date, and true of what the code writes and reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from scripts.generate import ROOT, drift, from_code, wire
from scripts.schemas import MESSAGE_OF, event_schema, message_schema, project_schema, texts_below
from tests.support.messages import messages
from tests.support.records import NAMED, VECTOR, record
from tiebreak.contracts import codec
from tiebreak.contracts import messages as m
from tiebreak.contracts.errors import BadRecord, Invalid
from tiebreak.contracts.project import Section
from tiebreak.contracts.topics import Topic

KINDS = (*MESSAGE_OF.values(), m.Manifest)
OIP: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [3], "data": [1, 2, 3]}


def test_generated_files_are_what_their_sources_make() -> None:
    """Whoever changes ``proto/`` or a message runs the generator and commits what it writes."""
    assert drift(wire() | from_code()) == []


def test_drift_names_what_is_missing_different_or_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check sees a file that was edited, one that was not committed, and one whose source is gone."""
    monkeypatch.setattr("scripts.generate.ROOT", tmp_path)
    (tmp_path / "a").write_bytes(b"edited")
    (tmp_path / "c").write_bytes(b"")
    assert drift({Path("a"): b"made", Path("b"): b"made"}) == ["differs: a", "missing: b", "stray: c"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(data=st.data())
def test_plain_json_obeys_its_schema_and_comes_back(kind: type, data: st.DataObject) -> None:
    """What ``to_json`` writes validates against the published schema, and ``from_json`` gives the message back."""
    message = data.draw(messages(kind))

    raw = codec.to_json(message)

    Draft202012Validator(message_schema(kind)).validate(orjson.loads(raw))
    assert codec.from_json(kind, raw) == message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(data=st.data())
def test_plain_json_that_the_schema_refuses_is_a_bad_record(kind: type, data: st.DataObject) -> None:
    """A value of another type, or a missing one, is refused by the schema and by the reader alike."""
    body = orjson.loads(codec.to_json(data.draw(messages(kind))))
    field = data.draw(st.sampled_from(sorted(body)))
    body[field] = data.draw(st.sampled_from([{"?": None}, [None], "", True, 0.5]))
    valid = Draft202012Validator(message_schema(kind)).is_valid(body)
    try:
        codec.from_json(kind, orjson.dumps(body))
    except BadRecord:
        return
    assert valid


def test_what_is_not_finite_has_no_plain_json() -> None:
    """NaN is refused instead of becoming null."""
    with pytest.raises(Invalid, match=r"DriftRecord\.statistic is not finite"):
        codec.to_json(m.DriftRecord("p", m.DriftEvent.ALARM, "", "", float("nan"), "", "", 0, 0, 0, 0))


@pytest.mark.parametrize(
    "body",
    [
        {"id": "e1", "inputs": [OIP], "parameters": {}, "payload": "text", "time_ms": 5},
        {"inputs": [OIP], "payload": {"kind": "image", "data": "AAAA"}, "subject": "s", "source": "/a"},
        {"id": "e1", "fields": {"amount": 1, "hour": 2}, "payload": {"kind": "table", "data": {}}},
        {"id": "e1", "amount": 1, "hour": 2, "country": "CH"},
    ],
)
def test_the_event_schema_takes_what_the_codec_takes(body: dict[str, Any]) -> None:
    """Every JSON form of an event is in the published schema."""
    Draft202012Validator(event_schema()).validate(body)
    codec.decode_event(record(orjson.dumps(body)), VECTOR if "inputs" in body else NAMED)


@pytest.mark.parametrize(
    "body",
    [
        {"id": 7, "inputs": [OIP]},
        {"id": "e1", "inputs": [OIP], "fields": {}},
        {"id": "e1", "inputs": [OIP | {"datatype": "FLOAT"}]},
        {"id": "e1", "inputs": [OIP], "payload": {"kind": "exe", "data": ""}},
        {"id": "e1", "inputs": [OIP], "extra": 1},
        {"id": "e1", "fields": [1]},
    ],
)
def test_the_event_schema_refuses_what_the_codec_refuses(body: dict[str, Any]) -> None:
    """A producer can find such mistakes before sending anything."""
    assert not Draft202012Validator(event_schema()).is_valid(body)
    with pytest.raises(BadRecord):
        codec.decode_event(record(orjson.dumps(body)), VECTOR)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").rglob("project.yaml")), ids=lambda path: str(path.parent.name)
)
def test_the_examples_obey_the_schema_of_the_project_file(path: Path) -> None:
    """An editor that knows the schema finds nothing to complain about in our own examples."""
    Draft202012Validator(project_schema()).validate(yaml.safe_load(path.read_text()))


def test_every_key_of_the_project_file_has_the_text_below_it_as_its_description() -> None:
    """An editor shows it."""
    schema = project_schema()
    keys = {
        f"{name}.{key}": described.get("description", "")
        for name, definition in (schema["$defs"] | {"Project": schema}).items()
        for key, described in definition.get("properties", {}).items()
    }
    assert len(keys) > 100
    assert [key for key, text in keys.items() if len(text) < 10] == []
    assert keys["Labeling.undo_s"] == "An answer can be undone for so long."


def test_a_key_without_a_text_is_refused_where_the_schema_is_made() -> None:
    """None can be added without one."""

    class Kept(Section):
        events_days: float = 7.0
        """The topic."""
        dead_days: float = 28.0

    with pytest.raises(SystemExit, match=r"Kept\.dead_days: write below the key what it is"):
        texts_below(Kept)


def test_asyncapi_names_every_topic_and_every_reference_resolves() -> None:
    """The document covers the nine topics, and points at nothing that is not there."""
    document = yaml.safe_load((ROOT / "schemas/asyncapi.yaml").read_text())
    assert {name: channel["address"] for name, channel in document["channels"].items()} == {
        topic.value: topic.of("{project}") for topic in Topic
    }
    dangling = [reference for reference in references(document) if not resolves(reference, document)]
    assert dangling == []


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [node["$ref"]] if "$ref" in node else [ref for child in node.values() for ref in references(child)]
    return [ref for child in node for ref in references(child)] if isinstance(node, list) else []


def resolves(reference: str, document: Any) -> bool:
    if not reference.startswith("#/"):
        return (ROOT / "schemas" / reference).is_file()
    node = document
    for part in reference.removeprefix("#/").split("/"):
        node = node.get(part, {})
    return bool(node)
