"""Scores against values worked out by hand, scikit-learn and a slow version; predictions against one image at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, recall_score
from torch import Tensor, nn

from kd.data.dataset import Dataset, Split
from kd.evaluation.predict import EVAL_BATCH_SIZE, predict
from kd.evaluation.scores import agreement, calibration_error, per_class_accuracy, score
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet


def error(confidence: list[float], correct: list[bool], bins: int) -> float:
    return calibration_error(torch.tensor(confidence), torch.tensor(correct), bins)


def test_calibration_error_by_hand() -> None:
    # Two bins. Low: 0.2 wrong, 0.4 right: |0.6 - 1|. High: 0.6 right, 0.8 right, 0.9 wrong: |2.3 - 2|. Over 5 images.
    assert error([0.2, 0.4, 0.6, 0.8, 0.9], [False, True, True, True, False], 2) == pytest.approx((0.4 + 0.3) / 5)
    # In one bin the gaps cancel: 2.9 of confidence against 3 right.
    assert error([0.2, 0.4, 0.6, 0.8, 0.9], [False, True, True, True, False], 1) == pytest.approx(0.1 / 5)


def test_a_confidence_on_an_edge_belongs_to_the_bin_on_its_left() -> None:
    # Guo et al. 2017: bins ((m - 1) / M, m / M]. Together with 0.3 the gaps cancel, together with 0.7 they would not.
    assert error([0.5, 0.3, 0.7], [False, True, True], 2) == pytest.approx((abs(0.8 - 1) + 0.3) / 3)
    # Every edge of the 15 bins, as float32 tells it: it is with what lies below it, not with what lies above.
    for edge in range(1, 15):
        on, below, above = edge / 15, (edge - 0.5) / 15, (edge + 0.5) / 15
        expected = (abs(on + below - 1) + abs(above - 1)) / 3
        assert error([on, below, above], [False, True, True], 15) == pytest.approx(expected, abs=1e-6), edge


def test_confidences_of_zero_and_one_are_in_the_first_and_the_last_bin() -> None:
    assert error([0.0, 1.0], [False, True], 15) == 0
    assert error([0.0, 1.0], [True, False], 15) == 1
    assert error([0.0, 0.01], [True, False], 15) == pytest.approx((1 - 0.01) / 2)  # one bin
    assert error([1.0, 0.99], [True, False], 15) == pytest.approx((1.99 - 1) / 2)


def slow_calibration_error(confidence: list[float], correct: list[bool], bins: int) -> float:
    total = 0.0
    for number in range(bins):
        inside = [
            (value, right)
            for value, right in zip(confidence, correct, strict=True)
            # In float32 an edge such as 1/3 of 15 is with what lies below it; in float64 the same number lies above.
            if number < np.float32(value) * np.float32(bins) <= number + 1 or (value == 0 and number == 0)
        ]
        if inside:
            gap = sum(value for value, _ in inside) / len(inside) - sum(right for _, right in inside) / len(inside)
            total += abs(gap) * len(inside) / len(confidence)
    return total


@given(st.lists(st.tuples(st.integers(0, 64), st.booleans()), min_size=1, max_size=40), st.sampled_from([1, 2, 8, 16]))
def test_calibration_error_is_that_of_one_bin_at_a_time(images: list[tuple[int, bool]], bins: int) -> None:
    # Confidences in 64ths and bins of powers of two: edges are met, and met exactly.
    confidence, correct = [number / 64 for number, _ in images], [right for _, right in images]
    assert error(confidence, correct, bins) == pytest.approx(slow_calibration_error(confidence, correct, bins), abs=1e-9)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Draw logits (N, C) and labels (N,)."""
    images, classes = draw(st.integers(1, 12)), draw(st.integers(2, 5))
    rows = st.lists(st.integers(-960, 960).map(lambda number: number / 64), min_size=classes, max_size=classes)
    logits = torch.tensor(draw(st.lists(rows, min_size=images, max_size=images)))
    return logits, torch.tensor(draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images)))


@example((torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64)))  # a confidence of 1/3 is at the edge of two of 15 bins
@example((torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2**-6]]), torch.tensor([0, 0])))
@given(scored())
def test_scores_are_those_of_scikit_learn(images: tuple[Tensor, Tensor]) -> None:
    logits, labels = images
    result = score(logits, labels)
    probabilities = logits.double().softmax(dim=1).numpy()
    assert result.accuracy == pytest.approx(accuracy_score(labels, logits.argmax(dim=1)))
    recall = recall_score(labels, logits.argmax(dim=1), average="macro", labels=np.unique(labels), zero_division=0)
    assert result.balanced_accuracy == pytest.approx(recall)
    assert result.nll == pytest.approx(log_loss(labels, probabilities, labels=np.arange(logits.shape[1])), rel=1e-4, abs=1e-5)
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    assert result.calibration_error == pytest.approx(
        slow_calibration_error(confidence.tolist(), (predicted == labels).tolist(), 15), abs=1e-5
    )


def test_the_answer_is_the_largest_logit_however_near_the_next() -> None:
    logits = torch.tensor([[0.0, 1e-8, -5.0]])
    assert score(logits, torch.tensor([1])).accuracy == 1


def test_scores_by_hand() -> None:
    # Probabilities 3/4, 1/4 and 1/2, 1/2 (the first of equals is the answer); labels 0 and 1.
    scores = score(torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    assert scores.accuracy == 0.5
    assert scores.nll == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    assert scores.calibration_error == pytest.approx((0.25 + 0.5) / 2)
    assert scores.own_accuracy is None


def test_in_balanced_accuracy_each_class_with_images_counts_the_same() -> None:
    # Class 0: 3 of 4 right; class 2: 0 of 1; class 3: 1 of 1; class 1 has no images.
    labels = torch.tensor([0, 0, 0, 0, 2, 3])
    scores = score(torch.eye(4)[torch.tensor([0, 0, 0, 3, 0, 3])], labels)
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.balanced_accuracy == pytest.approx((3 / 4 + 0 + 1) / 3)


def test_accuracy_of_each_class_and_none_for_a_class_without_images() -> None:
    logits = torch.eye(4)[torch.tensor([0, 0, 1, 3, 3, 3])]
    labels = torch.tensor([0, 1, 1, 3, 3, 0])
    accuracy = per_class_accuracy(logits, labels, 4)
    assert accuracy[[0, 1, 3]].tolist() == [0.5, 0.5, 1.0]
    assert accuracy[2].isnan()
    assert accuracy.dtype == torch.float64


def test_agreement_is_of_answers_not_of_logits() -> None:
    one = torch.tensor([[1.0, 2.0, 0.0], [5.0, 1.0, 0.0], [0.0, 0.0, 1.0], [3.0, 2.0, 1.0]])
    other = torch.tensor([[-9.0, 8.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 7.0], [0.3, 0.2, 0.1]])
    assert agreement(one, other) == 0.75


def random_images(images: int) -> Split:
    pixels = torch.randint(0, 256, (images, 1, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Split(pixels, torch.zeros(images, dtype=torch.int64), torch.arange(images))


def test_predictions_do_not_depend_on_the_batches_they_are_made_in() -> None:
    torch.manual_seed(0)
    model = Classifier(ResNet(3, 1, 1, 2), [0.5], [0.3]).double()  # another batch, another order of sums
    split = random_images(EVAL_BATCH_SIZE + 3)
    model(split.images)  # moves the running statistics of the norms off their start
    logits = predict(model, split)
    assert logits.shape == (EVAL_BATCH_SIZE + 3, 3)
    assert logits.dtype == torch.float32
    rows = [0, 1, EVAL_BATCH_SIZE - 1, EVAL_BATCH_SIZE, EVAL_BATCH_SIZE + 2]
    single = torch.cat([predict(model, split.select(torch.tensor([row]))) for row in rows])
    torch.testing.assert_close(logits[rows], single)
    backwards = predict(model, split.select(torch.arange(len(split)).flip(0)))
    torch.testing.assert_close(backwards.flip(0), logits)


def test_predicting_evaluates_changes_nothing_and_leaves_no_gradient(tiny_digits: Dataset) -> None:
    model = nn.Sequential(Classifier(ResNet(10, 1, 1, 2), tiny_digits.mean, tiny_digits.std), nn.Dropout(0.5))
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = predict(model, tiny_digits.val), predict(model, tiny_digits.val)
    assert torch.equal(first, second)  # neither dropout nor batch statistics
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not first.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())  # as before
