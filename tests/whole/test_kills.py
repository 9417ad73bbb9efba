"""Commands that are killed again and again, at random moments, until they finish: they end as the one that was never stopped.

The gate kills one command five times. By hand, for two hours: ``pytest -m soak -n 1 -rP tests/whole/test_kills.py``; the
environment's ``KD_KILLS`` is how many kills are done, and ``KD_SEED`` repeats the moments of an earlier time.
"""

import hashlib
import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import optuna
import pytest
import torch
from forked import Forked
from optuna.trial import TrialState

from kd.search.state import all_trials, count_finished
from kd.search.storage import opened

PATIENCE_SECONDS = 600.0
SEED = int(os.environ.get("KD_SEED") or secrets.randbelow(10**6))
KILLS = int(os.environ.get("KD_KILLS") or 200)
"""Kills of all soak tests together, shared out evenly."""

SMALL = ("--depth", "1", "--width", "4")
TEACHER = ("--teacher-depth", "1", "--teacher-width", "4", "--teacher-epochs", "3")
TRIALS = 6
COMMANDS = {
    "teacher": ("teacher", *SMALL, "--epochs", "30"),
    "student": ("student", *SMALL, *TEACHER, "--epochs", "3", "--views", "2"),
    "specialist": ("specialist", *SMALL, *TEACHER, "--epochs", "2", "--views", "2", "--groups", "0,1,2;3,5,8"),
    "pipeline": ("pipeline", *SMALL, *TEACHER, "--epochs", "2", "--views", "2", "--groups", "0,1,2"),
    "tune": (
        *("tune", *SMALL, *TEACHER, "--epochs", "2", "--views", "1", "--trials", str(TRIALS), "--workers", "2"),
        *("--final-seeds", "1", "--study-name", "s", "--storage", "sqlite:///study.db"),
    ),
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TIMES = ("system/", "seconds", "per_second", "ms_per", "latency")
"""Parts of the names of metrics that differ from one time to the next."""

Rows = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Outcome:
    """What a command leaves: of each kind only what does not differ from one time to the next."""

    weights: dict[str, str]
    """Digest of the chosen weights of each training, by its name."""
    runs: list[tuple[str, str, Rows]]
    """Name, state and metrics of each run."""


class Place:
    """A working folder with an MLflow store of its own, in which one command is started, time and again."""

    def __init__(self, folder: Path, lay_store: Callable[..., str], arguments: tuple[str, ...]) -> None:
        folder.mkdir()
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self.log.touch()
        self.arguments = arguments
        self.store = lay_store(folder)
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": self.store}

    def start(self) -> Forked:
        return Forked(self.arguments, self.folder, self.env, self.log)

    def said(self) -> str:
        return self.log.read_text()

    def outcome(self) -> Outcome:
        client = mlflow.MlflowClient(self.store)
        runs = []
        for run in client.search_runs(["0"], max_results=1000):
            names = [name for name in run.data.metrics if not any(part in name for part in TIMES)]
            rows = {name: [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, name)] for name in names}
            runs.append((str(run.info.run_name), str(run.info.status), rows))
        weights = {path.name[: -len("-01234567.pt")]: digest(path) for path in (self.folder / "checkpoints").glob("*.pt")}
        return Outcome(weights, sorted(runs, key=lambda run: run[0]))

    def left(self) -> list[str]:
        """Return the files that only a command under way may have."""
        names = (path.name for path in self.folder.rglob("*"))
        return [name for name in names if name.startswith(("unfinished-", "tmp")) or name.endswith((".lock", ".tmp"))]


def digest(checkpoint: Path) -> str:
    weights = torch.load(checkpoint, weights_only=True)["fit"]["best_weights"]
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    return whole.hexdigest()


def assert_ends_alike(cut: Place, whole: Place) -> None:
    """Compare the weights, metrics, names, states and number of runs of a command with those of the one never stopped."""
    expected, found = whole.outcome(), cut.outcome()
    assert [run[:2] for run in found.runs] == [(name, "FINISHED") for name, *_ in expected.runs], cut.said()
    assert found.weights == expected.weights, cut.said()
    assert found.runs == expected.runs, cut.said()
    assert cut.left() == []
    assert "Traceback" not in cut.said()


@pytest.fixture
def place(tmp_path: Path, mlflow_store: Callable[..., str], request: pytest.FixtureRequest) -> Callable[[str, str], Place]:
    """Return what makes a place of some name for one of the commands; the seed is told."""
    print(f"KD_SEED={SEED} {request.node.name}")  # noqa: T201 - to repeat it
    return lambda name, command: Place(tmp_path / name, mlflow_store, COMMANDS[command])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Callable[..., str]) -> Callable[[str], tuple[Place, float]]:
    """Return what runs a command once, never stopped, and gives its place and the seconds that it took."""
    done: dict[str, tuple[Place, float]] = {}

    def run(command: str) -> tuple[Place, float]:
        if command not in done:
            place = Place(tmp_path_factory.mktemp("whole") / command, mlflow_store, COMMANDS[command])
            began = time.monotonic()
            with place.start() as process:
                assert process.wait(PATIENCE_SECONDS) == 0, place.said()
            done[command] = place, time.monotonic() - began
        return done[command]

    return run


# The gate's

MOMENTS = ("teacher (1 of 3): epoch 1/", "epoch 3/3", "control of student (", "control of student: test", "\nstudent (")
"""What stands in the log when the command is killed: in mid-training, at figures and models, between two nets."""


def test_a_command_killed_five_times_ends_as_the_one_never_stopped(place: Callable[[str, str], Place]) -> None:
    chance = random.Random(SEED)  # noqa: S311 - moments, no secrets
    whole, cut = place("whole", "student"), place("cut", "student")
    with whole.start() as process:
        assert process.wait(PATIENCE_SECONDS) == 0, whole.said()
    for moment in MOMENTS:
        with cut.start() as process:
            while moment not in cut.said():
                assert process.poll() is None, cut.said()
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2))
            assert process.poll() is None, cut.said()
            process.kill()
    with cut.start() as process:
        assert process.wait(PATIENCE_SECONDS) == 0, cut.said()
    assert_ends_alike(cut, whole)
    assert_reuse_is_noted(cut)


def assert_reuse_is_noted(place: Place) -> None:
    """Check that each line that said what is resumed, or reused, stands in the note of the command's run, in both forms."""
    said = {line for line in place.said().splitlines() if line.startswith("resuming run") or ": reused" in line}
    assert any("of this command, which stopped" in line for line in said)
    assert any("finished in run" in line for line in said)
    [parent] = mlflow.MlflowClient(place.store).search_runs(["0"], "tags.`kd.role` = 'parent'")
    whole_note = mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/note/note.md")
    for note in (whole_note, parent.data.tags["mlflow.note.content"]):
        assert said <= {line.removeprefix("- ") for line in note.splitlines()}


# The soak's


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_stopped_at_any_moment_ends_as_the_one_never_stopped(
    place: Callable[[str, str], Place], whole: Callable[[str], tuple[Place, float]], command: str, number: signal.Signals
) -> None:
    chance = random.Random(f"{SEED} {command} {number.name}")  # noqa: S311 - moments, no secrets
    never_stopped, seconds = whole(command)
    kills, series = 0, 0
    while kills < KILLS / len(COMMANDS) / len(SIGNALS):
        cut = place(f"cut {series}", command)
        series += 1
        limit = 0.5 * seconds
        while (stopped := killed(cut, chance.uniform(0, limit), number)) is not None:
            assert stopped == (-number if number == signal.SIGKILL else 128 + number), cut.said()
            kills += 1
            limit *= 1.1  # what is left is done at some time
        if command == "tune":
            assert_no_trial_is_lost(cut)
        else:
            assert_ends_alike(cut, never_stopped)
    print(f"{command}: {kills} times {number.name} in {series} series")  # noqa: T201 - the table


def killed(place: Place, seconds: float, number: signal.Signals) -> int | None:
    """Start a command, send it a signal after some seconds, and return its exit code; None: it has finished before."""
    with place.start() as process:
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(number)
        code = process.wait(PATIENCE_SECONDS)
    return None if code == 0 or "it had finished before" in place.said().splitlines()[-1] else code


def assert_no_trial_is_lost(place: Place) -> None:
    """Check that as many trials count as were asked for, that each has a run of its own, and that all has ended."""
    with opened(f"sqlite:///{place.folder}/study.db") as storage:
        trials = all_trials(optuna.load_study(study_name="s", storage=storage))
    assert count_finished(trials) == TRIALS, place.said()
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert [trial.number for trial in trials] == [*range(len(trials))]
    runs = mlflow.MlflowClient(place.store).search_runs(["0"], max_results=1000)
    assert not [run.info.run_name for run in runs if run.info.status == "RUNNING"]
    of_trials = Counter(run.data.tags["kd.trial"] for run in runs if "kd.trial" in run.data.tags)
    assert set(of_trials.values()) <= {1}
    assert place.left() == []
    assert "Traceback" not in place.said()
