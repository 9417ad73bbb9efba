"""Transfer sets that are a part of the labelled images."""

from dataclasses import replace

import torch

from kd.data.dataset import Dataset
from kd.lab.transfer_set import part_of, share_of


def test_a_part_keeps_val_test_and_each_images_index(tiny_digits: Dataset) -> None:
    part = part_of(tiny_digits, torch.tensor([5, 9]))
    assert part.train.index.tolist() == tiny_digits.train.index[[5, 9]].tolist()
    assert torch.equal(part.train.images[1], tiny_digits.train.images[9])
    assert part.held_out_digest == tiny_digits.held_out_digest
    assert part.full_train == 120
    assert part_of(part, torch.tensor([0])).full_train == 120


def test_two_parts_have_two_digests_and_the_same_part_has_one(tiny_digits: Dataset) -> None:
    rows = torch.arange(10)
    digests = {part_of(tiny_digits, chosen).digest for chosen in (rows, rows[1:], rows + 1)}
    assert len(digests | {tiny_digits.digest}) == 4
    assert part_of(tiny_digits, rows).digest == part_of(tiny_digits, torch.arange(120) < 10).digest


def test_images_without_labels_are_of_no_part(tiny_digits: Dataset) -> None:
    unlabelled = replace(tiny_digits, unlabelled=tiny_digits.test.without_labels())
    assert len(part_of(unlabelled, torch.arange(3)).transfer_set) == 3


def test_shares_are_nested_and_hold_each_class(tiny_digits: Dataset) -> None:
    labels = tiny_digits.train.labels
    shares = {share: share_of(tiny_digits, share, seed=7).train for share in (0.03, 0.3, 0.6, 1.0)}
    kept = [{*split.index.tolist()} for split in shares.values()]
    assert kept[0] < kept[1] < kept[2] < kept[3]
    assert shares[0.03].labels.bincount().tolist() == [1] * 10
    assert shares[0.6].labels.bincount().tolist() == [round(0.6 * count) for count in labels.bincount().tolist()]
    other = share_of(tiny_digits, 0.3, seed=8).train.index
    assert {*other.tolist()} != kept[1]
