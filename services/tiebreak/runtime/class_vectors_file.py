"""The vectors of the class names (``model.class_vectors``) from their file."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray

_MAX_BYTES = 256 * 2**20


def load_class_vectors(project: Project) -> dict[str, FloatArray]:
    """``(d,)`` by class name; empty where the project names no file. Blocking. Raises ConfigError.

    JSON: ``{"refund": [0.1, ...], ...}``. ``.npz``: ``classes`` ``(k,)`` names and ``vectors`` ``(k, d)``.
    """
    named = project.model.class_vectors
    if not named:
        return {}
    path = Path(named)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"model.class_vectors: {path} is larger than {_MAX_BYTES} bytes.")
        found = _of_npz(path) if path.suffix == ".npz" else _of_json(path)
    except OSError as error:
        raise ConfigError(f"model.class_vectors: cannot read {path}: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, EOFError, BadZipFile, zlib.error, RecursionError) as error:
        raise ConfigError(
            f"model.class_vectors: {path} holds no vectors by class.",
            fix='JSON like {"refund": [0.1, 0.2]}, or an .npz with classes (k,) and vectors (k, d).',
        ) from error
    return _checked(found, path)


def _of_json(path: Path) -> dict[str, FloatArray]:
    read = json.loads(path.read_text("utf-8"))
    if not isinstance(read, Mapping):
        raise ValueError("not an object")
    return {str(name): np.asarray(vector, np.float32) for name, vector in read.items()}


def _of_npz(path: Path) -> dict[str, FloatArray]:
    with np.load(path, allow_pickle=False) as arrays:
        names, vectors = arrays["classes"], np.asarray(arrays["vectors"], np.float32)
    return dict(zip(map(str, names.tolist()), vectors, strict=True))


def _checked(found: dict[str, FloatArray], path: Path) -> dict[str, FloatArray]:
    if not found:
        raise ConfigError(f"model.class_vectors: {path} is empty.", fix="Leave the key out where there are no vectors.")
    width = next(vector.size for vector in found.values())
    for name, vector in found.items():
        if vector.ndim != 1 or vector.size != width or not width or not np.isfinite(vector).all():
            raise ConfigError(
                f"model.class_vectors: {path}: {name[:100]!r} has not {width or 'any'} finite numbers, as the first class has."
            )
    return found
