"""What the demo alone needs: imported when it runs, so that the command line works without it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tiebreak.contracts.errors import ConfigError


def extra(module: str) -> Any:
    """A module of the ``demo`` extra. Raises ConfigError when it is not installed."""
    try:
        return import_module(module)
    except ImportError as missing:
        raise ConfigError(
            f"the demo needs {module.partition('.')[0]}.", fix="Install it with: pip install 'tiebreak[demo]'"
        ) from missing
