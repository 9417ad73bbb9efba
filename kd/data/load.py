"""Data sets by name: the bundled digits, torchvision's sets, and folders of images."""

from pathlib import Path
from typing import get_args

import numpy.typing as npt

from kd.data.bundled import TORCHVISION_SETS, load_digits_source, load_torchvision_source
from kd.data.cut import cut_dataset
from kd.data.dataset import Dataset
from kd.data.folder import load_folder_source
from kd.data.source import IMAGE_PX, VAL_FRACTION, DataName, Source
from kd.data.told import tell
from kd.data.unlabelled import add_unlabelled
from kd.errors import UserError
from kd.machine.activity import doing
from kd.machine.paths import user_path
from kd.machine.text import printable

DATASETS: tuple[str, ...] = get_args(DataName)


@doing("reading images")
def load_dataset(  # noqa: PLR0913 - which images, split how
    name: str,
    root: str | Path = "data",
    *,
    image_px: int = IMAGE_PX,
    val_fraction: float = VAL_FRACTION,
    train_fraction: float = 1.0,
    label_fraction: float = 1.0,
    unlabelled: str | Path | npt.ArrayLike | None = None,
    seed: int = 0,
    skip_bad_images: bool = False,
) -> Dataset:
    """Load a data set by name; val and test are cut from train where the data set has none.

    A folder of images has the folder's own name. What was found is logged by the logger ``kd``: sizes, files passed over, and
    images that are in two splits.

    Args:
        name: digits, cifar10, cifar100, fashion_mnist, mnist or folder.
        root: where torchvision's files are (or are fetched to), or the folder of images; digits need none.
        image_px: side of the square to which a folder's images are resized, in pixels.
        val_fraction: share of each class's training images that becomes val, above 0 and below 1.
        train_fraction: share of each class's images in train that is kept, one or more.
        label_fraction: share of each class's labels in train that is kept, one or more; the other images become unlabelled.
        unlabelled: images without labels, from which students learn by soft targets alone: a folder, or a uint8 array.
        seed: seed of the cuts and of the augmented views.
        skip_bad_images: whether files of a folder that can't be decoded are left out; otherwise they are refused.

    Raises:
        UserError: an unknown name, data that can't be loaded, or a class with too few images for each split.
    """
    folder = user_path(root, "data_root")
    source = _load_source(name, folder, image_px, skip_bad_images=skip_bad_images)
    own_name = printable(folder.name) if name == "folder" else name
    fractions = {"val_fraction": val_fraction, "train_fraction": train_fraction, "label_fraction": label_fraction}
    dataset = cut_dataset(source, own_name or name, **fractions, seed=seed)
    if unlabelled is not None:
        dataset = add_unlabelled(dataset, unlabelled, skip_bad_images=skip_bad_images)
    tell(dataset, source.passed_over)
    return dataset


def _load_source(name: str, root: Path, image_px: int, *, skip_bad_images: bool) -> Source:
    if name == "digits":
        return load_digits_source()
    if name in TORCHVISION_SETS:
        return load_torchvision_source(name, root)
    if name == "folder":
        return load_folder_source(root, image_px, skip_bad_images=skip_bad_images)
    raise UserError(f"unknown data set {name!r}: choose one of {', '.join(DATASETS)}")
