"""Manifests: as canonical JSON and back, against their bytes, and the errors every store gives. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from hashlib import sha256
from typing import Any

from tiebreak.contracts.errors import Conflict, ModelRefused, NotFound
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.tensors import Form

FORMAT = 1


def manifest_to_json(manifest: Manifest) -> bytes:
    """Sorted keys, UTF-8: the same manifest gives the same bytes."""
    said = {"format": FORMAT, **asdict(manifest)}
    return json.dumps(said, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1).encode()


def manifest_from_json(data: bytes) -> Manifest:
    """Raises ModelRefused for whatever is not a manifest."""
    try:
        said = json.loads(data)
        if said["format"] != FORMAT:
            raise ModelRefused("The model's manifest has another format.", fix=f"This Tiebreak reads format {FORMAT}.")
        return _manifest(said)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ModelRefused(f"The model's manifest cannot be read ({type(error).__name__}).") from error


def _manifest(said: dict[str, Any]) -> Manifest:
    # Manifests of before there were other forms name none.
    unread = {field.name for field in fields(Manifest)} - said.keys() - {"form"}
    if unread:
        raise KeyError(*unread)
    return Manifest(
        project=_text(said["project"]),
        version=_text(said["version"]),
        sha256=_text(said["sha256"]),
        size_bytes=int(said["size_bytes"]),
        inputs={_text(n): (_text(kind), tuple(int(s) for s in shape)) for n, (kind, shape) in said["inputs"].items()},
        classes=tuple(_text(name) for name in said["classes"]),
        temperature=float(said["temperature"]),
        dataset_version=int(said["dataset_version"]),
        created_ms=int(said["created_ms"]),
        parent=_text(said["parent"]),
        label_ids=tuple(_text(label) for label in said["label_ids"]),
        metrics={_text(name): float(value) for name, value in said["metrics"].items()},
        form=Form(said.get("form", Form.CLASSES)),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def check_bytes(manifest: Manifest, model: bytes) -> None:
    """Raise ModelRefused where the bytes are not those that the manifest names."""
    if len(model) != manifest.size_bytes or sha256(model).hexdigest() != manifest.sha256:
        raise ModelRefused(
            f"Model {manifest.version!r} of {manifest.project!r} does not match the sha256 in its manifest.",
            fix="Serving is untouched. Restore the file, or promote another version.",
        )


def no_such_model(project: str, version: str) -> NotFound:
    """The error of every store for a version that is not there."""
    return NotFound(
        f"There is no model {version!r} of project {project!r} in this store.",
        fix="`tiebreak models list` names them; they are under the --data of `tiebreak train`.",
    )


def other_bytes(manifest: Manifest) -> Conflict:
    """The error of every store for a version that would change."""
    return Conflict(
        f"Model {manifest.version!r} of {manifest.project!r} exists with other bytes: a version never changes."
    )
