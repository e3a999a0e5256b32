"""Check a model file in a child process with bounded memory, CPU, time and files, before any process of ours loads it.

onnxruntime has crashed on malformed models more than once; here that ends the child, and the child's death is a refusal.
The gate and the hot swap call this with the same arguments, so a model that passed one passes the other.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tiebreak.contracts.candidate import Golden
from tiebreak.contracts.errors import ModelRefused
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.project import Gate, Project
from tiebreak.runtime.model_graph import Port
from tiebreak.runtime.model_plan import ModelPlan, ScoreKind, Wanted

READY = b"."  # what a child says once its imports are done
_MAX_ANSWER = 2**20
_BASE_MEMORY = 2**30  # beyond what Python, numpy and onnxruntime map by themselves
_MEMORY_PER_BYTE = 8  # parsing, optimising and packing weights hold several copies at once


@dataclass(frozen=True, slots=True)
class Limits:
    """What a check may use. ``memory_bytes`` comes on top of the interpreter's own."""

    max_bytes: int = 256 * 2**20
    max_nodes: int = 20_000
    timeout_s: float = 20.0
    memory_bytes: int = 0

    @classmethod
    def of(cls, gate: Gate) -> Limits:
        """The project's ``gate`` section."""
        return cls(gate.max_model_bytes, gate.max_nodes, gate.probe_timeout_s)


@dataclass(frozen=True, slots=True)
class Checked:
    """A model that passed. ``batch_s``: seconds for one run of ``batch_rows`` rows, the best of three, in the child."""

    plan: ModelPlan
    nodes: int
    batch_rows: int
    batch_s: float


def wanted_by(project: Project, manifest: Manifest | None = None) -> Wanted:
    """What a project asks of a model. A manifest's class list is the column order; without one the graph's own is."""
    listed = manifest.classes if manifest is not None else ()
    return Wanted(
        inputs={tensor.name: (tensor.datatype, tensor.shape) for tensor in project.input.tensors},
        classes=listed or project.classes.names,
        ordered=bool(listed),
        open_set=project.classes.open,
        output=project.model.output,
        kind=project.model.output_kind,
    )


class Sandbox:
    """Checks models, each in a child of its own: a model that breaks its child breaks nothing else.

    ``spare``: the next child is started ahead, its imports done, so that a check costs what the model costs. A spare that died
    meanwhile (out of memory, say) is no model's fault: a fresh child takes its place.
    """

    def __init__(self, *, spare: bool = False) -> None:
        self._ahead = spare
        self._spare: asyncio.Task[Process] | None = None

    def prepare(self) -> None:
        """Start the spare child now, where one is wanted. Needs a running event loop."""
        if self._ahead and self._spare is None:
            self._spare = asyncio.create_task(_start())

    async def check(
        self, model: bytes, wanted: Wanted, limits: Limits, *, temperature: float = 1.0, golden: Golden | None = None
    ) -> Checked:
        """Load and probe ``model`` in a child. Raises ModelRefused with the reason; the child's death is one.

        Checked: size and node caps, external data anywhere, allowed operator domains, names, datatypes and shapes, class list,
        finite outputs, rows of probabilities that sum to 1, the same answer twice, an answer per row that its neighbours do not
        change, and the golden batch.
        """
        if not model:
            raise ModelRefused("The model file is empty.")
        if len(model) > limits.max_bytes:
            raise ModelRefused(
                f"The model has {len(model)} bytes, more than {limits.max_bytes}.", fix="Raise gate.max_model_bytes."
            )
        request = _request(model, wanted, limits, temperature, golden)
        child: Process | None = None
        try:
            async with asyncio.timeout(limits.timeout_s):
                child = await self._take()
                answer = await _converse(child, request)
                await child.wait()
        except TimeoutError as error:
            raise ModelRefused(
                f"The check did not end within {limits.timeout_s:g} s.", fix="Raise gate.probe_timeout_s."
            ) from error
        finally:
            if child is not None:
                await _end(child)
            self.prepare()
        return _read(answer, child.returncode)

    async def close(self) -> None:
        """End the spare child."""
        self._ahead = False
        if self._spare is not None:
            with suppress(OSError):
                await _end(await self._spare)
            self._spare = None

    async def _take(self) -> Process:
        spare, self._spare = self._spare, None
        if spare is None:
            return await _start()
        child = await spare
        if child.returncode is None and child.stdout is not None and not child.stdout.at_eof():
            return child
        await _end(child)
        return await _start()


async def check_model(
    model: bytes, wanted: Wanted, limits: Limits, *, temperature: float = 1.0, golden: Golden | None = None
) -> Checked:
    """:meth:`Sandbox.check` once, in a child started for it."""
    return await Sandbox().check(model, wanted, limits, temperature=temperature, golden=golden)


async def _start() -> Process:
    """A child that waits for its request, or one that died on the way there."""
    child = await _spawn()
    try:
        if child.stdout is not None:
            await child.stdout.read(len(READY))
    except BaseException:
        await _end(child)
        raise
    return child


async def _spawn() -> Process:
    # Nothing of our environment reaches the child (it may hold secrets) but where the code is.
    environment = {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",  # each further arena reserves 64 MiB of the address space that is limited
    }
    command = (sys.executable, "-P", "-m", "tiebreak.runtime.sandbox_child")
    return await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, cwd="/", start_new_session=True
    )


async def _converse(child: Process, request: bytes) -> bytes:
    if child.stdin is None or child.stdout is None:
        raise AssertionError("the child was started with pipes")
    try:
        child.stdin.write(request)
        await child.stdin.drain()
        child.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it died while reading: its exit code says how
    answer = bytearray()
    while chunk := await child.stdout.read(65_536):
        answer += chunk
        if len(answer) > _MAX_ANSWER:
            raise ModelRefused("The check was flooded with output.")
    return bytes(answer)


async def _end(child: Process) -> None:
    if child.returncode is None:
        try:
            child.kill()
        except ProcessLookupError:
            return
        await child.wait()


def _request(model: bytes, wanted: Wanted, limits: Limits, temperature: float, golden: Golden | None) -> bytes:
    batch = io.BytesIO()
    if golden is not None:
        # Text travels as fixed-width unicode: an object array would need pickle on the other side.
        inputs = {f"in:{name}": a.astype(np.str_) if a.dtype == object else a for name, a in golden.inputs.items()}
        np.savez(batch, allow_pickle=False, **{"probabilities": golden.probabilities, **inputs})
    header = json.dumps(
        {
            "wanted": asdict(wanted),
            "max_nodes": limits.max_nodes,
            "memory_bytes": limits.memory_bytes or _BASE_MEMORY + _MEMORY_PER_BYTE * len(model),
            # The parent keeps the clock and says what ran out. This limit is for a parent that cannot: it must not come first.
            "cpu_s": 2 * math.ceil(limits.timeout_s),
            "temperature": temperature,
            "tolerance": golden.tolerance if golden is not None else 0.0,
        }
    ).encode()
    return b"".join(len(part).to_bytes(8, "little") + part for part in (header, batch.getvalue(), model))


def _read(answer: bytes, code: int | None) -> Checked:
    if not answer:
        ended = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        raise ModelRefused(f"The model ended the process that checked it ({ended}).", fix="Serving is untouched.")
    said = json.loads(answer)
    if "refused" in said:
        raise ModelRefused(said["refused"], fix=said["fix"])
    return Checked(_plan(said["plan"]), said["nodes"], said["batch_rows"], said["batch_s"])


def _plan(said: Mapping[str, Any]) -> ModelPlan:
    ports = tuple(
        Port(p["name"], p["datatype"], None if p["shape"] is None else tuple(p["shape"])) for p in said["inputs"]
    )
    rest = {name: said[name] for name in ("score", "members", "embedding", "batch")}
    return ModelPlan(inputs=ports, kind=ScoreKind(said["kind"]), classes=tuple(said["classes"]), **rest)
