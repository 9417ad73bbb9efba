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
from kd.data.unlabelled import with_unlabelled
from kd.errors import UserError
from kd.machine.text import listed, printable

TEST_FRACTION = 0.2
"""The share of images that becomes the test split of a data set that has none."""
_SHARES = 1
"""Tells the generator of the shares of train from that of the cuts."""


def cut_dataset(  # noqa: PLR0913 - the shares of the splits
    source: Source, name: str, *, val_fraction: float, seed: int, train_fraction: float = 1.0, label_fraction: float = 1.0
) -> Dataset:
    """Cut val from train, and first test, each where the source has none.

    The cuts are stratified by class and a function of the seed. val and test are the same images whatever the shares of train
    are, an image of train has the same index, and of two shares the smaller one is part of the larger one.

    Args:
        source: the images before they are cut.
        name: name of the data set.
        val_fraction: share of each class's training images that becomes val, above 0 and below 1.
        seed: seed of the cuts and of the augmented views.
        train_fraction: share of each class's images in train that is kept, one or more.
        label_fraction: share of each class's labels in what is kept, one or more; the other images become unlabelled.

    Raises:
        UserError: a fraction is out of range, or a class has too few images for each split.
    """
    if not 0 < val_fraction < 1:
        raise UserError(f"{val_fraction}: expected a share above 0 and below 1", field="val_fraction")
    for field, share in (("train_fraction", train_fraction), ("label_fraction", label_fraction)):
        if not 0 < share <= 1:
            raise UserError(f"{share}: expected a share above 0, up to 1", field=field)
    generator = np.random.default_rng(seed % 2**64)
    rest, val, test = source.train, source.val, source.test
    _check_class_sizes(source)
    if test is None:
        rest, test = _cut(rest, TEST_FRACTION, generator)
    if val is None:
        rest, val = _cut(rest, val_fraction, generator)
    train = _to_split(rest)
    labelled, unlabelled = _shares(train, train_fraction, label_fraction, seed)
    splits = {"train": labelled, "val": _to_split(val), "test": _to_split(test)}
    mean, std = _channel_statistics(labelled.images)
    dataset = Dataset(
        name=name,
        classes=source.classes,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        mean=mean,
        std=std,
        flip=source.flip,
        digest=_digest(source.classes, splits),
        bit_depth=source.bit_depth,
        licence=source.licence,
        seed=seed,
        full_train=len(train),
    )
    return dataset if unlabelled is None else with_unlabelled(dataset, unlabelled)


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


def _shares(train: Split, train_fraction: float, label_fraction: float, seed: int) -> tuple[Split, Split | None]:
    """Return the images of train that keep their labels, and those without, None where there are none of them."""
    if train_fraction == label_fraction == 1:
        return train, None
    generator = np.random.default_rng([seed % 2**64, _SHARES])
    labels, is_kept, is_labelled = train.labels.numpy(), np.zeros(len(train), np.bool_), np.zeros(len(train), np.bool_)
    for label in np.unique(labels):
        order = generator.permutation(np.flatnonzero(labels == label))
        kept = order[: max(1, round(train_fraction * len(order)))]
        is_kept[kept] = True
        is_labelled[kept[: max(1, round(label_fraction * len(kept)))]] = True
    labelled = train.select(torch.from_numpy(is_labelled))
    rest = train.select(torch.from_numpy(is_kept & ~is_labelled))
    return labelled, rest.without_labels() if len(rest) else None


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
        if not torch.equal(split.index, torch.arange(len(split))):  # a share of train: its views are those of the whole
            digest.update(split.index.numpy().astype("<i8").data)
    return digest.hexdigest()[:32]
