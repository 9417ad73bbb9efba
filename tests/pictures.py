"""Pictures that tests of data sets draw themselves."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, Any]
_RANDOM = np.random.default_rng(0)


def noise(*shape: int) -> Pixels:
    """Return random values of 8 bits."""
    return _RANDOM.integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: Pixels | None = None, **options: Any) -> Pixels:  # noqa: ANN401 - Pillow's
    """Save a picture, of noise unless its pixels are given, and return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = noise(8, 8, 3) if pixels is None else pixels
    Image.fromarray(drawn).save(path, **options)
    return drawn


def draw_classes(root: Path, counts: dict[str, int]) -> Path:
    """Save that many pictures into each folder."""
    for name, count in counts.items():
        for number in range(count):
            save(root / name / f"{number}.png")
    return root


def png(pixels: Pixels, *extra: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of pixels of 8 or 16 bits, (H, W) or (H, W, C), with more chunks before the pixels; none is checked."""
    height, width, channels = (*pixels.shape, 1)[:3]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    values = pixels.astype(pixels.dtype.newbyteorder(">"))
    lines = b"".join(b"\0" + values[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
