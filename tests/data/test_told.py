"""What is told of a data set before it is trained on."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from pictures import draw_classes, save

from kd.data.dataset import Dataset
from kd.data.load import load_dataset
from kd.data.told import classes_with_few_images, copies, summary
from kd.machine.output import said_already


def arrays(classes: int, images_per_class: int) -> Dataset:
    """Return a data set of images that all differ."""
    count = classes * images_per_class
    images = np.arange(count * 4, dtype=np.uint32).view(np.uint8).reshape(count, 1, 4, 4)
    return Dataset.from_arrays(images, np.arange(count) % classes, [f"class {number}" for number in range(classes)])


@pytest.fixture(autouse=True)
def _all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kd")


def test_one_line_says_what_was_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("airplanes", "bonsai", "car", "dolphin", "euphonium", "faces")
    counts = {f"{split}/{name}": count for name in names for split, count in (("Train", 10), ("Test", 2))}
    root = draw_classes(tmp_path / "photos", counts)
    for name in ("1.heic", "2.heic", "3"):
        (root / "Train" / "car" / name).write_text("no image")
    load_dataset("folder", root, image_px=8)
    lines = [record.getMessage() for record in caplog.records]
    assert (
        "6 classes (airplanes, bonsai, ...), 54 train, 6 val, 12 test images; 3 files passed over: .heic 2, no extension 1"
        in lines
    )
    assert "photographs are passed over; pip install pillow-heif to read .heic" in lines


def test_names_in_the_line_can_do_nothing_to_a_terminal() -> None:
    data = Dataset.from_arrays(np.arange(160, dtype=np.uint8).reshape(10, 4, 4), [0, 1] * 5, ["a\n", "\x1b[2J"])
    assert summary(data, "") == r"2 classes (a\n, \x1b[2J), 6 train, 2 val, 2 test images"


def test_a_val_that_is_used_and_folders_that_are_not_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counts = {f"{split}/{name}": 3 for name in "ab" for split in ("train", "Valid", "test")}
    root = draw_classes(tmp_path / "photos", counts | {"unlabelled": 2})
    load_dataset("folder", root, image_px=8)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:3] == [
        "unlabelled/ is not used: it is no split",
        "Valid/ is used as val",
        "2 classes (a, b), 6 train, 6 val, 6 test images",
    ]


def test_images_in_two_splits_are_counted_whatever_file_they_are_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counts = {f"{split}/{name}": count for name in "ab" for split, count in (("train", 9), ("val", 5), ("test", 6))}
    root = draw_classes(tmp_path / "photos", counts)
    shutil.copy(root / "test" / "a" / "0.png", root / "train" / "a" / "copy.png")
    save(root / "train" / "b" / "copy.bmp", save(root / "test" / "b" / "1.png"))
    shutil.copy(root / "test" / "b" / "1.png", root / "test" / "b" / "again.png")
    shutil.copy(root / "train" / "a" / "0.png", root / "val" / "b" / "copy.png")
    load_dataset("folder", root, image_px=8)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.partition(":")[0] for line in warnings] == [
        "3 of 13 test images are in train too, pixel by pixel",
        "1 of 11 val images is in train too, pixel by pixel",
        "1 image is in two classes, pixel by pixel (a and b)",
    ]


def test_images_in_two_classes_are_counted_in_whichever_split_they_are(tmp_path: Path) -> None:
    counts = {f"{split}/{name}": count for name in "abc" for split, count in (("train", 9), ("val", 5), ("test", 5))}
    root = draw_classes(tmp_path / "photos", counts)
    shutil.copy(root / "train" / "a" / "0.png", root / "train" / "a" / "again.png")  # twice in one class
    assert copies(load_dataset("folder", root, image_px=8)) == []
    shutil.copy(root / "train" / "c" / "0.png", root / "train" / "b" / "copy.png")
    line = "in two classes, pixel by pixel (b and c): one label at most is right; remove the others"
    assert copies(load_dataset("folder", root, image_px=8)) == [f"1 image is {line}"]
    shutil.copy(root / "train" / "c" / "0.png", root / "train" / "c" / "again.png")  # the same image
    shutil.copy(root / "test" / "c" / "1.png", root / "val" / "a" / "copy.png")
    shared, classes = copies(load_dataset("folder", root, image_px=8))
    assert shared.startswith("1 of 15 test images is in val too")
    assert classes == f"2 images are {line}"


def test_images_that_differ_in_one_pixel_are_no_copies() -> None:
    assert copies(arrays(3, 100)) == []


def test_classes_with_few_images_are_named_with_their_counts() -> None:
    assert classes_with_few_images(arrays(2, 60)) == []
    # 40 images per class: 8 for test, and of the other 32 a tenth for val
    assert classes_with_few_images(arrays(3, 40)) == [f"class {number} (3 val, 8 test)" for number in range(3)]


def test_values_of_fewer_than_16_bits_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(6):
        save(tmp_path / "ab"[number % 2] / f"{number}.png", np.full((8, 8), 500 * number, np.uint16))
    assert load_dataset("folder", tmp_path, image_px=8).bit_depth == 12
    assert "image files of 16 bits hold values below 4096: they are scaled as values of 12 bits" in caplog.text


def test_a_worker_of_a_search_does_not_say_again_what_its_command_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw_classes(tmp_path / "photos", {"train/a": 4, "train/b": 4, "unlabelled": 2})
    with said_already():
        load_dataset("folder", tmp_path / "photos", image_px=8)
    assert caplog.text == ""
    load_dataset("folder", tmp_path / "photos", image_px=8)
    assert "unlabelled/ is not used" in caplog.text
