"""How the simulated people behave: what they answer, how long they think, when they walk off. Pure: chance comes in as numbers.

They know what an image shows from the image alone, as people do: the demo keeps a table from an image's bytes to its class, and
the API hands them nothing else that could tell (no id of the producer, no score, no class).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from tiebreak.apps.demo.world import fingerprint

# What a hasty eye takes each digit for. Nobody takes anything for a nine before a nine was ever seen, so nobody answers it
# by mistake: the first label of the new class is a find, not a slip.
MISTAKEN_FOR: Mapping[str, str] = {
    "0": "68",
    "1": "74",
    "2": "37",
    "3": "85",
    "4": "17",
    "5": "36",
    "6": "05",
    "7": "12",
    "8": "35",
    "9": "47",
}


@dataclass(frozen=True, slots=True)
class Habits:
    """``error_rate`` and ``walk_off_rate`` are shares of the tasks; think time is log-normal, ``think_spread`` in log units.

    Who walks off stays away for ``away_s``: longer than a lease, since claiming again would renew what they still hold.
    """

    error_rate: float = 0.05
    walk_off_rate: float = 0.015
    think_median_s: float = 0.6
    think_spread: float = 0.4
    away_s: float = 8.0


def answer_of(truth: str, error_rate: float, draw: float) -> str:
    """What a person says of an image of ``truth``; ``draw`` in [0, 1) is their luck.

    >>> answer_of("3", 0.1, 0.5), answer_of("3", 0.1, 0.01), answer_of("3", 0.1, 0.09)
    ('3', '8', '5')
    """
    if draw >= error_rate:
        return truth
    wrong = MISTAKEN_FOR[truth]
    return wrong[min(int(draw / error_rate * len(wrong)), len(wrong) - 1)]


def think_s(habits: Habits, normal: float) -> float:
    """Seconds of thought for one task; ``normal`` is a standard normal number.

    >>> think_s(Habits(think_median_s=2.0), 0.0)
    2.0
    """
    return habits.think_median_s * exp(habits.think_spread * normal)


def mean_think_s(habits: Habits) -> float:
    """Seconds of thought per task, on average."""
    return habits.think_median_s * exp(habits.think_spread**2 / 2.0)


def recognise(truths: Mapping[bytes, str], image: bytes) -> str | None:
    """The class of an image of the demo; None for any other image."""
    return truths.get(fingerprint(image))
