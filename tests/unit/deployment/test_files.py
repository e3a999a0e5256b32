"""The model store on files: whole or absent, verified on every read, links never followed, its owner's alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tiebreak.contracts.errors import ModelRefused, NotFound, SlowDown
from tiebreak.contracts.messages import Manifest
from tiebreak.deployment.files import FileModelStore

MODEL = b"model bytes"
MANIFEST = Manifest(
    "tests",
    "v1",
    sha256(MODEL).hexdigest(),
    len(MODEL),
    {"x": ("FP32", (2,))},
    ("a", "b"),
    1.0,
    1,
    1,
    metrics={"m": 1.0},
)


@pytest.fixture
async def place(tmp_path: Path) -> Path:
    await FileModelStore(tmp_path).put(MANIFEST, MODEL)
    return tmp_path / "tests" / "v1"


def _flip(place: Path) -> None:
    data = bytearray((place / "model.onnx").read_bytes())
    data[3] ^= 1
    (place / "model.onnx").write_bytes(data)


def _link(name: str) -> Callable[[Path], None]:
    def spoil(place: Path) -> None:
        elsewhere = place.parent.parent / f"elsewhere-{name}"
        (place / name).rename(elsewhere)
        (place / name).symlink_to(elsewhere)

    return spoil


def _link_folder(place: Path) -> None:
    elsewhere = place.parent.parent / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)


def _edit(**changes: object) -> Callable[[Path], None]:
    def spoil(place: Path) -> None:
        said = json.loads((place / "manifest.json").read_bytes())
        said.update(changes)
        (place / "manifest.json").write_text(json.dumps({k: v for k, v in said.items() if v is not None}))

    return spoil


def _pipe(name: str) -> Callable[[Path], None]:
    def spoil(place: Path) -> None:
        (place / name).unlink()
        os.mkfifo(place / name)

    return spoil


def _append(place: Path) -> None:
    with (place / "model.onnx").open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize(
    "spoil",
    [
        _flip,
        _append,
        lambda p: (p / "model.onnx").write_bytes(b""),
        lambda p: (p / "manifest.json").write_bytes(b""),
        lambda p: (p / "manifest.json").write_bytes(b"[" * 100_000),
        lambda p: (p / "manifest.json").write_bytes(b"\xff\xfe"),
        _edit(sha256="0" * 64),
        _edit(format=2),
        _edit(version="v2"),
        _edit(project="other"),
        _edit(classes=[1, 2]),
        _edit(inputs=None),
        _edit(metrics=["a"]),
        _pipe("model.onnx"),
        _pipe("manifest.json"),
        _link("model.onnx"),
        _link("manifest.json"),
        _link_folder,
    ],
)
async def test_a_damaged_version_is_refused(place: Path, spoil: Callable[[Path], None]) -> None:
    """Flipped, cut, grown, renamed, linked elsewhere, or a manifest that lies: ModelRefused, never other bytes."""
    spoil(place)
    with pytest.raises(ModelRefused):
        await FileModelStore(place.parent.parent).get("tests", "v1")


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
async def test_half_a_version_is_not_there(place: Path, name: str) -> None:
    """A file is missing: NotFound, as if the version had never been."""
    (place / name).unlink()
    with pytest.raises(NotFound):
        await FileModelStore(place.parent.parent).get("tests", "v1")


async def test_a_crash_while_writing_leaves_no_version(place: Path) -> None:
    """What a killed process left beside the versions is not listed, and the same put goes through afterwards."""
    (place.parent / ".partial-dead").mkdir()
    (place.parent / ".partial-dead" / "model.onnx").write_bytes(b"half")
    store = FileModelStore(place.parent.parent)
    assert await store.versions("tests") == ("v1",)
    await store.put(MANIFEST, MODEL)
    assert await store.get("tests", "v1") == (MANIFEST, MODEL)


async def test_everything_is_its_owners_alone(place: Path) -> None:
    """Folders 0700, files 0600, whatever the umask."""
    found = {p: p.stat().st_mode & 0o777 for p in (place.parent, place, place / "model.onnx", place / "manifest.json")}
    assert found == {place.parent: 0o700, place: 0o700, place / "model.onnx": 0o600, place / "manifest.json": 0o600}


async def test_a_project_folder_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    """A link planted in the place of the project's folder does not send models elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tests").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelRefused, match="symbolic link"):
        await FileModelStore(tmp_path).put(MANIFEST, MODEL)
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_disk_that_refuses_is_a_wait_and_leaves_nothing_half(tmp_path: Path) -> None:
    """Full, or read-only: the same put goes in later."""
    (tmp_path / "models").write_bytes(b"in the way")
    store = FileModelStore(tmp_path / "models")
    with pytest.raises(SlowDown) as refused:
        await store.put(MANIFEST, MODEL)
    assert "cannot be written" in str(refused.value)
    (tmp_path / "models").unlink()
    await store.put(MANIFEST, MODEL)
    assert await store.get("tests", "v1") == (MANIFEST, MODEL)
