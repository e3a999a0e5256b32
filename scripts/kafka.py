"""One Apache Kafka broker on loopback, for developers (`make kafka`) and for the tests (`from scripts.kafka import Broker`).

Needs Java 17 or newer and, once, Maven: it copies the jars that `docker/kafka/pom.xml` names into a cache folder
(`.cache/kafka`, or `TIEBREAK_KAFKA_CACHE`). Then it formats KRaft storage and starts a combined broker and controller.
Python's standard library is enough. Run it with `--help` for examples.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
POM = ROOT / "docker" / "kafka" / "pom.xml"
LOG_CONFIG = ROOT / "docker" / "kafka" / "log4j2.properties"
STARTED = "Kafka Server started"

# Start time matters more than peak speed: the first compiler tier alone, and the collector with the fewest threads.
JVM = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)

EXAMPLES = """examples:
  scripts/kafka.py run                    foreground on 127.0.0.1:9092 until Ctrl-C
  scripts/kafka.py run --port 0           the same on a free port, printed when it is ready
  scripts/kafka.py start --data /tmp/k    background; prints the address
  scripts/kafka.py status --data /tmp/k   the address, or exit code 1
  scripts/kafka.py stop --data /tmp/k     stop it; the data stays for the next start
  scripts/kafka.py fetch                  only copy the jars into the cache
"""


class KafkaError(Exception):
    """One line that says what is missing or went wrong, and what to do."""


def cache_dir() -> Path:
    """Where the jars live: `TIEBREAK_KAFKA_CACHE`, else `.cache/kafka` in the repository."""
    return Path(os.environ.get("TIEBREAK_KAFKA_CACHE") or ROOT / ".cache" / "kafka")


def missing_tools(cache: Path | None = None) -> str:
    """Why no broker can be started here, in one line; empty when one can."""
    if shutil.which("java") is None:
        return "Java 17 or newer is not on the PATH."
    if shutil.which("mvn") is None and not (_jars(cache or cache_dir()) / ".complete").exists():
        return "Maven (mvn) is not on the PATH and Kafka's jars are not in the cache."
    return ""


def fetch(cache: Path | None = None) -> Path:
    """Copy the jars into ``cache`` unless they are there. Returns their folder; raises KafkaError."""
    jars = _jars(cache or cache_dir())
    if (jars / ".complete").exists():
        return jars
    reason = missing_tools(cache)
    if reason:
        raise KafkaError(f"{reason} Install it, or point TIEBREAK_TEST_KAFKA at a running broker.")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as fresh:
        goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}")
        done = subprocess.run(
            ["mvn", "-q", "-B", "-ntp", "-f", str(POM), *goal], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise KafkaError(f"Maven could not fetch Kafka's jars: {lines[0] if lines else 'no output'}")
        # Two processes may fetch at once: the marker is written last and the copies are equal.
        shutil.copytree(fresh, jars, dirs_exist_ok=True)
    (jars / ".complete").touch()
    return jars


def _jars(cache: Path) -> Path:
    # Another pom, another folder: an upgrade never mixes two versions on one class path.
    return cache / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]


# Above the ports that have a name, below those that a system gives to outgoing connections.
_PORTS = range(10_000, 30_000)


def free_port(*others: int) -> int:
    """A loopback port, none of ``others``, that nobody listens on now and that no outgoing connection takes before somebody does.

    A system's own choice (port 0) may be given to the next client that connects anywhere, and to one that tries to connect to that
    very port while its server is being started again: such a client ends up connected to itself, and the server finds it taken.
    """
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in others:
                return port


def _wait(ready: Callable[[], bool], deadline_s: float) -> bool:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if ready():
            return True
        time.sleep(0.05)
    return False


@dataclass
class Broker:
    """A broker with its data folder. ``stop`` keeps the data and the port, so ``start`` brings the same broker back.

    ``port`` 0 takes a free one at the first start. ``extra`` are lines of `server.properties`, last wins.
    """

    data: Path
    port: int = 0
    extra: Sequence[str] = ()
    start_timeout_s: float = 60.0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What clients call the bootstrap server."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """All that the broker has printed."""
        return self.data / "broker.log"

    @property
    def pid(self) -> int:
        """The process id while it runs, else 0."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self) -> None:
        """Start and wait until it serves. Raises KafkaError with the broker's last line."""
        jars = fetch()
        self._prepare(jars)
        if self._taken():
            raise KafkaError(f"Port {self.port} is taken. Choose another with --port, or --port 0 for a free one.")
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._java(jars, "kafka.Kafka", str(self.data / "server.properties")),
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at the terminal reaches us alone: we stop the broker in order
            )
        (self.data / "broker.pid").write_text(str(self._process.pid))
        if not _wait(lambda: self._started(seen) or self.pid == 0, self.start_timeout_s) or self.pid == 0:
            tail = self.log.read_text(errors="replace").strip().splitlines()
            self.kill()
            raise KafkaError(f"Kafka did not start: {tail[-1] if tail else 'it printed nothing'} (see {self.log})")

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop in order, by force after ``timeout_s``. Does nothing when it is down."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """`kill -9`: a crash."""
        self._end(signal.SIGKILL, 10.0)

    def _end(self, sign: signal.Signals, timeout_s: float) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(sign)
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        (self.data / "broker.pid").unlink(missing_ok=True)

    def _started(self, seen: int) -> bool:
        with self.log.open("rb") as log:
            log.seek(seen)
            return STARTED.encode() in log.read()

    def _taken(self) -> bool:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def _prepare(self, jars: Path) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        config = self.data / "server.properties"
        config.write_text("\n".join((*_properties(self.data, self.port, free_port(self.port)), *self.extra)) + "\n")
        if (self.data / "storage" / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "a")
        done = subprocess.run(
            self._java(jars, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise KafkaError(f"Kafka's storage could not be formatted: {(done.stderr or done.stdout).strip()[-300:]}")

    @staticmethod
    def _java(jars: Path, main: str, *args: str) -> list[str]:
        return ["java", *JVM, f"-Dlog4j2.configurationFile={LOG_CONFIG}", "-cp", f"{jars}/*", main, *args]


def _properties(data: Path, port: int, controller_port: int) -> tuple[str, ...]:
    return (
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.voters=1@127.0.0.1:{controller_port}",
        f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names=CONTROLLER",
        f"log.dirs={data / 'storage'}",
        "auto.create.topics.enable=false",
        "offsets.topic.replication.factor=1",
        "offsets.topic.num.partitions=4",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "transaction.state.log.num.partitions=4",
        "share.coordinator.state.topic.replication.factor=1",
        "share.coordinator.state.topic.min.isr=1",
        "group.initial.rebalance.delay.ms=0",
        "group.min.session.timeout.ms=1000",
        # Two cores are plenty for one developer; the defaults start dozens of threads.
        "num.network.threads=2",
        "num.io.threads=2",
        "background.threads=2",
        "log.cleaner.threads=1",
        "num.recovery.threads.per.data.dir=1",
        "controlled.shutdown.enable=false",
    )


def _running(data: Path) -> tuple[int, int]:
    """The pid and port of the background broker in ``data``; (0, 0) when it is down."""
    try:
        pid = int((data / "broker.pid").read_text())
        os.kill(pid, 0)
        config = (data / "server.properties").read_text()
    except (OSError, ValueError):
        return 0, 0
    listener = next(line for line in config.splitlines() if line.startswith("advertised.listeners="))
    return pid, int(listener.rpartition(":")[2])


def _run(broker: Broker) -> int:
    # SIGTERM becomes KeyboardInterrupt, so that the broker ends with us however we are told to.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        broker.start()
        print(f"Kafka is ready on {broker.address} (data in {broker.data}). Ctrl-C stops it.", flush=True)
        while broker.pid:
            time.sleep(0.2)
    except KeyboardInterrupt:
        broker.stop()
        return 0
    print(f"Kafka ended by itself: see {broker.log}", file=sys.stderr)
    return 1


def _start(broker: Broker) -> int:
    pid, port = _running(broker.data)
    if not pid:
        broker.start()
        port = broker.port
    print(f"127.0.0.1:{port}")
    return 0


def _stop(data: Path) -> int:
    pid, _ = _running(data)
    if pid:
        os.kill(pid, signal.SIGTERM)
        if not _wait(
            lambda: not Path(f"/proc/{pid}").exists() if sys.platform == "linux" else not _running(data)[0], 20
        ):
            os.kill(pid, signal.SIGKILL)
    (data / "broker.pid").unlink(missing_ok=True)
    return 0


def _status(data: Path) -> int:
    pid, port = _running(data)
    print(f"127.0.0.1:{port} (pid {pid})" if pid else "down")
    return 0 if pid else 1


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/kafka.py",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("run", "start", "stop", "status", "fetch"))
    parser.add_argument("--port", type=int, default=9092, help="0 takes a free one (default 9092)")
    parser.add_argument("--data", type=Path, default=None, help="data folder (default: <cache>/data)")
    options = parser.parse_args(argv)
    data = (options.data or cache_dir() / "data").resolve()
    try:
        if options.command == "fetch":
            print(fetch())
            return 0
        if options.command in ("stop", "status"):
            return _stop(data) if options.command == "stop" else _status(data)
        broker = Broker(data=data, port=options.port)
        return _run(broker) if options.command == "run" else _start(broker)
    except KafkaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
