"""A model ready to answer: an onnxruntime session with the plan of how to use it. Blocking calls: never on the event loop's thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from tiebreak.contracts.errors import ModelRefused
from tiebreak.contracts.tensors import NUMPY_OF, FloatArray, Tensors
from tiebreak.runtime import model_outputs
from tiebreak.runtime.model_graph import keep_outputs, parse
from tiebreak.runtime.model_plan import ModelPlan, settle_kind

# onnxruntime raises its own classes, which share no base but Exception.
ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(ort_errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
_MAX_PAD = 65_536
# Rows per run on a CPU: what lies between two layers stays in its cache, and takes no more memory in a flood. A perceptron of three
# layers of 2,048 took 192 us a row at 256 and 214 at 2,048; one of 32 neurons 0.12 and 0.09.
_CPU_ROWS = 256


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a session runs: onnxruntime's execution providers, best first, and threads inside one operator."""

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says of ``n`` events, as in :class:`tiebreak.contracts.tensors.Scores`. Rows it cannot answer are NaN."""

    probabilities: FloatArray
    members: FloatArray | None = None
    embedding: FloatArray | None = None
    values: FloatArray | None = None
    asking: FloatArray | None = None


class ModelSession:
    """One loaded model. ``answer`` may be called from one thread at a time."""

    def __init__(
        self, model: bytes, plan: ModelPlan, temperature: float = 1.0, options: RunOptions | None = None
    ) -> None:
        """Build the session from a file that passed the checks, and put a probe through it.

        Raises ModelRefused when onnxruntime does not take it, or when its scores are not what the plan says.
        """
        self.temperature = temperature
        self.plan = plan
        options = options or RunOptions()
        self._most = _CPU_ROWS if options.providers == ("CPUExecutionProvider",) else None
        self._session = _build(keep_outputs(parse(model), plan.outputs).SerializeToString(), options)
        probe = probe_inputs(plan, 3)
        try:
            self.plan = settle_kind(plan, self.run(probe)[0])
            self._template = self._answer_together(probe)
        except ORT_ERRORS as error:
            raise ModelRefused(f"The model fails on a harmless input: {first_line(error)}") from error

    def run(self, inputs: Tensors) -> list[NDArray[Any]]:
        """The raw outputs ``plan.outputs`` for ``n`` events, in parts on a CPU; a fixed batch size is met by padding and splitting."""
        rows = len(next(iter(inputs.values())))
        feeds = {port.name: _cast(inputs[port.name], port.datatype) for port in self.plan.inputs}
        batch = self.plan.batch
        size = batch or self._most or rows
        if size == rows or (batch is None and rows < size):
            return self._run(feeds)
        parts = [
            self._run({name: _padded(array[start : start + size], batch) for name, array in feeds.items()})
            for start in range(0, rows, size)
        ]
        axes = [1 if name == self.plan.members else 0 for name in self.plan.outputs]
        joined = [
            np.concatenate(columns, axis=axis) for axis, columns in zip(axes, zip(*parts, strict=True), strict=True)
        ]
        return [array[:, :rows] if axis else array[:rows] for axis, array in zip(axes, joined, strict=True)]

    def answer(self, inputs: Tensors) -> Answers:
        """Calibrated answers for ``n >= 1`` events. An input the graph fails on costs its own row, not its neighbours'."""
        try:
            return self._answer_together(inputs)
        except ORT_ERRORS:
            return self._answer_apart(inputs)

    def warm(self, sizes: Iterable[int]) -> None:
        """Run the batch sizes in use once, so that the first real batch pays for no allocation.

        Raises ModelRefused where the model fails on as many rows, whatever it said of fewer.
        """
        for size in sizes:
            try:
                self.run(probe_inputs(self.plan, min(size, _MAX_PAD)))
            except ORT_ERRORS as error:
                raise ModelRefused(f"The model fails on a batch of {size}: {first_line(error)}") from error

    def _run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._session.run(list(self.plan.outputs), feeds)
        return outputs

    def _answer_together(self, inputs: Tensors) -> Answers:
        named = dict(zip(self.plan.outputs, self.run(inputs), strict=True))
        score = named[self.plan.score]
        return Answers(
            probabilities=model_outputs.probabilities(score, self.plan, self.temperature),
            members=model_outputs.members(named[self.plan.members]) if self.plan.members else None,
            embedding=model_outputs.embedding(named[self.plan.embedding]) if self.plan.embedding else None,
            values=model_outputs.values(score, self.plan),
            asking=model_outputs.probabilities(named[self.plan.asking], self.plan, self.temperature)
            if self.plan.asking
            else None,
        )

    def _answer_apart(self, inputs: Tensors) -> Answers:
        rows = len(next(iter(inputs.values())))
        if rows == 1:
            return self._no_answer()
        half = rows // 2
        left = self.answer({name: array[:half] for name, array in inputs.items()})
        right = self.answer({name: array[half:] for name, array in inputs.items()})
        return Answers(
            probabilities=np.concatenate([left.probabilities, right.probabilities]),
            members=_join(left.members, right.members, axis=1),
            embedding=_join(left.embedding, right.embedding, axis=0),
            values=_join(left.values, right.values, axis=0),
            asking=_join(left.asking, right.asking, axis=0),
        )

    def _no_answer(self) -> Answers:
        """One row of NaN in the shapes of a real answer."""
        like, nan = self._template, np.float32(np.nan)
        return Answers(
            probabilities=np.full_like(like.probabilities[:1], nan),
            members=None if like.members is None else np.full_like(like.members[:, :1], nan),
            embedding=None if like.embedding is None else np.full_like(like.embedding[:1], nan),
            values=None if like.values is None else np.full_like(like.values[:1], nan),
            asking=None if like.asking is None else np.full_like(like.asking[:1], nan),
        )


def probe_inputs(plan: ModelPlan, rows: int) -> dict[str, NDArray[Any]]:
    """Harmless inputs that any model should answer: row 0 is zeros, the rest even numbers in [0, 1), 0 or 1 where whole.

    Small whole numbers, since a larger one may lie outside a vocabulary. The same rows each time.
    """
    rng = np.random.default_rng(20_240)
    probes: dict[str, NDArray[Any]] = {}
    for port in plan.inputs:
        shape = (rows, *(size or 1 for size in (port.shape or (None,))[1:]))
        if port.datatype == "BYTES":
            probes[port.name] = np.full(shape, "a", dtype=object)
            continue
        dtype = NUMPY_OF[port.datatype]
        drawn = rng.random(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        drawn[:1] = 0
        probes[port.name] = drawn.astype(dtype)
    return probes


def _build(model: bytes, options: RunOptions) -> onnxruntime.InferenceSession:
    missing = set(options.providers) - set(onnxruntime.get_available_providers())
    if missing:
        raise ModelRefused(
            f"This onnxruntime build has no {', '.join(sorted(missing))}.",
            fix="Install the build that has it, or change model.providers.",
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4  # refusals reach the operator as ModelRefused, not as lines on stderr
    # Batch sizes change all the time: a memory plan per size seen would be kept for ever.
    settings.enable_mem_pattern = False
    # Idle threads must sleep: spinning ones take the core that the event loop needs.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, settings, providers=list(options.providers), enable_fallback=0)
    except ORT_ERRORS as error:
        raise ModelRefused(f"onnxruntime does not load the model: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error of onnxruntime says, short enough for a reason on one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _cast(array: NDArray[Any], datatype: str) -> NDArray[Any]:
    if datatype == "BYTES":
        return array
    return np.ascontiguousarray(array, NUMPY_OF[datatype])


def _padded(part: NDArray[Any], size: int | None) -> NDArray[Any]:
    if size is None or len(part) == size:
        return part
    return np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])


def _join(left: FloatArray | None, right: FloatArray | None, axis: int) -> FloatArray | None:
    if left is None or right is None:
        return None
    return np.concatenate([left, right], axis=axis)
