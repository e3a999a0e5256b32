"""The sampler's state as one frozen value, its bytes, and its digest. No pickle: bytes from elsewhere run no code here.

Layout of a snapshot: magic, 16-byte BLAKE2b of the rest, 4-byte length of a JSON header, the header, the arrays one after another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np

from tiebreak.contracts.errors import Invalid
from tiebreak.sampling.balance import Balance
from tiebreak.sampling.bandit import Bandit
from tiebreak.sampling.differing import Contrast
from tiebreak.sampling.diversity import Memory
from tiebreak.sampling.drift import DriftState
from tiebreak.sampling.knowing import Known
from tiebreak.sampling.neighbours import Stream
from tiebreak.sampling.origins import Origins
from tiebreak.sampling.parts import Parts
from tiebreak.sampling.pricing import Spending
from tiebreak.sampling.rules import RuleState
from tiebreak.sampling.schedule import Plan
from tiebreak.sampling.threshold import Window
from tiebreak.sampling.typicality import Crowd

MAGIC = b"TBSAMP1\n"
_DTYPES: dict[str, np.dtype[Any]] = {"<f8": np.dtype("<f8"), "<f4": np.dtype("<f4"), "<i8": np.dtype("<i8")}
_HEAD = len(MAGIC) + 16 + 4


@dataclass(frozen=True, slots=True)
class SamplerState:
    """Everything a decision depends on besides the batch.

    ``seen`` counts events, ``until`` is the event number at which the open block ends; ``asked`` counts questions with features up to
    this block; ``balance`` is the plan minus all selections.

    ``rule`` is the state of a published rule, where one decides; ``floors`` that of the groups that are owed labels; ``around`` what
    events are compared with where an acquisition looks at their neighbours; ``bandit`` what is known of several acquisitions;
    ``contrast`` is of a rollout's two models; ``known`` is the error since the last alarm, ``parts`` what declared slices show,
    ``burst_id``
    the last burst that it took part in.
    ``crowd`` has the last events, asked about or not.
    ``regime`` names what the scores in the window mean (a change of it empties the window); ``waiting`` holds vectors that join
    ``coverage`` at the next block, so that a block sees one coverage however it is cut into batches.
    """

    drift: DriftState
    seen: int = 0
    asked: int = 0
    until: int = 0
    version: str = ""
    regime: str = ""
    balance: float = 0.0
    scores: Window = field(default_factory=Window)
    novelties: Window = field(default_factory=Window)
    recent: Memory = field(default_factory=Memory)
    coverage: Memory = field(default_factory=Memory)
    waiting: Memory = field(default_factory=Memory)
    plan: Plan = field(default_factory=Plan)
    rule: RuleState = field(default_factory=RuleState)
    origins: Origins = field(default_factory=Origins)
    floors: Balance = field(default_factory=Balance)
    spending: Spending = field(default_factory=Spending)
    around: Stream = field(default_factory=Stream)
    bandit: Bandit = field(default_factory=Bandit)
    contrast: Contrast = field(default_factory=Contrast)
    known: Known = field(default_factory=Known)
    burst_id: str = ""
    parts: Parts = field(default_factory=Parts)
    crowd: Crowd = field(default_factory=Crowd)


def snapshot(state: SamplerState, fingerprint: str) -> bytes:
    """The state as bytes. ``fingerprint`` names the settings it was made under: :func:`restore` refuses another one."""
    scalars: dict[str, int | float | str] = {}
    arrays: list[dict[str, object]] = []
    blobs: list[bytes] = []
    for path, leaf in _leaves(state):
        if isinstance(leaf, np.ndarray):
            little = np.ascontiguousarray(leaf).astype(leaf.dtype.newbyteorder("<"))
            arrays.append({"path": path, "dtype": little.dtype.str, "shape": list(little.shape)})
            blobs.append(little.tobytes())
        else:
            scalars[path] = leaf
    header = {"fingerprint": fingerprint, "scalars": scalars, "arrays": arrays}
    raw = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    body = len(raw).to_bytes(4, "little") + raw + b"".join(blobs)
    return MAGIC + blake2b(body, digest_size=16).digest() + body


def restore(raw: bytes, template: SamplerState, fingerprint: str) -> SamplerState:
    """The state that :func:`snapshot` wrote. ``template`` is a fresh state of the same settings.

    Raises Invalid when the bytes are damaged, of another layout, or made under other settings: start fresh then.
    """
    body = raw[len(MAGIC) + 16 :]
    if raw[: len(MAGIC)] != MAGIC or blake2b(body, digest_size=16).digest() != raw[len(MAGIC) : len(MAGIC) + 16]:
        raise Invalid("not a sampler snapshot, or a damaged one")
    size = int.from_bytes(body[:4], "little")
    header = json.loads(body[4 : 4 + size])
    if header["fingerprint"] != fingerprint:
        raise Invalid("the snapshot was made under other sampling settings")
    leaves = {**header["scalars"], **_arrays(header["arrays"], raw[_HEAD + size :])}
    try:
        restored: SamplerState = _filled(template, "", leaves)
    except KeyError as missing:
        raise Invalid(f"the snapshot has no {missing}") from missing
    return restored


def digest(state: SamplerState) -> str:
    """16 hex digits that depend on the whole state: equal states and batches give equal decisions."""
    h = blake2b(digest_size=8)
    for path, leaf in _leaves(state):
        h.update(path.encode())
        h.update(leaf.tobytes() if isinstance(leaf, np.ndarray) else repr(leaf).encode())
    return h.hexdigest()


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """The fields that are state; None where ``kind`` is no dataclass. Kept, since each batch with a question walks the whole state."""
    return tuple(f.name for f in fields(kind) if not f.metadata.get("cache")) if is_dataclass(kind) else None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    names = _names(value.__class__)
    if names is not None:
        for name in names:
            yield from _leaves(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")
    else:
        yield path, value


def _filled(template: Any, path: str, leaves: Mapping[str, Any]) -> Any:
    names = _names(template.__class__)
    if names is not None:
        changes = {name: _filled(getattr(template, name), f"{path}.{name}", leaves) for name in names}
        return replace(template, **changes)
    if isinstance(template, tuple):
        return tuple(_filled(item, f"{path}.{index}", leaves) for index, item in enumerate(template))
    leaf = leaves[path]
    if isinstance(template, str) and isinstance(leaf, str):
        return type(template)(leaf)  # an enum's member comes back as one
    same = leaf.ndim == template.ndim if isinstance(template, np.ndarray) else type(leaf) is type(template)
    if not same:
        raise Invalid(f"the snapshot's {path} is of another type")
    return leaf


def _arrays(entries: list[dict[str, Any]], raw: bytes) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    start = 0
    for entry in entries:
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise Invalid(f"the snapshot holds an array of type {entry['dtype']}")
        shape = tuple(int(side) for side in entry["shape"])
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        arrays[entry["path"]] = np.frombuffer(raw[start : start + size], dtype=dtype).reshape(shape)
        start += size
    return arrays
