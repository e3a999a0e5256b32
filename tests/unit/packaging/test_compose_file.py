"""The compose file says what the specification allows, opens nothing to others, and names only what exists."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.compose import ROOT, compose, compose_schema, filled, service
from tiebreak.apps.cli_services import LABEL_PORT, STREAM_PORT, TRAIN_PORT

OURS = {"stream": STREAM_PORT, "label": LABEL_PORT, "train": TRAIN_PORT}
FLOW = ["kafka", "redis", "topics", "stream", "label", "train", "prometheus", "grafana"]


def _errors(document: dict[str, Any]) -> list[str]:
    schema = compose_schema()
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [error.json_path for error in validator.iter_errors(document)]


def test_it_fits_the_compose_specification() -> None:
    """The specification's own schema has no complaint, and would have one."""
    assert _errors(compose()) == []
    broken = json.loads(json.dumps(compose()))  # without the shared parts that YAML's anchors make
    health = broken["services"]["stream"]["healthcheck"]
    health["tests"] = health.pop("test")
    assert "$.services.stream.healthcheck" in _errors(broken)


def test_services_stand_in_the_order_of_the_flow_and_wait_for_what_they_need() -> None:
    """Each service waits only for those before it, and for each of them with a condition that its health check can meet."""
    services = compose()["services"]
    assert list(services) == FLOW
    for index, name in enumerate(FLOW):
        for needed, how in services[name].get("depends_on", {}).items():
            assert FLOW.index(needed) < index
            if how["condition"] == "service_healthy":
                assert "test" in services[needed]["healthcheck"]
            else:
                assert (needed, how["condition"]) == ("topics", "service_completed_successfully")


def test_nothing_is_published_beyond_loopback() -> None:
    """Every published port names 127.0.0.1."""
    published = [port for name in FLOW for port in compose()["services"][name].get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_no_secret_has_a_default() -> None:
    """Whatever is called a password, secret, token or key comes from outside and must be set."""
    named = re.compile(r"PASSWORD|SECRET|TOKEN|(^|_)KEY$")
    secrets = {
        f"{name}.{key}": value
        for name in FLOW
        for key, value in compose()["services"][name].get("environment", {}).items()
        if named.search(key)
    }
    assert set(secrets) == {"grafana.GF_SECURITY_ADMIN_PASSWORD"}
    with pytest.raises(KeyError, match="GRAFANA_ADMIN_PASSWORD"):
        filled(secrets, {})


def test_our_processes_run_without_any_privilege() -> None:
    """A read-only root, no capabilities, no way to gain privileges, and more time to stop than they give themselves."""
    for name in ("topics", *OURS):
        found = service(name)
        assert (found["read_only"], found["cap_drop"], found["security_opt"]) == (
            True,
            ["ALL"],
            ["no-new-privileges:true"],
        )
        assert int(found["stop_grace_period"].removesuffix("s")) > 25


@pytest.mark.parametrize("name", FLOW)
def test_every_mounted_path_exists(name: str) -> None:
    """A path on this machine is a file or folder of the repository; a volume is declared."""
    for mount in service(name).get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in compose()["volumes"]


def test_ports_agree_everywhere() -> None:
    """The port that a process listens on is the one that is exposed, published, probed and scraped."""
    scraped = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["dns_sd_configs"][0] for job in scraped}
    for name, port in OURS.items():
        found = service(name)
        assert found["environment"]["TIEBREAK_PORT"] == str(port)
        assert str(port) in found.get("expose", []) or f"127.0.0.1:{port}:{port}" in found.get("ports", [])
        target = targets[f"tiebreak-{name}"]
        assert (target["names"], target["port"], target["type"]) == ([name], port, "A")
    assert len(targets) == len(OURS)


def test_addresses_name_services_and_their_listeners() -> None:
    """What our processes connect to is a service of this file, at a port that it listens on."""
    environment = service("stream")["environment"]
    kafka = service("kafka")["environment"]
    assert environment["TIEBREAK_KAFKA"] == "kafka:19092"
    assert "INSIDE://kafka:19092" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert "INSIDE://:19092" in kafka["KAFKA_LISTENERS"].split(",")
    assert environment["TIEBREAK_REDIS"] == "redis://redis:6379/0"


def test_the_broker_is_the_version_that_is_tested() -> None:
    """The image's Kafka is the one whose jars the tests run."""
    pom = (ROOT / "docker/kafka/pom.xml").read_text()
    version = re.search(r"<kafka.version>(.*?)</kafka.version>", pom)
    assert version
    assert service("kafka")["image"] == f"apache/kafka:{version[1]}"
