"""Images without labels: read from any folder as the data's own are, and never those of val or test."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import Pixels, draw_classes, noise, png, save

from kd.data.dataset import NO_LABEL, Dataset
from kd.data.load import load_dataset
from kd.data.unlabelled import add_unlabelled
from kd.errors import UserError

GREYS = np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.INFO, "kd")
    return caplog


@pytest.fixture
def coloured(tmp_path: Path) -> Dataset:
    return load_dataset("folder", draw_classes(tmp_path / "data", {"a": 5, "b": 5}), image_px=8)


def unlabelled(dataset: Dataset) -> torch.Tensor:
    """Return the images without labels, whose labels and index are those of no other image."""
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.labels.tolist() == [NO_LABEL] * len(dataset.unlabelled)
    index = dataset.transfer_set.index.tolist()
    assert len(set(index)) == len(index)
    return dataset.unlabelled.images


def test_a_folder_is_read_at_any_depth_in_the_order_of_names(coloured: Dataset, tmp_path: Path) -> None:
    names = ("b.png", "inner/deeper/a.png", "z.png")
    drawn = [save(tmp_path / "more" / name) for name in names]
    (tmp_path / "more" / "notes.txt").write_text("x")
    added = add_unlabelled(coloured, tmp_path / "more")
    assert torch.equal(unlabelled(added), torch.from_numpy(np.stack(drawn).transpose(0, 3, 1, 2)))
    assert added.digest == coloured.digest
    assert added.transfer_digest != coloured.transfer_digest
    first = len(coloured.train)
    assert added.transfer_set.index.tolist() == [*range(first), first, first + 1, first + 2]


def test_images_of_arrays_are_taken_beside_those_that_lost_their_labels(told: pytest.LogCaptureFixture) -> None:
    both = load_dataset("digits", label_fraction=0.5, train_fraction=0.5, unlabelled=noise(3, 8, 8))
    assert both.unlabelled is not None
    assert both.unlabelled.index[-3:].tolist() == [1295, 1296, 1297]  # beyond the whole train split
    assert len(unlabelled(both)) == len(both.unlabelled)
    assert f", {len(both.unlabelled)} more without labels" in told.messages[0]


def test_images_of_val_and_test_are_left_out_and_those_of_train_are_told(told: pytest.LogCaptureFixture) -> None:
    digits = load_dataset("digits")
    new = noise(4, 1, 8, 8)
    held_out = torch.cat([digits.val.images[:2], digits.test.images[:3]]).numpy()
    given = np.concatenate([new[:2], held_out, digits.train.images[:1].numpy(), new[2:]])
    told.clear()
    added = add_unlabelled(digits, given)
    expected = np.concatenate([new[:2], digits.train.images[:1].numpy(), new[2:]])
    assert torch.equal(unlabelled(added), torch.from_numpy(expected))
    assert told.messages == [
        "5 of 10 images without labels are in val or test too, pixel by pixel: left out, so that no net learns from them",
        "1 of 10 images without labels is in train too, pixel by pixel",
    ]
    with pytest.raises(UserError, match="all 3 images without labels are in val or test too, so none is left; give others"):
        add_unlabelled(digits, held_out[2:])


def test_labels_that_are_dropped_leave_no_copy_of_a_test_image_behind(told: pytest.LogCaptureFixture) -> None:
    images = noise(40, 4, 4)
    labels = np.arange(40) % 2
    dataset = Dataset.from_arrays(images, labels, ("a", "b"), test=(images, labels), label_fraction=0.5)
    assert dataset.unlabelled is None  # each image of train is one of test
    assert "images without labels are in val or test too" in told.text


@pytest.mark.parametrize("colours", [True, False])
def test_images_have_the_channels_of_the_data(colours: bool, tmp_path: Path, told: pytest.LogCaptureFixture) -> None:  # noqa: FBT001 - a case
    drawn = [save(tmp_path / "more" / "0.png"), save(tmp_path / "more" / "1.png", GREYS)]
    own = noise(20, 8, 8, 3) if colours else noise(20, 8, 8)
    added = add_unlabelled(Dataset.from_arrays(own, np.arange(20) % 2, ("a", "b")), tmp_path / "more")
    first, second = unlabelled(added).numpy()
    if colours:
        assert np.array_equal(first, drawn[0].transpose(2, 0, 1))
        assert np.array_equal(second, np.stack([GREYS] * 3))
    else:
        luma = drawn[0] @ np.array([0.299, 0.587, 0.114])  # Rec. 601
        assert np.abs(first[0] - luma).max() <= 1
        assert np.array_equal(second[0], GREYS)
        assert "turned grey as those of the data are" in told.text


def test_grey_images_alone_have_three_channels_beside_colours(coloured: Dataset, tmp_path: Path) -> None:
    save(tmp_path / "more" / "0.png", GREYS)
    for _ in range(2):  # decoded, then from the cache
        assert np.array_equal(unlabelled(add_unlabelled(coloured, tmp_path / "more"))[0].numpy(), np.stack([GREYS] * 3))


def deep(path: Path, largest: int) -> Pixels:
    values = np.full((8, 8), largest, dtype=np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(values))
    return values


def test_values_of_16_bits_are_scaled_as_those_of_the_data(tmp_path: Path) -> None:
    for number in range(5):
        deep(tmp_path / "data" / "a" / f"{number}.png", 4095 - number)
        deep(tmp_path / "data" / "b" / f"{number}.png", 100 + number)
    dataset = load_dataset("folder", tmp_path / "data", image_px=8)
    assert dataset.bit_depth == 12
    deep(tmp_path / "more" / "0.png", 1000)  # alone it would be taken for one of 10 bits
    for _ in range(2):
        assert set(unlabelled(add_unlabelled(dataset, tmp_path / "more")).flatten().tolist()) == {round(1000 * 255 / 4095)}
    # The same files, cached with the values of 12 bits, are scaled anew beside data of 8 bits: 16 bits is the usual range.
    usual = Dataset.from_arrays(noise(20, 8, 8), np.arange(20) % 2, ("a", "b"))
    assert set(unlabelled(add_unlabelled(usual, tmp_path / "more")).flatten().tolist()) == {round(1000 * 255 / 65535)}


def test_pixels_are_cached_apart_from_those_of_a_data_set_in_the_same_folder(
    tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    root = draw_classes(tmp_path / "data", {"a": 5, "b": 5})
    first = load_dataset("folder", root, image_px=8, unlabelled=root)
    again = load_dataset("folder", root, image_px=8, unlabelled=root)
    assert first.transfer_digest == again.transfer_digest
    assert len(list((tmp_path / "cache" / "kd").glob("folder-*-8px.bin"))) == 2
    assert f"{len(first.train)} of 10 images without labels are in train too" in told.text


def test_damaged_files_are_refused_or_left_out(coloured: Dataset, tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    drawn = save(tmp_path / "more" / "0.png")
    (tmp_path / "more" / "1.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"cannot read the image .*more/1\.png: .*--skip-bad-images"):
        add_unlabelled(coloured, tmp_path / "more")
    added = add_unlabelled(coloured, tmp_path / "more", skip_bad_images=True)
    assert np.array_equal(unlabelled(added)[0].numpy(), drawn.transpose(2, 0, 1))
    assert "1 images can't be read and are left out: 1.png" in told.text
    (tmp_path / "more" / "0.png").unlink()
    with pytest.raises(UserError, match="holds no image that can be read"):
        add_unlabelled(coloured, tmp_path / "more", skip_bad_images=True)


def test_what_is_no_folder_of_images_is_refused_in_one_line(coloured: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    for name, told in {
        "none": "none does not exist: name a folder of images without labels",
        "file": "file is not a folder",
        "empty": "empty holds no images: name",
        "text": r"text holds no images; files passed over: \.txt 1: name",
    }.items():
        with pytest.raises(UserError, match=told) as refused:
            add_unlabelled(coloured, tmp_path / name)
        assert refused.value.field == "transfer_root"


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((2, 3, 8, 8)), "images without labels are float64; give uint8"),
        (noise(2, 8, 8), r"are \(2, 1, 8, 8\) and those of data \(3, 8, 8\)"),
        (noise(2, 3, 9, 9), r"are \(2, 3, 9, 9\) and those of data \(3, 8, 8\)"),
        (noise(0, 3, 8, 8), r"are \(0, 3, 8, 8\)"),
    ],
)
def test_an_array_of_other_images_is_refused(images: Pixels, told: str, coloured: Dataset) -> None:
    with pytest.raises(UserError, match=told):
        add_unlabelled(coloured, images)


def test_files_are_not_read_for_images_that_are_no_squares(tmp_path: Path) -> None:
    save(tmp_path / "more" / "0.png")
    dataset = Dataset.from_arrays(noise(20, 8, 6, 3), np.arange(20) % 2, ("a", "b"))
    with pytest.raises(UserError, match="images of 6 x 8 px are not read from files; give an array"):
        add_unlabelled(dataset, tmp_path / "more")
