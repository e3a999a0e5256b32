"""Check a model file in a child process with bounded memory, CPU, time and files, before any process of ours loads it.

onnxruntime has crashed on malformed models more than once; here that ends the child, and the child's death is a refusal.
The gate and the hot swap call this with the same arguments, so a model that passed one passes the other.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.candidate import Golden
from tiebreak.contracts.errors import CheckLate, ModelRefused
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.project import Gate, Project
from tiebreak.contracts.tensors import Form, Tensors
from tiebreak.runtime.model_graph import Port
from tiebreak.runtime.model_plan import ModelPlan, ScoreKind, Wanted
from tiebreak.runtime.sandbox_nursery import Nursery

_BASE_MEMORY = 2**30  # beyond what Python, numpy and onnxruntime map by themselves
_WALL = 10.0  # times the processor seconds
_MEMORY_PER_BYTE = 8  # parsing, optimising and packing weights hold several copies at once


@dataclass(frozen=True, slots=True)
class Limits:
    """What a check may use. ``memory_bytes`` comes on top of the interpreter's own.

    ``cpu_s``: processor seconds, whole ones: a busy machine is not the model's fault. ``wall_s``: by the clock, for a check that
    waits for ever, and so much more that only a machine with no time at all gets there.
    """

    max_bytes: int = 256 * 2**20
    max_nodes: int = 20_000
    cpu_s: float = 20.0
    memory_bytes: int = 0
    wall_s: float = _WALL * 20.0

    @classmethod
    def of(cls, gate: Gate) -> Limits:
        """The project's ``gate`` section."""
        return cls(
            gate.max_model_bytes, gate.max_nodes, gate.probe_timeout_s, wall_s=_WALL * math.ceil(gate.probe_timeout_s)
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """A model that passed. ``batch_s``: seconds for one run of ``batch_rows`` rows, the best of three, in the child."""

    plan: ModelPlan
    nodes: int
    batch_rows: int
    batch_s: float


@dataclass(frozen=True, slots=True)
class Runner:
    """A model and what is asked of it, for :meth:`Sandbox.race`."""

    model: bytes
    wanted: Wanted
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Course:
    """What :meth:`Sandbox.race` runs: batches of ``rows`` events, which are ``events`` repeated.

    After so many ``pairs`` of runs it ends, or sooner: as soon as those to come cannot change on which side of ``bound`` the median
    ratio is.
    """

    events: Tensors
    rows: int
    bound: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Race:
    """Two models on the same events in turn, in one child. ``pairs``: processor seconds per event of challenger and champion.

    Empty where the champion itself does not load. A busy machine slows both of a pair alike, and processor time does not count
    the time in which others run: what is left of the noise is in the spread of the ratios, which the medians do not heed.
    """

    pairs: tuple[tuple[float, float], ...]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios: how many times the champion's time the challenger takes. 1 without pairs."""
        return median([challenger / max(champion, 1e-9) for challenger, champion in self.pairs] or [1.0])

    @property
    def excess_s(self) -> float:
        """The median of the pairs' differences: seconds more per event. 0 without pairs."""
        return median([challenger - champion for challenger, champion in self.pairs] or [0.0])


def wanted_by(project: Project, manifest: Manifest | None = None) -> Wanted:
    """What a project asks of a model. A manifest's class list is the column order; without one the graph's own is."""
    listed = manifest.classes if manifest is not None else ()
    return Wanted(
        inputs={tensor.name: (tensor.datatype, tensor.shape) for tensor in project.input.tensors},
        classes=listed or project.classes.names,
        ordered=bool(listed),
        open_set=project.classes.open,
        output=project.model.output,
        kind=_kind_of(project),
    )


def _kind_of(project: Project) -> str:
    """What the score output holds: what the project says, else what its answers need where a graph cannot tell."""
    said = project.model.output_kind
    by_answers = {Form.MULTI: "independent", Form.VALUES: "values"}.get(project.labeling.answer.kind.form, said)
    return by_answers if said in {"auto", "probabilities"} else said


class Sandbox:
    """Checks models one at a time, each in a process of its own, forked from a nursery that has its imports done.

    No model enters the nursery: what breaks the forked child breaks nothing else. ``keep``: the nursery stays for the next check,
    which then costs what the model costs and nothing for starting Python.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._nursery: asyncio.Task[Nursery] | None = None
        self._one_at_a_time = asyncio.Lock()

    def prepare(self) -> None:
        """Start the nursery now. Needs a running event loop."""
        self._starting()

    async def check(
        self, model: bytes, wanted: Wanted, limits: Limits, *, temperature: float = 1.0, golden: Golden | None = None
    ) -> Checked:
        """Load and probe ``model`` in a child. Raises ModelRefused with the reason; the child's death is one.

        Checked: size and node caps, external data anywhere, allowed operator domains, names, datatypes and shapes, class list,
        finite outputs, rows of probabilities that sum to 1 (several classes: each within 0 and 1),
        the same answer twice, an answer per row that its neighbours do not
        change, and the golden batch.
        """
        if not model:
            raise ModelRefused("The model file is empty.")
        if len(model) > limits.max_bytes:
            raise ModelRefused(
                f"The model has {len(model)} bytes, more than {limits.max_bytes}.", fix="Raise gate.max_model_bytes."
            )
        golden_batch = b""
        if golden is not None:
            golden_batch = _packed({"probabilities": golden.probabilities}, golden.inputs)
        runner = Runner(model, wanted, temperature)
        header = _header([runner], limits) | {"tolerance": golden.tolerance if golden is not None else 0.0}
        said = await self._said(_request(header, golden_batch, model), limits)
        return Checked(_plan(said["plan"]), said["nodes"], said["batch_rows"], said["batch_s"])

    async def race(self, challenger: Runner, champion: Runner, course: Course, limits: Limits) -> Race:
        """Time two models that :meth:`check` let through, in turn on the same events, in one child.

        Raises ModelRefused as :meth:`check` does, but not for a champion that does not load.
        """
        header = _header([challenger, champion], limits)
        header |= {"rows": course.rows, "bound": course.bound, "pairs": course.pairs}
        request = _request(header, _packed({}, course.events), challenger.model, champion.model)
        return Race(tuple((ours, theirs) for ours, theirs in (await self._said(request, limits))["pairs"]))

    async def _said(self, request: bytes, limits: Limits) -> dict[str, Any]:
        """A child's answer. Raises ModelRefused."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(limits.wall_s):
                    answer, code = await self._ask(request)
            except TimeoutError as error:
                await self._end()
                raise CheckLate(
                    f"The check did not end within {limits.wall_s:g} s by the clock, and used less than {math.ceil(limits.cpu_s)} s of"
                    " processor time: the machine has other things to do, or the model waits for something.",
                    fix="Raise gate.probe_timeout_s.",
                ) from error
            except BaseException:
                await self._end()
                raise
            if not self._keep:
                await self._end()
        if not answer and code == -signal.SIGXCPU:
            raise ModelRefused(
                f"The check used up its {math.ceil(limits.cpu_s)} s of processor time.",
                fix="Raise gate.probe_timeout_s.",
            )
        return _read(answer, code)

    async def close(self) -> None:
        """End the nursery, and a check in progress with it."""
        await self._end()

    async def _ask(self, request: bytes) -> tuple[bytes, int | None]:
        answer, code = await (await self._warm()).ask(request)
        if code is not None:
            return answer, code
        # The nursery itself is gone, out of memory say: that is not the model's fault, the first time.
        await self._end()
        return await (await self._warm()).ask(request)

    async def _warm(self) -> Nursery:
        if self._nursery is not None and (nursery := await self._nursery).alive:
            return nursery
        await self._end()
        return await self._starting()

    def _starting(self) -> asyncio.Task[Nursery]:
        if self._nursery is None:
            self._nursery = asyncio.create_task(Nursery.start())
        return self._nursery

    async def _end(self) -> None:
        starting, self._nursery = self._nursery, None
        if starting is not None:
            starting.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await (await starting).end()


async def check_model(
    model: bytes, wanted: Wanted, limits: Limits, *, temperature: float = 1.0, golden: Golden | None = None
) -> Checked:
    """:meth:`Sandbox.check` once, in a child started for it."""
    return await Sandbox().check(model, wanted, limits, temperature=temperature, golden=golden)


def _header(runners: Sequence[Runner], limits: Limits) -> dict[str, Any]:
    size = sum(len(runner.model) for runner in runners)
    return {
        "runners": [{"wanted": asdict(runner.wanted), "temperature": runner.temperature} for runner in runners],
        "max_nodes": limits.max_nodes,
        "memory_bytes": limits.memory_bytes or _BASE_MEMORY + _MEMORY_PER_BYTE * size,
        "cpu_s": math.ceil(limits.cpu_s),
    }


def _packed(answers: Mapping[str, NDArray[Any]], inputs: Tensors) -> bytes:
    batch = io.BytesIO()
    # Text travels as fixed-width unicode: an object array would need pickle on the other side.
    named = {f"in:{name}": a.astype(np.str_) if a.dtype == object else a for name, a in inputs.items()}
    np.savez(batch, allow_pickle=False, **answers, **named)
    return batch.getvalue()


def _request(header: Mapping[str, Any], events: bytes, *models: bytes) -> bytes:
    parts = (json.dumps(header).encode(), events, *models)
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)


def _read(answer: bytes, code: int | None) -> dict[str, Any]:
    if not answer:
        ended = (
            "killed" if code is None else f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        )
        raise ModelRefused(f"The model ended the process that checked it ({ended}).", fix="Serving is untouched.")
    said: dict[str, Any] = json.loads(answer)
    if "refused" in said:
        raise ModelRefused(said["refused"], fix=said["fix"])
    return said


def _plan(said: Mapping[str, Any]) -> ModelPlan:
    ports = tuple(
        Port(p["name"], p["datatype"], None if p["shape"] is None else tuple(p["shape"])) for p in said["inputs"]
    )
    rest = {name: said[name] for name in ("score", "members", "embedding", "batch", "asking")}
    return ModelPlan(inputs=ports, kind=ScoreKind(said["kind"]), classes=tuple(said["classes"]), **rest)
