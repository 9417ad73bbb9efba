"""The time that a search saves: a study of two workers with cached targets and pruning, against a loop with a live teacher.

Both try the same number of temperatures and alphas on the digits, with nets of one width, so that no draw is dearer than
another. The loop trains each with a live teacher, to the end, in one process of two threads. Wall time from start to end,
start-up and teacher included, of one study each. ``python benchmarks/search.py``
"""

import os
import subprocess
import sys
import tempfile
import time

from common import parse, show, write_json

THREADS = "2"
"""Threads of each arm; those of the study are divided among its workers."""
SHORT = ["--epochs", "2", "--teacher-epochs", "1", "--teacher-width", "4"]


def seconds_of(*arguments: str, folder: str) -> float:
    """Run kd in a folder, and return the seconds that it took."""
    started = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": THREADS, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    subprocess.run([sys.executable, "-m", "kd", *arguments], cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print the table."""
    arguments = parse(__doc__, data="digits")
    trials = 2 if arguments.short else 20
    data = ["--data", arguments.data, "--data-root", str(arguments.data_root.resolve())]
    common = ["tune", *data, "--trials", str(trials), "--search", "width=fixed", "--final-seeds", "0"]
    common += SHORT if arguments.short else []
    with tempfile.TemporaryDirectory() as search, tempfile.TemporaryDirectory() as loop:
        fast = seconds_of(*common, "--workers", "2", folder=search)
        slow = seconds_of(*common, "--workers", "1", "--views", "0", "--pruner", "none", folder=loop)
    head = ["trials", "two workers, cached targets, pruned (s)", "one, live teacher, unpruned (s)", "ratio"]
    show(f"A study on {arguments.data}", head, [[str(trials), f"{fast:.1f}", f"{slow:.1f}", f"{slow / fast:.2f}"]])
    write_json(arguments.json, {"speedup": slow / fast})


if __name__ == "__main__":
    main()
