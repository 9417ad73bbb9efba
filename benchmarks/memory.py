"""How much memory each command takes at most, in a process of its own.

``python benchmarks/memory.py --data folder --data-root DIR``; one epoch each, since a second one takes no more.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import show, write_json

MEGABYTE = 1e6
ONE_EPOCH = ["--epochs", "1", "--teacher-epochs", "1", "--views", "1"]
COMMANDS = {
    "teacher": ["--epochs", "1"],
    "student": ONE_EPOCH,
    "specialist": ONE_EPOCH,
    "pipeline": ONE_EPOCH,
}


def peak_megabytes(command: str, data: list[str], folder: str) -> float:
    """Run a command, and return the most memory that it held."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kd", command, *COMMANDS[command], *data],
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--short", action="store_true", help="the first command alone")
    parser.add_argument("--data", default="digits", help="data set")
    parser.add_argument("--data-root", default="data", type=Path, help="folder of its files")
    arguments = parser.parse_args()
    data = ["--data", arguments.data, "--data-root", str(arguments.data_root.resolve())]
    names = list(COMMANDS)[:1] if arguments.short else list(COMMANDS)
    with tempfile.TemporaryDirectory() as folder:
        peaks = {name: peak_megabytes(name, data, folder) for name in names}
    rows = [[f"kd {name}", f"{peak:,.0f}"] for name, peak in peaks.items()]
    show(f"Peak memory on {arguments.data}", ["command", "MB"], rows)
    write_json(arguments.json, {"peak_megabytes": peaks})


if __name__ == "__main__":
    main()
