"""Without a container engine: every command, health check and setting that compose.yaml names is run as it stands there."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from scripts.kafka import Broker, fetch, free_port, missing_tools
from tests.support.compose import ROOT, service
from tests.support.eventually import eventually_sync
from tests.support.redis_fixture import missing
from tiebreak.events.kafka import KafkaLog

pytestmark = pytest.mark.scenario

PROJECT = ROOT / "examples/digits/project.yaml"
PROBE = [sys.executable, "-m", "tiebreak.apps.probe"]


def _command(name: str, project: Path) -> list[str]:
    """The service's command with this Python's `tiebreak` and a project file of this machine."""
    words = [str(project) if word == "/etc/tiebreak/project.yaml" else word for word in service(name)["command"]]
    return [sys.executable, "-m", "tiebreak.apps.cli", *words]


def _environment(name: str, data: Path, **servers: str) -> dict[str, str]:
    """The service's environment, with the servers of this test and an address that only this machine reaches."""
    return {
        **os.environ,
        **service(name)["environment"],
        "TIEBREAK_HOST": "127.0.0.1",
        "TIEBREAK_DATA": str(data),
        **servers,
    }


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _healthy(
    process: subprocess.Popen[bytes], test: Sequence[str], environment: Mapping[str, str] | None = None
) -> bool:
    assert process.poll() is None, process.communicate()[1].decode()[-2000:]
    return subprocess.run(test, env=environment, capture_output=True, check=False, timeout=20).returncode == 0


@pytest.mark.kafka
@pytest.mark.redis
def test_topics_stream_label_and_train_run_and_become_healthy_on_kafka_and_redis(
    tmp_path: Path, kafka_address: str, redis_url: str
) -> None:
    """The commands in their order: topics ends with 0, each process answers its own health check and stops with 0 on SIGTERM."""
    project = tmp_path / "project.yaml"
    text = PROJECT.read_text().replace("project: digits", f"project: compose-{os.getpid()}")
    project.write_text(text)
    servers = {"TIEBREAK_KAFKA": kafka_address, "TIEBREAK_REDIS": redis_url}
    environment = _environment("topics", tmp_path, **servers)
    subprocess.run(_command("topics", project), env=environment, check=True, capture_output=True, timeout=60)
    for name in ("stream", "label", "train"):
        # Another port than the file's, since somebody may use that one here; that they all agree is another test.
        environment = _environment(name, tmp_path, TIEBREAK_PORT=str(free_port()), **servers)
        test = service(name)["healthcheck"]["test"]
        assert test[:3] == ["CMD", "python", "-m"]
        with _running(_command(name, project), environment) as process:
            eventually_sync(lambda p=process, e=environment, t=test: _healthy(p, [*PROBE[:2], *t[3:]], e), 60)  # type: ignore[misc]
        assert process.returncode == 0, name


def test_a_health_check_fails_with_the_reason_while_nobody_answers() -> None:
    """The probe of a process that is gone: exit code 1 and one line."""
    environment = {**os.environ, "TIEBREAK_PORT": str(free_port())}
    done = subprocess.run(PROBE, env=environment, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "does not answer" in done.stderr


@pytest.mark.redis
def test_redis_starts_with_its_command_and_is_healthy(tmp_path: Path) -> None:
    """The options are understood, and `redis-cli ping` is content."""
    if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
        missing("redis-server and redis-cli are not both on the PATH.")
    port = str(free_port())
    command = [*service("redis")["command"], "--port", port, "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    test = service("redis")["healthcheck"]["test"]
    assert test == ["CMD", "redis-cli", "ping"]
    with _running(command) as process:
        eventually_sync(lambda: _healthy(process, [test[1], "-p", port, *test[2:]]))
        saved = subprocess.run(
            ["redis-cli", "-p", port, "config", "get", "save"], capture_output=True, text=True, check=True
        )
        assert saved.stdout.split() == ["save", "60", "1"]
    assert not (tmp_path / "appendonlydir").exists()


@pytest.mark.kafka
async def test_the_broker_starts_with_the_settings_of_the_file(tmp_path: Path) -> None:
    """Apache Kafka takes every setting (the image turns KAFKA_A_B into a.b), and clients get in by both listeners.

    The health check's script asks for the API versions at the inside listener; a client of ours asks the same here.
    """
    reason = missing_tools()
    if reason:
        missing(f"No Kafka: {reason}")
    fetch()
    inside = free_port()
    outside = free_port(inside)
    controller = free_port(inside, outside)
    ports = {"19092": inside, "9092": outside, "9093": controller}
    assert service("kafka")["healthcheck"]["test"][-1] == "kafka:19092"
    extra = []
    for key, value in service("kafka")["environment"].items():
        setting = (
            value.replace("kafka:", "127.0.0.1:").replace("localhost:", "127.0.0.1:").replace("://:", "://127.0.0.1:")
        )
        for port, here in ports.items():
            setting = setting.replace(f"127.0.0.1:{port}", f"127.0.0.1:{here}")
        extra.append(f"{key.removeprefix('KAFKA_').lower().replace('_', '.')}={setting}")
    broker = Broker(tmp_path, outside, extra=[*extra, f"log.dirs={tmp_path / 'storage'}"])
    await asyncio.to_thread(broker.start)
    try:
        for listener in (inside, outside):
            log = KafkaLog(f"127.0.0.1:{listener}")
            await log.ping()
            await log.close()
    finally:
        await asyncio.to_thread(broker.kill)


def test_prometheus_starts_with_its_command_and_is_healthy(tmp_path: Path) -> None:
    """Its flags and its configuration are understood, and the health check's address answers."""
    if shutil.which("prometheus") is None or shutil.which("wget") is None:
        missing("prometheus and wget are not both on the PATH.")
    found = service("prometheus")
    config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    config["rule_files"] = [str(ROOT / "docker/prometheus/rules/*.yml")]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    places = {
        "/etc/prometheus/prometheus.yml": str(tmp_path / "prometheus.yml"),
        "=/prometheus": f"={tmp_path / 'data'}",
    }
    command = ["prometheus", *found["command"], f"--web.listen-address=127.0.0.1:{port}"]
    for there, here in places.items():
        command = [word.replace(there, here) for word in command]
    test = [word.replace("127.0.0.1:9090", f"127.0.0.1:{port}") for word in found["healthcheck"]["test"][1:]]
    with _running(command) as process:
        eventually_sync(lambda: _healthy(process, test), 30)
