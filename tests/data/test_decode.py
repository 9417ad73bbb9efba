"""Image files as people have them: odd metadata, values of 12 bits in files of 16, formats that are programs."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import chunk, noise, png, save
from PIL import Image, PngImagePlugin

from kd.data.decode import BadImageError, bits_of, decode_file, decode_image

LONG = PngImagePlugin.MAX_TEXT_CHUNK + 1


@pytest.mark.parametrize(
    "extra",
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2 * LONG)),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"a" * 2 * LONG)),
        (b"iCCP", b"bad\0\0" + b"not compressed"),
        (b"iCCP", b"long\0\0" + zlib.compress(bytes(4 * LONG))),
        (b"eXIf", b"MM\0*no exif at all"),
        (b"pHYs", b""),
        (b"gAMA", b"\0"),
        (b"cHRM", b"\0\0"),
        (b"acTL", b"\0\0\0\x05\0\0\0\0"),
    ],
)
def test_odd_metadata_of_a_png_refuses_no_good_pixels(tmp_path: Path, extra: tuple[bytes, bytes]) -> None:
    pixels = noise(8, 8, 3)
    (tmp_path / "a.png").write_bytes(png(pixels, extra))
    assert np.array_equal(decode_file(str(tmp_path / "a.png"), 8, 16).pixels, pixels.transpose(2, 0, 1))


def test_a_wrong_checksum_of_text_refuses_no_good_pixels_and_one_of_pixels_does(tmp_path: Path) -> None:
    pixels = noise(8, 8)
    content = png(pixels, (b"tEXt", b"Comment\0hello"))
    (tmp_path / "text.png").write_bytes(content.replace(b"hello", b"jello"))
    assert np.array_equal(decode_file(str(tmp_path / "text.png"), 8, 16).pixels[0], pixels)
    (tmp_path / "pixels.png").write_bytes(content[:-30] + b"\x55" * 10 + content[-20:])
    with pytest.raises(BadImageError):
        decode_file(str(tmp_path / "pixels.png"), 8, 16)


def jpeg_part(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


@pytest.mark.parametrize(
    "part",
    [
        jpeg_part(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff"),
        jpeg_part(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x99\x99\xff\xff\xff\xff\0\0"),
        jpeg_part(0xE2, b"ICC_PROFILE\0\x05\x01garbage"),
        jpeg_part(0xE2, b"MPF\0nothing"),
        jpeg_part(0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
        jpeg_part(0xFE, b"\xff\xfe\0"),
        jpeg_part(0xEE, b"Ducky"),
    ],
)
def test_odd_metadata_of_a_jpeg_refuses_no_good_pixels(tmp_path: Path, part: bytes) -> None:
    save(tmp_path / "good.jpg", noise(8, 8, 3))
    good = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "odd.jpg").write_bytes(good[:2] + part + good[2:])
    expected = decode_file(str(tmp_path / "good.jpg"), 8, 16).pixels
    assert np.array_equal(decode_file(str(tmp_path / "odd.jpg"), 8, 16).pixels, expected)


def test_a_turned_png_stays_turned_where_its_text_is_too_long(tmp_path: Path) -> None:
    pixels = noise(8, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # show it turned by 90 degrees clockwise
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2 * LONG))
    (tmp_path / "a.png").write_bytes(png(pixels, (b"eXIf", exif.tobytes()[6:]), text))
    assert np.array_equal(decode_file(str(tmp_path / "a.png"), 8, 16).pixels[0], np.rot90(pixels, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_that_of_pillow(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps  # noqa: PLC0415 - the oracle

    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "a.png", noise(8, 8), exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(decode_file(str(tmp_path / "a.png"), 8, 16).pixels[0], expected)


@pytest.mark.parametrize(
    ("top", "bits"), [(0, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (16383, 14), (16384, 16), (65535, 16)]
)
def test_the_bits_of_values_are_those_of_the_largest(top: int, bits: int) -> None:
    assert bits_of(top) == bits


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_every_value_is_scaled_by_the_bits_and_rounded(tmp_path: Path, bits: int) -> None:
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    (tmp_path / "a.png").write_bytes(png(values))
    decoded = decode_file(str(tmp_path / "a.png"), 256, bits)
    expected = np.floor(np.minimum(values / (2**bits - 1), 1) * 255 + 0.5)
    assert np.array_equal(decoded.pixels[0], expected)
    assert decoded.top == 65535


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_12_bits_in_a_file_of_16_are_scaled_too(tmp_path: Path, name: str, channels: int) -> None:
    values = np.full((8, 8, channels), 4095, dtype=np.uint16)
    values[0, :4, :3] = [[0, 8, 9], [2047, 2048, 2049], [4095, 4000, 16], [1, 2, 255]]
    path = tmp_path / name
    path.write_bytes(png(values) if name == "a.png" else tiff(values))
    decoded = decode_file(str(path), 8, 12)
    expected = np.floor(values[..., :3] / 4095 * 255 + 0.5)
    assert decoded.top == 4095
    assert np.array_equal(decoded.pixels, expected.transpose(2, 0, 1))


@pytest.mark.parametrize(("bits", "grey"), [(12, [0, 128, 255, 1]), (16, [0, 8, 16, 0])])
def test_grey_with_alpha_of_16_bits_is_scaled_too_and_stays_grey(tmp_path: Path, bits: int, grey: list[int]) -> None:
    values = np.full((8, 8, 2), 65535, dtype=np.uint16)
    values[..., 0] = 4095
    values[0, :4, 0] = [0, 2048, 4095, 16]  # 2048 of 4095 is 127.5 of 255, 2048 of 65535 is 8.0
    values[1, 0, 1] = 0  # transparent, so white
    (tmp_path / "a.png").write_bytes(png(values))
    pixels, top = decode_file(str(tmp_path / "a.png"), 8, bits)
    assert pixels.shape == (1, 8, 8)
    assert pixels[0, 0, :4].tolist() == grey
    assert pixels[0, 1, 0] == 255
    assert top == 4095


def test_colours_that_use_all_16_bits_are_what_pillow_makes_of_them(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (8, 8, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png(values))
    assert np.array_equal(decode_file(str(tmp_path / "a.png"), 8, 16).pixels, (values >> 8).transpose(2, 0, 1))


def tiff(values: np.ndarray) -> bytes:
    """Return an uncompressed TIFF of 16 bits per channel, little-endian."""
    height, width, channels = values.shape
    pixels = values.astype("<u2").tobytes()
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, 8 + len(pixels)), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(pixels))]
    tags += [(338, 3, 1, 2)] if channels == 4 else []
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels) + len(bits)) + pixels + bits + directory


def test_an_image_of_a_folder_and_one_to_predict_are_scaled_alike(tmp_path: Path) -> None:
    values = np.full((8, 8), 2048, dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png(values))
    assert (decode_image(tmp_path / "a.png", (1, 8, 8), bit_depth=12) == 128).all()
    assert (decode_image(tmp_path / "a.png", (1, 8, 8)) == 8).all()


@pytest.mark.parametrize("name", ["a.eps", "a.jpg"])
def test_a_file_that_is_a_program_is_not_run(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "ran"
    Image.new("RGB", (8, 8)).save(tmp_path / "good.eps")
    program = (tmp_path / "good.eps").read_text(encoding="latin1")
    (tmp_path / name).write_text(program.replace("%%Page:", f"({marker}) (w) file closefile\n%%Page:"), encoding="latin1")
    with pytest.raises(BadImageError, match="no image in a format that kd reads"):
        decode_file(str(tmp_path / name), 8, 16)
    assert not marker.exists()


def test_an_image_to_predict_is_not_waited_for_from_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(BadImageError, match=r"^it is not a file$"):
        decode_image(tmp_path / "a.png", (1, 8, 8))


def test_more_pixels_than_pillow_decodes_are_one_line(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadImageError, match=r"^it has more pixels than Pillow decodes .*make it"):
        decode_image(tmp_path / "a.png", (3, 8, 8))


def test_a_file_that_is_cut_is_refused_or_read_as_it_was(tmp_path: Path) -> None:
    pixels = noise(8, 8, 3)
    content = png(pixels, (b"tEXt", b"Comment\0hello"))
    read = 0
    for end in range(len(content)):
        (tmp_path / "a.png").write_bytes(content[:end])
        try:
            decoded = decode_file(str(tmp_path / "a.png"), 8, 16)
        except BadImageError:
            continue
        assert np.array_equal(decoded.pixels, pixels.transpose(2, 0, 1))
        read += 1
    assert 0 < read <= 20  # the checksums of the pixels and of the end, which hold no pixel
