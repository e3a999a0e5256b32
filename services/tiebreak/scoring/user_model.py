"""A model that the trainer did not make: the manifest of a user's own ONNX file. Pure."""

from __future__ import annotations

from hashlib import sha256

from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.project import Project


def user_manifest(project: Project, model: bytes, now_ms: int) -> Manifest:
    """The manifest of the file that ``model.file`` names. Its version is its content, so the same file is the same version.

    No class list: the graph's own is taken where it has one, since only the graph knows the order of its columns.
    """
    digest = sha256(model).hexdigest()
    return Manifest(
        project=project.project,
        version=f"file-{digest[:12]}",
        sha256=digest,
        size_bytes=len(model),
        inputs={tensor.name: (tensor.datatype, tensor.shape) for tensor in project.input.tensors},
        classes=(),
        temperature=1.0,
        dataset_version=0,
        created_ms=now_ms,
        form=project.labeling.answer.kind.form,
    )
