"""A folder of images, one folder per class, as a data set before it is cut into splits."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd.data.layout import Layout, find_layout
from kd.data.pixels import Pixels, load_pixels
from kd.data.scan import Found, ImageFile, describe_passed_over, find_files, heif_advice
from kd.data.source import BIT_DEPTH, LabelledImages, Source
from kd.data.split_names import SPLITS, SplitName
from kd.errors import UserError
from kd.machine.text import listed, printable

log = logging.getLogger("kd")


def load_folder_source(root: Path, image_px: int, *, skip_bad_images: bool = False) -> Source:
    """Load the images under root: from folders for train, val and test, or from one folder per class.

    Splits are known by the names that people use, in any case, and by one folder or more around it all. If all images are
    grey, they have one channel; otherwise all have three. Hidden files, what archives and network drives leave, and files
    without the extension of an image format are passed over.

    Args:
        root: the folder.
        image_px: side of the square to which images are cropped and resized, in pixels.
        skip_bad_images: whether files that can't be decoded are left out; otherwise they are refused.

    Raises:
        UserError: the folder is missing, has fewer than two classes, or a class without images in one of the splits; or files,
            the first ten of which the message names, can't be decoded.
    """
    root = root.absolute()  # messages name files for whoever reads them elsewhere
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise UserError(
            f"{printable(root)} {problem}: name a folder that holds one folder of images per class", field="data_root"
        )
    layout = find_layout(root)
    found = find_files(layout, root)
    files = [file for split in SPLITS for file in found.files.get(split, ())]
    pixels = load_pixels(root, files, image_px)
    refuse_bad(root, files, pixels, skip_bad_images=skip_bad_images)
    _tell_layout(layout, found, pixels)
    tell_bad(root, files, pixels)
    return _source(found, files, pixels)


def _source(found: Found, files: Sequence[ImageFile], pixels: Pixels) -> Source:
    labels = np.array([file.label for row, file in enumerate(files) if row not in pixels.bad], dtype=np.int64)
    splits: dict[SplitName, LabelledImages] = {}
    first = start = 0
    for split in SPLITS:
        if split in found.files:
            count = len(found.files[split])
            end = start + count - sum(first <= row < first + count for row in pixels.bad)
            images = pixels.images[start:end]
            # a copy, except of train: a view would hold all pixels in memory for as long as the split is used
            splits[split] = LabelledImages(images if split == "train" else images.copy(), labels[start:end])
            first, start = first + count, end
    passed_over = found.passed_over + Counter({"unreadable": len(pixels.bad)})
    return Source(
        found.classes,
        splits["train"],
        splits.get("test"),
        flip=True,
        val=splits.get("val"),
        bit_depth=pixels.bit_depth,
        passed_over=_passed_over(passed_over),
    )


def _passed_over(counts: Counter[str]) -> str:
    counts = +counts
    number = counts.total()
    return f"{number} file{'s' if number > 1 else ''} passed over: {describe_passed_over(counts)}" if number else ""


def refuse_bad(root: Path, files: Sequence[ImageFile], pixels: Pixels, *, skip_bad_images: bool) -> None:
    """Refuse files that can't be decoded, unless they may be left out.

    Raises:
        UserError: there are some; the message names the first ten of them.
    """
    if not pixels.bad or skip_bad_images:
        return
    if len(pixels.bad) == 1:
        [(row, why)] = pixels.bad.items()
        what = f"cannot read the image {printable(files[row].path)}: {why}; repair or remove it"
    else:
        what = (
            f"cannot read {len(pixels.bad)} of {len(files)} images in {printable(root)}: "
            f"{_named(root, files, pixels)}; repair or remove them"
        )
    raise UserError(f"{what}, or leave out what can't be read (--skip-bad-images, or skip_bad_images=True in Python)")


def _named(root: Path, files: Sequence[ImageFile], pixels: Pixels) -> str:
    names = {row: files[row].path[len(str(root)) :].lstrip("/\\") for row in sorted(pixels.bad)}
    return listed(f"{name} ({pixels.bad[row]})" for row, name in names.items())


def tell_bad(root: Path, files: Sequence[ImageFile], pixels: Pixels) -> None:
    """Log which files are left out since they can't be decoded."""
    if pixels.bad:
        log.warning("%d images can't be read and are left out: %s", len(pixels.bad), _named(root, files, pixels))


def _tell_layout(layout: Layout, found: Found, pixels: Pixels) -> None:
    """Log what a user may not expect: folders that are used as val or not at all, files that need something, scaled values."""
    for line in layout.unused:
        log.warning("%s", line)
    if "val" in layout.names:
        log.info("%s/ is used as val", printable(layout.names["val"]))
    if heif_advice(found.passed_over):
        log.warning("photographs are passed over%s", heif_advice(found.passed_over))
    if pixels.bit_depth != BIT_DEPTH:
        log.info(
            "image files of 16 bits hold values below %d: they are scaled as values of %d bits",
            2**pixels.bit_depth,
            pixels.bit_depth,
        )
