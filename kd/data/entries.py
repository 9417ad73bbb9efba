"""What lies in a folder of a user's: its entries without litter, and which files are pictures."""

import errno
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import Image

from kd.errors import UserError
from kd.machine.text import printable

_LITTER = {
    *("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"),
    *("network trash folder", "temporary items", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
}
"""Names, in lower case, of what archives, file managers and network drives leave. All that begins with a dot is litter too."""
_NOT_READ = {
    "EPS",  # is a program, which Pillow has Ghostscript run
    *("BUFR", "GRIB", "HDF5", "WMF"),  # Pillow tells them apart, but can't decode them
    "MPEG",  # the same
}
HEIF_EXTENSIONS = frozenset({".heic", ".heif", ".heics", ".heifs", ".hif"})
"""Those of photographs as phones take them, which pillow-heif reads."""
_OTHER_PICTURES = HEIF_EXTENSIONS | {
    *(".avif", ".jxl", ".svg", ".eps", ".dcm", ".dicom", ".nii", ".npy", ".mha", ".nrrd", ".exr", ".hdr", ".pdf"),
    *(".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2"),
}
"""Extensions of pictures that Pillow itself doesn't read: a folder with such files is no litter."""


def entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, by name, without litter.

    Raises:
        UserError: the folder can't be read.
    """
    return sorted(_entries(folder), key=lambda entry: entry.name)


def folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, and links to folders, by name, without litter."""
    return [Path(entry.path) for entry in entries(folder) if entry.is_dir()]


def holds_pictures(folder: Path | str) -> bool:
    """Return whether a picture lies in a folder, or anywhere below it."""
    return any(_pictures_below(folder, set()))


def holds_pictures_directly(folder: Path | str) -> bool:
    """Return whether a picture lies in a folder itself."""
    return any(is_picture(entry.name) and not entry.is_dir() for entry in _entries(folder))


def is_picture(name: str) -> bool:
    """Return whether a file has the extension of a picture, of one that kd can't read too."""
    letters = extension(name)
    return letters in image_extensions() or letters in _OTHER_PICTURES


def extension(name: str) -> str:
    """Return the last dot and the letters after it in lower case: as Path.suffix, which is slow for 60,000 files."""
    _, dot, letters = name.rpartition(".")
    return dot + letters.lower() if dot else ""


@cache
def image_extensions() -> frozenset[str]:
    """Return the extensions, such as .jpg, of the formats that can be read."""
    formats = image_formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


@cache
def image_formats() -> tuple[str, ...]:
    """Return the formats that can be read, the common ones first: those of Pillow, and HEIF where pillow-heif is installed."""
    Image.preinit()  # puts the common formats first in the list that Image.open tries
    Image.init()
    try:
        from pillow_heif import register_heif_opener  # noqa: PLC0415 - an extra
    except ImportError:
        pass
    else:
        register_heif_opener()
    return tuple(name for name in Image.ID if name not in _NOT_READ)


def _pictures_below(folder: Path | str, visited: set[tuple[int, int]]) -> Iterator[bool]:
    status = os.stat(folder)  # noqa: PTH116 - of a text, as scandir gives it
    if (status.st_dev, status.st_ino) in visited:  # a link to a folder above it
        return
    visited.add((status.st_dev, status.st_ino))
    inner = []
    for entry in _entries(folder):
        if entry.is_dir():
            inner.append(entry.path)
        elif is_picture(entry.name):
            yield True
    for path in inner:
        yield from _pictures_below(path, visited)


def _entries(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            yield from (entry for entry in found if not _is_litter(entry.name))
    except OSError as error:
        why = "too many links in its path" if error.errno == errno.ELOOP else error.strerror
        raise UserError(f"cannot read the folder {printable(folder)}: {why}") from error


def _is_litter(name: str) -> bool:
    return name.startswith((".", "~$")) or name.lower() in _LITTER
