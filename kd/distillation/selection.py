"""What the best epoch of a training is chosen by: the order of scores on val."""

import math

from kd.evaluation.scores import Scores
from kd.training.recipe import SelectBy


def rank_by(scores: Scores, select_by: SelectBy) -> tuple[float, float]:
    """Return the key by which epochs are compared where ``Recipe.select_by`` decides; larger is better.

    Of equal accuracies the likelier is larger, of equal likelihoods the more accurate. The accuracies of a specialist are
    those on its own classes; its likelihood is that of all classes that it tells apart, the dustbin among them.
    """
    accuracy, likelihood = scores.rank
    if select_by == "nll":
        return likelihood, accuracy
    if select_by == "accuracy":
        return accuracy, likelihood
    balanced = scores.balanced_accuracy if scores.own_balanced_accuracy is None else scores.own_balanced_accuracy
    return -math.inf if balanced is None else balanced, likelihood
