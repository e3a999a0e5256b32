"""The model store as files: ``<root>/<project>/<version>/{model.onnx, manifest.json}``, and ``manifest.sig`` where it is signed.

A version appears whole or not at all: written beside its place, synced, renamed, and the folder synced. Nothing here follows
a symbolic link, and all is readable by its owner alone.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

from tiebreak.contracts.errors import Invalid, ModelRefused, NotFound, SlowDown
from tiebreak.contracts.messages import Manifest
from tiebreak.deployment.files_seal import Seal
from tiebreak.deployment.manifests import check_bytes, manifest_from_json, manifest_to_json, no_such_model, other_bytes
from tiebreak.deployment.naming import checked_name, natural_order

_MODEL, _MANIFEST, _SIGNATURE = "model.onnx", "manifest.json", "manifest.sig"
_SIGNATURE_BYTES = 64
_RETRY_S = 5.0
_PARTIAL = ".partial-"
_MAX_MANIFEST = 256 * 2**20


class FileModelStore:
    """A ModelStore in a folder of one machine, or of a shared file system with atomic rename."""

    def __init__(self, root: Path, seal: Seal | None = None) -> None:
        """``seal``: signs what is put; where it has a key to check with, what is not signed by it is refused."""
        self._root = root
        self._seal = seal or Seal()

    async def put(self, manifest: Manifest, model: bytes) -> None:
        try:
            await asyncio.to_thread(self._put, manifest, model)
        except OSError as error:
            raise SlowDown(
                f"The model store {self._root} cannot be written ({error.strerror}).",
                retry_after_s=_RETRY_S,
                fix="Make room on the disk; what serves goes on serving, and nothing is lost meanwhile.",
            ) from error

    async def manifest(self, project: str, version: str) -> Manifest:
        return await asyncio.to_thread(self._manifest, project, version)

    async def holds(self, project: str, version: str) -> bool:
        return await asyncio.to_thread(self._holds, project, version)

    async def get(self, project: str, version: str) -> tuple[Manifest, bytes]:
        return await asyncio.to_thread(self._get, project, version)

    async def versions(self, project: str) -> tuple[str, ...]:
        return await asyncio.to_thread(self._versions, project)

    def _put(self, manifest: Manifest, model: bytes) -> None:
        checked_name(manifest.version, "Version")
        check_bytes(manifest, model)
        home = self._root / checked_name(manifest.project, "Project")
        for folder in (self._root, home):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _refuse_link(folder)
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=home))  # mkdtemp gives 0700
        try:
            _write(partial / _MODEL, model)
            said = manifest_to_json(manifest)
            _write(partial / _MANIFEST, said)
            if (signature := self._seal.sign(said)) is not None:
                _write(partial / _SIGNATURE, signature)
            _sync_folder(partial)
            self._publish(partial, home / manifest.version, manifest)
            _sync_folder(home)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _publish(self, partial: Path, place: Path, manifest: Manifest) -> None:
        try:
            partial.rename(place)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            # It is there already: a repeat after a crash is harmless, another model under the same name is not.
            if self._manifest(manifest.project, manifest.version).sha256 != manifest.sha256:
                raise other_bytes(manifest) from error

    def _manifest(self, project: str, version: str) -> Manifest:
        place = self._place(project, version)
        said = _read(place, _MANIFEST, project, version, _MAX_MANIFEST)
        if self._seal.checks:
            # Before a byte of it is believed.
            self._seal.check(said, _signature(place, project, version), version)
        return manifest_from_json(said)

    def _get(self, project: str, version: str) -> tuple[Manifest, bytes]:
        manifest = self._manifest(project, version)
        if (manifest.project, manifest.version) != (project, version):
            raise ModelRefused(f"The manifest of model {version!r} names {manifest.version!r} of {manifest.project!r}.")
        model = _read(self._place(project, version), _MODEL, project, version, manifest.size_bytes)
        check_bytes(manifest, model)
        return manifest, model

    def _holds(self, project: str, version: str) -> bool:
        try:
            return (self._place(project, version) / _MODEL).is_file()
        except (NotFound, OSError):
            return False

    def _versions(self, project: str) -> tuple[str, ...]:
        try:
            names = [place.name for place in (self._root / checked_name(project, "Project")).iterdir()]
        except (FileNotFoundError, Invalid):
            return ()
        return tuple(sorted((n for n in names if not n.startswith(".")), key=natural_order))

    def _place(self, project: str, version: str) -> Path:
        try:
            return self._root / checked_name(project, "Project") / checked_name(version, "Version")
        except Invalid as error:
            raise no_such_model(project, version) from error


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read(folder: Path, name: str, project: str, version: str, limit: int) -> bytes:
    # Opened step by step from the folder's handle, so that no link is followed at either level.
    try:
        home = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # A pipe would be waited for until somebody writes to it.
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=home)
        finally:
            os.close(home)
    except FileNotFoundError as error:
        raise no_such_model(project, version) from error
    except OSError as error:
        raise ModelRefused(
            f"{folder / name} is not a plain file ({error.strerror}).", fix="Links are not followed."
        ) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ModelRefused(f"{folder / name} is not a plain file.")
    with os.fdopen(handle, "rb") as file:
        return file.read(limit + 1)


def _signature(folder: Path, project: str, version: str) -> bytes:
    try:
        return _read(folder, _SIGNATURE, project, version, _SIGNATURE_BYTES)
    except NotFound:
        return b""


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise ModelRefused(f"{folder} is a symbolic link.", fix="Name the folder itself as the data directory.")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
