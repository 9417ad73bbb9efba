"""When Ctrl-C and SIGTERM are heard: by real signals to this process, at many moments of queries and of runs' ends."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import optuna
import pytest
from mlflow.entities import RunStatus
from optuna.trial import TrialState

from kd.machine import signals as interrupts
from kd.machine.signals import Terminated, heard, is_hurried, uncut
from kd.search.storage import opened
from kd.tracking import store as tracking

MOMENTS = 15
LATEST_SECONDS = 0.2


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


def ended_by(work: Callable[[], None]) -> type[BaseException] | None:
    """Return what interrupted the work."""
    with heard():
        try:
            work()
        except KeyboardInterrupt as error:
            return type(error)
    return None


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_is_heard_at_once_where_it_cuts_nothing(number: int, error: type[BaseException]) -> None:
    def work() -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    began = time.monotonic()
    assert ended_by(work) is error
    assert time.monotonic() - began < 30


def test_what_must_not_be_cut_ends_first(done: list[str]) -> None:
    @uncut
    def whole() -> None:
        interrupt()
        done.append("all of it")

    def work() -> None:
        whole()
        time.sleep(60)

    assert ended_by(work) is KeyboardInterrupt
    assert done == ["all of it"]


def test_what_cleans_up_ends_first(done: list[str]) -> None:
    @contextmanager
    def cleaned() -> Iterator[None]:
        yield
        interrupt()
        done.append("cleaned")

    def work() -> None:
        with cleaned():
            pass
        time.sleep(60)

    assert ended_by(work) is KeyboardInterrupt
    assert done == ["cleaned"]


def test_a_second_one_does_not_cut_what_the_first_has_begun(done: list[str]) -> None:
    def work() -> None:
        try:
            interrupt(signal.SIGTERM)
        finally:
            interrupt(signal.SIGINT)
            done.append("not asked twice" if not is_hurried() else "")
            interrupt(signal.SIGTERM)
            done.append("asked twice" if is_hurried() else "")

    assert ended_by(work) is Terminated
    assert done == ["not asked twice", "asked twice"]


@pytest.mark.parametrize("alarms_lost", [0, 2])
def test_nothing_is_held_for_ever(done: list[str], monkeypatch: pytest.MonkeyPatch, alarms_lost: int) -> None:
    monkeypatch.setattr(interrupts, "LONGEST_SECONDS", 0.05)

    @uncut
    def work() -> None:
        lose_alarms(alarms_lost)
        os.kill(os.getpid(), signal.SIGINT)
        done.append("held")
        time.sleep(60)

    began = time.monotonic()
    assert ended_by(work) is KeyboardInterrupt
    assert time.monotonic() - began < 30
    assert done == ["held"]
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def lose_alarms(number: int) -> None:
    """Have the next alarms do nothing, as those do that the kernel hands to another thread."""
    heard_by, lost = signal.getsignal(signal.SIGALRM), []

    def lose(*_: object) -> None:
        lost.append(1)
        if len(lost) == number:
            signal.signal(signal.SIGALRM, heard_by)

    if number:
        signal.signal(signal.SIGALRM, lose)


def test_what_a_shell_has_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with heard():
        interrupt()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_at_the_end_a_signal_that_waits_is_forgotten_and_the_next_one_ends_the_process(done: list[str]) -> None:
    @uncut
    def work() -> None:
        with heard():
            interrupt()
            done.append("the end")

    work()
    time.sleep(0.1)
    assert done == ["the end"]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


@pytest.fixture
def done() -> list[str]:
    return []


def test_whenever_a_search_is_stopped_its_storages_work_and_nothing_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], mlflow_store: Callable[..., str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    monkeypatch.setattr(interrupts, "_OWN_PACKAGES", {"kd", __name__})
    chance = random.Random(0)  # noqa: S311 - moments, no secrets
    with opened(f"sqlite:///{tmp_path}/optuna.db") as storage:
        study = optuna.create_study(storage=storage, study_name="s")
        study.set_user_attr("times", 0)

        def objective(trial: optuna.Trial) -> float:
            with tracking.run(f"trial {trial.number}", output_dir=tmp_path, tags={}) as run:
                run.log_tags({"trial": str(trial.number)})
                time.sleep(0.01)
                return trial.suggest_float("x", 0, 1)

        def search() -> None:
            while True:
                study.set_user_attr("times", study.user_attrs["times"] + 1)
                study.optimize(objective, n_trials=1)

        study.optimize(objective, n_trials=1)
        for _ in range(MOMENTS):
            moments = sorted(chance.uniform(0, LATEST_SECONDS) for _ in range(2))
            assert stopped(search, moments)
            study.set_user_attr("times", study.user_attrs["times"] + 1)
            assert not study.get_trials(states=[TrialState.RUNNING])
            assert mlflow.active_run() is None
        trials = study.get_trials()
    statuses = {run.info.status for run in mlflow.MlflowClient().search_runs(["0"], max_results=10_000)}
    assert len(trials) > 5
    assert statuses <= {RunStatus.to_string(status) for status in (RunStatus.FINISHED, RunStatus.KILLED)}
    assert "Traceback" not in "".join(capfd.readouterr())


def stopped(work: Callable[[], None], moments: list[float]) -> bool:
    """Interrupt the work at some moments after its beginning; return whether the first signal ended it."""

    def send() -> None:
        began = time.monotonic()
        for moment in moments:
            time.sleep(max(0.0, began + moment - time.monotonic()))
            os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    with heard():
        try:
            sender.start()
            work()
        except KeyboardInterrupt:
            sender.join()
            return True
    return False
