"""Images without labels, for the transfer set: read from any folder or given as an array, and never those of val or test."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from kd.data.arrays import channels_first
from kd.data.dataset import NO_LABEL, Dataset, Split
from kd.data.folder import refuse_bad, tell_bad
from kd.data.pixels import load_pixels
from kd.data.scan import describe_passed_over, heif_advice, image_files
from kd.data.told import pixel_digests
from kd.errors import UserError
from kd.machine.paths import user_path
from kd.machine.text import printable

log = logging.getLogger("kd")

FIELD = "transfer_root"
"""The setting that names the folder."""


def add_unlabelled(dataset: Dataset, images: str | Path | npt.ArrayLike, *, skip_bad_images: bool = False) -> Dataset:
    """Return a data set with images without labels, from which students learn by soft targets alone (paper, section 2).

    Images that are in val or test too, pixel by pixel, are left out with a warning; those that are in train too are told.

    Args:
        dataset: the labelled images.
        images: a folder of image files, at any depth, which are cropped and resized as a folder's images are; or an array,
            uint8, of the data set's own image shape.
        skip_bad_images: whether files that can't be decoded are left out; otherwise they are refused.

    Raises:
        UserError: the folder is missing or holds no images, a file can't be decoded, the array does not fit the data set, or
            all images are in val or test.
    """
    if isinstance(images, str | Path):
        pixels = _from_folder(user_path(images, FIELD), dataset, skip_bad_images=skip_bad_images)
    else:
        pixels = _from_array(images, dataset)
    first = max(len(dataset.train), dataset.full_train, _end(dataset.train), _end(dataset.unlabelled))
    labels = torch.full((len(pixels),), NO_LABEL)
    split = Split(torch.from_numpy(np.array(pixels, order="C")), labels, torch.arange(first, first + len(pixels)))
    added = with_unlabelled(dataset, split)
    if added is dataset:
        named = f"{printable(images)}: " if isinstance(images, str | Path) else ""
        message = f"{named}all {len(split)} images without labels are in val or test too, so none is left; give others"
        raise UserError(message, field=FIELD)
    return added


def with_unlabelled(dataset: Dataset, split: Split) -> Dataset:
    """Return a data set with more images without labels, but for those that are in val or test too; itself where all are.

    Args:
        dataset: the labelled images.
        split: images with :data:`~kd.data.dataset.NO_LABEL`, and with an index of their own.
    """
    held_out = {*pixel_digests(dataset.val), *pixel_digests(dataset.test)}
    digests = pixel_digests(split)
    kept = torch.tensor([digest not in held_out for digest in digests])
    left_out = len(split) - int(kept.sum())
    if left_out:
        log.warning(
            "%d of %d images without labels %s in val or test too, pixel by pixel: left out, so that no net learns from them",
            *(left_out, len(split), "is" if left_out == 1 else "are"),
        )
    known = set(pixel_digests(dataset.train))
    repeated = sum(digest in known for digest in digests)
    if repeated:
        is_or_are = "is" if repeated == 1 else "are"
        log.info("%d of %d images without labels %s in train too, pixel by pixel", repeated, len(split), is_or_are)
    if left_out == len(split):
        return dataset
    added = split.select(kept) if left_out else split
    return replace(dataset, unlabelled=added if dataset.unlabelled is None else dataset.unlabelled.joined_with(added))


def _end(split: Split | None) -> int:
    """Return the first number that is the index of no image of a split."""
    return 0 if split is None else int(split.index.max()) + 1


def _from_array(images: npt.ArrayLike, dataset: Dataset) -> npt.NDArray[np.uint8]:
    given = np.asarray(images)
    if given.dtype != np.uint8:
        raise UserError(f"images without labels are {given.dtype}; give uint8, 0 to 255, or a folder", field=FIELD)
    pixels = channels_first("images without labels", given)
    if len(pixels) == 0 or pixels.shape[1:] != dataset.image_shape:
        raise UserError(
            f"images without labels are {pixels.shape} and those of {dataset.name} {dataset.image_shape} (channels, height, "
            "width); give some of such images",
            field=FIELD,
        )
    return pixels


def _from_folder(root: Path, dataset: Dataset, *, skip_bad_images: bool) -> npt.NDArray[np.uint8]:
    """Return the images in a folder and the folders in it, (N, C, H, W), as those of the data set are."""
    root = root.absolute()
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise UserError(f"{printable(root)} {problem}: name a folder of images without labels", field=FIELD)
    channels, height, width = dataset.image_shape
    if width != height:
        raise UserError(f"images of {width} x {height} px are not read from files; give an array (unlabelled=)", field=FIELD)
    passed_over: Counter[str] = Counter()
    files = list(image_files(root, str(root), passed_over))
    told = f"; files passed over: {describe_passed_over(passed_over)}{heif_advice(passed_over)}" if passed_over else ""
    if not files:
        raise UserError(f"{printable(root)} holds no images{told}: name a folder of images without labels", field=FIELD)
    found = load_pixels(root, files, height, purpose="unlabelled", bit_depth=dataset.bit_depth)
    refuse_bad(root, files, found, skip_bad_images=skip_bad_images)
    tell_bad(root, files, found)
    if len(found.images) == 0:
        raise UserError(f"{printable(root)} holds no image that can be read: name another folder", field=FIELD)
    greyed = len(found.images[0]) > channels
    colours = ", turned grey as those of the data are" if greyed else ""
    log.info("%s: %d images without labels%s%s", printable(root), len(found.images), colours, told)
    return _grey(found.images) if greyed else np.broadcast_to(found.images, (len(found.images), *dataset.image_shape))


def _grey(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return colours as grey, (N, 3, H, W) as (N, 1, H, W), as :func:`kd.data.decode.decode_image` does."""
    return np.stack([np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))[None] for image in images])
