"""One measurement in a process of its own, on the core it is told. Arguments come as JSON, the answer is a line of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.speed.clocked import Measured
from loadtests.speed.drains import drain
from loadtests.speed.ground import cores, pin
from loadtests.speed.latency import echo, probe
from loadtests.speed.pipeline import run_pipeline
from loadtests.speed.soak import serve, session_loop, soak

ROOT = Path(__file__).resolve().parents[2]
ROLES: Mapping[str, Callable[..., Awaitable[Measured]]] = {
    "drain": drain,
    "echo": echo,
    "pipeline": run_pipeline,
    "probe": probe,
    "serve": serve,
    "session": session_loop,
    "soak": soak,
}


@dataclass(frozen=True, slots=True)
class Running:
    """A child at work."""

    name: str
    process: subprocess.Popen[str]

    def result(self, timeout_s: float = 900.0) -> Measured:
        """What it measured. Raises RuntimeError with what it printed, TimeoutError. The child has ended, whatever comes of it."""
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.name} did not end within {timeout_s:g} s") from error
        finally:
            self.stop()
        line = next((line for line in reversed(out.splitlines()) if line.startswith("{")), None)
        if self.process.returncode != 0 or line is None:
            raise RuntimeError(f"{self.name} failed: {(err or out).strip()[-1500:]}")
        return Measured(**json.loads(line))

    def stop(self) -> None:
        """End it, where it has not ended: its result is not wanted."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def begin(role: str, *, core: int | None = None, **arguments: Any) -> Running:
    """Start ``role`` in a child on ``core`` (default: the one that the servers do not have)."""
    order = json.dumps({"role": role, "core": cores()[1] if core is None else core, "arguments": arguments})
    return launch(role, [sys.executable, "-m", "loadtests.speed.worker", order])


def launch(name: str, command: Sequence[str]) -> Running:
    """Start a program from the repository's root, with linear algebra on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    return Running(name, process)


def measure(role: str, *, core: int | None = None, **arguments: Any) -> Measured:
    """Run ``role`` in a child to its end."""
    return begin(role, core=core, **arguments).result()


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
