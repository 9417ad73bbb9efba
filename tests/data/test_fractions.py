"""Shares of the training images and of their labels: stratified, seeded, nested, and without effect on val and test."""

import math

import numpy as np
import pytest
import torch

from kd.data.cut import cut_dataset
from kd.data.dataset import NO_LABEL, Dataset
from kd.data.load import load_dataset
from kd.data.source import LabelledImages, Source
from kd.errors import UserError


def digits(**shares: float) -> Dataset:
    return load_dataset("digits", "unused", **shares)  # type: ignore[arg-type] # shares alone


def test_val_and_test_are_the_same_images_whatever_the_shares_are() -> None:
    whole, part = digits(), digits(train_fraction=0.3, label_fraction=0.2)
    assert part.val.digest == whole.val.digest
    assert part.test.digest == whole.test.digest
    assert part.held_out_digest == whole.held_out_digest != digits(seed=1).held_out_digest


@pytest.mark.parametrize("share", [0.5, 0.1, 0.001])
def test_a_share_is_one_of_each_class_and_at_least_one_image(share: float) -> None:
    whole = digits().train.labels.bincount().tolist()
    kept = digits(train_fraction=share).train.labels.bincount().tolist()
    assert all(abs(some - share * every) <= 1 and some >= 1 for some, every in zip(kept, whole, strict=True))


def test_images_of_a_share_keep_their_index_and_so_their_views() -> None:
    whole, part = digits().train, digits(train_fraction=0.4, label_fraction=0.5)
    both = part.transfer_set
    assert torch.equal(both.images, whole.images[both.index])
    assert torch.equal(part.train.labels, whole.labels[part.train.index])
    assert len(set(both.index.tolist())) == len(both)
    assert part.unlabelled is not None
    assert part.unlabelled.labels.tolist() == [NO_LABEL] * len(part.unlabelled)


def test_a_smaller_share_is_part_of_a_larger_one_and_labels_are_dropped_in_the_same_order() -> None:
    large, small = (set(digits(train_fraction=share).train.index.tolist()) for share in (0.5, 0.2))
    assert small < large
    assert set(digits(label_fraction=0.2).train.index.tolist()) == small
    other = digits(train_fraction=0.2, seed=0), digits(train_fraction=0.2, seed=3)
    assert not torch.equal(*(one.train.index for one in other))


def test_digests_tell_shares_apart_and_images_that_were_left_out_of_labels() -> None:
    whole, images, labels = digits(), digits(train_fraction=0.5), digits(label_fraction=0.5)
    assert whole.digest == digits(train_fraction=1.0, label_fraction=1.0).digest == whole.transfer_digest
    assert images.digest == labels.digest != whole.digest  # the same images with labels: the same teacher
    assert len({whole.transfer_digest, images.transfer_digest, labels.transfer_digest}) == 3


def test_a_share_is_told_from_a_whole_set_of_the_same_images() -> None:
    """Their views differ, since images of a share are numbered as in the whole."""
    part = digits(train_fraction=0.5)
    train, val, test = (
        LabelledImages(split.images.numpy(), split.labels.numpy()) for split in (part.train, part.val, part.test)
    )
    same_images = cut_dataset(Source(part.classes, train, test, flip=False, val=val), "digits", val_fraction=0.1, seed=0)
    assert same_images.train.digest == part.train.digest
    assert same_images.digest != part.digest


def test_channels_are_normalised_by_the_images_that_a_teacher_is_trained_on() -> None:
    part = digits(label_fraction=0.01)
    pixels = part.train.images.double() / 255
    assert part.mean[0] == pytest.approx(pixels.mean().item(), abs=1e-12)
    assert part.std[0] == pytest.approx(pixels.std(correction=0).item(), abs=1e-12)


@pytest.mark.parametrize("name", ["train_fraction", "label_fraction"])
@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, math.nan])
def test_a_share_of_nothing_or_of_more_than_all_is_refused(name: str, share: float) -> None:
    with pytest.raises(UserError, match="expected a share above 0, up to 1") as refused:
        digits(**{name: share})
    assert refused.value.field == name


def test_shares_of_arrays_are_those_of_any_data_set() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4), dtype=np.uint8)
    dataset = Dataset.from_arrays(images, np.arange(40) % 2, ("a", "b"), label_fraction=0.5, train_fraction=0.5)
    # Of 20 per class 4 are in test, 2 of the other 16 in val, 7 of the other 14 are kept, and 4 of these have labels.
    assert dataset.unlabelled is not None
    assert [len(split) for split in (dataset.test, dataset.val, dataset.train, dataset.unlabelled)] == [8, 4, 8, 6]
