"""Dustbin targets, the images of a specialist's epoch, and the correction of the dustbin."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from kd.specialists.dustbin import apply_correction, fit_correction, group_labels, group_logits, paper_correction
from kd.specialists.sampling import epoch_rows


def test_the_dustbin_has_the_others_sum_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64).log()
    own = group_logits(logits, (0, 2), dustbin=True, temperature=1.0).softmax(dim=1)
    torch.testing.assert_close(own, torch.tensor([[0.5, 0.15, 0.35]], dtype=torch.float64))
    alone = group_logits(logits, (0, 2), dustbin=False, temperature=1.0).softmax(dim=1)
    torch.testing.assert_close(alone, torch.tensor([[0.5, 0.15]], dtype=torch.float64) / 0.65)


@given(
    logits=st.lists(st.lists(st.floats(-30, 30), min_size=5, max_size=5), min_size=1, max_size=3),
    group=st.frozensets(st.integers(0, 4), min_size=2, max_size=4).map(sorted).map(tuple),
    temperature=st.floats(0.3, 20),
)
def test_the_dustbin_has_the_others_sum_at_every_temperature(
    logits: list[list[float]], group: tuple[int, ...], temperature: float
) -> None:
    teacher = torch.tensor(logits, dtype=torch.float64)
    found = (group_logits(teacher, group, dustbin=True, temperature=temperature) / temperature).softmax(dim=1)
    restricted = (group_logits(teacher, group, dustbin=False, temperature=temperature) / temperature).softmax(dim=1)
    for row, image in enumerate(logits):
        powers = [math.exp((logit - max(image)) / temperature) for logit in image]
        own = [powers[number] for number in group]
        expected = [*own, sum(powers) - math.fsum(own)]
        assert found[row].tolist() == pytest.approx([power / sum(powers) for power in expected], abs=1e-12)
        inside = [math.exp((image[number] - max(image[number] for number in group)) / temperature) for number in group]
        assert restricted[row].tolist() == pytest.approx([power / sum(inside) for power in inside], abs=1e-12)


def test_labels_of_a_group() -> None:
    labels = torch.tensor([4, 0, 3, 1, 3, 2])
    assert group_labels(labels, (1, 3), 5, dustbin=True).tolist() == [2, 2, 1, 0, 1, 2]
    assert group_labels(torch.tensor([3, 1, 3]), (1, 3), 5, dustbin=False).tolist() == [1, 0, 1]


def test_a_label_outside_needs_a_dustbin() -> None:
    with pytest.raises(ValueError, match="no dustbin"):
        group_labels(torch.tensor([1, 2]), (1, 3), 5, dustbin=False)


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    own_fraction=st.floats(0.05, 1),
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 10_000),
)
def test_an_epoch_has_every_own_image_and_its_share_of_the_others(
    labels: list[int], own_fraction: float, seed: int, epoch: int
) -> None:
    own = [row for row, label in enumerate(labels) if label in {1, 3}]
    others = sorted(set(range(len(labels))) - set(own))
    if not own:
        with pytest.raises(ValueError, match="no image is of the group"):
            epoch_rows(torch.tensor(labels), (1, 3), own_fraction=own_fraction, seed=seed, epoch=epoch)
        return
    rows = epoch_rows(torch.tensor(labels), (1, 3), own_fraction=own_fraction, seed=seed, epoch=epoch).tolist()
    assert sorted(row for row in rows if row in own) == own
    drawn = [row for row in rows if row in others]
    assert len(own) + len(drawn) == len(rows)
    wanted = len(own) * (1 - own_fraction) / own_fraction
    assert len(drawn) == (pytest.approx(wanted, abs=0.5 + 1e-9) if others else 0)
    times = [drawn.count(row) for row in others]
    assert not times or max(times) - min(times) <= 1


def test_half_of_the_papers_epoch_is_of_the_group() -> None:
    labels = torch.arange(10).repeat(30)
    rows = epoch_rows(labels, (2, 5, 7), own_fraction=0.5, seed=0, epoch=0)
    assert len(rows) == 180
    assert len(set(rows.tolist())) == 180
    own = torch.isin(labels[rows], torch.tensor([2, 5, 7]))
    assert int(own.sum()) == 90


def test_the_draw_is_a_function_of_seed_and_epoch() -> None:
    labels = torch.arange(10).repeat(30)

    def others(seed: int, epoch: int) -> set[int]:
        rows = epoch_rows(labels, (2, 5, 7), own_fraction=0.5, seed=seed, epoch=epoch)
        return {row for row in rows.tolist() if int(labels[row]) not in {2, 5, 7}}

    torch.manual_seed(1)
    first = others(3, 4)
    torch.manual_seed(2)
    assert others(3, 4) == first
    assert len({frozenset(others(seed, epoch)) for seed in range(4) for epoch in range(4)}) == 16
    # 90 of 210 are drawn: over 30 epochs an image is left out throughout with probability (120 / 210)^30 = 5e-8.
    assert len(set.union(*(others(3, epoch) for epoch in range(30)))) == 210


@pytest.mark.parametrize("own_fraction", [0.0, -0.5, 1.01, math.nan])
def test_a_share_out_of_range_is_refused(own_fraction: float) -> None:
    with pytest.raises(ValueError, match="own_fraction"):
        epoch_rows(torch.tensor([0, 1]), (0, 1), own_fraction=own_fraction, seed=0, epoch=0)
    with pytest.raises(ValueError, match="own_fraction"):
        paper_correction(torch.tensor([5, 5, 5]), (0, 1), own_fraction)


@pytest.mark.parametrize(("classes", "own"), [(10, 2), (10, 5), (10, 9), (100, 5)])
def test_the_correction_is_the_papers_for_balanced_classes_half_and_half(classes: int, own: int) -> None:
    found = paper_correction(torch.full((classes,), 37), tuple(range(own)), 0.5)
    assert found == pytest.approx(math.log((classes - own) / own), abs=1e-12)


def test_no_correction_where_the_sampling_is_that_of_the_data() -> None:
    assert paper_correction(torch.tensor([10, 20, 30, 40]), (0, 2), 0.4) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("counts", [[0, 0, 5], [3, 4, 0]])
def test_no_correction_without_images_on_both_sides(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="images of the group and of the rest"):
        paper_correction(torch.tensor(counts), (0, 1), 0.5)


@given(
    counts=st.lists(st.integers(1, 500), min_size=4, max_size=4),
    own_fraction=st.floats(0.05, 0.95),
    likelihoods=st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
)
def test_the_correction_turns_the_posterior_of_the_epochs_into_that_of_the_data(
    counts: list[int], own_fraction: float, likelihoods: list[float]
) -> None:
    """By Bayes' rule: p(class | image) for an image of given likelihoods, under the epochs' prior and under the data's."""
    own, others = counts[:2], counts[2:]
    prior = [count / sum(counts) for count in counts]
    epochs_prior = [own_fraction * count / sum(own) for count in own]
    epochs_prior += [(1 - own_fraction) * count / sum(others) for count in others]

    def logits(of: list[float]) -> torch.Tensor:
        joint = torch.tensor(of, dtype=torch.float64) * torch.tensor(likelihoods, dtype=torch.float64)
        return torch.stack([joint[0], joint[1], joint[2] + joint[3]]).log()[None]

    shift = paper_correction(torch.tensor(counts), (0, 1), own_fraction)
    corrected = apply_correction(logits(epochs_prior), shift).softmax(dim=1)
    torch.testing.assert_close(corrected, logits(prior).softmax(dim=1))


def test_a_correction_moves_the_dustbin_alone() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert apply_correction(logits, -1.5).tolist() == [[1.0, 2.0, 1.5], [4.0, 5.0, 4.5]]
    assert logits[0, 2] == 3.0


@given(st.data())
def test_the_fitted_correction_is_the_most_likely_one(data: st.DataObject) -> None:
    images = data.draw(st.integers(2, 12))
    logit = st.floats(-8, 8)
    logits = torch.tensor(data.draw(st.lists(st.tuples(logit, logit, logit), min_size=images, max_size=images)))
    labels = torch.tensor([0, 2, *data.draw(st.lists(st.integers(0, 2), min_size=images - 2, max_size=images - 2))])
    shift = fit_correction(logits, labels)
    assert -20 <= shift <= 20

    def nll(of: float) -> float:
        return F.cross_entropy(apply_correction(logits.double(), of), labels).item()

    assert nll(shift) <= min(nll(of.item()) for of in torch.linspace(-20, 20, 81)) + 1e-9
    if abs(shift) < 20:
        expected = apply_correction(logits.double(), shift).softmax(dim=1)[:, 2].sum().item()
        assert expected == pytest.approx(int((labels == 2).sum()), abs=1e-6)


def test_a_shift_that_was_put_in_is_found() -> None:
    """Where images occur as often as they are likely, the fitted correction undoes any shift."""
    logits = torch.tensor([[2.0, 1.0, 3.0]], dtype=torch.float64).log().repeat(6, 1)
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    assert fit_correction(logits, labels) == pytest.approx(0.0, abs=1e-9)
    assert fit_correction(apply_correction(logits, 2.25), labels) == pytest.approx(-2.25, abs=1e-9)


def test_labels_on_one_side_alone_give_the_bound() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert fit_correction(logits, torch.full((5,), 2)) == 20.0
    assert fit_correction(logits, torch.tensor([0, 1, 0, 1, 1])) == -20.0


def test_images_told_apart_perfectly_give_a_shift_between() -> None:
    """The likelihood is the same for all shifts in the wide gap between; at its middle, or none at all."""
    labels = torch.tensor([0, 0, 2, 2])
    logits = torch.tensor([[9.0, -90.0, 0.0], [9.0, -90.0, 0.0], [0.0, -90.0, 13.0], [0.0, -90.0, 13.0]])
    assert fit_correction(logits, labels) == pytest.approx(-2.0, abs=1e-4)
    assert fit_correction(logits * 1000, labels) == 0.0
