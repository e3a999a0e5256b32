"""Which keys are cleared before a rebuild, held against the scripts that make them."""

from __future__ import annotations

import re
from importlib.resources import files

from tiebreak.labeling.redis_life import is_of_index

# Why each of these outlives the clearing.
_KEPT = {
    "epoch": "is removed last, alone: until then the clearing is not done",
    "builder": "is who clears",
    "fence": "only grows, and never below the clock",
    "forgiven": "a manager's word; no topic has it",
    "settled_tasks": "a counter for the pace; no topic has it",
    "erased": "only grows",
    "token_epoch": "belongs to the tokens, which have a builder of their own",
    "tokens_built": "as above",
    "token:": "as above",
}
_SOURCES = {path.name: path.read_text("utf-8") for path in files("tiebreak.labeling").joinpath("lua").iterdir()}
_ENTRY = re.compile(r"([a-z_]+(?::<[a-z0-9 ]+>)*(?:, [a-z_]+)*) +(?:string|hash|zset|set|list|integer) ")


def _used() -> set[str]:
    """Each key that a script names by itself, up to its first colon."""
    return {name for text in _SOURCES.values() for name in re.findall(r"P \.\. \(?(?:fresh and )?'([a-z_]+:?)", text)}


def _said() -> set[str]:
    """Each key that the header of `common.lua` describes, up to its first colon."""
    table = _SOURCES["common.lua"].partition("\n-- epoch ")[2].partition("\n--\n")[0]
    names = [name for entry in _ENTRY.findall(f"epoch {table}") for name in entry.split(", ")]
    return {re.sub(r":.*", ":", name) for name in names}


def test_each_key_of_the_scripts_is_cleared_or_has_a_reason_to_stay() -> None:
    """One that nobody thought of would outlive its index, and be built upon."""
    cleared = {name for name in _used() | _said() if is_of_index(f"{name}x" if name.endswith(":") else name)}
    assert _said() - cleared == set(_KEPT)


def test_the_header_lists_each_key_that_the_scripts_use() -> None:
    """It is where one looks what is in Redis."""
    assert _used() - _said() == set()
