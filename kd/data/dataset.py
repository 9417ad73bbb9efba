"""A data set as uint8 tensors in memory: its splits, and what a net needs to know of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy.typing as npt
import torch
from torch import Tensor

from kd.data.source import BIT_DEPTH, VAL_FRACTION
from kd.data.views import Augmentation

NO_LABEL = -100
"""The label of an image without one: torch's cross-entropy passes it over."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images with labels, and each image's row in the full split, which is the key of its views and cached targets."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    index: Tensor  # (N,) int64

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.index):
            raise ValueError(f"{len(self.images)} images, {len(self.labels)} labels, {len(self.index)} indices")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """Digest of the images and labels, 32 hex digits."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.cpu().contiguous().numpy().data)
        digest.update(self.labels.cpu().numpy().astype("<i8").data)
        return digest.hexdigest()[:32]

    def to(self, device: torch.device | str) -> "Split":
        """Return the split on another device."""
        return Split(self.images.to(device), self.labels.to(device), self.index.to(device))

    def select(self, rows: Tensor) -> "Split":
        """Return some rows, (M,) int64 or (N,) bool, each with the index that it had."""
        rows = rows.to(self.labels.device)
        return Split(self.images[rows], self.labels[rows], self.index[rows])

    def joined_with(self, other: "Split") -> "Split":
        """Return the images of this split, and then those of another one."""
        names = ("images", "labels", "index")
        return Split(*(torch.cat([getattr(self, name), getattr(other, name)]) for name in names))

    def without_labels(self) -> "Split":
        """Return the same images, each with :data:`NO_LABEL`."""
        return Split(self.images, torch.full_like(self.labels, NO_LABEL), self.index)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The three splits of a data set and what a net needs to know of it."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]
    """Mean per channel of the train pixels in [0, 1]."""
    std: tuple[float, ...]
    """Standard deviation per channel of the same; 1 where a channel is constant, since it is divided by."""
    flip: bool
    """Whether the augmentation may mirror an image."""
    digest: str
    """Digest of the pixels, labels and classes of each split, 32 hex digits."""
    seed: int = 0
    """Seed of the cuts and of the augmented views."""
    bit_depth: int = BIT_DEPTH
    """Bits that the values in image files of 16 bits have, by which they are scaled: 12 for many cameras."""
    licence: str = ""
    """Licence of the images, as far as it is known for certain; empty: it is not."""
    unlabelled: Split | None = None
    """Images without labels, from which students learn by soft targets alone; their index is that of no labelled one. None:
    there are none."""
    full_train: int = 0
    """Images of train before a share of it was taken; 0: train is whole."""
    shift: bool = True
    """Whether the augmentation may shift an image."""

    @classmethod
    def from_arrays(  # noqa: PLR0913 - the parts of a data set
        cls,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        classes: Sequence[str],
        test: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        *,
        name: str = "arrays",
        flip: bool = False,
        val_fraction: float = VAL_FRACTION,
        train_fraction: float = 1.0,
        label_fraction: float = 1.0,
        unlabelled: npt.ArrayLike | None = None,
        seed: int = 0,
    ) -> "Dataset":
        """Return a data set made of arrays, cut into splits as a folder of images is.

        Args:
            images: uint8, (N, C, H, W) or (N, H, W, C) with 1 or 3 channels, or (N, H, W).
            labels: whole numbers (N,), 0 to the number of classes less one.
            classes: the classes' names by number.
            test: images and labels of the test split; None: it is cut from ``images``, a fifth of each class.
            name: name of the data set.
            flip: whether the augmentation may mirror an image.
            val_fraction: share of each class's remaining images that becomes val.
            train_fraction: share of each class's images in train that is kept, one or more.
            label_fraction: share of each class's labels in train that is kept, one or more; the other images are unlabelled.
            unlabelled: images without labels, as ``images``.
            seed: seed of the cuts and of the augmented views.

        Raises:
            UserError: the arrays are not images and labels that belong together, or a class has too few images.
        """
        from kd.data.arrays import source_from_arrays  # noqa: PLC0415 - cutting is built on this class
        from kd.data.cut import cut_dataset  # noqa: PLC0415 - the same
        from kd.data.unlabelled import add_unlabelled  # noqa: PLC0415 - the same

        source = source_from_arrays(images, labels, classes, test, flip=flip)
        fractions = {"val_fraction": val_fraction, "train_fraction": train_fraction, "label_fraction": label_fraction}
        dataset = cut_dataset(source, name, **fractions, seed=seed)
        return dataset if unlabelled is None else add_unlabelled(dataset, unlabelled)

    @cached_property
    def transfer_set(self) -> Split:
        """The images that students learn from: those of train, and then those without labels."""
        return self.train if self.unlabelled is None else self.train.joined_with(self.unlabelled)

    @cached_property
    def transfer_digest(self) -> str:
        """Digest of all that students learn from and are scored on; that of the data set where there are labels alone."""
        if self.unlabelled is None:
            return self.digest
        return hashlib.sha256(f"{self.digest} {self.unlabelled_digest}".encode()).hexdigest()[:32]

    @cached_property
    def unlabelled_digest(self) -> str:
        """Digest of the images without labels and of their index, 32 hex digits; empty where there are none."""
        if self.unlabelled is None:
            return ""
        index = self.unlabelled.index.cpu().numpy().astype("<i8")
        return hashlib.sha256(self.unlabelled.digest.encode() + index.tobytes()).hexdigest()[:32]

    @cached_property
    def held_out_digest(self) -> str:
        """Digest of val and test, 32 hex digits: with the same one no net has learned from what another one is scored on."""
        return hashlib.sha256(f"{self.val.digest} {self.test.digest}".encode()).hexdigest()[:32]

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def augmentation(self, seed: int, shift_px: int = 0) -> Augmentation:
        """Return the usual augmentation: shifts of up to ``shift_px``, and a flip if allowed.

        A shift of 0 stands for an eighth of the height (4 of 32 px), which is at least 1 px.
        """
        usual = shift_px or max(1, self.image_shape[1] // 8)
        return Augmentation(shift_px=usual if self.shift else 0, flip=self.flip, seed=seed)
