import errno
import hashlib
import itertools
import json
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import noise, save
from PIL import Image

from kd.data import decode, pixels
from kd.data.decode import Decoded, decode_file
from kd.data.folder import load_folder_source
from kd.data.load import load_dataset
from kd.data.source import Source
from kd.errors import UserError
from kd.machine import signals


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache of its own, which does not exist yet."""
    folder = tmp_path_factory.mktemp("kd") / "cache"
    monkeypatch.setenv("KD_CACHE", str(folder))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write two classes of two colour images, at the top of a folder."""
    for name in ("cat/1", "cat/2", "dog/1", "dog/2"):
        save(tmp_path / "data" / f"{name}.png", noise(8, 8, 3))
    return tmp_path / "data"


def only_image(path: Path) -> np.ndarray:
    """Load, at 8 px, a folder in which `path` is the only image of its class, beside a grey one of a later class."""
    save(path.parents[1] / "z" / "grey.png", noise(8, 8))
    image: np.ndarray = load_folder_source(path.parents[1], 8).train.images[0]
    return image


def same(first: Source, second: Source) -> bool:
    return np.array_equal(first.train.images, second.train.images)


def cache_file(cache: Path) -> Path:
    (file,) = cache.iterdir()
    return file


def test_classes_at_the_top_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    written = [save(tmp_path / "data" / name, noise(8, 8, 3)) for name in ("b/2.png", "b/10.bmp", "a/x.PNG", "c/1.tif")]
    source = load_folder_source(tmp_path / "data", 8)
    assert source.classes == ("a", "b", "c")
    assert source.flip
    assert source.test is None
    assert source.train.labels.tolist() == [0, 1, 1, 2]
    expected = np.stack([written[2], written[1], written[0], written[3]]).transpose(0, 3, 1, 2)
    assert np.array_equal(source.train.images, expected)


def test_train_and_test_folders_are_the_splits(tmp_path: Path) -> None:
    names = ("train/a/1", "train/a/2", "train/b/1", "test/a/1", "test/b/1", "test/b/2")
    written = [save(tmp_path / "data" / f"{name}.png", noise(8, 8, 3)).transpose(2, 0, 1) for name in names]
    source = load_folder_source(tmp_path / "data", 8)
    assert source.classes == ("a", "b")
    assert source.train.labels.tolist() == [0, 0, 1]
    assert np.array_equal(source.train.images, np.stack(written[:3]))
    assert source.test is not None
    assert source.test.labels.tolist() == [0, 1, 1]
    assert np.array_equal(source.test.images, np.stack(written[3:]))


def test_train_folder_alone_holds_the_classes(root: Path, tmp_path: Path) -> None:
    root.rename(tmp_path / "train")
    source = load_folder_source(tmp_path, 8)
    assert (source.classes, source.test) == (("cat", "dog"), None)


def test_a_class_called_train_is_a_class(root: Path) -> None:
    save(root / "train" / "1.png", noise(8, 8, 3))
    assert load_folder_source(root, 8).classes == ("cat", "dog", "train")


def test_folders_in_a_class_folder_and_links_to_one_belong_to_the_class(root: Path) -> None:
    inner = save(root / "cat" / "more" / "0.png", noise(8, 8, 3))
    (root / "fox").symlink_to(root / "dog")
    source = load_folder_source(root, 8)
    assert source.classes == ("cat", "dog", "fox")
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert np.array_equal(source.train.images[2], inner.transpose(2, 0, 1))


def test_hidden_files_and_other_files_are_passed_over(root: Path) -> None:
    before = load_folder_source(root, 8)
    for name in (
        "cat/.DS_Store",
        "cat/._1.png",
        "cat/Thumbs.db",
        "cat/notes.txt",
        "cat/png",
        "labels.csv",
        ".git/1.png",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("no image")
    after = load_folder_source(root, 8)
    assert after.classes == before.classes
    assert same(after, before)


def test_grey_images_make_one_channel_and_any_colour_makes_three(tmp_path: Path) -> None:
    grey = [save(tmp_path / "data" / name / "1.png", noise(8, 8)) for name in "ab"]
    assert np.array_equal(load_folder_source(tmp_path / "data", 8).train.images, np.stack(grey)[:, None])
    colour = save(tmp_path / "data" / "b" / "2.png", noise(8, 8, 3))
    images = load_folder_source(tmp_path / "data", 8).train.images
    assert np.array_equal(images[:2], np.stack([grey, grey, grey], axis=1))
    assert np.array_equal(images[2], colour.transpose(2, 0, 1))


def test_one_image_in_colour_among_many_grey_ones_makes_three_channels(tmp_path: Path) -> None:
    save(tmp_path / "data" / "a" / "colour.png", noise(8, 8, 3))
    for number in range(150):
        save(tmp_path / "data" / "b" / f"{number}.png", noise(8, 8))
    assert load_folder_source(tmp_path / "data", 8).train.images.shape == (151, 3, 8, 8)


@pytest.mark.parametrize("name", ["16.png", "16.tif"])
def test_16_bit_grey_is_scaled_to_8_bit(tmp_path: Path, name: str) -> None:
    values = np.zeros((8, 8), dtype=np.uint16)
    values[0, :6] = [0, 128, 129, 257 * 100, 65535, 65535 - 129]
    save(tmp_path / "a" / name, values)
    image = only_image(tmp_path / "a" / name)
    assert image.shape == (1, 8, 8)
    assert image[0, 0, :6].tolist() == [0, 0, 1, 100, 255, 254]


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a" / "float.tif", np.ones((8, 8), dtype=np.float32))
    with pytest.raises(UserError, match=r"float.tif: floating-point pixels"):
        only_image(tmp_path / "a" / "float.tif")
    (tmp_path / "a" / "float.tif").unlink()
    save(tmp_path / "a" / "int.tif", np.full((8, 8), 70000, dtype=np.int32))
    with pytest.raises(UserError, match=r"int.tif: grey values outside"):
        only_image(tmp_path / "a" / "int.tif")


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = noise(8, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned by 90 degrees clockwise
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "turned.png", exif=exif)
    image = only_image(tmp_path / "a" / "turned.png")
    assert np.array_equal(image, np.rot90(pixels, -1).transpose(2, 0, 1))


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("CMYK", 3)])
def test_pillow_modes_become_grey_or_colour(tmp_path: Path, mode: str, channels: int) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 8), "white").convert(mode).save(tmp_path / "a" / "1.tif")
    image = only_image(tmp_path / "a" / "1.tif")
    # The grey image beside it has as many channels as the two need together.
    assert image.shape == (channels, 8, 8)
    assert (image == 255).all()


def test_transparent_pixels_are_white_and_half_transparent_ones_are_blended(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[0, 0] = (200, 0, 0, 255)
    pixels[0, 1] = (0, 0, 0, 51)
    save(tmp_path / "a" / "1.png", pixels)
    image = only_image(tmp_path / "a" / "1.png")
    assert image[:, 0, 0].tolist() == [200, 0, 0]
    assert image[:, 0, 1].tolist() == [204, 204, 204]
    assert image[:, 5, 5].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("height", "width"), [(16, 48), (48, 16), (16, 16), (4, 12)])
def test_shorter_side_is_resized_and_the_centre_kept(tmp_path: Path, height: int, width: int) -> None:
    # Left and right (or upper and lower) thirds are black, the central square is white.
    pixels = np.zeros((height, width), dtype=np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    pixels[top : top + side, left : left + side] = 255
    save(tmp_path / "a" / "1.png", pixels)
    image = only_image(tmp_path / "a" / "1.png")
    assert image.shape == (1, 8, 8)
    assert (image[0, 2:-2, 2:-2] > 230).all()


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255  # picking every eighth pixel would make it all white or all black
    save(tmp_path / "a" / "1.png", stripes)
    image = only_image(tmp_path / "a" / "1.png")
    assert (abs(image.astype(int) - 127) < 15).all()


@pytest.mark.parametrize("size", [(900, 600), (36, 24)])
def test_resized_jpeg_looks_like_the_same_image_saved_without_loss(tmp_path: Path, size: tuple[int, int]) -> None:
    smooth = Image.fromarray(noise(4, 6, 3)).resize(size, Image.Resampling.BICUBIC)
    save(tmp_path / "exact" / "a" / "1.png", np.asarray(smooth))
    exact = only_image(tmp_path / "exact" / "a" / "1.png").astype(int)
    (tmp_path / "lossy" / "a").mkdir(parents=True)
    smooth.save(tmp_path / "lossy" / "a" / "1.jpg", quality=95, subsampling=0)
    assert abs(only_image(tmp_path / "lossy" / "a" / "1.jpg") - exact).max() <= 12


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "link to nowhere", "pipe"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_unreadable_image_is_named(root: Path, cache: Path, damage: str, suffix: str) -> None:
    bad = root / "dog" / f"bad.{suffix}"
    save(bad, noise(64, 64, 3))
    bad.write_bytes({"truncated": bad.read_bytes()[:-2000], "empty": b""}.get(damage, b"hello " * 100))
    if damage == "link to nowhere":
        bad.unlink()
        bad.symlink_to(root / "nowhere")
    if damage == "pipe":
        bad.unlink()
        os.mkfifo(bad)
    with pytest.raises(UserError, match=rf"^cannot read the image .*dog/bad.{suffix}: .*$"):
        load_folder_source(root, 8)
    bad.unlink()
    inode = cache_file(cache).stat().st_ino
    assert load_folder_source(root, 8).train.labels.tolist() == [0, 0, 1, 1]
    assert cache_file(cache).stat().st_ino == inode  # the good ones were cached


def test_folder_that_is_missing_or_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        load_folder_source(tmp_path / "nowhere", 8)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is not a folder"):
        load_folder_source(tmp_path / "file", 8)


def test_empty_one_class_and_unfilled_folders_are_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(UserError, match="data holds no class folders"):
        load_folder_source(data, 8)
    save(data / "cat" / "1.png", noise(8, 8))
    with pytest.raises(UserError, match="data holds only the class folder 'cat'"):
        load_folder_source(data, 8)
    (data / "dog").mkdir()
    (data / "dog" / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match=r"class folders without images: .*dog \(\.txt 1 passed over\); add some"):
        load_folder_source(data, 8)


@pytest.mark.parametrize("odd", ["train/fox", "test/fox"])
def test_a_class_in_one_split_alone_is_told_and_the_advice_works(tmp_path: Path, odd: str) -> None:
    for name in ("train/cat", "train/dog", "test/cat", "test/dog", odd):
        save(tmp_path / "data" / name / "1.png", noise(8, 8))
    other = {"train/fox": "test/fox", "test/fox": "train/fox"}[odd]
    (tmp_path / "data" / other).mkdir()
    there, missing = odd.partition("/")[0], other.partition("/")[0]
    message = f"no images of fox in {missing}/, but in {there}/: add some, or remove this class from train/ and test/"
    with pytest.raises(UserError, match=message):
        load_folder_source(tmp_path / "data", 8)
    shutil.rmtree(tmp_path / "data" / "train" / "fox")
    shutil.rmtree(tmp_path / "data" / "test" / "fox")
    assert load_folder_source(tmp_path / "data", 8).classes == ("cat", "dog")


def test_a_hundred_classes_that_are_missing_are_ten_and_a_count(tmp_path: Path) -> None:
    for number in range(100):
        save(tmp_path / "train" / f"{number:02}" / "1.png")
    save(tmp_path / "test" / "00" / "1.png")
    with pytest.raises(
        UserError, match=r"no images of 01, 02, .*, 10, \.\.\. \(99 in all\) in test/.*, or remove test/"
    ) as caught:
        load_folder_source(tmp_path, 8)
    assert len(str(caught.value)) < 400
    shutil.rmtree(tmp_path / "test")
    assert load_folder_source(tmp_path, 8).test is None


def test_val_in_place_of_test_is_val_and_test_is_cut(tmp_path: Path) -> None:
    for folder in ("train/a", "train/b", "dev/a", "dev/b"):
        save(tmp_path / folder / "1.png", noise(8, 8))
    source = load_folder_source(tmp_path, 8)
    assert source.test is None
    assert source.val is not None
    assert source.val.labels.tolist() == [0, 1]


def test_links_to_files_and_folders_are_followed_and_loops_end(root: Path, tmp_path: Path) -> None:
    inner = save(tmp_path / "store" / "more" / "9.png")
    (root / "cat" / "more").symlink_to(tmp_path / "store" / "more")
    (root / "cat" / "up").symlink_to(root / "cat")
    (root / "cat" / "more up").symlink_to(root)
    (root / "dog" / "3.png").symlink_to(tmp_path / "store" / "more" / "9.png")
    source = load_folder_source(root, 8)
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for place in (2, 5):
        assert np.array_equal(source.train.images[place], inner.transpose(2, 0, 1))
    changed = save(tmp_path / "store" / "more" / "9.png")
    assert np.array_equal(load_folder_source(root, 8).train.images[5], changed.transpose(2, 0, 1))


def test_a_class_is_one_whether_its_name_is_composed_or_not(tmp_path: Path) -> None:
    for name in ("train/caf\u00e9", "train/the", "test/cafe\u0301", "test/the", "val/cafe\u0301", "val/the"):
        save(tmp_path / name / "1.png")
    source = load_folder_source(tmp_path, 8)
    assert source.classes == ("caf\u00e9", "the")
    assert source.test is not None
    assert source.test.labels.tolist() == [0, 1]


def test_files_passed_over_are_counted_by_extension(root: Path) -> None:
    for name in (
        "a.heic",
        "B.HEIC",
        "noextension",
        "movie.mp4",
        "sketch.svg",
        "scan.dcm",
        "run.eps",
        "x." + "y" * 30,
        "v.2\x1b",
    ):
        (root / "cat" / name).write_text("no image")
    for name in (
        ".DS_Store",
        "._1.png",
        "Thumbs.db",
        "desktop.ini",
        "__MACOSX/1.png",
        "@eaDir/1.png",
        ".ipynb_checkpoints/1.png",
    ):
        (root / "cat" / name).parent.mkdir(exist_ok=True)
        (root / "cat" / name).write_text("litter")
    (root / "dog" / "gone").symlink_to(root / "nowhere")
    for folder in ("$RECYCLE.BIN", "lost+found", "System Volume Information"):
        save(root / folder / "1.png")
    source = load_folder_source(root, 8)
    assert source.classes == ("cat", "dog")
    assert len(source.train.labels) == 4
    assert source.passed_over == (
        "10 files passed over: .heic 2, no extension 2, .2\\x1b 1, .dcm 1, .eps 1, .mp4 1, .svg 1, link to nowhere 1"
    )


def test_a_class_of_which_no_file_can_be_read_is_told_with_what_reads_it(root: Path) -> None:
    for name in ("1.heic", "2.heic"):
        (root / "fox" / name).parent.mkdir(exist_ok=True)
        (root / "fox" / name).write_text("a photograph")
    with pytest.raises(
        UserError, match=r"without images: .*fox \(\.heic 2 passed over; pip install pillow-heif to read \.heic\)"
    ):
        load_folder_source(root, 8)


def spoil(root: Path, count: int) -> None:
    for number in range(count):
        (root / "dog" / f"bad{number:02}.png").write_bytes(b"no image")


def test_all_bad_files_are_named_at_once_ten_and_a_count(root: Path) -> None:
    spoil(root, 12)
    message = r"cannot read 12 of 16 images in .*data: dog/bad00.png \(it is no .*\), .*bad09.png \(.*\), \.\.\. \(12 in all\)"
    with pytest.raises(UserError, match=message + ".*--skip-bad-images") as caught:
        load_folder_source(root, 8)
    assert "bad10" not in str(caught.value)


def test_bad_files_are_left_out_if_asked_for_and_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = load_folder_source(root, 8)
    spoil(root, 2)
    for _ in range(2):
        caplog.clear()
        source = load_folder_source(root, 8, skip_bad_images=True)
        assert same(source, good)
        assert source.train.labels.tolist() == good.train.labels.tolist()
        assert source.passed_over == "2 files passed over: unreadable 2"
        [record] = [record for record in caplog.records if record.levelname == "WARNING"]
        assert "2 images can't be read and are left out: dog/bad00.png (it is no image" in record.getMessage()


def test_bad_files_of_every_split_are_left_out_of_it(tmp_path: Path) -> None:
    written = {}
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "0.png").write_bytes(b"no image")
            written[split, name] = save(tmp_path / split / name / "1.png").transpose(2, 0, 1)
    source = load_folder_source(tmp_path, 8, skip_bad_images=True)
    for split, images in (("train", source.train), ("val", source.val), ("test", source.test)):
        assert images is not None
        assert images.labels.tolist() == [0, 1]
        assert np.array_equal(images.images, [written[split, "cat"], written[split, "dog"]])


def test_a_good_file_is_decoded_once_whatever_lies_beside_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def counted(path: str, *settings: int) -> Decoded:
        decoded.append(Path(path).name)
        return decode_file(path, *settings)

    monkeypatch.setattr(pixels, "decode_file", counted)
    spoil(root, 1)
    with pytest.raises(UserError, match="bad00"):
        load_folder_source(root, 8)
    assert sorted(decoded) == ["1.png", "1.png", "2.png", "2.png", "bad00.png"]
    decoded.clear()
    repaired = save(root / "dog" / "bad00.png")
    assert np.array_equal(load_folder_source(root, 8).train.images[4], repaired.transpose(2, 0, 1))
    load_folder_source(root, 8)
    assert decoded == ["bad00.png"]


def deep(path: Path, largest: int) -> np.ndarray:
    return save(path, np.random.default_rng(largest).integers(largest, largest + 1, (8, 8), dtype=np.uint16))


def test_values_of_16_bit_files_are_scaled_by_the_largest_of_all_of_them(tmp_path: Path) -> None:
    for number, value in enumerate((0, 100, 2048, 4095)):
        deep(tmp_path / "ab"[number % 2] / f"{number}.png", value)
    save(tmp_path / "b" / "8.png", np.full((8, 8), 77, np.uint8))
    for _ in range(2):  # decoded, and cached
        source = load_folder_source(tmp_path, 8)
        assert source.bit_depth == 12
        assert source.train.images[:, 0, 0, 0].tolist() == [0, 128, 6, 255, 77]
    deep(tmp_path / "a" / "9.png", 65535)  # then they are values of 16 bits, those in the cache too
    source = load_folder_source(tmp_path, 8)
    assert source.bit_depth == 16
    assert source.train.images[:, 0, 0, 0].tolist() == [0, 8, 255, 0, 16, 77]
    (tmp_path / "a" / "9.png").unlink()
    assert load_folder_source(tmp_path, 8).train.images[:, 0, 0, 0].tolist() == [0, 128, 6, 255, 77]


def test_a_network_drive_that_is_gone_makes_no_file_bad(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> Decoded:
        raise OSError(errno.EIO, "Input/output error", "1.png")

    monkeypatch.setattr(decode, "_decode", gone)
    with pytest.raises(UserError, match=r"^cannot read images: Input/output error: 1.png$"):
        load_folder_source(root, 8, skip_bad_images=True)


def test_second_load_reads_the_cache_in_place_of_the_images(root: Path, cache: Path) -> None:
    load_folder_source(root, 8)
    file = cache_file(cache)
    line, _, rows = file.read_bytes().partition(b"\n")
    starts = range(0, len(rows), 32 + 192)  # what is known of an image, and its pixels
    inverted = [bytes(255 - value for value in rows[start + 32 : start + 224]) for start in starts]
    forged = b"".join(rows[start : start + 32] + image for start, image in zip(starts, inverted, strict=True))
    header = {**json.loads(line), "payload_sha256": hashlib.sha256(forged).hexdigest()}
    file.write_bytes(json.dumps(header).encode() + b"\n" + forged)
    assert load_folder_source(root, 8).train.images.tobytes() == b"".join(inverted)


def test_any_change_of_a_file_is_noticed(root: Path) -> None:
    def images() -> np.ndarray:
        return load_folder_source(root, 8).train.images.copy()

    before = images()
    changed = save(root / "dog" / "2.png", noise(8, 8, 3))
    assert np.array_equal(images(), np.concatenate([before[:3], changed.transpose(2, 0, 1)[None]]))
    added = save(root / "dog" / "3.png", noise(8, 8, 3))
    assert np.array_equal(images()[4], added.transpose(2, 0, 1))
    (root / "dog" / "3.png").rename(root / "dog" / "0.png")
    assert np.array_equal(images()[2], added.transpose(2, 0, 1))
    (root / "dog" / "0.png").unlink()
    assert len(images()) == 4
    (root / "cat").rename(root / "swap")
    (root / "dog").rename(root / "cat")
    (root / "swap").rename(root / "dog")
    assert np.array_equal(images()[2:], before[:2])


def test_change_that_keeps_size_and_modification_time_is_noticed(root: Path) -> None:
    first, second = root / "cat" / "1.bmp", root / "cat" / "2.bmp"  # uncompressed: of equal size
    pixels = [save(path, noise(8, 8, 3)).transpose(2, 0, 1) for path in (first, second)]
    load_folder_source(root, 8)
    status = first.stat()
    shutil.copyfile(second, first)
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert first.stat().st_size == status.st_size
    assert np.array_equal(load_folder_source(root, 8).train.images[0], pixels[1])


def test_each_size_and_each_folder_has_its_own_cache(root: Path, cache: Path, tmp_path: Path) -> None:
    large, small = load_folder_source(root, 8), load_folder_source(root, 4)
    shutil.copytree(root, tmp_path / "copy")
    load_folder_source(tmp_path / "copy", 8)
    assert len(list(cache.iterdir())) == 3
    assert same(load_folder_source(root, 8), large)
    assert same(load_folder_source(root, 4), small)


def test_relative_and_absolute_path_share_the_cache(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_folder_source(root, 8)
    inode = cache_file(cache).stat().st_ino
    monkeypatch.chdir(root.parent)
    load_folder_source(Path("data"), 8)
    assert cache_file(cache).stat().st_ino == inode


@pytest.mark.parametrize("damage", ["flipped bit", "torn", "longer", "empty", "header alone", "no header", "channels", "odd"])
def test_damaged_cache_is_noticed_and_written_anew(root: Path, cache: Path, damage: str) -> None:
    first = load_folder_source(root, 8)
    file = cache_file(cache)
    whole = file.read_bytes()
    header, _, pixels = whole.partition(b"\n")
    damaged = {
        "flipped bit": whole[:-50] + bytes([whole[-50] ^ 1]) + whole[-49:],
        "torn": whole[:-50],
        "longer": whole + b"x",
        "empty": b"",
        "header alone": header + b"\n",
        "no header": pixels,
        "channels": header.replace(b'"channels":3', b'"channels":1') + b"\n" + pixels,
        "odd": header.replace(b'"channels":3', b'"channels":null') + b"\n" + pixels,
    }[damage]
    assert damaged != whole
    file.write_bytes(damaged)
    assert same(load_folder_source(root, 8), first)
    assert file.read_bytes() == whole


def test_loaded_pixels_can_be_changed_without_a_trace(root: Path) -> None:
    load_folder_source(root, 8)
    cached = load_folder_source(root, 8)
    before = cached.train.images.copy()
    cached.train.images[:] = 0
    assert np.array_equal(load_folder_source(root, 8).train.images, before)


@pytest.mark.parametrize("load", ["decoded", "cached"])
def test_test_images_do_not_keep_all_pixels_in_memory(tmp_path: Path, load: str) -> None:
    for split, name in itertools.product(("train", "test"), ("cat", "dog")):
        save(tmp_path / split / name / "1.png", noise(8, 8, 3))
    source = load_folder_source(tmp_path, 8)
    if load == "cached":
        source = load_folder_source(tmp_path, 8)
    assert source.test is not None
    assert source.test.images.base is None


def test_cache_that_cannot_be_written_only_means_no_cache(root: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert same(load_folder_source(root, 8), load_folder_source(root, 8))
    assert cache.read_text() == "a file where the folder should be"


def test_failed_write_of_the_cache_leaves_nothing_behind(root: Path, cache: Path) -> None:
    first = load_folder_source(root, 8)
    file = cache_file(cache)
    file.unlink()
    file.mkdir()  # a file cannot take its place
    assert same(load_folder_source(root, 8), first)
    assert cache_file(cache).is_dir()


def test_cache_is_under_xdg_or_home_where_kd_cache_is_not_set(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for variable, folder in (("KD_CACHE", "xdg/kd"), ("XDG_CACHE_HOME", "home/.cache/kd")):
        monkeypatch.delenv(variable)
        load_folder_source(root, 8)
        assert len(list((tmp_path / folder).iterdir())) == 1


def load_bytes(root: Path) -> bytes:
    return load_folder_source(root, 8).train.images.tobytes()


def test_processes_that_start_at_once_read_the_same(root: Path, cache: Path) -> None:
    for number in range(100):
        save(root / "cat" / f"n{number}.png", noise(8, 8, 3))
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        results = pool.map(load_bytes, [root] * 9)
    assert set(results) == {load_bytes(root)}
    assert len(list(cache.iterdir())) == 1


def test_no_progress_bar_where_there_is_no_terminal(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_folder_source(root, 8)
    assert capfd.readouterr() == ("", "")


def test_a_data_set_has_the_name_of_its_folder(tmp_path: Path) -> None:
    for number in range(6):
        for name in "ab":
            save(tmp_path / "my photos" / name / f"{number}.png", noise(8, 8, 3))
    assert load_dataset("folder", tmp_path / "my photos", image_px=8).name == "my photos"


def test_images_that_are_decoded_after_a_stop_was_answered_are_whole(tmp_path: Path) -> None:
    written = [save(tmp_path / "data" / name / f"{number}.png", noise(8, 8)) for name in "ab" for number in range(6)]
    signals.ask_to_stop()
    with pytest.raises(KeyboardInterrupt):
        signals.check_stop()
    source = load_folder_source(tmp_path / "data", 8)
    np.testing.assert_array_equal(source.train.images[:, 0], np.stack(written))
