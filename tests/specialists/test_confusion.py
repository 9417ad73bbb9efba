"""Groups by confusion: values by hand, and classes that are confused among many that are not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd.specialists.clustering import auto_groups
from kd.specialists.confusion import InGroups, confusion, embedded, in_groups


def test_confusion_by_hand() -> None:
    # Class 0 gives class 1 (0.25 + 0.75) / 2 = 0.5, class 1 gives class 0 0.25; class 2 has no images.
    probabilities = torch.tensor([[0.75, 0.25, 0.0], [0.25, 0.75, 0.0], [0.25, 0.5, 0.25]])
    expected = [[0.5, 0.375, 0.0], [0.375, 0.5, 0.125], [0.0, 0.125, 0.0]]
    assert confusion(probabilities, torch.tensor([0, 0, 1])).tolist() == expected


def test_clusters_of_the_points_cut_the_least_affinity() -> None:
    affinity = torch.tensor([[9.0, 0, 2, 0], [0, 9, 0, 1], [2, 0, 9, 0.1], [0, 1, 0.1, 9]], dtype=torch.float64)
    points = embedded(affinity, 2)
    assert points.shape == (4, 2)
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    assert max(distances[0, 2], distances[1, 3]) < 0.2 * min(distances[0, 1], distances[0, 3], distances[2, 1])


def accurate(pairs: dict[int, int], classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions of an accurate generalist, which now and then doubts between two classes, and the labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat(30)
    logits = 12 * torch.nn.functional.one_hot(labels, classes).float() + torch.rand(len(labels), classes, generator=generator)
    doubts = torch.rand(len(labels), generator=generator) < 0.1
    for row in doubts.nonzero()[:, 0].tolist():
        if int(labels[row]) in pairs:
            logits[row, pairs[int(labels[row])]] += 11.5
    return logits.softmax(dim=1), labels


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_accurate_generalist_shows_by_its_doubts_which_classes_are_alike(seed: int) -> None:
    pairs = {0: 5, 5: 0, 1: 4, 4: 1, 2: 3, 3: 2}
    probabilities, labels = accurate(pairs, 6, seed)
    assert auto_groups(probabilities, labels, count=3, seed=seed) == ((0, 5), (1, 4), (2, 3))
    assert auto_groups(probabilities, labels, count=3, size=2, seed=seed) == ((0, 5), (1, 4), (2, 3))


@settings(max_examples=20)
@given(
    classes=st.integers(3, 9),
    images=st.integers(1, 12),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_every_prediction_gives_valid_groups(classes: int, images: int, scale: float, seed: int, data: st.DataObject) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(images, classes, generator=generator)
    labels = torch.randint(classes, (images,), generator=generator)
    count = data.draw(st.none() | st.integers(2, max(2, classes // 2)))
    groups = auto_groups(logits.softmax(dim=1), labels, count=count, seed=seed)
    if classes > 3:
        assert sorted(number for group in groups for number in group) == list(range(classes))
        assert count is None or len(groups) == count
    size = data.draw(st.integers(2, classes - 1))
    sized = auto_groups(logits.softmax(dim=1), labels, count=count, size=size, seed=seed)
    assert {len(set(group)) for group in sized} == {size}


def test_mistakes_within_groups_are_counted_and_what_chance_would_give() -> None:
    labels, answers = torch.tensor([0, 0, 1, 2, 3, 3]), torch.tensor([0, 1, 0, 3, 0, 3])
    # Mistakes: 0 as 1, 1 as 0, 2 as 3, 3 as 0. Of 12 ordered pairs of classes 0-1 holds 2, and 0-1-2 6.
    assert in_groups(answers, labels, ((0, 1),), 4) == InGroups(2, 4, 2 / 12)
    assert in_groups(answers, labels, ((0, 1, 2), (0, 1)), 4) == InGroups(2, 4, 6 / 12)
    assert in_groups(labels, labels, ((0, 1),), 4) == InGroups(0, 0, 2 / 12)
