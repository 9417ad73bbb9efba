"""The figures of a run: arrays in, a matplotlib Figure out. Nothing here saves, shows or holds state.

Accuracies and probabilities are fractions and are drawn in percent; every figure carries its units and its n.
"""

from kd.reports.plots.clusters import covariance_clusters
from kd.reports.plots.curves import training_curves
from kd.reports.plots.pictures import dark_knowledge, mended_and_broken
from kd.reports.plots.scores import confusion_matrix, per_class_accuracy, reliability_diagram
from kd.reports.plots.systems import comparison, interval_forest, relative_gain_by_cover

__all__ = [
    "comparison",
    "confusion_matrix",
    "covariance_clusters",
    "dark_knowledge",
    "interval_forest",
    "mended_and_broken",
    "per_class_accuracy",
    "relative_gain_by_cover",
    "reliability_diagram",
    "training_curves",
]
