"""kd as a process of its own that need not import torch and MLflow again: each forks off one that has them already."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import torch

from kd.cli import main

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        *(
            "kd.commands.pipeline",
            "kd.commands.combine",
            "kd.search.command",
            "kd.reports.training_figures",
            "kd.reports.summary_figures",
            "forked",
        ),
        # What libraries load when it is first needed, which each process would do.
        *(
            "torch._dynamo",
            "torch.export._trace",
            "sklearn.datasets",
            "mlflow.store.tracking.sqlalchemy_store",
            "mlflow.pyfunc",
        ),
    ]
)


class Forked:
    """A kd command under way, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str], output: Path) -> None:
        self._process = _context.Process(target=_kd, args=(list(arguments), folder, dict(env), output))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, "it did not end in time"
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()


def _kd(arguments: Sequence[str], folder: Path, env: Mapping[str, str], output: Path) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # where that is was found out in another environment
    file = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    os.close(file)
    torch.set_num_threads(int(env["OMP_NUM_THREADS"]))
    main(arguments)
