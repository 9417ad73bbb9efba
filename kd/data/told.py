"""What is told of a data set before it is trained on: its size, classes with few images, and images in two splits."""

import hashlib
import logging
from collections.abc import Sequence

import torch

from kd.data.dataset import Dataset, Split
from kd.machine.text import listed, printable

log = logging.getLogger("kd")

FEW = 5
"""Images of a class in val or test below which figures of that class say little."""
_NAMED = 3
"""Classes of which all are named; of more the first two stand for the rest."""


def tell(dataset: Dataset, passed_over: str) -> None:
    """Log what was found, in one line; classes with few images in another; and a warning of images in two splits.

    Args:
        dataset: the images.
        passed_over: which files are passed over, with counts; empty: none.
    """
    log.info("%s", summary(dataset, passed_over))
    few = classes_with_few_images(dataset)
    if few:
        log.info("fewer than %d images in val or test, so their own figures say little: %s", FEW, listed(few, FEW))
    for line in copies(dataset):
        log.warning("%s", line)


def summary(dataset: Dataset, passed_over: str) -> str:
    """Return ``6 classes (airplanes, bonsai, ...), 270 train, 30 val, 150 test images``, and which files are passed over."""
    names = [printable(name) for name in dataset.classes]
    shown = names if len(names) <= _NAMED else [*names[: _NAMED - 1], "..."]
    sizes = f"{len(dataset.train)} train, {len(dataset.val)} val, {len(dataset.test)} test images"
    return "; ".join(filter(None, [f"{len(names)} classes ({', '.join(shown)}), {sizes}", passed_over]))


def classes_with_few_images(dataset: Dataset) -> list[str]:
    """Return the classes with few images in val or test, with both counts."""
    val, test = (torch.bincount(split.labels, minlength=dataset.num_classes).tolist() for split in (dataset.val, dataset.test))
    counts = zip(dataset.classes, val, test, strict=True)
    return [f"{name} ({in_val} val, {in_test} test)" for name, in_val, in_test in counts if min(in_val, in_test) < FEW]


def copies(dataset: Dataset) -> list[str]:
    """Return a line for each two splits that share images: those with the same pixels, counted in the second of the two."""
    train, val, test = (_digests(split) for split in (dataset.train, dataset.val, dataset.test))
    pairs = (("test", test, "train", train), ("test", test, "val", val), ("val", val, "train", train))
    return [
        _line(name, images, other, set(others)) for name, images, other, others in pairs if not set(others).isdisjoint(images)
    ]


def _line(name: str, images: Sequence[bytes], other: str, others: set[bytes]) -> str:
    count = sum(image in others for image in images)
    return (
        f"{count} of {len(images)} {name} images {'is' if count == 1 else 'are'} in {other} too, pixel by pixel: "
        f"accuracy on {name} is higher than on new images; remove the copies"
    )


def _digests(split: Split) -> list[bytes]:
    images = split.images.numpy()
    return [hashlib.blake2b(image, digest_size=16).digest() for image in images]
