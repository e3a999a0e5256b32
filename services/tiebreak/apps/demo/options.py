"""What a run of the demo may be told, and the project file that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from tiebreak.apps.demo.people import Habits, mean_think_s
from tiebreak.contracts.errors import ConfigError

LABELS = 600
_MOST_SHARE = 0.1
# Of what people can answer: who is always busy has a queue that only grows.
_BUSY = 0.85


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``seconds`` is how long the stream lasts; ``wait``: stay up afterwards while a person watches.

    ``kafka`` and ``redis`` are addresses, "" for the embedded ones. Raises ConfigError for what cannot be.
    """

    out: Path
    events: int = 30_000
    seconds: float = 75.0
    seed: int = 7
    annotators: int = 16
    error_rate: float = 0.05
    kafka: str = ""
    redis: str = ""
    port: int = 0
    wait: bool = True

    def __post_init__(self) -> None:
        bounds = {
            "--events": (self.events, 1_000, 1_000_000),
            "--seconds": (self.seconds, 5, 3_600),
            "--seed": (self.seed, 0, 2**32 - 1),
            "--annotators": (self.annotators, 0, 200),
            "--error-rate": (self.error_rate, 0.0, 0.5),
        }
        for name, (value, low, high) in bounds.items():
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value:g}, not a number from {low:g} to {high:g}.")

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def share(self) -> float:
        """The part of the stream to ask about: 600 questions in all, if people can answer that many while it lasts."""
        return min(_MOST_SHARE, LABELS / self.events, self.capacity / self.rate)

    @property
    def capacity(self) -> float:
        """Answers per second that can be asked of the people; a few for a person alone."""
        return max(0.5, _BUSY * self.annotators / mean_think_s(self.habits))

    @property
    def habits(self) -> Habits:
        """How the simulated people behave."""
        return Habits(error_rate=self.error_rate)


def project_text(options: DemoOptions, name: str) -> str:
    """The project file of this run, as YAML. ``name``: a broker or Redis of others needs one that is free."""
    text = files("tiebreak.apps.demo").joinpath("project.yaml").read_text(encoding="utf-8")
    project = yaml.safe_load(text)
    project["project"] = name
    project["sampling"]["seed"] = options.seed
    project["sampling"]["target_share"] = options.share
    project["training"]["seed"] = options.seed
    project["budget"]["labels_per_hour"] = round(options.capacity * 3600.0, 1)
    return f"# Made by `tiebreak demo`.\n{yaml.safe_dump(project, sort_keys=False)}"
