"""Raw labelled images, before they are cut into splits."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

DataName = Literal["digits", "cifar10", "cifar100", "fashion_mnist", "mnist", "folder"]
IMAGE_PX: Final = 32
"""Side of the square to which a folder's images are resized, unless another is given."""
VAL_FRACTION: Final = 0.1
"""Share of each class's training images that becomes val, unless another is given."""

BIT_DEPTH: Final = 16
"""Bits of the values in an image file of 16 bits, unless a data set's own values need fewer."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images (N, C, H, W) uint8 with their labels (N,) int64."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before it is cut into splits."""

    classes: tuple[str, ...]
    train: LabelledImages
    test: LabelledImages | None
    """None: the data set has no test split."""
    flip: bool
    """Whether the augmentation may mirror an image."""
    val: LabelledImages | None = None
    """None: val is cut from train."""
    bit_depth: int = BIT_DEPTH
    """Bits that the values in image files of 16 bits have: 12 for many cameras."""
    licence: str = ""
    """Licence of the images, as far as it is known for certain; empty: it is not."""
    passed_over: str = ""
    """Which files are passed over, with counts; empty: none."""
