"""Raw labelled images, before they are cut into splits."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

DataName = Literal["digits", "cifar10", "cifar100", "fashion_mnist", "mnist", "folder"]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images (N, C, H, W) uint8 with their labels (N,) int64."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as it comes: `test` is None where it has no test split; `flip` where a mirrored image is as good."""

    classes: tuple[str, ...]
    train: LabelledImages
    test: LabelledImages | None
    flip: bool
