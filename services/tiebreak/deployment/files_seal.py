"""Signatures of manifests: ed25519 (RFC 8032) with keys in PEM files, as ``openssl genpkey -algorithm ed25519`` makes them."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from tiebreak.contracts.errors import ConfigError, ModelRefused


class Seal:
    """Signs what a trainer stores, and says whether what is read was signed. Either key may be missing."""

    def __init__(self, private: Ed25519PrivateKey | None = None, public: Ed25519PublicKey | None = None) -> None:
        self._private, self._public = private, public

    @classmethod
    def of(cls, signing_key: Path | None, verify_key: Path | None) -> Seal:
        """From files. Raises ConfigError for one that cannot be read or holds another kind of key."""
        private = _private(signing_key) if signing_key else None
        return cls(private, _public(verify_key) if verify_key else None)

    def sign(self, manifest: bytes) -> bytes | None:
        """The signature, 64 bytes; None without a key to sign with."""
        return self._private.sign(manifest) if self._private else None

    @property
    def checks(self) -> bool:
        """Whether unsigned models are refused."""
        return self._public is not None

    def check(self, manifest: bytes, signature: bytes, version: str) -> None:
        """Raise ModelRefused where ``signature`` is missing (empty) or not that of the configured key over these very bytes."""
        if self._public is None:
            return
        if not signature:
            raise ModelRefused(
                f"Model {version!r} is not signed.", fix="Serving is untouched. The trainer signs with its key."
            )
        try:
            self._public.verify(signature, manifest)
        except InvalidSignature as error:
            raise ModelRefused(
                f"The signature of model {version!r} is not that of the configured key over its manifest.",
                fix="Serving is untouched. Was the file changed, or the trainer's key?",
            ) from error


def _private(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_read(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path)
    return key


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path)
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The key file {path} cannot be read ({error.strerror}).") from error


def _no_key(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} holds no ed25519 key in PEM, without a passphrase.", fix="openssl genpkey -algorithm ed25519 -out FILE"
    )
