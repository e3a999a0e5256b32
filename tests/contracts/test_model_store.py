"""Every ModelStore, in memory and on files, keeps what the port says."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tiebreak.contracts.errors import Conflict, Invalid, ModelRefused, NotFound
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.ports import ModelStore
from tiebreak.deployment.files import FileModelStore
from tiebreak.deployment.memory import MemoryModelStore


@pytest.fixture(params=["memory", "files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ModelStore:
    return MemoryModelStore() if request.param == "memory" else FileModelStore(tmp_path / "models")


def manifest_of(model: bytes, version: str = "v000001-abc", project: str = "tests") -> Manifest:
    return Manifest(
        project=project,
        version=version,
        sha256=sha256(model).hexdigest(),
        size_bytes=len(model),
        inputs={"image": ("FP32", (8, 8)), "flag": ("BOOL", ())},
        classes=("eins", "zwei, drei", "四"),
        temperature=1.5,
        dataset_version=7,
        created_ms=1_700_000_000_000,
        parent="v000000-000",
        label_ids=("l1", "l2"),
        metrics={"accuracy": 0.5, "nll": 1e-9},
    )


async def test_what_was_put_is_got(store: ModelStore) -> None:
    """Manifest and bytes come back as they were, names in any script included."""
    manifest = manifest_of(b"model")
    await store.put(manifest, b"model")
    assert await store.get("tests", manifest.version) == (manifest, b"model")
    assert await store.manifest("tests", manifest.version) == manifest
    assert await store.holds("tests", manifest.version)
    assert not await store.holds("tests", "v000009-abc")
    assert not await store.holds("tests", "../v1")


async def test_a_manifest_without_its_model_is_no_model(tmp_path: Path) -> None:
    """Somebody made room: the large file is gone, the small one says nothing of it."""
    store, manifest = FileModelStore(tmp_path / "models"), manifest_of(b"model")
    await store.put(manifest, b"model")
    (tmp_path / "models" / "tests" / manifest.version / "model.onnx").unlink()
    assert not await store.holds("tests", manifest.version)
    assert await store.manifest("tests", manifest.version) == manifest


async def test_a_version_never_changes(store: ModelStore) -> None:
    """The same model again is harmless and keeps the first manifest; other bytes under the name are a Conflict."""
    first = manifest_of(b"model")
    await store.put(first, b"model")
    await store.put(replace(first, created_ms=2), b"model")
    with pytest.raises(Conflict, match="a version never changes"):
        await store.put(manifest_of(b"other"), b"other")
    assert await store.get("tests", first.version) == (first, b"model")


async def test_bytes_that_the_manifest_does_not_name_are_refused(store: ModelStore) -> None:
    """A model mixed up on its way is not stored under another's name."""
    with pytest.raises(ModelRefused, match="does not match"):
        await store.put(manifest_of(b"model"), b"other")
    assert await store.versions("tests") == ()


async def test_versions_are_listed_oldest_first_and_by_project(store: ModelStore) -> None:
    """Numbers order as numbers, and another project's models are not there."""
    for version in ("v10", "v9", "v1000000-a", "v2"):
        await store.put(manifest_of(b"m", version), b"m")
    await store.put(manifest_of(b"m", "v1", "other"), b"m")
    assert await store.versions("tests") == ("v2", "v9", "v10", "v1000000-a")
    assert await store.versions("nobody") == ()


@pytest.mark.parametrize("name", ["absent", "..", "../other", "a/b", "", ".hidden", "x" * 200, "a\0b", "C:\\x"])
async def test_what_is_not_there_is_not_found_whatever_its_name(store: ModelStore, name: str) -> None:
    """A path in disguise reads as a missing model, for version and project alike."""
    await store.put(manifest_of(b"model", "v1", "other"), b"model")
    for project, version in (("tests", name), (name, "v1")):
        with pytest.raises(NotFound):
            await store.get(project, version)
        with pytest.raises(NotFound):
            await store.manifest(project, version)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden"])
async def test_a_path_in_disguise_is_not_written(store: ModelStore, name: str) -> None:
    """Neither a version nor a project can leave its folder."""
    with pytest.raises(Invalid):
        await store.put(manifest_of(b"m", name), b"m")
    with pytest.raises(Invalid):
        await store.put(manifest_of(b"m", "v1", name), b"m")
