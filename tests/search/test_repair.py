"""Repair of what dead processes left, in a real database and a real tracking store."""

from collections.abc import Mapping

import mlflow
import optuna
import pytest
from optuna.trial import TrialState

from kd.machine.processes import myself
from kd.search import repair as repair_module
from kd.search.attributes import END, WORKER
from kd.search.repair import Repair
from kd.search.state import MAX_RETRIES, all_trials, count_finished, stopped_tries

# A heartbeat is the business of Study.optimize; these tests begin trials by hand.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")


def test_runs_that_a_dead_leader_had_open_are_ended(study: optuna.Study, parent_run: str) -> None:
    client = mlflow.MlflowClient()
    tags = {"mlflow.parentRunId": parent_run}
    orphan = client.create_run("0", tags=tags).info.run_id
    begun = client.create_run("0", tags={**tags, "kd.trial": "0"}).info.run_id  # of a trial that is not read yet
    repair = Repair(study, parent_run)
    repair.end_orphans()
    repair.end_runs()
    assert (client.get_run(orphan).info.status, client.get_run(begun).info.status) == ("FAILED", "RUNNING")


def test_a_trial_lost_with_its_worker_is_failed_and_tried_again_and_its_run_ends(
    study: optuna.Study, parent_run: str, dead_process: Mapping[str, object]
) -> None:
    alive, lost = study.ask(), study.ask()
    alive.set_user_attr(WORKER, {**myself(), "trial": alive.number})
    lost.suggest_float("alpha", 0, 1)
    lost.set_user_attr(WORKER, {**dead_process, "trial": lost.number})
    client = mlflow.MlflowClient()
    runs = {
        trial.number: client.create_run("0", tags={"mlflow.parentRunId": parent_run, "kd.trial": str(trial.number)}).info.run_id
        for trial in (alive, lost)
    }
    repair = Repair(study, parent_run)

    assert repair.fail_lost() == [lost.number]
    repair.retry_failed()
    repair.retry_failed()  # twice is once
    repair.end_runs()

    states = [trial.state for trial in all_trials(study)]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING]
    assert all_trials(study)[2].params == all_trials(study)[1].params
    assert client.get_run(runs[alive.number]).info.status == "RUNNING"
    assert client.get_run(runs[lost.number]).info.status == "FAILED"
    retry = study.ask()
    assert retry.number == 2
    assert repair.fail_lost() == []  # it has inherited the name of the worker before, which is no reason to fail it


def test_a_trial_that_kills_its_workers_is_given_up(
    study: optuna.Study, parent_run: str, dead_process: Mapping[str, object]
) -> None:
    repair = Repair(study, parent_run)
    for _ in range(MAX_RETRIES + 1):
        trial = study.ask()
        trial.set_user_attr(WORKER, {**dead_process, "trial": trial.number})
        repair.fail_lost()
        repair.retry_failed()
    assert [trial.state for trial in all_trials(study)] == [TrialState.FAIL] * (MAX_RETRIES + 1)
    assert count_finished(all_trials(study)) == 1


def test_a_trial_that_the_user_stops_is_tried_again_as_often_as_that_happens(
    study: optuna.Study, parent_run: str, dead_process: Mapping[str, object]
) -> None:
    repair, stopped = Repair(study, parent_run), [1, 2, 3, 4, 5, 6, 7, 9]
    times = len(stopped) + MAX_RETRIES + 1
    for number in range(times):
        assert count_finished(all_trials(study)) == 0
        trial = study.ask()
        trial.set_user_attr(WORKER, {**dead_process, "trial": number})
        repair.fail_lost(stopped=number in stopped)
        repair.retry_failed()
    assert [trial.state for trial in all_trials(study)] == [TrialState.FAIL] * times
    assert count_finished(all_trials(study)) == 1
    assert stopped_tries(all_trials(study)[-1].user_attrs) == stopped


def test_a_trial_without_an_owner_is_lost_after_a_while(
    study: optuna.Study, parent_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.ask()
    repair = Repair(study, parent_run)
    assert repair.fail_lost() == []
    monkeypatch.setattr(repair_module, "OWNERLESS_SECONDS", -1.0)
    assert repair.fail_lost() == [0]


def test_a_trial_that_diverged_is_not_tried_again(study: optuna.Study, parent_run: str) -> None:
    trial = study.ask()
    trial.set_user_attr(END, "loss is nan")
    study.tell(trial, state=TrialState.FAIL)
    Repair(study, parent_run).retry_failed()
    assert len(all_trials(study)) == 1
