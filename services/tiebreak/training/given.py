"""What a trainer is given besides the labels: files that the project names, read by ``apps``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Classes
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.export import Encoder


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """``encoder``: the one that the scorer has in front too; without it labels carry the input tensors.

    ``names``: a vector ``(d,)`` by class, in the space of what labels carry.
    """

    encoder: Encoder | None = None
    names: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def names_digest(self) -> str:
        """sha256 of the vectors, whatever file held them; empty where there are none."""
        h = sha256()
        for name, vector in sorted(self.names.items()):
            h.update(f"{len(name)}:{name}:{len(vector)}:".encode())
            h.update(np.ascontiguousarray(vector, "<f4").tobytes())
        return h.hexdigest() if self.names else ""

    def names_for(self, width: int, classes: Classes) -> Mapping[str, FloatArray]:
        """``names``, which must have ``width`` numbers each, and be of the project's classes. Raises ConfigError."""
        strange = next((name for name in self.names if not classes.open and name not in classes.names), None)
        if strange is not None:
            raise ConfigError(
                f"model.class_vectors: {strange[:100]!r} is not one of the classes.",
                fix="Mend the name, or leave it out.",
            )
        other = next((f"{name!r} has {len(v)}" for name, v in self.names.items() if len(v) != width), None)
        if other is not None:
            raise ConfigError(
                f"model.class_vectors: {other} numbers, and the heads learn from {width}.",
                fix="Make the vectors with the model that makes the events' embeddings.",
            )
        return self.names


NOTHING = Given()
