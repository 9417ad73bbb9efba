"""How far a study is: which trials count, how many are left to begin, which are retries."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kd.search.attributes import END, RETRIED, STOPPED, SURPLUS, read_trials

MAX_RETRIES = 5
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
"""The states in which a trial has ended, in words."""


def all_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the study's trials by number; not to be changed.

    Raises:
        UserError: one of them is not of kd's.
    """
    return read_trials(study)


def count_finished(trials: Sequence[FrozenTrial]) -> int:
    """Return how many trials count: see :func:`counts`."""
    return sum(counts(trial) for trial in trials)


def count_left(trials: Sequence[FrozenTrial], wanted: int) -> int:
    """Return how many trials are still to begin, of those wanted; below 1: none."""
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    return wanted - count_finished(trials) - running


def counts(trial: FrozenTrial) -> bool:
    """Return whether a trial is one of those that ``--trials`` asks for: it is done, or it failed and is not retried."""
    if trial.state in {TrialState.COMPLETE, TrialState.PRUNED}:
        return True
    return trial.state == TrialState.FAIL and (is_given_up(trial) or trial.user_attrs.get(END, SURPLUS) != SURPLUS)


def without_surplus(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials but those that were begun after the last one that was asked for."""
    return [trial for trial in trials if trial.user_attrs.get(END) != SURPLUS]


def is_surplus(study: optuna.Study, number: int, wanted: int) -> bool:
    """Return whether a trial that was just begun is one too many: two workers may have begun the last one at once."""
    ahead = [trial.number for trial in all_trials(study) if counts(trial) or trial.state == TrialState.RUNNING]
    return sum(other < number for other in ahead) >= wanted


def earlier_tries(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the trials of which a trial is a retry, oldest first."""
    history: list[int] = trial.system_attrs.get(RETRIED, [])
    return history


def is_given_up(trial: FrozenTrial) -> bool:
    """Return whether a trial that failed is one try too many; those that the user stopped do not count."""
    stopped = stopped_tries(trial.user_attrs)
    return trial.number not in stopped and len({*earlier_tries(trial), trial.number}.difference(stopped)) > MAX_RETRIES


def stopped_tries(user_attrs: Mapping[str, Any]) -> list[int]:
    """Return which of a trial and its earlier tries the user stopped, by the trial's user attributes."""
    numbers: list[int] = user_attrs.get(STOPPED, [])
    return numbers
