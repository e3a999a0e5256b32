"""The demo's world: the same for the same seed, and drifting as promised."""

from __future__ import annotations

import zlib
from hashlib import sha256
from io import BytesIO

import numpy as np
import pytest

from tests.support.demo import small_world
from tiebreak.apps.demo.digits import digits_world
from tiebreak.apps.demo.images import png, rotate
from tiebreak.apps.demo.people import recognise
from tiebreak.apps.demo.world import CLASSES, World, WorldSettings
from tiebreak.contracts.codec import encode


def _digest(world: World) -> str:
    h = sha256(world.truths.tobytes() + world.features.tobytes())
    for event in world:
        h.update(encode(event))
    return h.hexdigest()


def _pixels(image: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """An unfiltered 8-bit gray PNG of one IDAT chunk, read back without trusting the writer's own arithmetic."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(image):
        size, kind = int.from_bytes(image[at : at + 4], "big"), image[at + 4 : at + 8]
        body = image[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + body) == int.from_bytes(image[at + 8 + size : at + 12 + size], "big")
        chunks[kind] = body
        at += 12 + size
    width, height = (int.from_bytes(chunks[b"IHDR"][i : i + 4], "big") for i in (0, 4))
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    """Everything a producer sends depends on the seed alone, so a run of the demo can be repeated."""
    assert _digest(small_world(200)) == _digest(small_world(200))
    assert _digest(small_world(200)) != _digest(small_world(200, seed=8))


def test_half_way_a_class_appears_that_was_absent_and_the_images_turn_and_grow_noisier() -> None:
    """The drift that the demo promises: at its place, no nine before it, and pixels that differ by more than before."""
    world = digits_world(WorldSettings(events=8000))
    before, after = world.truths[: world.drift], world.truths[world.drift :]
    assert world.drift == 4000
    assert set(before.tolist()) == set(range(9))
    assert set(after.tolist()) == set(range(10))
    threes = [world.features[i:j][world.truths[i:j] == 3] for i, j in ((0, 4000), (4000, 8000))]
    assert (world.phase(3999), world.phase(4000)) == ("before", "after")
    assert np.abs(threes[1].mean(axis=0) - threes[0].mean(axis=0)).max() > 0.3
    # The quietest pixel is background: what moves there is noise alone.
    assert threes[1].std(axis=0).min() > 1.5 * threes[0].std(axis=0).min()


def test_the_stream_is_in_order_and_no_two_events_look_the_same() -> None:
    """Replays of a digit are near-duplicates, never copies: an image tells which class it is of, and only the image does."""
    world = digits_world(WorldSettings(events=5000))
    truths = world.truth_by_image()
    assert len(truths) == len(world)
    assert [recognise(truths, world.image(i)) for i in range(50)] == [CLASSES[t] for t in world.truths[:50]]
    assert recognise(truths, b"another image") is None


def test_an_event_carries_the_pixels_and_their_picture_and_nothing_that_tells_the_class() -> None:
    """Input and payload show the same ink; the id is a number in the stream."""
    world = small_world(100)
    event = world.event(41)
    assert event.payload is not None
    ink = np.frombuffer(event.inputs[0].data, "<f4")
    shade = _pixels(event.payload.data)
    assert (event.event_id, event.subject, event.fields, event.inputs[0].name) == ("digit-000041", "", None, "pixels")
    assert np.array_equal(np.rint(255 - 255 * ink).astype(np.uint8), shade.ravel())


def test_png_is_read_by_another_implementation() -> None:
    """A PNG of ours is a PNG to matplotlib's reader too."""
    image = pytest.importorskip("matplotlib.image")
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    read = image.imread(BytesIO(png(pixels)), format="png")
    assert np.array_equal(np.rint(read * 255).astype(np.uint8), pixels)


@pytest.mark.parametrize(("degrees", "quarters"), [(0.0, 0), (90.0, 1), (180.0, 2), (-90.0, -1)])
def test_a_turn_by_quarters_is_exact(degrees: float, quarters: int) -> None:
    """Rotation keeps the pixels where no interpolation is needed, whatever the other images of the batch do."""
    images = np.random.default_rng(1).random((3, 8, 8)).astype(np.float32)
    turned = rotate(images, np.array([degrees, 10.0, degrees]))
    expected = np.rot90(images, quarters, axes=(1, 2))
    assert np.allclose(turned[[0, 2]], expected[[0, 2]], atol=1e-5)
    assert not np.allclose(turned[1], images[1], atol=1e-2)
