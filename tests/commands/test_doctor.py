"""``kd doctor``: what it tells, and that its exit code says whether something is wrong."""

import importlib.metadata
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import kd
from kd.commands import doctor as module
from kd.commands.doctor import doctor
from kd.config import DoctorConfig

Main = Callable[[Sequence[str]], None]


def test_where_all_is_fine_it_says_so_on_standard_output(cli: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cli(["doctor"])
    text = capsys.readouterr().out
    assert f"kd: {kd.__version__}, Python " in text
    assert f"torch {importlib.metadata.version('torch')}" in text
    assert "device: cpu (" in text
    assert f"tracking store: sqlite:///{tmp_path}/mlflow.db (sqlite): new: the first command makes it\n" in text
    assert f"teachers' targets: 0 files, 0 B, in {tmp_path}/targets\n" in text
    assert text.endswith("all is fine\n")


def test_what_is_wrong_is_told_and_mended_by_the_command_that_it_names(
    cli: Main, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    damaged = tmp_path / "targets" / "0.targets"
    damaged.parent.mkdir()
    damaged.write_text("damaged")
    with pytest.raises(SystemExit) as caught:
        cli(["doctor", "--json"])
    assert caught.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert told["wrong"] == [f"{damaged}: damaged; `kd doctor --clear-caches` deletes it"]
    assert not told["is_fine"]
    cli(["doctor", "--clear-caches"])
    assert f"deleted {damaged}, 7 B\nall is fine\n" in capsys.readouterr().out
    assert not damaged.exists()


def test_packages_that_are_missing_or_too_old_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "optuna":
            raise importlib.metadata.PackageNotFoundError
        return "1.13.1+cpu" if name == "torch" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["torch>=2.11", "numpy>=2", 'ruff>=99; extra == "lint"'])
    answer = doctor(DoctorConfig())
    assert answer.record["wrong"] == [
        "optuna is not installed: pip install optuna",
        "torch 1.13.1+cpu is not what kd needs (>=2.11): pip install 'torch>=2.11'",
    ]
    assert answer.code == 1


def test_a_full_disk_and_a_store_that_is_gone_are_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "LEAST_FREE", 10**18)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/absent/mlflow.db")
    store, disk = doctor(DoctorConfig()).record["wrong"]
    assert store.endswith(f"{tmp_path}/absent is no folder that can be written to; set MLFLOW_TRACKING_URI to another one")
    assert disk.startswith(f"output folder {tmp_path}: ")
    assert disk.endswith(" are left on the disk; free some space")
