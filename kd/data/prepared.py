"""Image files as a model sees them: decoded by a pool of threads, in batches, of which few are in memory at once."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd.data.decode import BadImageError, check_square, decode_image
from kd.errors import UserError, reason
from kd.machine.signals import check_stop
from kd.machine.text import printable

MAX_BATCH = 64
"""Images that a thread decodes before it hands them on."""
MAX_BATCH_BYTES = 16 * 2**20
WAITING = 2
"""Batches per thread that are decoded ahead."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Some of many files, in their order."""

    places: Sequence[int]
    """The place among all files of each image."""
    images: npt.NDArray[np.uint8]
    """(N, C, H, W), of the files that can be decoded."""
    bad: Mapping[int, str]
    """Why each of the other files can't be, by its place."""


def prepared_batches(paths: Sequence[Path], image_shape: tuple[int, int, int], bit_depth: int) -> Iterator[Prepared]:
    """Yield the images of files, cropped and resized as in training, a batch at a time; a stop comes between batches.

    Args:
        paths: the files.
        image_shape: (C, H, W) of the images, with H equal to W.
        bit_depth: bits that the values of files of 16 bits have, as in the data set that a model was trained on.

    Raises:
        UserError: H is not W, or the disk or the network can't be read.
        KeyboardInterrupt: as :func:`kd.machine.signals.check_stop`.
    """
    if not paths:
        return
    check_square(image_shape, printable(paths[0]))
    threads = os.cpu_count() or 1
    size = max(1, min(MAX_BATCH, MAX_BATCH_BYTES // prod(image_shape), -(-len(paths) // threads)))
    pool = ThreadPoolExecutor(threads)

    def begin(start: int) -> Future[Prepared]:
        return pool.submit(_prepared, start, paths[start : start + size], image_shape, bit_depth)

    begun = (begin(start) for start in range(0, len(paths), size))
    try:
        waiting = deque(islice(begun, WAITING * threads))
        while waiting:
            check_stop()
            done = waiting.popleft().result()
            waiting.extend(islice(begun, 1))
            yield done
    except OSError as error:
        raise UserError(f"cannot read images: {printable(reason(error))}") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepared(start: int, paths: Sequence[Path], image_shape: tuple[int, int, int], bit_depth: int) -> Prepared:
    images = np.empty((len(paths), *image_shape), dtype=np.uint8)
    places: list[int] = []
    bad: dict[int, str] = {}
    for place, path in enumerate(paths, start):
        try:
            images[len(places)] = decode_image(path, image_shape, bit_depth=bit_depth)
        except BadImageError as error:
            bad[place] = str(error)
        else:
            places.append(place)
    return Prepared(places, images[: len(places)], bad)
