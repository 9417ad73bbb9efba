"""What is told of a data set before training: its size, classes with few images, and images in two splits or classes."""

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
    """Log what was found, in one line; classes with few images in another; and warnings of images in two splits or classes.

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
    """Return ``6 classes (airplanes, bonsai, ...), 270 train, 30 val, 150 test images``, and what else there is.

    That is how many images have no label, and which files are passed over.
    """
    names = [printable(name) for name in dataset.classes]
    shown = names if len(names) <= _NAMED else [*names[: _NAMED - 1], "..."]
    sizes = f"{len(dataset.train)} train, {len(dataset.val)} val, {len(dataset.test)} test images"
    more = "" if dataset.unlabelled is None else f", {len(dataset.unlabelled)} more without labels"
    return "; ".join(filter(None, [f"{len(names)} classes ({', '.join(shown)}), {sizes}{more}", passed_over]))


def classes_with_few_images(dataset: Dataset) -> list[str]:
    """Return the classes with few images in val or test, with both counts."""
    val, test = (torch.bincount(split.labels, minlength=dataset.num_classes).tolist() for split in (dataset.val, dataset.test))
    counts = zip(dataset.classes, val, test, strict=True)
    return [f"{name} ({in_val} val, {in_test} test)" for name, in_val, in_test in counts if min(in_val, in_test) < FEW]


def copies(dataset: Dataset) -> list[str]:
    """Return a line for each two splits that share images, those with the same pixels, and one for images in two classes.

    The images of two splits are counted in the second one; those of two classes once each, in whichever split they are.
    """
    train, val, test = (pixel_digests(split) for split in (dataset.train, dataset.val, dataset.test))
    pairs = (("test", test, "train", train), ("test", test, "val", val), ("val", val, "train", train))
    lines = [
        _line(name, images, other, set(others)) for name, images, other, others in pairs if not set(others).isdisjoint(images)
    ]
    labels = torch.cat([dataset.train.labels, dataset.val.labels, dataset.test.labels]).tolist()
    return lines + _in_two_classes([*train, *val, *test], labels, dataset.classes)


def _in_two_classes(images: Sequence[bytes], labels: Sequence[int], names: Sequence[str]) -> list[str]:
    first = dict(zip(reversed(images), reversed(labels), strict=True))
    others = {image: label for image, label in zip(images, labels, strict=True) if label != first[image]}
    if not others:
        return []
    count = "1 image is" if len(others) == 1 else f"{len(others)} images are"
    image, label = next(iter(others.items()))
    classes = " and ".join(printable(names[number]) for number in sorted((first[image], label)))
    return [f"{count} in two classes, pixel by pixel ({classes}): one label at most is right; remove the others"]


def _line(name: str, images: Sequence[bytes], other: str, others: set[bytes]) -> str:
    count = sum(image in others for image in images)
    return (
        f"{count} of {len(images)} {name} images {'is' if count == 1 else 'are'} in {other} too, pixel by pixel: "
        f"accuracy on {name} is higher than on new images; remove the copies"
    )


def pixel_digests(split: Split) -> list[bytes]:
    """Return a digest of the pixels of each image."""
    images = split.images.numpy()
    return [hashlib.blake2b(image, digest_size=16).digest() for image in images]
