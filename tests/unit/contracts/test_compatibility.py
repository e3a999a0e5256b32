"""Records are kept for ever: the wire only grows."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from scripts.compatibility import breaks
from scripts.generate import BASELINE, ROOT, baseline
from tiebreak.contracts import codec_messages
from tiebreak.contracts import messages as m
from tiebreak.contracts.codec_messages import WIRE, crossings

OLD: dict[str, Any] = {
    "messages": {
        "Label": {
            "label_id": {"number": 1, "type": "string", "required": True},
            "value": {"number": 2, "type": "string", "required": False},
        },
        "Vote": {"weight": {"number": 1, "type": "double", "required": False}},
    },
    "enums": {"Reason": {"REASON_UNSPECIFIED": 0, "REASON_AUDIT": 1}},
}
FIELD = {"number": 3, "type": "string", "required": False}


def rename(node: dict[str, Any], old: str, new: str) -> None:
    node[new] = node.pop(old)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["messages"].pop("Vote"), "message Vote was removed"),
        (lambda d: rename(d["messages"], "Vote", "Ballot"), "message Vote was removed"),
        (lambda d: d["messages"]["Label"].pop("value"), "Label.value was removed or renamed"),
        (lambda d: rename(d["messages"]["Label"], "value", "answer"), "Label.value was removed or renamed"),
        (lambda d: d["messages"]["Label"]["value"].update(number=3), "Label.value: number 2 became 3"),
        (lambda d: d["messages"]["Label"]["value"].update(type="bytes"), "Label.value: type string became bytes"),
        (
            lambda d: d["messages"]["Label"]["value"].update(type="repeated string"),
            "Label.value: type string became repeated string",
        ),
        (lambda d: d["messages"]["Label"]["value"].update(required=True), "Label.value became required"),
        (lambda d: d["messages"]["Label"].update(extra=FIELD | {"required": True}), "Label.extra is new and required"),
        (lambda d: d["enums"].pop("Reason"), "enum Reason was removed"),
        (lambda d: d["enums"]["Reason"].pop("REASON_AUDIT"), "Reason.REASON_AUDIT was removed or renamed"),
        (
            lambda d: rename(d["enums"]["Reason"], "REASON_AUDIT", "REASON_RANDOM"),
            "Reason.REASON_AUDIT was removed or renamed",
        ),
        (lambda d: d["enums"]["Reason"].update(REASON_AUDIT=2), "Reason.REASON_AUDIT: number 1 became 2"),
    ],
)
def test_each_breaking_change_is_refused(change: Callable[[dict[str, Any]], object], said: str) -> None:
    """What a reader relies on may not be removed, renamed, renumbered, retyped or newly demanded."""
    new = copy.deepcopy(OLD)
    change(new)
    assert breaks(OLD, new) == [said]


def test_growth_is_allowed() -> None:
    """New messages (with required fields too), new optional fields, new values and relaxed demands break nobody."""
    new = copy.deepcopy(OLD)
    new["messages"]["Label"]["note"] = FIELD
    new["messages"]["Label"]["label_id"]["required"] = False
    new["messages"]["Ballot"] = {"id": FIELD | {"required": True}}
    new["enums"]["Reason"]["REASON_RARE"] = 2
    assert breaks(OLD, new) == []


def test_the_wire_of_this_checkout_reads_what_the_baseline_wrote() -> None:
    """``proto/`` and the codec have grown at most, and the baseline knows of it."""
    assert baseline() == {BASELINE: (ROOT / BASELINE).read_bytes()}


def test_a_broken_wire_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator refuses to move the baseline over a break, and names it."""
    old = json.loads((ROOT / BASELINE).read_text())
    old["messages"]["Label"]["mood"] = FIELD
    (tmp_path / "schemas").mkdir()
    (tmp_path / BASELINE).write_text(json.dumps(old))
    monkeypatch.setattr("scripts.generate.ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"Label\.mood was removed or renamed"):
        baseline()
    assert json.loads((tmp_path / BASELINE).read_text()) == old


@pytest.mark.parametrize("kind", WIRE, ids=lambda kind: str(kind.__name__))
def test_a_field_that_an_old_record_lacks_has_its_default(kind: type) -> None:
    """A record written before a field existed reads as if it had been written with the default."""
    empty = WIRE[kind]()
    defaults = {f.name: f.default for f in fields(kind) if f.name in optional(kind)}
    read = {
        c.name: None if c.presence else c.from_wire(getattr(empty, c.wire_name))
        for c in crossings(kind)
        if c.name in defaults
    }
    assert read == defaults


def optional(kind: type) -> set[str]:
    made = {f.name for f in fields(kind) if isinstance(f.default, str | int | float | bool | tuple | None)}
    return made - set(codec_messages.required_fields(kind))


def test_every_message_has_a_wire_message_of_its_own_name() -> None:
    """A dataclass added to ``messages.py`` without a counterpart in ``proto/`` is noticed here."""
    ours = {
        name
        for name, kind in vars(m).items()
        if hasattr(kind, "__dataclass_fields__") and kind.__module__ == m.__name__
    }
    assert ours | {"Tensor"} == {kind.__name__ for kind in WIRE} == {wire.DESCRIPTOR.name for wire in WIRE.values()}


@pytest.mark.parametrize("kind", WIRE, ids=lambda kind: str(kind.__name__))
def test_the_fields_of_a_message_are_those_of_its_dataclass(kind: type) -> None:
    """Neither side has a field that the other does not know."""
    assert {c.wire_name for c in crossings(kind)} == {f.name for f in WIRE[kind].DESCRIPTOR.fields}
