"""How long a command takes to begin, and what tracking costs it later: ``python benchmarks/startup.py``.

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

from kd.tasks import hard_objective

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
    from kd import checkpoints, tracking  # noqa: PLC0415 - the tracking store has to be named before

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


def main() -> None:
    """Measure, and print the table."""
    arguments = parse(__doc__)
    rounds, epochs = (1, 2) if arguments.short else (5, 20)
    first_step = ("-c", FIRST_STEP, "teacher")
    starts = {"kd --help": start("-m", "kd", "--help"), "kd teacher to its first step": start(*first_step)}
    if not arguments.short:
        starts["the same, in a folder with a tracking store"] = start(*first_step, again=True)
        starts["import of torch and mlflow alone"] = start("-c", "import torch, mlflow")
    taken = {name: [measure() for _ in range(rounds)] for name, measure in starts.items()}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        taken["tracking of an epoch"] = tracking_seconds(epochs)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    share = medians["tracking of an epoch"] / EPOCH_SECONDS
    rows = [[name, spread(values)] for name, values in taken.items()]
    show(f"Seconds: median (smallest to largest) of {rounds}, of {epochs} epochs", ["what", "s"], rows)
    print(f"\nTracking takes {share:.2%} of an epoch of {EPOCH_SECONDS:g} s.")
    figures = {
        "help_seconds": medians["kd --help"],
        "first_step_seconds": medians["kd teacher to its first step"],
        "tracking_seconds_an_epoch": medians["tracking of an epoch"],
        "tracking_share_of_10_s": share,
    }
    write_json(arguments.json, dict(figures))


if __name__ == "__main__":
    main()
