"""Image files without what is not pixels: text, profiles and times that are too long or damaged refuse no good pixels."""

import struct

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_JPEG = b"\xff\xd8"
_JPEG_SCAN, _JPEG_COMMENT = 0xDA, 0xFE
_JPEG_APP1, _JPEG_APP15 = 0xE1, 0xEF
_JPEG_ADOBE = 0xEE  # says how colours are coded
_EXIF = b"Exif\0\0"


def without_metadata(content: bytes, *, keep_exif: bool) -> bytes | None:
    """Return a PNG or JPEG file with what its pixels need alone.

    Args:
        content: the file.
        keep_exif: whether to keep EXIF, which says which side is up.

    Returns:
        The file, or None where it has another format, or its parts can't be told apart.
    """
    if content.startswith(_PNG):
        return _png(content, _PNG_PIXELS | ({b"eXIf"} if keep_exif else set()))
    if content.startswith(_JPEG):
        return _jpeg(content, keep_exif=keep_exif)
    return None


def _png(content: bytes, kept: set[bytes]) -> bytes:
    parts, place = [_PNG], len(_PNG)
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length  # length, kind and a checksum stand around the data
        if kind in kept:
            parts.append(content[place:end])
        place = end
    return b"".join(parts)


def _jpeg(content: bytes, *, keep_exif: bool) -> bytes | None:
    parts, place = [_JPEG], len(_JPEG)
    while place + 4 <= len(content) and content[place] == 0xFF:  # noqa: PLR2004 - the sign of a marker
        marker = content[place + 1]
        if marker == _JPEG_SCAN:
            return b"".join([*parts, content[place:]])
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        is_exif = keep_exif and marker == _JPEG_APP1 and content[place + 4 :].startswith(_EXIF)
        is_text = marker == _JPEG_COMMENT or (_JPEG_APP1 <= marker <= _JPEG_APP15 and marker != _JPEG_ADOBE)
        if is_exif or not is_text:
            parts.append(content[place:end])
        place = end
    return None
