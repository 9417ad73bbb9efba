"""One image file decoded to pixels of 8 bits, cropped to a square and resized."""

import errno
import io
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from kd.data.entries import image_formats
from kd.data.metadata import without_metadata
from kd.data.source import BIT_DEPTH
from kd.errors import UserError, reason
from kd.machine.text import printable

_DEEP_GREY_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_GREY_MODES = ("1", "L", "LA", "La", *_DEEP_GREY_MODES)
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""The order of bytes under which Pillow, which keeps one byte of two, keeps the other one."""
_GREY_WITH_ALPHA = "LA;16B"
"""What Pillow calls grey with alpha of 16 bits each, of which it too keeps one byte."""
_ALL_BYTES = "RGBA"
"""What it reads the same four bytes per pixel as, whole."""
_DEPTHS = (8, 10, 12, 14, BIT_DEPTH)
_COLOURS = 3
CROP = "centre"
"""The part of an image that is not square that is taken: the largest square in its centre."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_UNREAD = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENAMETOOLONG}
"""Errors of the system that are the file's own. Any other (a network drive that is gone) says nothing of the image."""


class BadImageError(Exception):
    """A file that is no image, or a damaged one; the message says why."""


class Decoded(NamedTuple):
    """The pixels of an image, (1, H, W) if it is grey, else (3, H, W), uint8."""

    pixels: npt.NDArray[np.uint8]
    top: int
    """The largest value in a file of 16 bits; 0 for other files."""


def bits_of(top: int) -> int:
    """Return how many bits the values of files of 16 bits have, when the largest is ``top``: 8, 10, 12, 14 or 16."""
    return next(bits for bits in _DEPTHS if top < 2**bits)


def check_square(image_shape: tuple[int, int, int], what: str) -> None:
    """Refuse to read files as images of a shape (C, H, W) that is no square.

    Raises:
        UserError: it is none.
    """
    _, height, width = image_shape
    if width != height:
        raise UserError(f"{what}: images of {width} x {height} px are not read from files; give an array")


def decode_image(path: Path, image_shape: tuple[int, int, int], *, bit_depth: int = BIT_DEPTH) -> npt.NDArray[np.uint8]:
    """Decode one file to (C, H, W) with C 1 or 3, cropped and resized as the images of a folder are.

    Args:
        path: the file.
        image_shape: (C, H, W), with H equal to W.
        bit_depth: bits that the values of files of 16 bits have, as in the data set that a model was trained on.

    Raises:
        BadImageError: it can't be decoded.
        OSError: the disk or the network can't be read, whatever the file is.
    """
    if not path.is_file() and path.exists():  # reading a pipe would wait for ever
        raise BadImageError("it is not a file")
    return _with_channels(decode_file(str(path), image_shape[1], bit_depth).pixels, image_shape)


def decode_bytes(content: bytes, image_shape: tuple[int, int, int], *, bit_depth: int = BIT_DEPTH) -> npt.NDArray[np.uint8]:
    """Decode the bytes of a file as :func:`decode_image` does the file, whose arguments and errors it has."""
    return _with_channels(decode_file(content, image_shape[1], bit_depth).pixels, image_shape)


def _with_channels(decoded: npt.NDArray[np.uint8], image_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Return pixels with the channels of a model's images: colours as grey, or grey in all colours."""
    if len(decoded) > image_shape[0]:
        grey = Image.fromarray(decoded.transpose(1, 2, 0)).convert("L")
        return np.asarray(grey)[None]
    return np.broadcast_to(decoded, image_shape)


def decode_file(file: str | bytes, image_px: int, bit_depth: int) -> Decoded:
    """Decode one file, named by its path or given as its bytes, to a square of ``image_px``.

    Raises:
        BadImageError: it can't be decoded.
        OSError: the disk or the network can't be read, whatever the file is.
    """
    try:
        return _decode(io.BytesIO(file) if isinstance(file, bytes) else file, image_px, bit_depth)
    except MemoryError:
        raise
    except Exception as error:
        # A damaged file makes Pillow's decoders raise nearly anything: OSError, SyntaxError, struct.error, IndexError.
        if isinstance(error, OSError) and error.errno is not None and error.errno not in _UNREAD:
            raise
        decoded = _decode_without_metadata(file, image_px, bit_depth)
        if decoded is None:
            raise BadImageError(_why(error)) from error
        return decoded


def _decode_without_metadata(file: str | bytes, image_px: int, bit_depth: int) -> Decoded | None:
    """Decode a file by its pixels alone, since what else is in it may be what is damaged; None: they can't be decoded."""
    for keep_exif in (True, False):
        try:
            whole = file if isinstance(file, bytes) else Path(file).read_bytes()
            content = without_metadata(whole, keep_exif=keep_exif)
            if content is not None:
                return _decode(io.BytesIO(content), image_px, bit_depth)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001, S112 - the same; the first error is the one to tell
            continue
    return None


def _why(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than Pillow decodes (PIL.Image.MAX_IMAGE_PIXELS); make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return "it is no image in a format that kd reads"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(reason(error))


def _decode(file: str | io.BytesIO, image_px: int, bit_depth: int) -> Decoded:
    with Image.open(file, formats=image_formats()) as opened:
        opened.draft(None, (2 * image_px, 2 * image_px))  # large JPEGs are halved while decoding, never too small
        other_byte = _other_byte(opened.tile)
        has_deep_alpha = [part.args for part in opened.tile] == [_GREY_WITH_ALPHA]
        if has_deep_alpha:
            opened.tile = [opened.tile[0]._replace(args=_ALL_BYTES)]
        opened.load()
        if has_deep_alpha:
            image, top = _from_deep_grey_with_alpha(opened, bit_depth)
        elif opened.mode in _DEEP_GREY_MODES:
            image, top = _from_deep_grey(opened, bit_depth)
        elif other_byte is not None:
            image, top = _from_deep_colours(opened, file, other_byte, bit_depth)
        else:
            image, top = _to_8_bit(opened), 0
        turn = _TURNS.get(_orientation(opened))
    if turn is not None:
        image = image.transpose(turn)
    if image.size != (image_px, image_px):
        image = ImageOps.fit(image, (image_px, image_px), Image.Resampling.BICUBIC)  # centre crop, antialiased
    return Decoded(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1), top)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - EXIF is written by anything, and damaged EXIF raises nearly anything
        return 1


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Return the image in mode L if it is grey, else in RGB, its transparent pixels on white."""
    mode = "L" if image.mode in _GREY_MODES else "RGB"
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _from_deep_grey(image: Image.Image, bit_depth: int) -> tuple[Image.Image, int]:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() >= 2**BIT_DEPTH:
        raise ValueError("grey values outside the range of 16 bits")
    return Image.fromarray(_scaled(values, bit_depth)), int(values.max())


def _from_deep_grey_with_alpha(image: Image.Image, bit_depth: int) -> tuple[Image.Image, int]:
    values = np.asarray(image).view(">u2").astype(np.int64)  # (H, W, 2)
    return _to_8_bit(Image.fromarray(_scaled(values, bit_depth))), int(values[..., 0].max())


def _from_deep_colours(
    image: Image.Image, file: str | io.BytesIO, other_byte: list[Any], bit_depth: int
) -> tuple[Image.Image, int]:
    """Return colours of 16 bits, of which Pillow keeps the upper 8, scaled by the bits that they have."""
    upper = np.asarray(image)
    top = int(upper[..., :_COLOURS].max()) << 8 | 0xFF
    if bits_of(top) == BIT_DEPTH == bit_depth:
        return _to_8_bit(image), top
    with Image.open(file, formats=image_formats()) as opened:
        opened.tile = other_byte
        lower = np.asarray(opened)
    values = upper.astype(np.int64) << 8 | lower
    scaled = Image.fromarray(_scaled(values, bit_depth))
    return _to_8_bit(scaled), int(values[..., :_COLOURS].max())


def _scaled(values: npt.NDArray[np.int64], bit_depth: int) -> npt.NDArray[np.uint8]:
    """Scale values 0..2^bit_depth - 1 to 0..255, rounded; larger ones are 255."""
    largest = 2**bit_depth - 1
    scaled: npt.NDArray[np.int64] = (values * 255 + largest // 2) // largest
    return scaled.clip(0, 255).astype(np.uint8)


def _other_byte(tile: list[Any]) -> list[Any] | None:
    """Return the tile under which Pillow reads the lower byte of colours of 16 bits; None: there are no such colours."""
    changed = []
    for part in tile:
        raw_mode, *rest = (part.args,) if isinstance(part.args, str) else part.args or ("",)
        mode, _, order = str(raw_mode).partition(";16")
        if mode not in {"RGB", "RGBA"} or order not in _OTHER_BYTE:
            return None
        swapped = f"{mode};16{_OTHER_BYTE[order]}"
        changed.append(part._replace(args=(swapped, *rest) if rest else swapped))
    return changed or None
