"""The state of a study in a real database: what counts, what is tried again, what is refused."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import mlflow
import optuna
import pytest
import yaml
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState

from kd.config import SpecialistConfig, TuneConfig
from kd.errors import UserError
from kd.machine.processes import myself
from kd.search import trials as trials_module
from kd.search.processes import Leader
from kd.search.report import write_best
from kd.search.space import parse_space
from kd.search.storage import identity, open_study, opened, study_name, without_password
from kd.search.trials import END, SURPLUS, WORKER, Mender, all_trials, finished, is_surplus, stops
from kd.tracking import store as tracking

# A heartbeat is the business of Study.optimize; these tests begin trials by hand.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")

ALPHA: dict[str, BaseDistribution] = {"alpha": FloatDistribution(0, 1)}
POINT = {"configured": {"alpha": 0.5}}


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: Callable[..., str]) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    return f"sqlite:///{tmp_path}/optuna.db"


@pytest.fixture
def study(url: str) -> Iterator[optuna.Study]:
    with opened(url) as storage:
        yield open_study(storage, "s", {"objective": "specialist"}, {}, pareto=False)


@pytest.fixture
def parent_run(url: str, tmp_path: Path) -> Iterator[str]:
    assert url
    with tracking.run("study", output_dir=tmp_path, tags={}) as parent:
        yield parent.id


def facts(options: TuneConfig) -> dict[str, str]:
    return identity(options, parse_space(options), "digest")


def test_a_new_study_has_its_first_points_waiting_and_is_gone_on_with(url: str) -> None:
    with opened(url) as storage:
        made = open_study(storage, "s", {"objective": "specialist"}, POINT, pareto=False)
        assert [trial.state for trial in all_trials(made)] == [TrialState.WAITING]
        trial = made.ask()
        assert trial.suggest_float("alpha", 0, 1) == 0.5
        again = open_study(storage, "s", {"objective": "specialist"}, POINT, pareto=False)
        assert len(all_trials(again)) == 1


def test_a_study_whose_creator_died_at_once_gets_its_points(url: str) -> None:
    with opened(url) as storage:
        optuna.create_study(storage=storage, study_name="s", direction="maximize")
        import kd.search.storage as module  # noqa: PLC0415

        patience, module.IDENTITY_SECONDS = module.IDENTITY_SECONDS, 0.1
        try:
            made = open_study(storage, "s", {"objective": "specialist"}, POINT, pareto=False)
        finally:
            module.IDENTITY_SECONDS = patience
        assert [trial.state for trial in all_trials(made)] == [TrialState.WAITING]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pareto": "true"}, "direction"),
        ({"search": "lr=log:0.01:0.5"}, "search"),
        ({"search": "temperature=log:1:10"}, "search"),
        ({"objective": "combined"}, "objective"),
        ({"epochs": "3"}, "its epochs is 20, not 3"),
    ],
)
def test_a_study_of_something_else_is_refused(url: str, change: dict[str, str], message: str) -> None:
    before, after = TuneConfig.parse({}), TuneConfig.parse(change)
    with opened(url) as storage:
        open_study(storage, "s", facts(before), {}, pareto=before.pareto)
        with pytest.raises(UserError, match=message):
            open_study(storage, "s", facts(after), {}, pareto=after.pareto)


def test_another_data_digest_is_refused_and_where_files_lie_is_no_matter(url: str) -> None:
    options = TuneConfig.parse({})
    elsewhere = TuneConfig.parse({"data_root": "elsewhere", "output_dir": "out", "workers": "4", "trials": "99"})
    with opened(url) as storage:
        open_study(storage, "s", facts(options), {}, pareto=False)
        open_study(storage, "s", facts(elsewhere), {}, pareto=False)
        with pytest.raises(UserError, match="data digest is digest, not another"):
            open_study(storage, "s", identity(options, parse_space(options), "another"), {}, pareto=False)


def test_a_study_of_somebody_else_is_refused(url: str) -> None:
    with opened(url) as storage:
        foreign = optuna.create_study(storage=storage, study_name="s", direction="minimize")
        foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        with pytest.raises(UserError, match="a study that kd did not make"):
            open_study(storage, "s", {}, {}, pareto=False)


def test_a_study_of_before_students_had_the_choices_of_teachers_resumes() -> None:
    options = TuneConfig.parse({"objective": "student"})
    told = identity(options, parse_space(options), "digest")
    added = {"net", "label_smoothing", "optimizer", "start_px", "shift_px"}
    assert not added & told.keys()
    assert study_name(options, told) == "digits-student-98c80243"  # what it was called then
    muon = TuneConfig.parse({"objective": "student", "optimizer": "muon"})
    assert identity(muon, parse_space(muon), "digest") == told | {"optimizer": "muon"}


def test_the_name_is_one_of_the_settings() -> None:
    options = TuneConfig.parse({})
    names = {study_name(other, facts(other)) for other in (options, TuneConfig.parse({"trials": "9"}))}
    assert len(names) == 1
    assert study_name(TuneConfig.parse({"epochs": "3"}), facts(TuneConfig.parse({"epochs": "3"}))) not in names
    assert study_name(TuneConfig.parse({"study_name": "mine"}), {}) == "mine"


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("optuna.log", "expected a database"),
        ("sqlite://", "can't share what is in memory"),
        ("sqlite:///:memory:", "can't share what is in memory"),
        ("sqlite:///no/such/folder/optuna.db", "can't be used"),
        ("postgresql://user:secret@127.0.0.1:1/none", "can't be used"),
        ("journal:///optuna.log", "can't be used"),
    ],
)
def test_a_storage_that_workers_cannot_share_is_refused(url: str, storage: str, message: str) -> None:
    assert url
    with pytest.raises(UserError, match=message) as refused, opened(storage):
        pass
    assert "secret" not in str(refused.value)


def test_mlflows_own_database_is_refused_even_under_another_name(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MLflow's own database"), opened(f"sqlite:///{tmp_path}/mlflow.db"):
        pass
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("create table experiments (id int)")
        connection.execute("create table runs (id int)")
    connection.close()
    with pytest.raises(UserError, match="a database of MLflow's"), opened(f"sqlite:///{tmp_path}/other.db"):
        pass
    assert url


def test_no_password_is_tracked() -> None:
    shown = without_password(TuneConfig.parse({"storage": "postgresql://user:secret@host/studies"}))
    assert "secret" not in str(shown.texts())
    assert "user" in shown.storage


def test_runs_that_a_dead_leader_had_open_are_ended(study: optuna.Study, parent_run: str) -> None:
    client = mlflow.MlflowClient()
    tags = {"mlflow.parentRunId": parent_run}
    orphan = client.create_run("0", tags=tags).info.run_id
    begun = client.create_run("0", tags={**tags, "kd.trial": "0"}).info.run_id  # of a trial that is not read yet
    mender, told = Mender(study, parent_run), list[str]()
    mender.end_orphans(told.append)
    mender.end_runs(told.append)
    assert (client.get_run(orphan).info.status, client.get_run(begun).info.status) == ("FAILED", "RUNNING")
    assert len(told) == 1


def test_trials_that_count_are_those_that_nobody_need_do(study: optuna.Study) -> None:
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        trial = study.ask()
        study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state=state)
    for reason in ("loss is nan", SURPLUS):
        trial = study.ask()
        trial.set_user_attr(END, reason)
        study.tell(trial, state=TrialState.FAIL)
    study.ask()
    assert finished(all_trials(study)) == 3  # complete, pruned, and the one of a loss that is not finite


def test_the_trial_one_too_many_is_surplus(study: optuna.Study) -> None:
    first, second, third = study.ask(), study.ask(), study.ask()
    assert [is_surplus(study, trial.number, 2) for trial in (first, second, third)] == [False, False, True]
    study.tell(first, state=TrialState.FAIL)  # lost with its worker: the third takes its place
    assert not is_surplus(study, third.number, 2)


def test_a_trial_lost_with_its_worker_is_failed_and_tried_again_and_its_run_ends(
    study: optuna.Study, parent_run: str, dead_process: Mapping[str, object], tmp_path: Path
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
    mender = Mender(study, parent_run)
    told: list[str] = []

    assert mender.fail_lost() == [lost.number]
    mender.retry_failed()
    mender.retry_failed()  # twice is once
    mender.end_runs(told.append)

    states = [trial.state for trial in all_trials(study)]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING]
    assert all_trials(study)[2].params == all_trials(study)[1].params
    assert client.get_run(runs[alive.number]).info.status == "RUNNING"
    assert client.get_run(runs[lost.number]).info.status == "FAILED"
    assert len(told) == 1
    retry = study.ask()
    assert retry.number == 2
    assert mender.fail_lost() == []  # it has its elder's worker written on it, which is no reason to fail it
    assert tmp_path


def test_a_trial_that_kills_its_workers_is_given_up(
    study: optuna.Study, parent_run: str, dead_process: Mapping[str, object]
) -> None:
    mender = Mender(study, parent_run)
    for _ in range(trials_module.MOST_RETRIES + 1):
        trial = study.ask()
        trial.set_user_attr(WORKER, {**dead_process, "trial": trial.number})
        mender.fail_lost()
        mender.retry_failed()
    assert [trial.state for trial in all_trials(study)] == [TrialState.FAIL] * (trials_module.MOST_RETRIES + 1)
    assert finished(all_trials(study)) == 1


def test_a_trial_that_the_user_stops_is_tried_again_as_often_as_that_happens(
    study: optuna.Study, parent_run: str, dead_process: Mapping[str, object]
) -> None:
    mender, stopped = Mender(study, parent_run), [1, 2, 3, 4, 5, 6, 7, 9]
    times = len(stopped) + trials_module.MOST_RETRIES + 1
    for number in range(times):
        assert finished(all_trials(study)) == 0
        trial = study.ask()
        trial.set_user_attr(WORKER, {**dead_process, "trial": number})
        mender.fail_lost(stopped=number in stopped)
        mender.retry_failed()
    assert [trial.state for trial in all_trials(study)] == [TrialState.FAIL] * times
    assert finished(all_trials(study)) == 1
    assert stops(all_trials(study)[-1].user_attrs) == stopped


def test_the_best_of_each_study_is_kept_in_one_folder(url: str, tmp_path: Path) -> None:
    config, kept = TuneConfig.parse({}), {}
    with opened(url) as storage:
        for name, alpha in (("first/one", 0.1), ("second", 0.2), ("first/one", 0.3)):
            study = open_study(storage, name, {}, {}, pareto=False)
            study.add_trial(optuna.create_trial(value=alpha, params={"alpha": alpha}, distributions=ALPHA))
            assert write_best(config, study, "auto", tmp_path) == tmp_path / "best.yaml"
            files = tmp_path.glob("best*.yaml")
            kept = {path.name: SpecialistConfig.parse(yaml.safe_load(path.read_text())).alpha for path in files}
            assert kept["best.yaml"] == alpha
    assert kept == {"best.yaml": 0.3, "best-second.yaml": 0.2}


def test_a_trial_without_an_owner_is_lost_after_a_while(
    study: optuna.Study, parent_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.ask()
    mender = Mender(study, parent_run)
    assert mender.fail_lost() == []
    monkeypatch.setattr(trials_module, "OWNERLESS_SECONDS", -1.0)
    assert mender.fail_lost() == [0]


def test_a_trial_that_diverged_is_not_tried_again(study: optuna.Study, parent_run: str) -> None:
    trial = study.ask()
    trial.set_user_attr(END, "loss is nan")
    study.tell(trial, state=TrialState.FAIL)
    Mender(study, parent_run).retry_failed()
    assert len(all_trials(study)) == 1


def test_one_command_leads_until_it_ends_or_dies(study: optuna.Study, dead_process: Mapping[str, object]) -> None:
    first, second = Leader(study), Leader(study)
    assert first.take_the_lead()
    with first:
        assert not second.take_the_lead()
    assert second.take_the_lead()
    study.set_user_attr("kd.leader", {**study.user_attrs["kd.leader"], **dead_process})
    assert Leader(study).take_the_lead()
    study.set_user_attr("kd.leader", {**study.user_attrs["kd.leader"], "machine": "elsewhere", "time": 0.0})
    assert Leader(study).take_the_lead()
