"""Comparisons of right answers and of scores, alone and as rows of a table."""

import dataclasses

import pytest
import torch
from torch import Tensor

from kd.evaluation.comparisons import Comparison, accuracy_interval, compare_correct, compare_values, corrected
from kd.evaluation.intervals import Interval, share_interval, wilson_interval


def right(*shares: float) -> list[Tensor]:
    """Return of 20 images which are right, one tensor per seed: the first ones, of this share."""
    return [torch.arange(20) < round(20 * share) for share in shares]


def test_the_accuracy_of_one_seed_is_over_images_and_of_several_over_seeds() -> None:
    assert accuracy_interval(right(0.9)) == wilson_interval(18, 20)
    assert accuracy_interval(right(0.9, 0.8, 0.7)) == share_interval([0.9, 0.8, 0.7])


def test_right_answers_of_several_seeds_are_compared_by_their_accuracies() -> None:
    before, after = right(0.5, 0.6, 0.7), right(0.6, 0.75, 0.85)
    assert compare_correct([*zip(before, after, strict=True)]) == compare_values([0.5, 0.6, 0.7], [0.6, 0.75, 0.85])


def test_scores_of_one_seed_have_a_difference_and_no_verdict() -> None:
    compared = compare_values([0.5], [0.75])
    assert (compared.difference.mean, compared.over, compared.verdict) == (0.25, "seeds", "no interval")


def test_gains_of_a_table_of_many_comparisons_may_be_chance() -> None:
    gain = Interval(0.1, 0.01, 0.19, 30)
    alone = [Comparison(gain, gain, gain, p_value) for p_value in (0.03, 0.01, 0.02)]
    assert [one.verdict for one in alone] == ["gain"] * 3
    of_table = corrected(alone)
    assert [one.adjusted_p for one in of_table] == pytest.approx([0.04, 0.03, 0.04])
    assert [one.verdict for one in of_table] == ["gain"] * 3
    more = corrected([*alone, *[dataclasses.replace(alone[0], p_value=0.5)] * 2])
    assert [one.adjusted_p for one in more] == pytest.approx([0.09, 0.05, 0.08, 1, 1])
    assert [one.verdict for one in more] == ["null result", "gain", *["null result"] * 3]
    assert [one.p_value for one in more[:3]] == [0.03, 0.01, 0.02]  # as they were found
    assert corrected([]) == []
