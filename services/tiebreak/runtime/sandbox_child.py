"""The other side of ``sandbox.py``: for each connection it forks a child, which limits itself and answers one JSON object.

Run as ``python -m tiebreak.runtime.sandbox_child HANDLE`` with the control socket's number. Whatever goes wrong with a model is
an answer or an exit, never a hang: CPU seconds are limited here, the wall clock by the parent.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tiebreak.contracts.errors import ModelRefused
from tiebreak.contracts.tensors import FloatArray, Tensors
from tiebreak.runtime.model_graph import describe, parse, refuse_unsafe
from tiebreak.runtime.model_outputs import unusable_rows
from tiebreak.runtime.model_plan import Wanted, plan_model
from tiebreak.runtime.onnx_session import ORT_ERRORS, Answers, ModelSession, first_line, probe_inputs
from tiebreak.runtime.sandbox_nursery import CODE_BYTES, READY

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9
_CHUNK = 2**20
_NICER = 5  # what serves goes first
_BATCH_ROWS = 256
_UNLOADABLE: tuple[type[Exception], ...] = (ModelRefused, *ORT_ERRORS)
_SAME = 1e-3  # sums in another order differ by rounding, a row that its neighbours change differs by far more


def limit_process(memory_bytes: int, cpu_s: int) -> None:
    """Bound this process for good: address space, CPU seconds, no file written, no new file opened beyond a few, no core dump."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    space = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    # At the first of the two it is SIGXCPU that ends it, which tells the parent why.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _die_with_parent()
    if sys.platform == "linux":
        # Best effort on top of the limits: gain no rights, and see no network where the kernel lets us.
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.unshare(_CLONE_NEWNET)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def check(model: bytes, request: Mapping[str, Any], golden: bytes) -> dict[str, Any]:
    """All checks of one model, in the order of cost. Raises ModelRefused."""
    session, nodes = _loaded(model, request["runners"][0], request["max_nodes"])
    probe_rows(session)
    if golden:
        _check_golden(session, golden, request["tolerance"])
    rows = session.plan.batch or _BATCH_ROWS
    return {"plan": asdict(session.plan), "nodes": nodes, "batch_rows": rows, "batch_s": _time_batch(session, rows)}


def race(models: Sequence[bytes], request: Mapping[str, Any], events: bytes) -> dict[str, Any]:
    """Challenger and champion on the same events in turn, by processor time. Raises ModelRefused for the challenger's faults."""
    challenger, champion = request["runners"]
    ours, _ = _loaded(models[0], challenger, request["max_nodes"])
    try:
        theirs, _ = _loaded(models[1], champion, request["max_nodes"])
    except _UNLOADABLE:
        return {"pairs": []}  # there is nothing to be slower than
    rows = request["rows"]
    with np.load(io.BytesIO(events), allow_pickle=False) as batch:
        inputs = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in _inputs_in(batch).items()}
    for session in (ours, theirs):
        session.answer(inputs)  # the first run pays for memory
    pairs: list[tuple[float, float]] = []
    slower = 0
    # A majority of all pairs on one side of the bound is where their median will be.
    while max(slower, len(pairs) - slower) <= request["pairs"] // 2:
        order = (ours, theirs) if len(pairs) % 2 else (theirs, ours)
        took = {session: _processor_s(session, inputs) / rows for session in order}
        pairs.append((took[ours], took[theirs]))
        slower += took[ours] > request["bound"] * took[theirs]
    return {"pairs": pairs}


def _processor_s(session: ModelSession, inputs: Tensors) -> float:
    # Of this thread, which is all that a session here runs on: that of a process with a limit on it moves by milliseconds.
    start = time.thread_time()
    session.answer(inputs)
    return time.thread_time() - start


def _loaded(model: bytes, said: Mapping[str, Any], max_nodes: int) -> tuple[ModelSession, int]:
    proto = parse(model)
    nodes = refuse_unsafe(proto, max_nodes)
    plan = plan_model(describe(proto), _wanted(said["wanted"]))
    del proto
    return ModelSession(model, plan, said["temperature"]), nodes


def _inputs_in(batch: Any) -> dict[str, NDArray[Any]]:
    given = {name.removeprefix("in:"): batch[name] for name in batch.files if name.startswith("in:")}
    return {name: a.astype(object) if a.dtype.kind == "U" else a for name, a in given.items()}


def probe_rows(session: ModelSession) -> None:
    """Refuse answers that are not finite, that change from run to run, or that a row's neighbours change."""
    inputs = probe_inputs(session.plan, 5)
    together = session.answer(inputs)
    if unusable_rows(together.probabilities, together.values).any():
        raise ModelRefused("The model gives NaN or infinity on a harmless input.")
    for name, array in (("members", together.members), ("embedding", together.embedding), ("asking", together.asking)):
        if array is not None and not np.isfinite(array).all():
            raise ModelRefused(f"The model gives NaN or infinity in its {name}.")
    if not _same(together, session.answer(inputs)):
        raise ModelRefused("The model gives another answer to the same input: it is not deterministic.")
    for row in range(5):
        alone = session.answer({name: array[row : row + 1] for name, array in inputs.items()})
        if not np.allclose(_table(alone)[0], _table(together)[row], rtol=_SAME, atol=_SAME):
            raise ModelRefused(
                "The answer to one event changes with the others in its batch.", fix="Is the first axis the batch?"
            )


def _table(answers: Answers) -> FloatArray:
    """``(n, c)``: the probabilities, or a regressor's values as one column."""
    return answers.probabilities if answers.values is None else answers.values[:, None]


def _same(one: Answers, other: Answers) -> bool:
    if one.values is not None and other.values is not None:
        return bool(np.allclose(one.values, other.values, rtol=_SAME))
    return bool(np.allclose(one.probabilities, other.probabilities, rtol=_SAME, atol=1e-5))


def _check_golden(session: ModelSession, golden: bytes, tolerance: float) -> None:
    with np.load(io.BytesIO(golden), allow_pickle=False) as batch:
        expected, inputs = batch["probabilities"], _inputs_in(batch)
    got = _table(session.answer(inputs))
    if got.shape != expected.shape:
        raise ModelRefused(f"The golden batch gives shape {got.shape}, expected {expected.shape}.")
    gap = float(np.abs(got.astype(np.float64) - expected).max(initial=0.0))
    if not gap <= tolerance:  # so written, a NaN is a refusal too
        raise ModelRefused(f"The golden batch is off by {gap:.3g}, more than {tolerance:g}.")


def _time_batch(session: ModelSession, rows: int) -> float:
    inputs = probe_inputs(session.plan, rows)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        session.answer(inputs)
        best = min(best, time.perf_counter() - start)
    return best


def _wanted(said: Mapping[str, Any]) -> Wanted:
    inputs = {name: (datatype, tuple(shape)) for name, (datatype, shape) in said["inputs"].items()}
    rest = {name: said[name] for name in ("ordered", "open_set", "output", "kind")}
    return Wanted(inputs=inputs, classes=tuple(said["classes"]), **rest)


def _part(stream: IO[bytes]) -> bytes:
    return _exactly(stream, int.from_bytes(_exactly(stream, 8), "little"))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    read = bytearray()
    while len(read) < size and (chunk := stream.read(min(size - len(read), _CHUNK))):
        read += chunk
    return bytes(read)


def main() -> None:
    """Import, say so, then fork a child for each connection that comes over the control socket, until that is closed."""
    os.nice(_NICER)
    _die_with_parent()
    _warm()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        control.sendall(READY)
        while handles := socket.recv_fds(control, len(READY), 1)[1]:
            code = _in_child(control, handles[0])
            control.sendall(code.to_bytes(CODE_BYTES, "little", signed=True))


def _in_child(control: socket.socket, handle: int) -> int:
    """Answer on ``handle`` in a child of its own; its exit code, below 0 for a signal."""
    if child := os.fork():
        os.close(handle)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    control.close()
    with os.fdopen(handle, "r+b", buffering=0) as connection:
        connection.write(json.dumps(_answer(connection)).encode())
    # Nothing of this copy is worth tidying up, and the parent waits for its end.
    os._exit(0)


def _answer(connection: IO[bytes]) -> dict[str, Any]:
    request = json.loads(_part(connection))
    limit_process(request["memory_bytes"], request["cpu_s"])
    events = _part(connection)
    models = [_part(connection) for _ in request["runners"]]
    try:
        return race(models, request, events) if len(models) > 1 else check(models[0], request, events)
    except ModelRefused as refusal:
        return {"refused": refusal.message, "fix": refusal.fix}
    except MemoryError:
        return {"refused": "The model needs more memory than a check may use.", "fix": ""}
    except ORT_ERRORS as error:
        return {"refused": f"The model fails: {first_line(error)}", "fix": ""}
    except Exception as error:  # noqa: BLE001 - whatever a hostile file breaks, the answer is no
        return {"refused": f"The model cannot be read ({type(error).__name__}: {first_line(error)}).", "fix": ""}


def _warm() -> None:
    """Run a graph of ours once: what onnx and onnxruntime do at their first use is done before a model waits for it."""
    face = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "warm", face[:1], face[1:])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    proto = parse(model)
    plan = plan_model(describe(proto), Wanted({"x": ("FP32", (1,))}, ("a", "b")))
    probe_rows(ModelSession(model, plan))


if __name__ == "__main__":
    main()
