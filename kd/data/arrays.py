"""Data sets made of arrays that the caller has."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kd.data.source import LabelledImages, Source
from kd.errors import UserError

CHANNELS = (1, 3)
"""Grey or colour. The axis of this length is the one of channels, the others are height and width."""


def source_from_arrays(
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    classes: Sequence[str],
    test: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    *,
    flip: bool,
) -> Source:
    """Return arrays as a data set before it is cut into splits.

    The arguments are those of :meth:`~kd.data.dataset.Dataset.from_arrays`.

    Raises:
        UserError: the arrays are not images and labels that belong together.
    """
    names = tuple(str(name) for name in classes)
    if len(names) < 2 or len(set(names)) < len(names):  # noqa: PLR2004 - a classifier chooses between two or more
        raise UserError(
            f"{len(names)} classes, {len(set(names))} of them different; name two or more different ones", "classes"
        )
    train = _labelled("images", images, labels, len(names))
    if test is None:
        return Source(names, train, None, flip)
    held_out = _labelled("test images", *test, len(names))
    if train.images.shape[1:] != held_out.images.shape[1:]:
        raise UserError(f"test images are {held_out.images.shape[1:]} and the others {train.images.shape[1:]}; give one shape")
    return Source(names, train, held_out, flip)


def _labelled(what: str, images: npt.ArrayLike, labels: npt.ArrayLike, num_classes: int) -> LabelledImages:
    pixels, numbers = np.asarray(images), np.asarray(labels)
    if pixels.dtype != np.uint8:
        raise UserError(f"{what} are {pixels.dtype}; give uint8, 0 to 255")
    if not np.issubdtype(numbers.dtype, np.integer) or numbers.shape != pixels.shape[:1] or len(numbers) == 0:
        raise UserError(f"{what} {pixels.shape} and labels {numbers.shape} {numbers.dtype}; give one whole number per image")
    if numbers.min() < 0 or numbers.max() >= num_classes:
        raise UserError(f"labels of {what} are {numbers.min()} to {numbers.max()}; give 0 to {num_classes - 1}")
    return LabelledImages(np.ascontiguousarray(channels_first(what, pixels)), numbers.astype(np.int64))


def channels_first(what: str, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return (N, H, W), (N, H, W, C) or (N, C, H, W) as (N, C, H, W)."""
    if pixels.ndim == 3:  # noqa: PLR2004 - grey images without an axis of channels
        return pixels[:, None]
    if pixels.ndim == 4 and pixels.shape[1] in CHANNELS:  # noqa: PLR2004 - images, channels, height, width
        return pixels
    if pixels.ndim == 4 and pixels.shape[3] in CHANNELS:  # noqa: PLR2004 - images, height, width, channels
        return pixels.transpose(0, 3, 1, 2)
    raise UserError(f"{what} are {pixels.shape}; give (N, C, H, W) or (N, H, W, C) with 1 or 3 channels")
