"""The process that children of the sandbox are forked from, seen from the parent: a control socket, and one socket per check.

Starting Python with onnxruntime takes half a second of CPU, several on a busy machine; a fork of a process that has done so
takes milliseconds. The other side is ``sandbox_child.py``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from contextlib import suppress
from typing import Self

from tiebreak.contracts.errors import ModelRefused

READY = b"."  # what a nursery says once its imports are done
CODE_BYTES = 4  # a check's exit code on the control socket, as a signed little-endian number; below 0: minus the signal
_MAX_ANSWER = 2**20


class Nursery:
    """One such process. :meth:`ask` is called by one task at a time; after an error or a cancellation it must be ended."""

    def __init__(self, process: Process, control: socket.socket) -> None:
        self._process, self._control = process, control

    @classmethod
    async def start(cls) -> Self:
        """Started and ready, or dead on the way there."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            nursery = cls(await _spawn(theirs), ours)
        try:
            await asyncio.get_running_loop().sock_recv(ours, len(READY))
        except BaseException:
            await nursery.end()
            raise
        return nursery

    @property
    def alive(self) -> bool:
        """Whether its process is known to run."""
        return self._process.returncode is None

    async def ask(self, request: bytes) -> tuple[bytes, int | None]:
        """A fresh child's answer to ``request`` and its exit code; None where the nursery died with it.

        Raises ModelRefused for a flood.
        """
        ours, theirs = socket.socketpair()
        with theirs, suppress(OSError):  # the nursery is dead: nobody holds the other end, which reads as no answer
            socket.send_fds(self._control, [READY], [theirs.fileno()])
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            answer = await _converse(reader, writer, request)
        finally:
            writer.transport.abort()
        code = await self._heard(CODE_BYTES)
        return answer, int.from_bytes(code, "little", signed=True) if code else None

    async def end(self) -> None:
        """Kill it, and whatever it forked."""
        self._control.close()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def _heard(self, size: int) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self._control, size)
        except ConnectionError:
            return b""


async def _spawn(control: socket.socket) -> Process:
    # Nothing of our environment reaches the child (it may hold secrets) but where the code is.
    environment = {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",  # each further arena reserves 64 MiB of the address space that is limited
    }
    handle = control.fileno()
    # A session of its own, so that one kill reaches the nursery and its child.
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "tiebreak.runtime.sandbox_child", str(handle)),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        env=environment,
        cwd="/",
        pass_fds=[handle],
        start_new_session=True,
    )


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    answer = bytearray()
    try:
        writer.write(request)
        await writer.drain()
        while chunk := await reader.read(65_536):
            answer += chunk
            if len(answer) > _MAX_ANSWER:
                raise ModelRefused("The check was flooded with output.")
    except ConnectionError:
        pass  # it died on the way: its exit code says how
    return bytes(answer)
