"""One measurement in a process of its own, on the core it is told. Arguments come as JSON, the answer is the last line."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from loadtests.speed.clocked import Measured
from loadtests.speed.drains import drain
from loadtests.speed.ground import cores, pin
from loadtests.speed.pipeline import run_pipeline

ROLES: Mapping[str, Callable[..., Awaitable[Measured]]] = {
    "drain": drain,
    "pipeline": run_pipeline,
}


def measure(role: str, *, core: int | None = None, prefix: Sequence[str] = (), **arguments: Any) -> Measured:
    """Run ``role`` in a child on ``core`` (default: the one the servers do not have). Raises RuntimeError with what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    order = json.dumps({"role": role, "core": cores()[1] if core is None else core, "arguments": arguments})
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "loadtests.speed.worker", order],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=600,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{role} failed: {done.stderr.strip()[-2000:]}")
    return Measured(**json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))))


def main() -> None:
    """The child."""
    order = json.loads(sys.argv[1])
    pin(order["core"])
    measured = asyncio.run(_run(ROLES[order["role"]], order["arguments"]))
    print(json.dumps(measured.as_json()))


async def _run(role: Callable[..., Awaitable[Measured]], arguments: Mapping[str, Any]) -> Measured:
    return await role(**arguments)


if __name__ == "__main__":
    main()
