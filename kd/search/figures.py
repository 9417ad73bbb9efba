"""The figures of a study: its course, what its values have to do with the accuracy, and its Pareto front."""

import warnings
from collections.abc import Callable, Sequence

import optuna
from optuna.trial import FrozenTrial

from kd.search.best import ranked_trials
from kd.search.space import Axis
from kd.tracking import store as tracking

INCHES_PER_PANEL = 3.5
MIN_COMPLETE = 2
"""Complete trials without which there is nothing to draw."""


def log_figures(run: tracking.Run, study: optuna.Study, space: Sequence[Axis]) -> None:
    """Draw the study as it stands, and keep the figures of its run."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - a slow import, of no use to a command that joins a study

    complete = ranked_trials(study)
    if len(complete) < MIN_COMPLETE:
        return
    backend = plt.get_backend()
    plt.switch_backend("Agg")
    try:
        for name, draw in _figures(study, space, complete).items():
            with plt.rc_context(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the module is experimental to Optuna, and tells of what it can't lay out
                draw()
                figure = plt.gcf()
                figure.set_size_inches(max(7.0, INCHES_PER_PANEL * len(figure.axes)), 5.0)
                run.log_figure(figure, name)
                plt.close("all")
    finally:
        plt.switch_backend(backend)


def _accuracy(trial: FrozenTrial) -> float:
    accuracy: float = trial.values[0]
    return accuracy


def _figures(study: optuna.Study, space: Sequence[Axis], complete: Sequence[FrozenTrial]) -> dict[str, Callable[[], object]]:
    """Return what draws each figure, of those that the trials at hand can show."""
    import optuna.visualization.matplotlib as drawn  # noqa: PLC0415 - as above

    names = [axis.name for axis in space]
    of = "val accuracy"
    target = _accuracy if len(study.directions) > 1 else None  # a target of one's own costs the line of the best so far
    figures: dict[str, Callable[[], object]] = {
        "timeline": lambda: drawn.plot_timeline(study),
        "history": lambda: drawn.plot_optimization_history(study, target=target, target_name=of),
        "slices": lambda: drawn.plot_slice(study, params=names, target=target, target_name=of),
    }
    if {"temperature", "alpha"} <= set(names):
        both = ["temperature", "alpha"]
        figures["contour"] = lambda: drawn.plot_contour(study, params=both, target=target, target_name=of)
    if len({_accuracy(trial) for trial in complete}) > 1:
        figures["importance"] = lambda: drawn.plot_param_importances(study, target=target, target_name=of)
    if len(study.directions) > 1:
        figures["pareto_front"] = lambda: drawn.plot_pareto_front(study, target_names=["val accuracy", "parameters"])
    return figures
