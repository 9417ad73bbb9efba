"""The image files of each class folder, and how many files are passed over there."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kd.data.entries import HEIF_EXTENSIONS, entries, extension, image_extensions
from kd.data.layout import Layout
from kd.data.split_names import SPLITS, SplitName
from kd.errors import UserError, reason
from kd.machine.signals import stoppable
from kd.machine.text import listed, nfc, printable

NO_EXTENSION = "no extension"
MAX_EXTENSION = 12
"""Characters of what follows the last dot, beyond which it is no extension."""
NO_LINK = "link to nowhere"
MIN_CLASSES = 2
"""A classifier chooses between two or more."""


class ImageFile(NamedTuple):
    """An image file: its path, its class, and its line in the manifest, which any change of the file changes.

    The line is None for a file that can't be read, and the reason says why.
    """

    path: str
    label: int
    stamp: str | None
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """The image files of a data set by split, in the order of classes and of names."""

    classes: tuple[str, ...]
    files: Mapping[SplitName, Sequence[ImageFile]]
    passed_over: Counter[str]
    """How many files are passed over, by extension."""


def find_files(layout: Layout, root: Path) -> Found:
    """Return the image files of a layout.

    Folders in a class folder belong to the class, and so do linked ones, each once. Hidden files and other litter are not
    counted as passed over.

    Args:
        layout: the class folders of each split.
        root: the folder that the user named, below which the manifest names files.

    Raises:
        UserError: a folder can't be read, there are fewer than two classes, or a class has no images in one of the splits.
    """
    passed_over: Counter[str] = Counter()
    by_class = {
        split: {nfc(name): list(image_files(folder, str(root), passed_over)) for name, folder in classes.items()}
        for split, classes in layout.classes.items()
    }
    names = {nfc(name): name for split in reversed(SPLITS) for name in layout.classes.get(split, ())}  # as in train, if there
    filled = {key for files in by_class.values() for key in files if files[key]}
    hint = _hint(passed_over)
    _check_no_empty_folders(layout, filled, hint)
    if len(filled) < MIN_CLASSES:
        found = "".join(f"only the class folder '{printable(names[key])}'" for key in filled) or "no class folders with images"
        raise UserError(f"{printable(layout.folder)} holds {found}{hint}: a classifier needs 2 or more, each with images")
    _check_same_classes(layout, {split: {key for key in files if files[key]} for split, files in by_class.items()}, names, hint)
    keys = sorted(filled, key=names.__getitem__)
    files = {
        split: [file._replace(label=label) for label, key in enumerate(keys) for file in by_class[split][key]]
        for split in by_class
    }
    return Found(tuple(names[key] for key in keys), files, passed_over)


def _check_no_empty_folders(layout: Layout, filled: AbstractSet[str], hint: str) -> None:
    """Refuse a class of train without any image; an empty folder in another split alone is what a removed class leaves."""
    empty = _folders_of(layout, "train") - filled
    if empty:
        paths = [folder for classes in layout.classes.values() for name, folder in classes.items() if nfc(name) in empty]
        advice = _or_remove("all of these folders", len(filled))
        raise UserError(f"class folders without images: {listed(paths)}{hint}; add some{advice}")


def _check_same_classes(
    layout: Layout, filled: Mapping[SplitName, AbstractSet[str]], names: Mapping[str, str], hint: str
) -> None:
    """Refuse classes that have images in some of the splits only."""
    every = set().union(*filled.values())
    for split, present in filled.items():
        missing = sorted(every - present)
        if missing:
            having = _places(layout, [other for other in filled if not filled[other].isdisjoint(missing)])
            folders = _places(layout, [other for other in filled if not _folders_of(layout, other).isdisjoint(missing)])
            classes = "this class" if len(missing) == 1 else "these classes"
            advice = _or_remove(f"{classes} from {folders}", len(every) - len(missing))
            whole = "" if split == "train" else f", or remove {_places(layout, [split])}: then {split} is cut from train"
            raise UserError(
                f"{printable(layout.folder)}: no images of {listed(names[key] for key in missing)} in "
                f"{_places(layout, [split])}, but in {having}{hint}: add some{advice}{whole}"
            )


def _folders_of(layout: Layout, split: SplitName) -> set[str]:
    return {nfc(name) for name in layout.classes[split]}


def _places(layout: Layout, splits: Sequence[SplitName]) -> str:
    return " and ".join(f"{printable(layout.names[split])}/" for split in splits)


def _or_remove(what: str, left: int) -> str:
    """Return the advice to remove something, where classes enough are left."""
    return f", or remove {what}" if left >= MIN_CLASSES else ""


def _hint(passed_over: Counter[str]) -> str:
    """Return which files are there but can't be read, to stand in a message."""
    return f" ({describe_passed_over(passed_over)} passed over{heif_advice(passed_over)})" if passed_over else ""


def describe_passed_over(passed_over: Mapping[str, int]) -> str:
    """Return the counts by extension, the most frequent first: ``.heic 2, no extension 1``."""
    ordered = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    return listed(f"{kind} {count}" for kind, count in ordered)


def heif_advice(passed_over: Mapping[str, int]) -> str:
    """Return how photographs of phones can be read, where some are passed over."""
    return "; pip install pillow-heif to read .heic" if HEIF_EXTENSIONS.intersection(passed_over) else ""


def image_files(folder: Path, root: str, passed_over: Counter[str]) -> Iterator[ImageFile]:
    """Yield the image files in a folder and the folders in it, each once, and count what is passed over.

    Args:
        folder: the folder.
        root: the folder that the user named, below which the manifest names files.
        passed_over: receives how many files are passed over, by extension.

    Raises:
        UserError: a folder can't be read.
    """
    around = {(status.st_dev, status.st_ino) for status in map(os.stat, folder.absolute().parents)}  # a link to them is a loop
    yield from _files_below(str(folder), root, passed_over, around)


def _files_below(folder: str, root: str, passed_over: Counter[str], visited: set[tuple[int, int]]) -> Iterator[ImageFile]:
    """Yield the image files in a folder and the folders in it, in order of their names, linked folders last, each once."""
    status = os.stat(folder)  # noqa: PTH116 - of a text, as scandir gives it
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    linked = []
    for entry in stoppable(entries(folder)):
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path, root, passed_over, visited)
        elif entry.is_dir():
            linked.append(entry.path)
        elif extension(entry.name) in image_extensions():
            yield _image_file(entry, root)
        else:
            passed_over[_kind(entry)] += 1
    for path in linked:
        yield from _files_below(path, root, passed_over, visited)


def _kind(entry: os.DirEntry[str]) -> str:
    """Return what a file that is passed over is counted as."""
    if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 - the same
        return NO_LINK
    letters = extension(entry.name)
    return printable(letters) if 1 < len(letters) <= MAX_EXTENSION else NO_EXTENSION


def _image_file(entry: os.DirEntry[str], root: str) -> ImageFile:
    """Return a file with its path below root, its size and its times of change in ns."""
    try:
        status = entry.stat()
    except OSError as error:
        return ImageFile(entry.path, 0, None, reason(OSError(error.errno, error.strerror)))
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        return ImageFile(entry.path, 0, None, "it is not a file")
    return ImageFile(entry.path, 0, f"{entry.path[len(root) :]}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}")
