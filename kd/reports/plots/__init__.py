"""The figures of a run: arrays in, a matplotlib Figure out. Nothing here saves, shows or holds state.

Accuracies and probabilities are fractions and are drawn in percent; every figure carries its units and its n.
"""

from kd.reports.plots.clusters import class_groups
from kd.reports.plots.curves import training_curves
from kd.reports.plots.pictures import dark_knowledge, mended_and_broken
from kd.reports.plots.scores import confusion_matrix, per_class_accuracy, reliability_diagram
from kd.reports.plots.search import (
    Setting,
    accuracy_and_cost,
    importances,
    search_history,
    searched_settings,
    timeline,
    two_settings,
)
from kd.reports.plots.systems import comparison, comparison_over_seeds, interval_forest, relative_gain_by_cover

__all__ = [
    "Setting",
    "accuracy_and_cost",
    "class_groups",
    "comparison",
    "comparison_over_seeds",
    "confusion_matrix",
    "dark_knowledge",
    "importances",
    "interval_forest",
    "mended_and_broken",
    "per_class_accuracy",
    "relative_gain_by_cover",
    "reliability_diagram",
    "search_history",
    "searched_settings",
    "timeline",
    "training_curves",
    "two_settings",
]
