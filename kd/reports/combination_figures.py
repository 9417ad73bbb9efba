"""The figures of one combination."""

from matplotlib.figure import Figure

from kd.distillation.combination import Combination
from kd.distillation.teacher import Teacher
from kd.reports import plots


def combination_figures(combination: Combination, teacher: Teacher) -> dict[str, Figure]:
    """Return the figures of a combination by name; the teacher is its generalist."""
    dataset, rows = combination.dataset, combination.table
    answers = combination.test_probabilities.argmax(dim=1).numpy()
    return {
        "2_relative_gain_by_cover": plots.relative_gain_by_cover(
            [row.cover for row in rows],
            [row.gain for row in rows],
            f"Gain by cover: generalist and specialists on {dataset.name}, test",
        ),
        "1_mended_and_broken": plots.mended_and_broken(
            dataset.test.images.numpy(),
            dataset.test.labels.numpy(),
            teacher.test_logits.argmax(dim=1).numpy(),
            answers,
            dataset.classes,
            f"Mended and broken by the specialists on {dataset.name}, test",
        ),
        "3_confusion_matrix": plots.confusion_matrix(
            dataset.test.labels.numpy(),
            answers,
            dataset.classes,
            f"Confusion of generalist and specialists on {dataset.name}, test",
        ),
    }
