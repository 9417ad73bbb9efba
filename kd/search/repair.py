"""Repair of what dead processes left: trials and runs that look as if they were under way, trials to be retried.

Optuna fails a trial after two minutes without a heartbeat, and its ``RetryHeartbeatStaleTrialCallback`` enqueues the trial
again. Both are used here, but they are not enough:

* a trial that was killed before its first heartbeat is never failed;
* on the same machine there is no need to wait: whether a process is gone can be seen at once;
* Optuna runs the callback in the process that fails the trial: if that is killed in between, the trial is lost. Here the
  trials to be retried are found from the state of the study, so the next repair makes up for one that was cut short;
* a trial that the user stopped is no failure, and may be stopped as often as the user likes;
* the trial's MLflow run has to be ended too.
"""

import copy
import logging
import time

import optuna
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from kd.machine.processes import is_gone
from kd.search.attributes import END, STOPPED, WORKER
from kd.search.experimental import experimental
from kd.search.state import all_trials, earlier_tries, is_given_up, stopped_tries
from kd.tracking import earlier

try:
    from optuna.storages import RetryHeartbeatStaleTrialCallback as RetryCallback
except ImportError:  # its name before Optuna 4.9
    from optuna.storages import RetryFailedTrialCallback as RetryCallback

log = logging.getLogger("kd")

REPAIR_SECONDS = 15.0
OWNERLESS_SECONDS = 60.0
"""How long a trial may be without the name of its worker, which writes it into the trial at once."""

with experimental():
    _retry = RetryCallback()


class Repair:
    """Repairs one study and the tree of runs below the study's own."""

    def __init__(self, study: optuna.Study, parent_run: str) -> None:
        self._study = study
        self._parent_run = parent_run
        self._ownerless_since: dict[int, float] = {}
        self._repaired_at = 0.0

    def is_due(self) -> bool:
        """Return whether the last repair was a while ago."""
        return time.monotonic() - self._repaired_at > REPAIR_SECONDS

    def repair(self, *, stopped: bool = False) -> None:
        """Fail the lost trials, retry them, and end their runs; for the leader alone, or trials would be retried twice.

        Args:
            stopped: the trials' workers were stopped by the user, which is no failure of theirs.
        """
        self.fail_lost(stopped=stopped)
        self.retry_failed()
        self.end_runs()
        self._repaired_at = time.monotonic()

    def fail_lost(self, *, stopped: bool = False) -> list[int]:
        """Fail the trials whose worker is gone, and return the numbers of those that ran on this machine.

        Args:
            stopped: as in :meth:`repair`.
        """
        with experimental():
            fail_stale_trials(self._study)  # those of other machines, by their heartbeats
        lost = [trial for trial in all_trials(self._study) if trial.state == TrialState.RUNNING and self._is_lost(trial)]
        for trial in lost:
            if stopped:
                tries = [*stopped_tries(trial.user_attrs), trial.number]
                self._study._storage.set_trial_user_attr(trial._trial_id, STOPPED, tries)  # noqa: SLF001 - no other way
            self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        return [trial.number for trial in lost]

    def _is_lost(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER, {})
        if worker.get("trial") == trial.number:
            return is_gone(worker)
        # Its worker was killed before it could write its name, and before the first heartbeat.
        since = self._ownerless_since.setdefault(trial.number, time.monotonic())
        return time.monotonic() - since > OWNERLESS_SECONDS

    def retry_failed(self) -> None:
        """Enqueue again the trials that failed with their worker or were stopped, each once."""
        trials = all_trials(self._study)
        retried = {earlier_tries(trial)[-1] for trial in trials if earlier_tries(trial)}
        for trial in trials:
            is_final = END in trial.user_attrs or is_given_up(trial)
            if trial.state == TrialState.FAIL and not is_final and trial.number not in retried:
                _retry(self._study, copy.deepcopy(trial))  # it appends to what it is given

    def end_runs(self) -> None:
        """End the MLflow runs of trials that are no longer under way."""
        # Read before the runs: a trial that a worker begins in between is not among them.
        ended = {trial.number for trial in all_trials(self._study) if trial.state.is_finished()}
        for run_id, tags in earlier.running_children(self._parent_run).items():
            number = tags.get("kd.trial", "")
            if number.isdecimal() and int(number) in ended and not earlier.is_open_here(tags):
                earlier.end_as_failed(run_id, {"kd.state": "failed", "kd.reason": "its worker died"})
                log.info("run %s of trial %s: its worker died; ended as failed", run_id, number)

    def end_orphans(self) -> None:
        """End the MLflow runs below the study's that are of no trial: those that a leader had open when it died."""
        for run_id, tags in earlier.running_children(self._parent_run).items():
            if "kd.trial" not in tags and not earlier.is_open_here(tags):
                earlier.end_as_failed(run_id, {"kd.reason": "its process died"})
                log.info("run %s: its process died; ended as failed", run_id)
