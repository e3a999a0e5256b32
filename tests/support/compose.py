"""compose.yaml as Docker Compose would read it, without an engine: merge keys resolved, variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


def filled(value: Any, environment: Mapping[str, str]) -> Any:
    """Variables replaced. Raises KeyError for one that must be set (`:?`) and is not."""
    if isinstance(value, dict):
        return {key: filled(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, environment) for item in value]
    return _VARIABLE.sub(lambda found: _value(found, environment), value) if isinstance(value, str) else value


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    name, kind, rest = found.groups()
    if environment.get(name):
        return environment[name]
    if kind == ":-":
        return str(rest)
    raise KeyError(name)


@cache
def compose() -> dict[str, Any]:
    """The file as it stands."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def service(name: str) -> dict[str, Any]:
    """One service, with every variable set."""
    settings = {"GRAFANA_ADMIN_PASSWORD": "given"}
    found: dict[str, Any] = filled(compose()["services"][name], settings)
    return found


def compose_schema() -> dict[str, Any]:
    """The Compose specification's own JSON schema, as the check-jsonschema package carries it."""
    text = files("check_jsonschema").joinpath("builtin_schemas", "vendor", "compose-spec.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
