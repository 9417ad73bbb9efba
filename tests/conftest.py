"""What all tests share: a working folder of their own, one thread, and a small data set."""

import importlib
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from hypothesis import settings

from kd.cli import COMMANDS, command_module, main
from kd.commands.answer import Answer
from kd.config import Config
from kd.data.dataset import Dataset, Split
from kd.data.load import load_dataset
from kd.machine import signals
from kd.machine.output import Verbosity, set_verbosity
from kd.machine.processes import describe_process, is_gone
from kd.machine.signals import STOP_SIGNALS

settings.register_profile("kd", deadline=None)  # how long an example takes says more about the machine than about the code
settings.load_profile("kd")
torch.set_num_threads(1)

pytest_plugins = ["laboratory", "studies"]

MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it
MEMORY_BYTES = 4 << 30
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES:
    # Databases wait for the disk at each of some thousand commits.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

SLOW = ("test_commands", "test_live_study", "test_repair", "test_notebook", "test_ui")
"""Modules that take long; of two processes one begins with the first and third, the other with the second and fourth."""


@pytest.hookimpl(trylast=True)  # after the order was made random
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow modules, so that both processes end at about the same time."""
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests off the tracking server of whoever runs them, and out of the folder where they were started."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.chdir(tmp_path_factory.mktemp("session"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard() -> None:
    """Hear SIGINT in a job that a shell put into the background, and SIGHUP under nohup: what is started here inherits it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_wish", signals._Wish())  # that of another test is not this one's
    monkeypatch.setenv("KD_CACHE", str(tmp_path / "cache" / "kd"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return what lays an MLflow database into a folder, with the place of artifacts, and returns its address.

    It is a copy of one that MLflow made, for which that runs its migrations of all years, one after the other.
    """
    template = tmp_path_factory.mktemp("mlflow") / "mlflow.db"

    def lay(folder: Path, artifacts: str = "") -> str:
        if not template.exists():
            mlflow = importlib.import_module("mlflow")
            mlflow.MlflowClient(f"sqlite:///{template}").search_experiments()
        path = folder / "mlflow.db"
        shutil.copy(template, path)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("update experiments set artifact_location = ?", [artifacts or str(folder / "mlruns" / "0")])
        return f"sqlite:///{path}"

    return lay


@pytest.fixture(scope="session")
def dead_process() -> Mapping[str, object]:
    """Return what told a process of this machine from others, which has ended."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        told = describe_process(process.pid)
        assert not is_gone(told)
    return told


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the project's own files."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def tiny_digits() -> Dataset:
    """Return the digits with 120 images to train on and 40 in each of val and test."""
    digits = load_dataset("digits", "unused")
    return Dataset(
        name="digits",
        classes=digits.classes,
        train=first(digits.train, 120),
        val=first(digits.val, 40),
        test=first(digits.test, 40),
        mean=digits.mean,
        std=digits.std,
        flip=False,
        digest="0" * 32,
    )


def first(split: Split, images: int) -> Split:
    """Return the first images of a split."""
    return split.select(torch.arange(images))


@pytest.fixture
def cli() -> Iterator[Callable[[Sequence[str]], None]]:
    """Return the command line; what it changes in the process is put back."""
    logger, handlers = logging.getLogger("kd"), {number: signal.getsignal(number) for number in STOP_SIGNALS}
    before = logger.handlers[:], logger.level, logger.propagate
    yield main
    set_verbosity(Verbosity.USUAL)
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])  # which, unlike a change of the attribute, forgets what was found out at another level
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def configured(cli: Callable[[Sequence[str]], None], monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str]], Config]:
    """Return what gives the configuration with which a command is called for some arguments, and trains nothing."""
    received: list[Config] = []

    def receive(config: Config) -> Answer:
        received.append(config)
        return Answer()

    for command in COMMANDS:
        monkeypatch.setattr(command_module(command), command, receive)

    def configure(arguments: Sequence[str]) -> Config:
        received.clear()
        cli(arguments)
        [config] = received
        return config

    return configure


@pytest.fixture(scope="session")
def other_values() -> Callable[[type[Config]], dict[str, Any]]:
    """Return what gives each field of a configuration a good value that is not its default."""

    def others(config: type[Config]) -> dict[str, Any]:
        others = {name: other_value(field.annotation, field.default) for name, field in config.model_fields.items()}
        forms = {"net": "my nets/one.py:a net", "net_args": "width=3,kind=a b", "train_fraction": 0.5, "label_fraction": 0.5}
        forms |= {"mean": "0.5,0.25,0.125", "std": "0.5", "loss": "my losses/one.py:a loss"}
        free = [name for name, field in config.model_fields.items() if get_origin(field.annotation) is not Literal]
        own = {name: name.removeprefix("teacher_") for name in free}
        return others | {name: forms[short] for name, short in own.items() if short in forms}

    return others


def other_value(annotation: object, default: object) -> object:
    """Return a value of a field other than its default."""
    if get_origin(annotation) is Literal:
        return next(choice for choice in get_args(annotation) if choice != default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default + 2 if isinstance(default, int) else round(default + 0.05, 10)
    return 3 if default == "all" else f"other {default}"
