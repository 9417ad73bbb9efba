"""Signals to real commands at random moments of each stage. Takes a quarter of an hour: ``pytest -m soak -n 1 -rP``."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
import pytest
from PIL import Image

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

PATIENCE_SECONDS = 240.0
STOPPED = "kd: stopped; run the same command again to resume"
NET = ("--depth", "1", "--width", "4")
TEACHER_NET = ("--teacher-depth", "1", "--teacher-width", "4")
SIGNALS = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Command:
    """A command under way."""

    folder: Path
    process: psutil.Popen

    def log(self) -> str:
        return (self.folder / "kd.log").read_text()

    def figures(self) -> int:
        return len(list(self.folder.glob("figures/*/*.png")))

    def opens(self, suffix: str) -> bool:
        return any(file.path.endswith(suffix) for file in self.process.open_files())

    def catches_signals(self) -> bool:
        [caught] = [line for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if "SigCgt" in line]
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@dataclass(frozen=True)
class Stage:
    """A part of a command, which begins when something can be seen, and lasts so many seconds about."""

    arguments: tuple[str, ...]
    begins: Callable[[Command], bool]
    seconds: float


STAGES = {
    "start-up": Stage(("teacher", *NET), Command.catches_signals, 2.0),
    "decoding": Stage(
        ("teacher", *NET, "--data", "folder", "--data-root", "photos", "--image-px", "32"), lambda kd: kd.opens(".jpg"), 3.0
    ),
    "training": Stage(("teacher", *NET, "--epochs", "200"), lambda kd: "epoch 2/" in kd.log(), 2.0),
    "figures": Stage(("teacher", *NET, "--epochs", "2"), lambda kd: kd.figures() == 1, 0.5),
    "export": Stage(("teacher", *NET, "--epochs", "2"), lambda kd: kd.figures() == 4, 3.0),
    "targets": Stage(
        ("student", *NET, "--teacher-width", "32", "--teacher-epochs", "1", "--views", "100", "--epochs", "100"),
        lambda kd: "teacher: test accuracy" in kd.log(),
        3.0,
    ),
    "combination": Stage(
        ("specialist", *NET, *TEACHER_NET, "--teacher-epochs", "1", "--epochs", "1", "--groups", "0,1,2", "--no-control"),
        lambda kd: "specialist 0 0-1-2: test accuracy" in kd.log(),
        4.0,
    ),
    "search": Stage(
        ("tune", *NET, *TEACHER_NET, "--teacher-epochs", "1", "--epochs", "8", "--trials", "100", "--workers", "2"),
        lambda kd: "trial 0" in kd.log(),
        6.0,
    ),
}


def fill(photos: Path) -> None:
    """Lay big photos into a folder for each of two classes: many links to a few files."""
    noise = random.Random(0)  # noqa: S311 - pictures, no secrets
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        for number in range(10):
            Image.frombytes("RGB", (1500, 1500), noise.randbytes(3 * 1500**2)).save(photos / name / f"{number}.jpg")
            for copy in range(100):
                os.link(photos / name / f"{number}.jpg", photos / name / f"{number}-{copy}.jpg")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("turn", range(len(SIGNALS)))
def test_a_signal_at_any_moment_ends_the_command_in_one_line(
    tmp_path: Path, mlflow_store: Callable[..., str], stage: str, turn: int
) -> None:
    number, what = SIGNALS[turn], STAGES[stage]
    if "photos" in what.arguments:
        fill(tmp_path / "photos")
    store = mlflow_store(tmp_path)
    with (tmp_path / "kd.log").open("wb") as log:
        process = psutil.Popen(
            [sys.executable, "-m", "kd", *what.arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": store},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    command = Command(tmp_path, process)
    until = time.monotonic() + PATIENCE_SECONDS
    while not what.begins(command):
        assert process.poll() is None, command.log()
        assert time.monotonic() < until, command.log()
        time.sleep(0.005)
    moment = random.uniform(0, what.seconds)  # noqa: S311 - the same
    time.sleep(moment)
    started = [process, *process.children(recursive=True)]
    process.send_signal(number)
    began = time.monotonic()
    code = process.wait(PATIENCE_SECONDS)
    seconds = time.monotonic() - began
    lines = command.log().splitlines()
    print(f"{stage}, {number.name} after {moment:.2f} s: code {code} in {seconds:.2f} s, {lines[-1]!r}")  # noqa: T201 - the table
    assert code == 128 + number, command.log()
    assert lines[-1] == ("kd: stopped" if stage == "start-up" and len(lines) == 1 else STOPPED)
    assert "Traceback" not in command.log()
    assert not psutil.wait_procs(started, timeout=10)[1]
    runs = mlflow.MlflowClient(store).search_runs(["0"], max_results=1000)
    assert not [run.info.run_name for run in runs if run.info.status == "RUNNING"]
