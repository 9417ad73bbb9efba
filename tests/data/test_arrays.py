"""Images that are arrays already: their layouts, what is refused, and that they are cut as a folder's images are."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import kd
from kd.data.dataset import Dataset
from kd.errors import UserError

Pixels = npt.NDArray[np.uint8]
CLASSES = ("ant", "bee")
LABELS = np.arange(20) % 2


def pixels(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def rows(dataset: Dataset) -> dict[tuple[str, int], bytes]:
    """Return each image's bytes by split and place."""
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    return {(name, row): split.images[row].numpy().tobytes() for name, split in splits.items() for row in range(len(split))}


def same(one: Dataset, other: Dataset) -> bool:
    return one.digest == other.digest and rows(one) == rows(other)


def test_each_image_keeps_its_pixels_and_its_label_in_one_split() -> None:
    images = pixels(20, 3, 4, 5)
    data = kd.Dataset.from_arrays(images, LABELS, CLASSES)
    assert data.image_shape == (3, 4, 5)
    assert data.classes == CLASSES
    found = {
        image.numpy().tobytes(): int(label)
        for split in (data.train, data.val, data.test)
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert found == {image.tobytes(): int(label) for image, label in zip(images, LABELS, strict=True)}
    # A fifth of each class of ten is test, a tenth of the other eight is val.
    assert [split.labels.bincount().tolist() for split in (data.train, data.val, data.test)] == [[7, 7], [1, 1], [2, 2]]


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_may_come_first_or_last(channels: int) -> None:
    first = pixels(20, channels, 4, 5)
    last = np.ascontiguousarray(first.transpose(0, 2, 3, 1))
    one, two = (kd.Dataset.from_arrays(images, LABELS, CLASSES) for images in (first, last))
    assert one.image_shape == two.image_shape == (channels, 4, 5)
    assert same(one, two)


def test_grey_images_need_no_axis_of_channels() -> None:
    grey = pixels(20, 4, 5)
    one, two = (kd.Dataset.from_arrays(images, LABELS, CLASSES) for images in (grey, grey[:, None]))
    assert one.image_shape == (1, 4, 5)
    assert same(one, two)


def test_arrays_may_be_lists_tensors_and_views_of_others() -> None:
    images = pixels(20, 1, 4, 5)
    whole = kd.Dataset.from_arrays(images, LABELS, CLASSES)
    turned = np.ascontiguousarray(images[..., ::-1])[..., ::-1]
    assert same(whole, kd.Dataset.from_arrays(torch.from_numpy(images), torch.from_numpy(LABELS), CLASSES))
    assert same(whole, kd.Dataset.from_arrays(turned, LABELS.tolist(), list(CLASSES)))
    assert same(whole, kd.Dataset.from_arrays(images, LABELS.astype(np.uint8), CLASSES))


def test_what_is_written_into_an_array_later_changes_no_image() -> None:
    images = pixels(20, 1, 4, 5)
    data = kd.Dataset.from_arrays(images, LABELS, CLASSES)
    before = rows(data)
    images[:] = 0
    assert rows(data) == before


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("has_test", [False, True])
def test_splits_and_digest_are_those_of_the_same_images_in_a_folder(tmp_path: Path, *, has_test: bool, grey: bool) -> None:
    images = pixels(24, 8, 8) if grey else pixels(24, 8, 8, 3)
    labels = np.repeat([0, 1], 12)  # a folder's images come class by class
    is_test = np.arange(24) % 12 >= 10
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        part = ("test" if is_test[number] else "train") if has_test else "."
        place = tmp_path / part / CLASSES[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02}.png")
    folder = kd.load_dataset("folder", tmp_path, image_px=8, val_fraction=0.2, seed=3)
    test = (images[is_test], labels[is_test]) if has_test else None
    mine = (images[~is_test], labels[~is_test]) if has_test else (images, labels)
    arrays = kd.Dataset.from_arrays(*mine, CLASSES, test, flip=True, val_fraction=0.2, seed=3)
    assert same(arrays, folder)
    assert (arrays.mean, arrays.std, arrays.flip, arrays.seed) == (folder.mean, folder.std, folder.flip, folder.seed)
    assert arrays.augmentation(0) == folder.augmentation(0)


def test_the_test_split_that_is_given_stays_whole_and_in_order() -> None:
    held_out = pixels(7, 4, 5)
    data = kd.Dataset.from_arrays(pixels(20, 4, 5), LABELS, CLASSES, (held_out, np.arange(7) % 2))
    assert np.array_equal(data.test.images[:, 0].numpy(), held_out)
    assert data.test.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert len(data.train) + len(data.val) == 20


def test_another_seed_cuts_otherwise() -> None:
    one, two, again = (kd.Dataset.from_arrays(pixels(20, 4, 5), LABELS, CLASSES, seed=seed) for seed in (0, 1, 0))
    assert not same(one, two)
    assert same(one, again)


IMAGES = pixels(20, 4, 5)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "test", "told"),
    [
        (IMAGES / 255, LABELS, CLASSES, None, "images are float64; give uint8, 0 to 255"),
        (IMAGES.astype(np.int64), LABELS, CLASSES, None, "images are int64; give uint8, 0 to 255"),
        (IMAGES[0], LABELS[:4], CLASSES, None, "images are (4, 5); give (N, C, H, W) or (N, H, W, C) with 1 or 3 channels"),
        (
            pixels(20, 2, 4, 5),
            LABELS,
            CLASSES,
            None,
            "images are (20, 2, 4, 5); give (N, C, H, W) or (N, H, W, C) with 1 or 3 channels",
        ),
        (IMAGES, LABELS[:19], CLASSES, None, "images (20, 4, 5) and labels (19,) int64; give one whole number per image"),
        (IMAGES, LABELS / 1, CLASSES, None, "images (20, 4, 5) and labels (20,) float64; give one whole number per image"),
        (IMAGES[:0], LABELS[:0], CLASSES, None, "images (0, 4, 5) and labels (0,) int64; give one whole number per image"),
        (IMAGES, LABELS + 1, CLASSES, None, "labels of images are 1 to 2; give 0 to 1"),
        (IMAGES, LABELS - 1, CLASSES, None, "labels of images are -1 to 0; give 0 to 1"),
        (IMAGES, LABELS, ["ant"], None, "1 classes, 1 of them different; name two or more different ones"),
        (IMAGES, LABELS, ["ant", "ant"], None, "2 classes, 1 of them different; name two or more different ones"),
        (
            IMAGES,
            LABELS,
            [*CLASSES, "cow"],
            None,
            "classes with fewer images than the 3 needed for train, val and test: 'cow' (0); add some to each",
        ),
        (IMAGES, LABELS, CLASSES, (IMAGES[:4] / 1, LABELS[:4]), "test images are float64; give uint8, 0 to 255"),
        (IMAGES, LABELS, CLASSES, (IMAGES[:4], LABELS[:4] * 2), "labels of test images are 0 to 2; give 0 to 1"),
        (
            IMAGES,
            LABELS,
            CLASSES,
            (IMAGES[:4, :, :3], LABELS[:4]),
            "test images are (1, 4, 3) and the others (1, 4, 5); give one shape",
        ),
    ],
)
def test_arrays_that_are_no_images_with_labels_are_refused(
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    classes: list[str],
    test: tuple[npt.ArrayLike, npt.ArrayLike] | None,
    told: str,
) -> None:
    with pytest.raises(UserError) as caught:
        kd.Dataset.from_arrays(images, labels, classes, test)
    assert str(caught.value) == told
