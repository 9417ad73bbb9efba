"""The figures of a study: its course, what its values have to do with accuracy and size, and when its trials ran.

Names begin with the place in which figures are read; the first place is the final comparison's (:mod:`kd.search.final`).
"""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from kd.search.best import accuracy, amount, ranked_trials
from kd.search.certainty import ValImages, certainty
from kd.search.costs import cost_of
from kd.search.experimental import experimental
from kd.search.space import Axis
from kd.search.state import STATES, all_trials, without_surplus
from kd.tracking import store as tracking
from kd.tracking.params import canonical

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kd.reports.plots import Setting

MIN_COMPLETE = 2
"""Complete trials without which there is nothing to draw."""
MIN_TO_WEIGH = 10
"""Complete trials below which nobody can tell which setting mattered."""
BEST_TRIALS, BEST_SHARE = 5, 0.1
"""The best trials, whose settings are compared with those of all: a tenth, and five at least."""


def log_figures(run: tracking.Run, study: optuna.Study, space: Sequence[Axis], images: ValImages) -> None:
    """Draw the study as it stands, and keep the figures of its run.

    Args:
        run: the study's.
        study: as it stands.
        space: what is searched.
        images: over which val images each accuracy is.
    """
    complete = sorted(ranked_trials(study), key=lambda trial: trial.number)
    if len(complete) < MIN_COMPLETE:
        return
    for name, draw in _figures(study, space, complete, images).items():
        run.log_figure(draw(), name)


def _figures(
    study: optuna.Study, space: Sequence[Axis], complete: Sequence[FrozenTrial], images: ValImages
) -> Mapping[str, Callable[[], "Figure"]]:
    """Return what draws each figure, of those that the trials at hand can show."""
    from kd.reports import plots  # noqa: PLC0415 - Matplotlib is slow to import, and of no use to a command that joins a study

    accuracies = [accuracy(trial) for trial in complete]
    numbers = [trial.number for trial in complete]
    settings = {axis.name: _setting(axis, complete) for axis in space}
    winner = numbers.index(ranked_trials(study)[0].number)
    sure = certainty(study, images)
    interval = None if sure is None else sure.interval
    title = _title(study, len(complete))
    figures: dict[str, Callable[[], Figure]] = {
        "2_history": lambda: plots.search_history(
            numbers,
            accuracies,
            f"Val accuracy by trial: {title}",
            best=winner,
            others=_others(study),
            interval=interval,
            images=images.text(),
        ),
        "4_settings": lambda: plots.searched_settings(
            list(settings.values()), accuracies, f"Val accuracy by each setting: {title}", best=winner
        ),
        "7_timeline": lambda: plots.timeline(*_times(study), f"When the trials ran: {study.study_name}"),
    }
    if all(amount(trial) < float("inf") for trial in complete):
        cost = cost_of(study)
        amounts = [amount(trial) / cost.scale for trial in complete]
        figures[f"3_{cost.figure}"] = lambda: plots.accuracy_and_cost(
            numbers,
            accuracies,
            amounts,
            on_front(accuracies, amounts),
            f"Val accuracy and cost: {title}",
            axis=cost.axis,
            lesser=cost.lesser,
        )
    if {"temperature", "alpha"} <= set(settings):
        figures["5_temperature_and_alpha"] = lambda: plots.two_settings(
            settings["temperature"], settings["alpha"], accuracies, f"Temperature and alpha: {title}", best=winner
        )
    if len(complete) >= MIN_TO_WEIGH and len(set(accuracies)) > 1 and len(settings) > 1:
        shares = importances(study)
        figures["6_importance"] = lambda: plots.importances(
            shares, f"Which settings mattered: {title}", best=count_best(len(complete)), trials=len(complete)
        )
    return figures


def _title(study: optuna.Study, count: int) -> str:
    """Return the end of a figure's title: which study, and how many of its trials are complete."""
    return f"{study.study_name}, {count} complete trials"


def on_front(accuracies: Sequence[float], amounts: Sequence[float]) -> list[bool]:
    """Return which trials are on the front: no other one is as good in both accuracy and cost, and better in one."""
    pairs = list(zip(accuracies, amounts, strict=True))
    return [not any(other != pair and other[0] >= pair[0] and other[1] <= pair[1] for other in pairs) for pair in pairs]


def importances(study: optuna.Study) -> dict[str, float]:
    """Return by how much each setting tells the most accurate trials from all; the shares sum to 1.

    It is PED-ANOVA, which takes the lowest values of a target for the best ones, whatever the study's direction.
    """
    quantile = count_best(len(ranked_trials(study))) / len(ranked_trials(study))
    with experimental(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that low values of the target are taken for the best
        shares = get_param_importances(study, evaluator=_evaluator(quantile), target=lambda trial: -accuracy(trial))
    return dict(shares)


def count_best(complete: int) -> int:
    """Return how many of so many complete trials are the best ones, whose settings are compared with those of all."""
    return max(BEST_TRIALS, round(BEST_SHARE * complete))


def _evaluator(quantile: float) -> PedAnovaImportanceEvaluator:
    takes = inspect.signature(PedAnovaImportanceEvaluator).parameters
    name = "target_quantile" if "target_quantile" in takes else "baseline_quantile"  # as Optuna 4.5 calls it
    chosen: dict[str, Any] = {name: quantile}
    return PedAnovaImportanceEvaluator(**chosen)


def _setting(axis: Axis, complete: Sequence[FrozenTrial]) -> "Setting":
    from kd.reports.plots import Setting  # noqa: PLC0415 - as above

    values = [trial.params[axis.name] for trial in complete]
    if axis.kind == "cat":
        values = [canonical(value) for value in values]
    return Setting(axis.name.replace("_", " "), values, is_log=axis.kind in {"log", "intlog"})


def _others(study: optuna.Study) -> dict[str, list[int]]:
    trials = without_surplus(all_trials(study))
    return {
        name: [trial.number for trial in trials if trial.state == state]
        for state, name in STATES.items()
        if state != TrialState.COMPLETE
    }


def _times(study: optuna.Study) -> tuple[list[int], list[float], list[float], list[str]]:
    """Return the numbers of the trials that ended, when each began and ended in seconds, and how."""
    trials = [
        trial
        for trial in without_surplus(all_trials(study))
        if trial.state in STATES and trial.datetime_start and trial.datetime_complete
    ]
    first = min(trial.datetime_start for trial in trials if trial.datetime_start)
    begun = [(trial.datetime_start - first).total_seconds() for trial in trials if trial.datetime_start]
    ended = [(trial.datetime_complete - first).total_seconds() for trial in trials if trial.datetime_complete]
    return [trial.number for trial in trials], begun, ended, [STATES[trial.state] for trial in trials]
