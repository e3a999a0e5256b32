"""Small grayscale images: turn many at once, and write one as PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of 8-bit gray ``pixels`` ``(height, width)``, one IDAT chunk, no filter (PNG specification, ISO/IEC 15948).

    >>> png(np.zeros((8, 8), np.uint8))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = np.zeros((height, width + 1), np.uint8)  # each row starts with its filter type, 0: none
    rows[:, 1:] = pixels
    return (
        _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    )


def ink_png(ink: FloatArray, side: int) -> bytes:
    """A flat image of ink in [0, 1] as a PNG, dark on white."""
    shade = 255.0 - np.clip(ink, 0.0, 1.0) * 255.0
    return png(np.rint(shade).astype(np.uint8).reshape(side, side))


def rotate(images: FloatArray, degrees: NDArray[np.float64]) -> FloatArray:
    """Each of ``images`` ``(n, side, side)`` turned by its own angle around its centre, bilinear, 0 outside. Same shape."""
    n, side, _ = images.shape
    centre = (side - 1) / 2.0
    rows, columns = np.meshgrid(np.arange(side) - centre, np.arange(side) - centre, indexing="ij")
    angle = np.deg2rad(degrees)[:, None, None]
    # Where in the source each target pixel comes from; one pixel of border stands for "outside".
    y = np.clip(np.cos(angle) * rows + np.sin(angle) * columns + centre, -1.0, side) + 1.0
    x = np.clip(np.cos(angle) * columns - np.sin(angle) * rows + centre, -1.0, side) + 1.0
    top, left = np.minimum(y.astype(np.intp), side), np.minimum(x.astype(np.intp), side)
    down, right = y - top, x - left
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    i = np.arange(n)[:, None, None]
    upper = padded[i, top, left] * (1 - right) + padded[i, top, left + 1] * right
    lower = padded[i, top + 1, left] * (1 - right) + padded[i, top + 1, left + 1] * right
    turned: FloatArray = (upper * (1 - down) + lower * down).astype(np.float32)
    return turned
