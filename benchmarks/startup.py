"""The time that a command takes to begin, and the cost of tracking later: ``python benchmarks/startup.py``.

Each start is that of a process of its own, in a folder of its own. A first step is over when the first backward pass is.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import create_net, create_trainer, parse, show, spread, synthetic_split, write_json

from kd.config import TeacherConfig
from kd.distillation.objectives import hard_objective

FIRST_STEP = """
import os, sys, torch
from kd.cli import main
backward = torch.Tensor.backward
def last(*arguments, **options):
    backward(*arguments, **options)
    os._exit(0)
torch.Tensor.backward = last
main(sys.argv[1:])
"""
EPOCH_SECONDS = 10.0
EPOCHS = 20
IMPORTS, AN_EPOCH = "import of torch and mlflow alone", "tracking of an epoch"
A_TRAINING = "figures and model at a training's end"
METRICS = 12
"""Of an epoch."""


def seconds_of(*arguments: str, folder: str) -> float:
    """Run Python in a folder, and return how long that took from start to end."""
    started = time.perf_counter()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def start(*arguments: str, again: bool = False) -> Callable[[], float]:
    """Return what runs Python in a folder that is new, or, with ``again``, in one where the same was run before."""

    def measure() -> float:
        with tempfile.TemporaryDirectory() as folder:
            if again:
                seconds_of(*arguments, folder=folder)
            return seconds_of(*arguments, folder=folder)

    return measure


def tracking_seconds(epochs: int) -> list[float]:
    """Return how long each epoch's metrics and checkpoint take to be written: those of a generalist."""
    from kd.tracking import store as tracking  # noqa: PLC0415 - the tracking store has to be named before
    from kd.training import checkpoints  # noqa: PLC0415 - the tracking store has to be named before

    net = create_net((3, 32))
    trainer = create_trainer(net, synthetic_split(8), hard_objective())
    next(trainer.epochs())  # an optimizer has no state before its first step
    state = {"trainer": trainer.state(), "best_weights": net.state_dict()}
    taken = []
    with tracking.run("benchmark", output_dir=Path(), tags={}) as run:
        for number in range(epochs):
            started = time.perf_counter()
            run.log_epochs([{"epoch": number, **{f"metric_{name}": 0.5 for name in range(METRICS)}}])
            checkpoints.save(Path("unfinished.pt"), state)
            taken.append(time.perf_counter() - started)
    return taken


def logging_seconds(rounds: int, *, short: bool) -> list[float]:
    """Return how long the figures and the model of a training take to be logged, at its end: those of a generalist."""
    from kd.commands.teacher import teacher  # noqa: PLC0415 - as above
    from kd.tracking.store import Run  # noqa: PLC0415 - the same

    spent: list[float] = []

    def timed(log: Callable[..., object]) -> Callable[..., object]:
        def log_timed(*arguments: object, **named: object) -> object:
            started = time.perf_counter()
            result = log(*arguments, **named)
            spent.append(time.perf_counter() - started)
            return result

        return log_timed

    for name in ("log_figure", "log_tables", "log_model"):
        setattr(Run, name, timed(getattr(Run, name)))
    taken = []
    for _ in range(rounds + 1):
        spent.clear()
        teacher(TeacherConfig(epochs=1, width=4 if short else 32))
        taken.append(sum(spent))
    return taken[1:]  # the first one imports matplotlib and more


def main() -> None:
    """Measure, and print the table."""
    arguments = parse(__doc__)
    rounds, epochs = (1, 2) if arguments.short else (5, 20)
    first_step = ("-c", FIRST_STEP, "teacher")
    starts = {"kd --help": start("-m", "kd", "--help"), "kd teacher to its first step": start(*first_step)}
    if not arguments.short:
        starts["the same, in a folder with a tracking store"] = start(*first_step, again=True)
        starts[IMPORTS] = start("-c", "import torch, mlflow")
    taken = {name: [measure() for _ in range(rounds)] for name, measure in starts.items()}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        taken[AN_EPOCH] = tracking_seconds(epochs)
        taken[A_TRAINING] = logging_seconds(rounds, short=arguments.short)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    share = medians[AN_EPOCH] / EPOCH_SECONDS
    share_of_all = share + medians[A_TRAINING] / (EPOCHS * EPOCH_SECONDS)
    rows = [[name, spread(values)] for name, values in taken.items()]
    show(f"Seconds: median (smallest to largest) of {rounds}, of {epochs} epochs", ["what", "s"], rows)
    print(
        f"\nTracking takes {share:.2%} of an epoch of {EPOCH_SECONDS:g} s, and with the figures and the model at the end "
        f"{share_of_all:.2%} of a training of {EPOCHS} such epochs."
    )
    figures = {
        "help_seconds": medians["kd --help"],
        "first_step_seconds": medians["kd teacher to its first step"],
        "import_seconds": medians.get(IMPORTS),
        "tracking_seconds_an_epoch": medians[AN_EPOCH],
        "tracking_share_of_10_s": share,
        "tracking_seconds_a_training": medians[A_TRAINING],
        "tracking_share_of_20_epochs_of_10_s": share_of_all,
    }
    write_json(arguments.json, dict(figures))


if __name__ == "__main__":
    main()
