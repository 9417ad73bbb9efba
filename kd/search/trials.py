"""The state of a study's trials: which count, which are lost with their worker, which are tried again."""

import copy
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from kd.machine.processes import is_gone
from kd.tracking import store as tracking

WORKER = "kd.worker"
"""User attribute: the process that runs the trial, and the trial's number; a retry inherits what its elder had."""
END = "kd.end"
"""User attribute: why a trial that failed needs no other try."""
RUN = "kd.run"
"""User attribute: the trial's MLflow run."""
PARAMETERS = "kd.parameters"
"""User attribute: the parameters of a trial's nets."""
UNTIL = "kd.until"
"""Study attribute: when no trial is begun any more, in seconds since the epoch; None: there is no limit."""
STOPPED = "kd.stopped"
"""User attribute: the numbers of the trial and its elders, of those that the user stopped."""
SURPLUS = "surplus"
MOST_RETRIES = 5
OWNERLESS_SECONDS = 60.0

with warnings.catch_warnings():
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    _retry = RetryHeartbeatStaleTrialCallback()


def all_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the study's trials by number; not to be changed."""
    return study.get_trials(deepcopy=False)


def counts(trial: FrozenTrial) -> bool:
    """Return whether a trial is one of those that ``--trials`` asks for: done, or not to be done by any worker."""
    if trial.state in {TrialState.COMPLETE, TrialState.PRUNED}:
        return True
    return trial.state == TrialState.FAIL and (_is_given_up(trial) or trial.user_attrs.get(END, SURPLUS) != SURPLUS)


def finished(trials: Sequence[FrozenTrial]) -> int:
    """Return how many trials count."""
    return sum(counts(trial) for trial in trials)


def under_way(trials: Sequence[FrozenTrial]) -> int:
    """Return how many trials run, anywhere."""
    return sum(trial.state == TrialState.RUNNING for trial in trials)


def is_time_up(study: optuna.Study) -> bool:
    """Return whether no trial shall be begun any more, by any worker."""
    until = study.user_attrs.get(UNTIL)
    return until is not None and time.time() >= until


def is_surplus(study: optuna.Study, number: int, wanted: int) -> bool:
    """Return whether a trial that was just begun is one too many: two workers may have begun the last one at once."""
    ahead = [trial.number for trial in all_trials(study) if counts(trial) or trial.state == TrialState.RUNNING]
    return sum(other < number for other in ahead) >= wanted


def _tries(trial: FrozenTrial) -> list[int]:
    history: list[int] = trial.system_attrs.get("retry_history", [])
    return history


def _is_given_up(trial: FrozenTrial) -> bool:
    """Return whether a trial that failed is one try too many; those that the user stopped do not count."""
    stopped = stops(trial.user_attrs)
    return len({*_tries(trial), trial.number}.difference(stopped)) > MOST_RETRIES and trial.number not in stopped


def stop(trial: optuna.Trial) -> None:
    """Note that a trial under way was stopped by the user."""
    trial.set_user_attr(STOPPED, [*stops(trial.user_attrs), trial.number])


def stops(user_attrs: Mapping[str, Any]) -> list[int]:
    """Return which of a trial and its elders the user stopped, by a trial's user attributes."""
    numbers: list[int] = user_attrs.get(STOPPED, [])
    return numbers


class Mender:
    """Puts right what processes that died left: trials and runs that look under way, and trials to try again."""

    def __init__(self, study: optuna.Study, parent_run: str) -> None:
        self._study = study
        self._parent_run = parent_run
        self._ownerless: dict[int, float] = {}

    def fail_lost(self, *, stopped: bool = False) -> list[int]:
        """Fail the trials whose worker is gone, and return their numbers.

        Args:
            stopped: their workers were stopped by the user, which is no failure of theirs.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            fail_stale_trials(self._study)  # those of other machines, by their heartbeats
        lost = [trial for trial in all_trials(self._study) if trial.state == TrialState.RUNNING and self._is_lost(trial)]
        for trial in lost:
            if stopped:
                told = [*stops(trial.user_attrs), trial.number]
                self._study._storage.set_trial_user_attr(trial._trial_id, STOPPED, told)  # noqa: SLF001 - no other way
            self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        return [trial.number for trial in lost]

    def _is_lost(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER, {})
        if worker.get("trial") == trial.number:
            return is_gone(worker)
        # Killed between the trial's first moment and its second: it has neither a worker's name nor a heartbeat.
        since = self._ownerless.setdefault(trial.number, time.monotonic())
        return time.monotonic() - since > OWNERLESS_SECONDS

    def retry_failed(self) -> None:
        """Enqueue again the trials that failed with their worker, or were stopped; the leader alone does so."""
        trials = all_trials(self._study)
        followed = {_tries(trial)[-1] for trial in trials if _tries(trial)}
        for trial in trials:
            ended = END in trial.user_attrs or _is_given_up(trial)
            if trial.state == TrialState.FAIL and not ended and trial.number not in followed:
                _retry(self._study, copy.deepcopy(trial))  # it appends to what it is given

    def end_runs(self, note: Callable[[str], None]) -> None:
        """End the MLflow runs of trials that are no longer under way."""
        # A trial that a worker has just begun is not among them, whichever is read first.
        ended = {trial.number for trial in all_trials(self._study) if trial.state.is_finished()}
        for run_id, tags in tracking.running_children(self._parent_run).items():
            number = tags.get("kd.trial", "")
            if number.isdecimal() and int(number) in ended:
                tracking.end_as_failed(run_id, {"kd.state": "failed", "kd.reason": "its worker died"})
                note(f"run {run_id} of trial {number}: its worker died; ended as failed")

    def end_orphans(self, note: Callable[[str], None]) -> None:
        """End the MLflow runs below the study's that are of no trial: those that a leader who died had open."""
        for run_id, tags in tracking.running_children(self._parent_run).items():
            if "kd.trial" not in tags:
                tracking.end_as_failed(run_id, {"kd.reason": "its process died"})
                note(f"run {run_id}: its process died; ended as failed")
