"""The demo's world: handwritten digits in order, replayed, drifting half way. Seeded: the same settings give the same bytes.

Before the drift each image is a little turned and a little noisy, each replay differently, and one class is absent. At the
drift all images turn further, the noise grows, and the absent class appears at its natural rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiebreak.apps.demo.images import ink_png, rotate
from tiebreak.contracts.messages import Event, Payload, PayloadKind
from tiebreak.contracts.tensors import FloatArray, Tensor

SIDE = 8
CLASSES = tuple(str(digit) for digit in range(10))
INPUT = "pixels"
SOURCE = "tiebreak/demo"

Phase = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Climate:
    """How images of one phase look: mean angle and its spread in degrees, standard deviation of the pixel noise (ink is 0..1)."""

    degrees: float
    spread: float
    noise: float


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """``drift_at`` is the share of the stream after which the world has drifted; ``absent`` the class that appears then."""

    events: int = 30_000
    seed: int = 7
    drift_at: float = 0.5
    absent: int = 9
    before: Climate = Climate(degrees=0.0, spread=4.0, noise=0.05)
    after: Climate = Climate(degrees=30.0, spread=6.0, noise=0.12)


@dataclass(frozen=True, slots=True)
class World:
    """The stream as columns. ``features`` ``(n, 64)`` float32 in [0, 1]; ``truths`` ``(n,)`` indices into ``CLASSES``;
    from event ``drift`` on the world is another."""

    settings: WorldSettings
    features: FloatArray
    truths: NDArray[np.int64]
    drift: int

    def __len__(self) -> int:
        return len(self.truths)

    def phase(self, index: int) -> Phase:
        """Which climate event ``index`` is from."""
        return "before" if index < self.drift else "after"

    def image(self, index: int) -> bytes:
        """The PNG that people see."""
        return ink_png(self.features[index], SIDE)

    def event(self, index: int) -> Event:
        """What the producer writes. Neither the id nor anything else in it says the class."""
        tensor = Tensor(INPUT, "FP32", (SIDE * SIDE,), self.features[index].astype("<f4").tobytes())
        payload = Payload(PayloadKind.IMAGE, "image/png", self.image(index))
        return Event(event_id=event_id(index), inputs=(tensor,), payload=payload, source=SOURCE)

    def truth_by_image(self) -> dict[bytes, str]:
        """Fingerprint of each image to its class: how a simulated person knows what they see."""
        return {fingerprint(self.image(i)): CLASSES[self.truths[i]] for i in range(len(self))}

    def __iter__(self) -> Iterator[Event]:
        return (self.event(index) for index in range(len(self)))


def fingerprint(image: bytes) -> bytes:
    """Identifies an image by its bytes."""
    return blake2b(image, digest_size=16).digest()


def event_id(index: int) -> str:
    """The producer's id of event ``index``.

    >>> event_id(41)
    'digit-000041'
    """
    return f"digit-{index:06d}"


def event_index(identity: str) -> int:
    """The inverse of :func:`event_id`. Raises ValueError for an id that is not the demo's.

    >>> event_index("digit-000041")
    41
    """
    return int(identity.removeprefix("digit-"))


def _weather(images: FloatArray, climate: Climate, rng: np.random.Generator) -> FloatArray:
    turned = rotate(images, rng.normal(climate.degrees, climate.spread, len(images)))
    noisy = turned + rng.normal(0.0, climate.noise, turned.shape)
    # Eight bits per pixel, as the PNG has: people and model look at the same thing.
    seen: FloatArray = (np.rint(np.clip(noisy, 0.0, 1.0) * 255.0) / 255.0).astype(np.float32)
    return seen.reshape(len(images), SIDE * SIDE)


def build_world(images: FloatArray, targets: NDArray[np.int64], settings: WorldSettings) -> World:
    """The stream made of ``images`` ``(m, 8, 8)`` in [0, 1] and their classes ``targets`` ``(m,)``, in order, again and again."""
    rng = np.random.default_rng(settings.seed)
    drift = round(settings.events * settings.drift_at)
    known = np.flatnonzero(targets != settings.absent)
    before = known[np.arange(drift) % len(known)]
    after = np.arange(settings.events - drift) % len(targets)
    features = np.concatenate(
        [_weather(images[before], settings.before, rng), _weather(images[after], settings.after, rng)]
    )
    return World(settings, features, targets[np.concatenate([before, after])], drift)
