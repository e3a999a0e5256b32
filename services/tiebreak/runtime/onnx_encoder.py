"""The project's encoder from its file, checked in a child like every model, and as a session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tiebreak.contracts.errors import ConfigError, ModelRefused
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray, Tensors
from tiebreak.runtime.model_encoder import VALUES, bare_encoder
from tiebreak.runtime.model_plan import ModelPlan, Wanted
from tiebreak.runtime.onnx_session import ModelSession, RunOptions, probe_inputs
from tiebreak.runtime.sandbox import Limits, check_model

_PROBE_ROWS = 16


@dataclass(frozen=True, slots=True, eq=False)
class LoadedEncoder:
    """An encoder that passed the checks. ``digest``: sha256 of the user's file; ``graph``: see ``model_encoder.py``."""

    digest: str
    graph: bytes
    plan: ModelPlan
    options: RunOptions

    def session(self) -> ModelSession:
        """A session of its own; blocking."""
        return ModelSession(self.graph, self.plan, options=self.options)

    def probe(self) -> tuple[Tensors, FloatArray]:
        """Some harmless events and their embeddings ``(n, d)``; blocking. Raises ModelRefused for an encoder without any."""
        inputs = probe_inputs(self.plan, _PROBE_ROWS)
        embeddings = self.session().answer(inputs).embedding
        if embeddings is None or not embeddings.shape[1]:
            raise ModelRefused("The encoder gives empty embeddings.")
        return inputs, embeddings


async def load_encoder(project: Project) -> LoadedEncoder | None:
    """The file that ``model.encoder`` names, or None where it names none. Raises ConfigError."""
    named = project.model.encoder
    if not named:
        return None
    try:
        model = await asyncio.to_thread(Path(named).read_bytes)
        graph = await asyncio.to_thread(bare_encoder, model, project.gate.max_nodes)
        inputs = {tensor.name: (tensor.datatype, tensor.shape) for tensor in project.input.tensors}
        wanted = Wanted(inputs=inputs, output=VALUES, kind="values")
        checked = await check_model(graph, wanted, Limits.of(project.gate))
    except OSError as error:
        raise ConfigError(f"model.encoder: cannot read {named}: {error.strerror}.") from error
    except ModelRefused as refused:
        raise ConfigError(f"model.encoder: {refused.message}", fix=refused.fix) from refused
    options = RunOptions(project.model.providers, project.model.threads)
    return LoadedEncoder(sha256(model).hexdigest(), graph, checked.plan, options)
