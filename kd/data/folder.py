"""A folder of images, one folder per class: decoded once with a pool of threads, and cached as one array."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageOps
from tqdm import tqdm

from kd.data.source import LabelledImages, Source
from kd.errors import UserError, reason
from kd.machine.files import open_array, write_array
from kd.machine.signals import check_stop, is_stopping, stoppable

_CHUNK = 64  # images per task: decoding a small one takes less time than handing out a task
_VALIDATION_NAMES = ("val", "valid", "validation")
_DEEP_GREY_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_GREY_MODES = ("1", "L", "LA", "La", *_DEEP_GREY_MODES)


class ImageFile(NamedTuple):
    """An image file: its path, its class, and its line in the manifest, which any change of the file changes."""

    path: str
    class_name: str
    stamp: str


def load_folder_source(root: Path, image_px: int) -> Source:
    """Load the images under root: from train/ and test/, or from one folder per class at the top.

    If all images are grey, they have one channel; otherwise all have three. Hidden files and those without the extension
    of an image format are passed over.

    Args:
        root: the folder.
        image_px: side of the square to which images are cropped and resized, in pixels.

    Raises:
        UserError: the folder is missing, has fewer than two classes or an empty one, test/ has other classes than train/, or
            a file, which the message names, cannot be read.
    """
    train_folder, test_folder = _split_folders(root)
    extensions = _image_extensions()
    train = _scan(train_folder, str(root), extensions)
    test = _scan(test_folder, str(root), extensions) if test_folder else {}
    classes = tuple(sorted(train))
    if len(classes) < 2:  # noqa: PLR2004  a classifier chooses between two or more
        found = f"only the class folder {classes[0]!r}" if classes else "no class folders"
        raise UserError(f"{train_folder} holds {found}: a classifier needs 2 or more, each with images")
    if test_folder and set(test) != set(train):
        odd = sorted(set(test) ^ set(train))
        raise UserError(f"{root}: classes {odd} are in only one of train/ and test/, both need the same class folders")
    files = [file for name in classes for file in train[name]]
    num_train = len(files)
    files += [file for name in classes for file in test.get(name, [])]
    pixels = _cached_pixels(root, files, image_px)  # (N, C, H, W)
    labels = np.array([classes.index(file.class_name) for file in files], dtype=np.int64)
    return Source(
        classes,
        train=LabelledImages(pixels[:num_train], labels[:num_train]),
        # a copy: a view would hold all pixels in memory for as long as the test split is used
        test=LabelledImages(pixels[num_train:].copy(), labels[num_train:]) if test_folder else None,
        flip=True,
    )


def _split_folders(root: Path) -> tuple[Path, Path | None]:
    """Return the folders of train and test; None for test where it has to be cut from train."""
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise UserError(f"{root} {problem}: name a folder that holds one folder of images per class", field="data_root")
    names = {entry.name for entry in _entries(root) if entry.is_dir()}
    if {"train", "test"} <= names:
        return root / "train", root / "test"
    if "train" in names and (others := sorted(names.intersection(_VALIDATION_NAMES))):
        raise UserError(
            f"{root} holds train/ and {others[0]}/ but no test/: rename {others[0]}/ to test/ (val is cut from train/)"
        )
    if names == {"train"}:
        return root / "train", None
    return root, None


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, by name, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from error


def _image_extensions() -> frozenset[str]:
    """Return the extensions, such as .jpg, of the formats that Pillow reads."""
    Image.preinit()  # puts the common formats first in the list that Image.open tries
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN)


def _scan(folder: Path, root: str, extensions: frozenset[str]) -> dict[str, list[ImageFile]]:
    """Return the image files of each class folder, each of which holds one or more."""
    found = {}
    for entry in _entries(folder):
        if not entry.is_dir():
            continue
        found[entry.name] = list(_image_files(entry.path, entry.name, root, extensions))
        if not found[entry.name]:
            raise UserError(f"the class folder {entry.path} holds no images: add some or remove it")
    return found


def _image_files(folder: str, class_name: str, root: str, extensions: frozenset[str]) -> Iterator[ImageFile]:
    """Yield the image files in a folder and the folders in it, in order of their names."""
    for entry in stoppable(_entries(folder)):
        if entry.is_dir(follow_symlinks=False):
            yield from _image_files(entry.path, class_name, root, extensions)
        elif _extension(entry.name) in extensions:
            yield ImageFile(entry.path, class_name, _stamp(entry, root))


def _extension(name: str) -> str:
    """Return the last dot and the letters after it in lower case: as Path.suffix, which is slow for 60,000 files."""
    _, dot, letters = name.rpartition(".")
    return dot + letters.lower()


def _stamp(entry: os.DirEntry[str], root: str) -> str:
    """Return the file's path below root, its size and its times of change in ns."""
    try:
        status = entry.stat()
    except OSError as error:
        raise UserError(f"cannot read the image {entry.path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        raise UserError(f"cannot read the image {entry.path}: it is not a file; remove it")
    return f"{entry.path[len(root) :]}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _cached_pixels(root: Path, files: list[ImageFile], image_px: int) -> npt.NDArray[np.uint8]:
    """Return the pixels (N, C, H, W) of all files from the cache, or decode them and fill the cache."""
    cache = _cache_file(root, image_px)
    manifest = _manifest(files)
    pixels = _read_cache(cache, manifest, len(files), image_px)
    if pixels is None:
        pixels = _decode_all(files, image_px)
        with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
            write_array(cache, pixels, {"manifest": manifest, "channels": pixels.shape[1]})
    return pixels


def _cache_file(root: Path, image_px: int) -> Path:
    """Return where the pixels of a folder are cached: $KD_CACHE, else $XDG_CACHE_HOME/kd, else ~/.cache/kd."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  no error without a home
    folder = os.environ.get("KD_CACHE") or os.path.join(base, "kd")  # noqa: PTH118
    key = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:16]
    return Path(folder) / f"folder-{key}-{image_px}px.bin"


def _manifest(files: list[ImageFile]) -> str:
    """Return a hash that changes with any file, with the layout of the cache and with the decoder."""
    lines = [f"kd folder 2, Pillow {PIL.__version__}", *(file.stamp for file in files)]
    return hashlib.sha256(os.fsencode("\n".join(lines))).hexdigest()


def _read_cache(cache: Path, manifest: str, num_images: int, image_px: int) -> npt.NDArray[np.uint8] | None:
    """Return the cached pixels (N, C, H, W); None where there are none, or they are damaged or of other files."""
    try:
        found = open_array(cache)
    except OSError:
        return None
    if found is None or found.facts.get("manifest") != manifest:
        return None
    channels = found.facts.get("channels")
    return found.array(np.uint8, (num_images, channels, image_px, image_px)) if isinstance(channels, int) else None


def _decode_all(files: list[ImageFile], image_px: int) -> npt.NDArray[np.uint8]:
    """Decode all files with a pool of threads, with a progress bar on a terminal."""
    pixels = np.empty((len(files), 3, image_px, image_px), dtype=np.uint8)
    chunks = [range(start, min(start + _CHUNK, len(files))) for start in range(0, len(files), _CHUNK)]

    def decode_chunk(rows: range) -> bool:
        channels = 1
        for row in rows:
            if is_stopping():  # the main thread raises
                break
            decoded = _decode(files[row].path, image_px)  # (1 or 3, H, W)
            pixels[row] = decoded  # grey is repeated in all three channels
            channels = max(channels, len(decoded))
        return channels > 1

    any_colour = False
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with tqdm(desc="decoding images", total=len(files), unit="img", disable=None) as progress:
            for rows, coloured in zip(chunks, pool.map(decode_chunk, chunks), strict=True):
                check_stop()
                any_colour |= coloured
                progress.update(len(rows))
    finally:
        pool.shutdown(cancel_futures=True)
    return pixels if any_colour else pixels[:, :1].copy()


def decode_image(path: Path, image_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Decode one file to (C, H, W) with C 1 or 3, cropped and resized as the images of a folder are.

    Raises:
        UserError: the file can't be read.
    """
    channels, height, width = image_shape
    decoded = _decode(str(path), height)
    if width != height:
        raise UserError(f"{path}: images of {width} x {height} px are not read from files; give an array")
    if len(decoded) > channels:
        grey = Image.fromarray(decoded.transpose(1, 2, 0)).convert("L")
        return np.asarray(grey)[None]
    return np.broadcast_to(decoded, image_shape)


def _decode(path: str, image_px: int) -> npt.NDArray[np.uint8]:
    """Decode one file to (1, image_px, image_px) if it is grey, else (3, image_px, image_px)."""
    try:
        with Image.open(path) as opened:
            opened.draft(None, (2 * image_px, 2 * image_px))  # large JPEGs are halved while decoding, never too small
            ImageOps.exif_transpose(opened, in_place=True)
            image = _to_8_bit(opened)
        if image.size != (image_px, image_px):
            image = ImageOps.fit(image, (image_px, image_px), Image.Resampling.BICUBIC)  # centre crop, antialiased
    except Exception as error:
        # A damaged file makes Pillow's decoders raise nearly anything: OSError, SyntaxError, struct.error, IndexError.
        raise UserError(f"cannot read the image {path}: {reason(error)}; repair or remove it") from error
    return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Return the image in mode L if it is grey, else in RGB, its transparent pixels on white."""
    mode = "L" if image.mode in _GREY_MODES else "RGB"
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; save it with 8 or 16 bits")
    if image.mode in _DEEP_GREY_MODES:
        return _from_16_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale grey values 0..65535 to 0..255, rounded."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:  # noqa: PLR2004  the range of 16 bits
        raise ValueError("grey values outside the range of 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
