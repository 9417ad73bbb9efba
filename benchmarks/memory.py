"""The peak memory of each command, in the largest of its processes.

``python benchmarks/memory.py --data folder --data-root DIR``; one epoch each, since a second one takes no more. All share a
folder: ``pipeline``, the first, trains the generalist itself, and those that follow find it (but ``teacher``, which always
trains). Nets and recipes are the defaults; a preset takes other amounts. ``--commands teacher,specialist`` measures some, the
first of which trains the generalist; combining needs the specialists of ``pipeline``.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing

from common import parse, show, write_json

MEGABYTE = 1e6
SMALL = ["--depth", "1", "--width", "4"]
ONE_EPOCH = ["--epochs", "1", "--teacher-epochs", "1", "--views", "1"]
SHORT = [*SMALL, *[flag.replace("--", "--teacher-") for flag in SMALL]]
SEARCH = ["--trials", "2", "--workers", "2", "--final-seeds", "1"]
COMMANDS = ("pipeline", "teacher", "student", "specialist", "combine", "tune")
RUNS_OF_ROLE = """
SELECT runs.run_uuid FROM runs
JOIN tags AS role ON role.run_uuid = runs.run_uuid AND role.key = 'kd.role' AND role.value = ?
JOIN tags AS command ON command.run_uuid = runs.run_uuid AND command.key = 'kd.command' AND command.value = ?
WHERE runs.status = 'FINISHED' ORDER BY runs.start_time
"""


def arguments_of(command: str, folder: str, *, short: bool) -> list[str]:
    """Return a command's arguments, but for the data."""
    if command == "combine":
        generalist, specialists = runs(folder, "teacher", "pipeline")[:1], runs(folder, "specialist", "pipeline")
        if not specialists:
            raise SystemExit("combine needs the specialists that pipeline trains: measure both")
        return ["--generalist", *generalist, "--specialists", ",".join(specialists)]
    if command == "teacher":
        return ["--epochs", "1", *(SMALL if short else [])]
    return [*ONE_EPOCH, *(SHORT if short else []), *(SEARCH if command == "tune" else [])]


def runs(folder: str, role: str, command: str) -> list[str]:
    """Return the finished runs of a role that a command began."""
    with closing(sqlite3.connect(f"{folder}/mlflow.db")) as database:
        return [run for (run,) in database.execute(RUNS_OF_ROLE, (role, command))]


def peak_megabytes(command: str, arguments: list[str], folder: str) -> float:
    """Run a command, and return the most memory that it, or a worker of its, held."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kd", command, *arguments],
        cwd=folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"kd {command} failed: run it by hand")
    return usage.ru_maxrss * 1024 / MEGABYTE


def main() -> None:
    """Measure, and print the table."""
    arguments = parse(__doc__, data="digits", commands=("which to measure", ",".join(COMMANDS)))
    data = ["--data", arguments.data, "--data-root", str(arguments.data_root.resolve())]
    names = ["teacher"] if arguments.short else arguments.commands.split(",")
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            own = arguments_of(name, folder, short=arguments.short)
            peaks[name] = peak_megabytes(name, [*own, *data], folder)
    rows = [[f"kd {name}", f"{peak:,.0f}"] for name, peak in peaks.items()]
    show(f"Peak memory on {arguments.data}", ["command", "MB"], rows)
    write_json(arguments.json, {"peak_megabytes": peaks})


if __name__ == "__main__":
    main()
