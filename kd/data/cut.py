"""Labelled images cut into seeded, stratified splits, with a digest over all of them."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kd.data.dataset import Dataset, Split
from kd.data.source import LabelledImages, Source
from kd.errors import UserError
from kd.machine.text import listed, printable

TEST_FRACTION = 0.2
"""The share of images that becomes the test split of a data set that has none."""


def cut_dataset(source: Source, name: str, *, val_fraction: float, seed: int) -> Dataset:
    """Cut val from train, and first test, each where the source has none.

    The cuts are stratified by class and a function of the seed.

    Args:
        source: the images before they are cut.
        name: name of the data set.
        val_fraction: share of each class's training images that becomes val, above 0 and below 1.
        seed: seed of the cuts and of the augmented views.

    Raises:
        UserError: the fraction is out of range, or a class has too few images for each split.
    """
    if not 0 < val_fraction < 1:
        raise UserError(f"{val_fraction}: expected a share above 0 and below 1", field="val_fraction")
    generator = np.random.default_rng(seed % 2**64)
    rest, val, test = source.train, source.val, source.test
    _check_class_sizes(source)
    if test is None:
        rest, test = _cut(rest, TEST_FRACTION, generator)
    if val is None:
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
        bit_depth=source.bit_depth,
        seed=seed,
    )


def _check_class_sizes(source: Source) -> None:
    """Refuse classes with too few images to be in train, val and test."""
    given = {"val": source.val, "test": source.test}
    to_cut = [name for name, split in given.items() if split is None]
    _check_counts(source, source.train, ["train", *to_cut])
    for name, split in given.items():
        if split is not None:
            _check_counts(source, split, [name])


def _check_counts(source: Source, data: LabelledImages, purposes: Sequence[str]) -> None:
    counts = np.bincount(data.labels, minlength=len(source.classes)).tolist()
    needed = len(purposes)
    few = [f"{name!r} ({count})" for name, count in zip(map(printable, source.classes), counts, strict=True) if count < needed]
    if few:
        purpose = " and ".join(filter(None, [", ".join(purposes[:-1]), purposes[-1]]))
        raise UserError(f"classes with fewer images than the {needed} needed for {purpose}: {listed(few)}; add some to each")


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
