"""Tables of a model's answers on test, as columns: one row per image, per pair of confused classes, per class."""

from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from kd.evaluation.intervals import wilson_interval
from kd.machine.text import printable

Columns = dict[str, list[str] | list[int] | list[float]]
"""The columns of a table by name, all of the same length."""

_DIGITS = 6
"""Digits after the point of a probability."""


def answer_tables(probabilities: Tensor, labels: Tensor, classes: Sequence[str], images: Tensor) -> dict[str, Columns]:
    """Return a model's answers as tables by name.

    Args:
        probabilities: (N, C), on the test images.
        labels: (N,), the true classes.
        classes: the C names.
        images: (N,), the number of each image in the whole test split; runs of one data set are compared by it.
    """
    shown = [printable(name) for name in classes]
    answers = probabilities.argmax(dim=1)
    return {
        "1_predictions": _predictions(probabilities, labels, shown, images),
        "2_confused_pairs": _confused_pairs(answers, labels, shown),
        "3_per_class": _per_class(answers, labels, shown),
    }


def _predictions(probabilities: Tensor, labels: Tensor, classes: Sequence[str], images: Tensor) -> Columns:
    (first, second), (answer, runner_up) = (part.T.tolist() for part in probabilities.double().topk(2, dim=1))
    of_true = probabilities.double().gather(1, labels[:, None]).squeeze(1).tolist()
    return {
        "image": images.tolist(),
        "class": [classes[label] for label in labels.tolist()],
        "predicted": [classes[number] for number in answer],
        "right": ["yes" if number == label else "no" for number, label in zip(answer, labels.tolist(), strict=True)],
        "probability": _rounded(first),
        "second": [classes[number] for number in runner_up],
        "second_probability": _rounded(second),
        "class_probability": _rounded(of_true),
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, _DIGITS) for value in values]


def _confused_pairs(answers: Tensor, labels: Tensor, classes: Sequence[str]) -> Columns:
    """Return how often each class was taken for each other one, the most frequent mistake first."""
    given = list(zip(labels.tolist(), answers.tolist(), strict=True))
    sizes, counts = Counter(label for label, _ in given), Counter((label, answer) for label, answer in given if label != answer)
    pairs = sorted(counts, key=lambda pair: (-counts[pair], pair))
    return {
        "class": [classes[label] for label, _ in pairs],
        "predicted": [classes[answer] for _, answer in pairs],
        "images": [counts[pair] for pair in pairs],
        "share_of_class": _rounded([counts[label, answer] / sizes[label] for label, answer in pairs]),
    }


def _per_class(answers: Tensor, labels: Tensor, classes: Sequence[str]) -> Columns:
    """Return the accuracy on the images of each class, with its 95 % interval; classes without images are left out."""
    sizes = labels.bincount(minlength=len(classes)).tolist()
    right = labels[answers == labels].bincount(minlength=len(classes)).tolist()
    present = [number for number, size in enumerate(sizes) if size]
    accuracies = [wilson_interval(right[number], sizes[number]) for number in present]
    return {
        "class": [classes[number] for number in present],
        "images": [sizes[number] for number in present],
        "right": [right[number] for number in present],
        "accuracy": _rounded([accuracy.mean for accuracy in accuracies]),
        "low": _rounded([accuracy.low for accuracy in accuracies]),
        "high": _rounded([accuracy.high for accuracy in accuracies]),
    }
