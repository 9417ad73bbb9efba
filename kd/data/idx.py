"""The IDX files of MNIST, gzipped or not, read by their contents."""

import gzip
import io
import math
import struct

import numpy as np
import numpy.typing as npt

from kd.data.source import LabelledImages

MAX_BYTES = 1 << 28
"""A file that unpacks to more is none of these."""
_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTES = 8


def labelled_images(images: bytes, labels: bytes) -> LabelledImages:
    """Return the images of a file, (N, 1, H, W), with the labels of another one.

    Raises:
        ValueError: a file is damaged, or images and labels do not belong together.
    """
    pixels, numbers = read_idx(images, axes=3), read_idx(labels, axes=1)
    if len(pixels) != len(numbers) or len(numbers) == 0:
        raise ValueError(f"{len(pixels)} images with {len(numbers)} labels")
    return LabelledImages(pixels[:, None], numbers.astype(np.int64))


def read_idx(content: bytes, *, axes: int) -> npt.NDArray[np.uint8]:
    """Return the array of unsigned bytes in an IDX file: 0, 0, 8, the number of axes, the sizes, the values.

    Raises:
        ValueError: it is another file, or a damaged one.
    """
    if content.startswith(_GZIP):
        content = _unpacked(content)
    head = 4 + 4 * axes
    if len(content) < head or content[:4] != bytes([0, 0, _UNSIGNED_BYTES, axes]):
        raise ValueError(f"no IDX file of {axes} axes")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    if len(content) - head != math.prod(shape):
        raise ValueError(f"{len(content) - head} bytes for {' x '.join(map(str, shape))} values")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape).copy()  # one that can be written to, as torch wants it


def _unpacked(content: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(MAX_BYTES + 1)
    except Exception as error:  # gzip, zlib and struct have errors of their own
        raise ValueError(f"damaged gzip file ({error})") from error
    if len(unpacked) > MAX_BYTES:
        raise ValueError("larger than any such file when it is unpacked")
    return unpacked
