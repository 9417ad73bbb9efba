"""How a signal stops work: by real signals to this process and to others, wherever work looks for them."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import mlflow
import optuna
import pytest
import torch
from filelock import FileLock
from mlflow.entities import RunStatus
from optuna.trial import TrialState
from PIL import Image
from torch import Tensor, nn

from kd.data import pixels
from kd.data.dataset import Dataset
from kd.data.decode import decode_file
from kd.data.load import load_dataset
from kd.distillation.objectives import hard_objective
from kd.distillation.targets import compute_targets
from kd.evaluation.predict import predict
from kd.machine import signals
from kd.machine.locks import release, wait_for
from kd.machine.signals import ECHO_SECONDS, STOP_SIGNALS, check_stop, end_at_signals, exit_code, note_signals
from kd.search.storage import opened
from kd.tracking import store as tracking
from kd.training.loop import Trainer
from kd.training.recipe import Recipe

MOMENTS = 15
LATEST_SECONDS = 0.2
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(signals, "_wish", signals._Wish())
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def done() -> list[str]:
    return []


def send(number: int = signal.SIGINT) -> None:
    """Send a signal to this process, whose handler has run when this returns."""
    signal.raise_signal(number)


def later(number: int = signal.SIGINT) -> None:
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_stops_work_where_it_looks_and_nowhere_else(done: list[str], number: int) -> None:
    note_signals()
    send(number)
    done.append("what was begun")
    with pytest.raises(KeyboardInterrupt):
        check_stop()
    assert done == ["what was begun"]
    assert exit_code() == 128 + number


def test_what_cleans_up_after_a_stop_is_not_stopped_again() -> None:
    note_signals()
    send()
    with pytest.raises(KeyboardInterrupt):
        check_stop()
    send(signal.SIGTERM)
    check_stop()
    signals.sleep(0.01)
    assert list(signals.stoppable([1, 2])) == [1, 2]
    assert exit_code() == 130


def test_a_sleep_ends_when_a_signal_comes() -> None:
    note_signals()
    later()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        signals.sleep(PATIENCE_SECONDS)
    assert time.monotonic() - began < PATIENCE_SECONDS / 2


def test_code_of_others_that_may_be_cut_is_cut_at_once() -> None:
    note_signals()
    later(signal.SIGTERM)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), signals.raised_at_once():
        time.sleep(PATIENCE_SECONDS)
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    with signals.raised_at_once():
        send()  # which cleans up after the first, say


class SignalledAtItsEnd:
    def __del__(self) -> None:
        send()


def fail_beside_a_signal() -> None:
    SignalledAtItsEnd()
    raise ValueError("by its side")


def test_a_stop_that_comes_within_a_destructor_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    note_signals()
    with pytest.raises(KeyboardInterrupt), signals.raised_at_once():
        SignalledAtItsEnd()
    assert capfd.readouterr() == ("", "")
    check_stop()  # raised once, not twice
    note_signals()
    with pytest.raises(ValueError, match="by its side"), signals.raised_at_once():
        fail_beside_a_signal()
    with pytest.raises(KeyboardInterrupt):
        check_stop()


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("listen", [end_at_signals, note_signals])
def test_what_is_ignored_stays_ignored(listen: Callable[[], None], number: int) -> None:
    signal.signal(number, signal.SIG_IGN)
    listen()
    send(number)
    check_stop()
    assert signal.getsignal(number) is signal.SIG_IGN


def test_waiting_for_a_lock_ends_when_a_signal_comes(tmp_path: Path) -> None:
    note_signals()
    with FileLock(tmp_path / "lock"):
        later()
        with pytest.raises(KeyboardInterrupt):
            wait_for(FileLock(tmp_path / "lock"))
    free = FileLock(tmp_path / "lock")
    wait_for(free)
    release(free)


# Loops of the library


class Stopping(nn.Module):
    """A net during whose second batch a signal comes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(10))
        self.batches = 0

    def forward(self, images: Tensor) -> Tensor:
        self.batches += 1
        if self.batches == 2:
            send()
        return self.weight.expand(len(images), -1) * 1.0


def train(net: Stopping, data: Dataset) -> None:
    recipe = Recipe(epochs=2, batch_size=16, lr=0.1, weight_decay=0.0, seed=0)
    list(Trainer(net, data.train, hard_objective(), recipe, data.augmentation(0)).epochs())


def score(net: Stopping, data: Dataset) -> None:
    predict(net, data.train)


def fill_targets(net: Stopping, data: Dataset) -> None:
    compute_targets(net, data.train, data.augmentation(0), 2, device="cpu", batch_size=16)


@pytest.mark.parametrize("work", [train, score, fill_targets])
def test_steps_and_batches_are_not_cut_and_none_follows(
    tiny_digits: Dataset, monkeypatch: pytest.MonkeyPatch, work: Callable[[Stopping, Dataset], None]
) -> None:
    monkeypatch.setattr("kd.evaluation.predict.EVAL_BATCH_SIZE", 16)
    note_signals()
    net = Stopping()
    with pytest.raises(KeyboardInterrupt):
        work(net, tiny_digits)
    assert net.batches == 2


def test_images_left_are_not_decoded_and_no_half_of_them_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(200):
            Image.new("L", (8, 8)).save(tmp_path / "photos" / name / f"{number}.png")
    decode, decoded = decode_file, []

    def decode_and_signal(path: str, image_px: int, bit_depth: int) -> object:
        decoded.append(path)
        if len(decoded) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            while not signals.is_stopping():
                time.sleep(0.001)
        return decode(path, image_px, bit_depth)

    monkeypatch.setattr(pixels, "decode_file", decode_and_signal)
    note_signals()
    with pytest.raises(KeyboardInterrupt):
        load_dataset("folder", tmp_path / "photos", image_px=8)
    assert len(decoded) < 400
    assert not list((tmp_path / "cache").rglob("*.bin"))
    note_signals()
    assert len(load_dataset("folder", tmp_path / "photos", image_px=8).train) > 200


def test_whenever_a_search_is_stopped_its_storages_work_and_nothing_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], mlflow_store: Callable[..., str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    chance = random.Random(0)  # noqa: S311 - moments, no secrets
    with opened(f"sqlite:///{tmp_path}/optuna.db") as storage:
        study = optuna.create_study(storage=storage, study_name="s")
        study.set_user_attr("times", 0)

        def objective(trial: optuna.Trial) -> float:
            with tracking.run(f"trial {trial.number}", output_dir=tmp_path, tags={}) as run:
                run.log_tags({"trial": str(trial.number)})
                signals.sleep(0.01)
                return trial.suggest_float("x", 0, 1)

        def search() -> None:
            while True:
                study.set_user_attr("times", study.user_attrs["times"] + 1)
                study.optimize(objective, n_trials=1)

        study.optimize(objective, n_trials=1)
        for _ in range(MOMENTS):
            assert stopped(search, sorted(chance.uniform(0, LATEST_SECONDS) for _ in range(2)))
            study.set_user_attr("times", study.user_attrs["times"] + 1)
            assert not study.get_trials(states=[TrialState.RUNNING])
            assert mlflow.active_run() is None
        trials = study.get_trials()
    statuses = {run.info.status for run in mlflow.MlflowClient().search_runs(["0"], max_results=10_000)}
    assert len(trials) > 5
    assert statuses <= {RunStatus.to_string(status) for status in (RunStatus.FINISHED, RunStatus.KILLED)}
    assert "Traceback" not in "".join(capfd.readouterr())


def stopped(work: Callable[[], None], moments: list[float]) -> bool:
    """Send Ctrl-C, then SIGTERM, at two moments after the work's beginning; return whether they ended it."""

    def send_all() -> None:
        began = time.monotonic()
        for moment, number in zip(moments, (signal.SIGINT, signal.SIGTERM), strict=True):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            os.kill(os.getpid(), number)

    sender = threading.Thread(target=send_all)
    note_signals()
    try:
        sender.start()
        work()
    except KeyboardInterrupt:
        sender.join()
        return True
    return False


# Processes that end

BUSY = """
import sys, time
from kd.machine.signals import is_stopping, note_signals

note_signals()
print("ready", flush=True)
while not is_stopping():
    time.sleep(0.001)
print("noted", flush=True)
time.sleep(1000)  # never looks again
"""


class Process:
    """A Python program under way, of which the lines are read as it prints them."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_for(self, line: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{line}\n"

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self._process.send_signal(number)

    def lives(self) -> bool:
        time.sleep(3 * ECHO_SECONDS)
        return self._process.poll() is None

    def end(self) -> tuple[int, str]:
        _, errors = self._process.communicate(timeout=PATIENCE_SECONDS)
        return self._process.returncode, errors


def test_a_second_ctrl_c_exits_at_once() -> None:
    with Process(BUSY) as process:
        process.wait_for("ready")
        process.send(signal.SIGINT)
        process.wait_for("noted")
        assert process.lives()
        process.send(signal.SIGINT)
        code, errors = process.end()
    assert code == 130
    assert errors == "kd: stopped at once; the next command ends the runs that this one left\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGINT, signal.SIGTERM),  # mlflow run, after a terminal's Ctrl-C
        (signal.SIGTERM, signal.SIGTERM),  # timeout; a machine that shuts down
        (signal.SIGHUP, signal.SIGTERM),  # a session that ends
        (signal.SIGTERM, signal.SIGINT),  # a first Ctrl-C
    ],
)
def test_what_programs_send_is_no_second_wish(first: int, second: int) -> None:
    with Process(BUSY) as process:
        process.wait_for("ready")
        process.send(first)
        process.wait_for("noted")
        assert process.lives()
        process.send(second)
        assert process.lives()


def test_ctrl_c_from_the_terminal_and_from_a_program_that_passes_it_on_is_one() -> None:
    with Process(BUSY) as process:
        process.wait_for("ready")
        process.send(signal.SIGINT, signal.SIGINT)
        process.wait_for("noted")
        assert process.lives()


FINISHED = """
import signal, sys
import kd.commands.targets
from kd.__main__ import main
from kd.commands.answer import Answer

def targets(config):
    signal.raise_signal(signal.SIGTERM)
    print("done", flush=True)
    return Answer()

kd.commands.targets.targets = targets
main(["targets", "--list"])
print("goes on")
"""


def test_a_command_that_a_signal_came_too_late_to_stop_says_that_it_had_finished() -> None:
    with Process(FINISHED) as process:
        process.wait_for("done")
        assert process.end() == (143, "kd: stopped; it had finished before: nothing is left to resume\n")


STARTING = """
import sys, time
import kd.__main__

class Slow:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            print("imports", flush=True)
            time.sleep(1000)

sys.argv = ["kd", MODULE]
sys.meta_path.insert(0, Slow())
kd.__main__.main(["teacher"])
"""


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("module", ["kd.cli", "torch"])
def test_a_signal_during_the_imports_ends_the_command_in_one_line(number: int, module: str) -> None:
    with Process(STARTING.replace("MODULE", repr(module))) as process:
        process.wait_for("imports")
        process.send(number)
        assert process.end() == (128 + number, "kd: stopped\n")
