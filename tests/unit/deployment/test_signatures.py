"""Signed manifests: what the configured key did not sign is refused, and serving is untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.models import dense, manifest_of, points, project_of
from tiebreak.contracts.errors import ConfigError, ModelRefused
from tiebreak.deployment.files import FileModelStore
from tiebreak.deployment.files_seal import Seal
from tiebreak.runtime.metrics import Metrics
from tiebreak.scoring.stage import Scorer

PROJECT = project_of()
MODEL = dense(points(4, 3), squash="Softmax")
MANIFEST = manifest_of(PROJECT, MODEL, "v1")


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A fresh pair of PEM files."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


async def test_a_signed_model_is_read_by_whoever_has_the_public_key(tmp_path: Path) -> None:
    """The trainer signs, the scorer checks; without a key to check with, the same files are read as ever."""
    private, public = keys(tmp_path, "ours")
    await FileModelStore(tmp_path / "m", Seal.of(private, public)).put(MANIFEST, MODEL)
    for seal in (Seal.of(None, public), None):
        assert await FileModelStore(tmp_path / "m", seal).get("test", "v1") == (MANIFEST, MODEL)


def remove(place: Path) -> None:
    (place / "manifest.sig").unlink()


def cut(place: Path) -> None:
    (place / "manifest.sig").write_bytes((place / "manifest.sig").read_bytes()[:63])


def hotter(place: Path) -> None:
    said = (place / "manifest.json").read_bytes()
    (place / "manifest.json").write_bytes(said.replace(b'"temperature": 1.0', b'"temperature": 9.0'))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(remove, "is not signed"), (cut, "not that of the configured key"), (hotter, "not that of the configured key")],
)
async def test_an_unsigned_or_changed_model_never_serves(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    """Signature gone, cut short, or over another manifest: refused with the reason, and what served goes on serving."""
    private, public = keys(tmp_path, "ours")
    store = FileModelStore(tmp_path / "m", Seal.of(private, public))
    scorer = Scorer(PROJECT, Metrics("test"))
    await store.put(MANIFEST, MODEL)
    await scorer.swap(*await store.get("test", "v1"))
    await store.put(manifest_of(PROJECT, MODEL, "v2"), MODEL)
    spoil(tmp_path / "m" / "test" / "v2")
    with pytest.raises(ModelRefused, match=reason):
        await scorer.swap(*await store.get("test", "v2"))
    assert scorer.version == "v1"
    scorer.close()


async def test_another_trainers_signature_is_refused(tmp_path: Path) -> None:
    """A key of somebody's is not the key; a signed manifest moved to another version's place does not fit there."""
    (private, _), (_, public) = keys(tmp_path, "theirs"), keys(tmp_path, "ours")
    await FileModelStore(tmp_path / "m", Seal.of(private, None)).put(MANIFEST, MODEL)
    with pytest.raises(ModelRefused, match="not that of the configured key"):
        await FileModelStore(tmp_path / "m", Seal.of(None, public)).manifest("test", "v1")
    mine = Seal.of(*keys(tmp_path, "mine"))
    await FileModelStore(tmp_path / "n", mine).put(MANIFEST, MODEL)
    (tmp_path / "n" / "test" / "v1").rename(tmp_path / "n" / "test" / "v9")
    with pytest.raises(ModelRefused, match="The manifest of model 'v9' names 'v1'"):
        await FileModelStore(tmp_path / "n", mine).get("test", "v9")


def test_a_file_that_is_no_key_is_named_at_the_start(tmp_path: Path) -> None:
    """Absent, garbage, or of another kind: a configuration error before anything runs."""
    other = tmp_path / "rsa.pem"
    other.write_bytes(
        generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    garbage = tmp_path / "g.pem"
    garbage.write_bytes(b"none")
    for path, reason in ((tmp_path / "gone", "cannot be read"), (garbage, "no ed25519 key"), (other, "no ed25519 key")):
        with pytest.raises(ConfigError, match=reason):
            Seal.of(path, None)
        with pytest.raises(ConfigError, match=reason):
            Seal.of(None, path)
