"""A data set as uint8 tensors in memory: seeded, stratified splits, a digest over all of it, and its batches."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kd.augment import Augmentation
from kd.errors import UserError
from kd.folder import load_folder_source
from kd.sources import (
    TORCHVISION_SETS,
    LabelledImages,
    Source,
    load_digits_source,
    load_torchvision_source,
)

DATASETS = ("digits", *TORCHVISION_SETS, "folder")
TEST_FRACTION = 0.2
"""The share of images that becomes the test split of a data set that has none."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images with labels, and each image's row in the full split: what views and cached targets are keyed by."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    index: Tensor  # (N,) int64

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.index):
            raise ValueError(f"{len(self.images)} images, {len(self.labels)} labels, {len(self.index)} indices")

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        """Return the split on another device."""
        return Split(self.images.to(device), self.labels.to(device), self.index.to(device))

    def select(self, rows: Tensor) -> "Split":
        """Return some rows, (M,) int64 or (N,) bool, each with the index that it had."""
        rows = rows.to(self.labels.device)
        return Split(self.images[rows], self.labels[rows], self.index[rows])


@dataclass(frozen=True, eq=False)
class Dataset:
    """The three splits of a data set and what a net needs to know of it."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]
    """Per channel, of the train pixels in [0, 1]."""
    std: tuple[float, ...]
    """Per channel, of the train pixels in [0, 1]; 1 where a channel is constant, so that one can divide by it."""
    flip: bool
    """May the augmentation flip an image horizontally?"""
    digest: str
    """32 hex digits over the pixels, labels and classes of each split."""

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
        return Augmentation(shift_px=shift_px or max(1, self.image_shape[1] // 8), flip=self.flip, seed=seed)


@dataclass(frozen=True, eq=False)
class Batch:
    """Augmented images (B, C, H, W) uint8, labels (B,) and index (B,) int64, and the view that they show."""

    images: Tensor
    labels: Tensor
    index: Tensor
    view: int


def load_dataset(name: str, root: str | Path, *, image_px: int = 32, val_fraction: float = 0.1, seed: int = 0) -> Dataset:
    """Load a data set of DATASETS; val is cut from train, and so is first test where the data set has none.

    `root` is where torchvision's files are (or are fetched to), or the folder of images; digits need none. `image_px`
    is the size of a folder's images. The cuts are stratified by class and a function of `seed`.
    Raises UserError on an unknown name, data that cannot be had, and a class with too few images for each split.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction}, must be above 0 and below 1")
    source = _load_source(name, Path(root).expanduser(), image_px)
    generator = np.random.default_rng(seed % 2**64)
    rest, test = source.train, source.test
    _check_class_sizes(source)
    if test is None:
        rest, test = _cut(rest, TEST_FRACTION, generator)
    rest, val = _cut(rest, val_fraction, generator)
    splits = {"train": _to_split(rest), "val": _to_split(val), "test": _to_split(test)}
    mean, std = _channel_statistics(splits["train"].images)
    return Dataset(
        name=name,
        classes=source.classes,
        **splits,
        mean=mean,
        std=std,
        flip=source.flip,
        digest=_digest(source.classes, splits),
    )


def batches(  # noqa: PLR0913  what an epoch is a function of
    split: Split,
    augmentation: Augmentation,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    view: int,
    rows: Tensor | None = None,
) -> Iterator[Batch]:
    """Yield one epoch of a split in an order that is a function of (seed, epoch) alone, augmented, on its device.

    The epoch is cut into ceil(N / batch_size) batches of nearly equal size, so that no tiny one is left at the end.
    `rows` (M,) int64, repeats allowed, are the rows that make up this epoch in place of all; raises ValueError where
    there are none or where batch_size is below 1.
    """
    if rows is None:
        rows = torch.arange(len(split))
    if batch_size < 1 or len(rows) == 0:
        raise ValueError(f"cannot make batches of {batch_size} from {len(rows)} rows")
    order = torch.randperm(len(rows), generator=_generator(seed, epoch))  # on the CPU: the same order for every device
    shuffled = rows.cpu()[order].to(split.labels.device)
    for chosen in shuffled.tensor_split(-(-len(shuffled) // batch_size)):
        part = split.select(chosen)
        yield Batch(augmentation(part.images, part.index, view), part.labels, part.index, view)


def _load_source(name: str, root: Path, image_px: int) -> Source:
    if name == "digits":
        return load_digits_source()
    if name in TORCHVISION_SETS:
        return load_torchvision_source(name, root)
    if name == "folder":
        return load_folder_source(root, image_px)
    raise UserError(f"unknown data set {name!r}: choose one of {', '.join(DATASETS)}")


def _check_class_sizes(source: Source) -> None:
    """Raise UserError where a class has too few images to be in train, val and test."""
    if source.test:
        _check_counts(source, source.train, "train and val", 2)
        _check_counts(source, source.test, "test", 1)
    else:
        _check_counts(source, source.train, "train, val and test", 3)


def _check_counts(source: Source, data: LabelledImages, purpose: str, needed: int) -> None:
    counts = np.bincount(data.labels, minlength=len(source.classes)).tolist()
    for label, count in zip(source.classes, counts, strict=True):
        if count < needed:
            raise UserError(f"class {label!r} has {count} images for {purpose}, needs {needed} or more: add some")


def _cut(data: LabelledImages, fraction: float, generator: np.random.Generator) -> tuple[LabelledImages, LabelledImages]:
    """Cut a fraction of each class off, at random, at least one image and at most all but one; return (rest, cut)."""
    is_cut = np.zeros(len(data.labels), dtype=np.bool_)
    for label in np.unique(data.labels):
        rows = np.flatnonzero(data.labels == label)
        size = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        is_cut[generator.permutation(rows)[:size]] = True
    return _rows(data, ~is_cut), _rows(data, is_cut)


def _rows(data: LabelledImages, mask: npt.NDArray[np.bool_]) -> LabelledImages:
    return LabelledImages(data.images[mask], data.labels[mask])


def _to_split(data: LabelledImages) -> Split:
    images = torch.from_numpy(np.ascontiguousarray(data.images))
    return Split(images, torch.from_numpy(data.labels), torch.arange(len(data.labels)))


def _channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel in [0, 1], exactly, from the counts of the 256 values."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for start in range(0, len(images), 4096):  # keeps temporaries small
            counts += torch.bincount(images[start : start + 4096, channel].flatten(), minlength=256)
        shares = counts / counts.sum()
        mean = float(shares @ values)
        means.append(mean)
        deviations.append(float((shares @ (values - mean).square()).sqrt()) or 1.0)
    return tuple(means), tuple(deviations)


def _digest(classes: tuple[str, ...], splits: dict[str, Split]) -> str:
    """Return the first 32 hex digits of SHA-256 over classes and each split's name, shape, pixels and labels."""
    digest = hashlib.sha256()
    header = {"classes": classes, "shapes": {name: list(split.images.shape) for name, split in splits.items()}}
    digest.update(json.dumps(header).encode())
    for split in splits.values():
        digest.update(split.images.numpy().data)
        digest.update(split.labels.numpy().astype("<i8").data)
    return digest.hexdigest()[:32]


def _generator(seed: int, epoch: int) -> torch.Generator:
    """Return a generator that is a function of (seed, epoch), unlike seed + epoch different for every pair."""
    state = np.random.SeedSequence([seed % 2**64, epoch % 2**64]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
