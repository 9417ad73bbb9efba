"""The pixels of many image files: decoded once with a pool of threads, and cached in one file.

The cache has one row per image: a digest of the file's name, size and times, what is known of it, and its pixels. So files
that are added, changed or repaired are the only ones that are decoded.
"""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL

from kd.data.decode import BadImageError, bits_of, decode_file
from kd.data.scan import ImageFile
from kd.data.source import BIT_DEPTH
from kd.errors import UserError, reason
from kd.machine.activity import counted, doing
from kd.machine.caches import pixels_folder
from kd.machine.files import open_array, write_array
from kd.machine.progress import bar
from kd.machine.signals import check_stop, is_stopping
from kd.machine.text import printable

_CHUNK = 64  # images per task: decoding a small one takes less time than handing out a task
_LAYOUT = f"kd folder 4, Pillow {PIL.__version__}"
"""Names the layout of the cache and the decoder: with another one all is decoded again."""
_KEY_BYTES = 16
_CHANNELS = _KEY_BYTES
_TOP = slice(_KEY_BYTES + 2, _KEY_BYTES + 4)
_HEAD_BYTES = 32
_COLOURS = 3

Rows = npt.NDArray[np.uint8]
"""One row per image (N, _HEAD_BYTES + C * image_px^2): key, channels of its own, largest value if it has 16 bits; pixels."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of files, and what was found on the way."""

    images: npt.NDArray[np.uint8]  # (N, C, H, W), of the good files in their order
    bad: Mapping[int, str]
    """Why each file that can't be decoded is bad, by its place."""
    bit_depth: int
    """Bits of the values in files of 16 bits."""


def load_pixels(
    root: Path, files: Sequence[ImageFile], image_px: int, *, purpose: str = "", bit_depth: int | None = None
) -> Pixels:
    """Return the pixels of all files that can be decoded, from the cache as far as they are in it.

    If all images are grey, they have one channel; otherwise all have three.

    Args:
        root: the folder that the user named, which the cache belongs to.
        files: the files.
        image_px: side of the square to which images are cropped and resized, in pixels.
        purpose: what the files are for, beside a data set; the same folder is cached for each purpose.
        bit_depth: bits of the values in files of 16 bits; None: as many as the largest value of all of them needs.

    Raises:
        UserError: the disk or the network can't be read.
    """
    cache = _cache_file(root, purpose, image_px)
    cached, depth = _read_cache(cache, image_px)
    keys = np.frombuffer(b"".join(map(_key, files)), np.uint8).reshape(-1, _KEY_BYTES)
    if cached is not None and np.array_equal(cached[:, :_KEY_BYTES], keys) and bit_depth in {None, depth}:
        return Pixels(_images(cached, image_px), {}, depth)
    rows, missing = _filled(cached, keys, image_px)
    bad = {row: file.reason for row, file in enumerate(files) if file.stamp is None}
    bad |= _decode(files, rows, sorted(missing.difference(bad)), image_px, depth)
    needed = _needed_depth(rows, bad) if bit_depth is None else bit_depth
    if needed != depth:
        _decode(files, rows, _deep(rows, bad), image_px, needed)
    good = rows[[row for row in range(len(files)) if row not in bad]] if bad else rows
    if not (good[:, _CHANNELS] == _COLOURS).any():
        good = good[:, : _HEAD_BYTES + image_px * image_px].copy()
    if cached is None or not np.array_equal(cached, good):
        with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
            write_array(cache, good, {"layout": _LAYOUT, "channels": _channels(good, image_px), "bit_depth": needed})
    return Pixels(_images(good, image_px), bad, needed)


def _key(file: ImageFile) -> bytes:
    return hashlib.sha256(os.fsencode(file.stamp or f"\0{file.path}")).digest()[:_KEY_BYTES]


def _channels(rows: Rows, image_px: int) -> int:
    return int((rows.shape[1] - _HEAD_BYTES) // image_px**2)


def _images(rows: Rows, image_px: int) -> npt.NDArray[np.uint8]:
    """Return the pixels in rows, (N, C, H, W), without a copy."""
    return rows[:, _HEAD_BYTES:].reshape(len(rows), _channels(rows, image_px), image_px, image_px)


def _cache_file(root: Path, purpose: str, image_px: int) -> Path:
    """Return where the pixels of a folder are cached."""
    used = f"\0{purpose}" if purpose else ""  # no path has such a character
    key = hashlib.sha256(os.fsencode(root.absolute()) + used.encode()).hexdigest()[:16]
    return pixels_folder() / f"folder-{key}-{image_px}px.bin"


def _read_cache(cache: Path, image_px: int) -> tuple[Rows | None, int]:
    """Return the cached rows and their bit depth; None and 16 where there are none, or they are damaged or of other code."""
    try:
        found = open_array(cache)
    except OSError:
        found = None
    if found is not None and found.facts.get("layout") == _LAYOUT:
        channels, bit_depth = found.facts.get("channels"), found.facts.get("bit_depth")
        if channels in (1, _COLOURS) and type(bit_depth) is int and 1 <= bit_depth <= BIT_DEPTH:
            rows = found.rows(np.uint8, _HEAD_BYTES + int(channels) * image_px * image_px)
            return rows, bit_depth if rows is not None else BIT_DEPTH
    return None, BIT_DEPTH


def _filled(cached: Rows | None, keys: npt.NDArray[np.uint8], image_px: int) -> tuple[Rows, set[int]]:
    """Return rows for all keys, filled from the cache where they are in it, and the places of the others."""
    size = image_px * image_px
    rows = np.empty((len(keys), _HEAD_BYTES + _COLOURS * size), dtype=np.uint8)
    rows[:, :_HEAD_BYTES] = 0
    rows[:, :_KEY_BYTES] = keys
    known = {} if cached is None else {row[:_KEY_BYTES].tobytes(): number for number, row in enumerate(cached)}
    missing = set()
    for row, key in enumerate(keys):
        number = known.get(key.tobytes())
        if number is None or cached is None:
            missing.add(row)
            continue
        rows[row, _KEY_BYTES:_HEAD_BYTES] = cached[number, _KEY_BYTES:_HEAD_BYTES]
        rows[row, _HEAD_BYTES:].reshape(_COLOURS, size)[:] = cached[number, _HEAD_BYTES:].reshape(-1, size)
    return rows, missing


def _needed_depth(rows: Rows, bad: Mapping[int, str]) -> int:
    """Return the bits that the largest value of all images of 16 bits needs."""
    deep = _deep(rows, bad)
    return bits_of(int(_tops(rows)[deep].max())) if deep else BIT_DEPTH


def _deep(rows: Rows, bad: Mapping[int, str]) -> list[int]:
    """Return the places of the images of 16 bits."""
    return [row for row in np.flatnonzero(_tops(rows)).tolist() if row not in bad]


def _tops(rows: Rows) -> npt.NDArray[np.uint16]:
    """Return the largest value of each image of 16 bits, and 0 for the others."""
    return np.ascontiguousarray(rows[:, _TOP]).view("<u2")[:, 0]


def _decode(files: Sequence[ImageFile], rows: Rows, places: Sequence[int], image_px: int, bit_depth: int) -> dict[int, str]:
    """Decode the files at some places into their rows, with a progress bar on a terminal; return why others can't be."""
    chunks = [places[start : start + _CHUNK] for start in range(0, len(places), _CHUNK)]
    bad: dict[int, str] = {}
    was_stopping = is_stopping()  # a wish that was answered before cuts nothing short: no row would be filled

    def decode_chunk(chunk: Sequence[int]) -> None:
        for row in chunk:
            if is_stopping() and not was_stopping:  # the main thread raises
                return
            try:
                _decode_row(files[row].path, rows[row], image_px, bit_depth)
            except BadImageError as error:
                bad[row] = str(error)

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        what, decoded = "decoding images", zip(chunks, pool.map(decode_chunk, chunks), strict=True)
        with doing(what, has_bar=True), bar(what, len(places), "img") as progress, no_warnings():
            for chunk, _ in counted(decoded, len(chunks)):
                check_stop()
                progress.update(len(chunk))
    except OSError as error:
        raise UserError(f"cannot read images: {printable(reason(error))}") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return bad


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Silence Pillow's warnings of odd metadata and of large images: pixels are good, or the file is named."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _decode_row(path: str, row: Rows, image_px: int, bit_depth: int) -> None:
    decoded = decode_file(path, image_px, bit_depth)
    row[_CHANNELS] = len(decoded.pixels)
    row[_TOP] = np.array([decoded.top], "<u2").view(np.uint8)
    row[_HEAD_BYTES:].reshape(_COLOURS, image_px, image_px)[:] = decoded.pixels  # grey is repeated in all three channels
