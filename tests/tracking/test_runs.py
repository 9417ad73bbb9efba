"""How runs end: at a stop, and after their process died; a run that may be alive is left alone."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import mlflow
import pytest
from matplotlib.figure import Figure
from torch import nn

from kd.machine import signals
from kd.machine.processes import myself
from kd.machine.signals import ECHO_SECONDS
from kd.tracking import store as tracking

PATIENCE_SECONDS = 120

HANGS = """
import sys, time
from pathlib import Path
from kd.machine.signals import note_signals
from kd.tracking.store import run

note_signals()
with run("parent", output_dir=Path(), tags={}), run("child", output_dir=Path(), tags={}):
    print("open", flush=True)
    time.sleep(1000)  # code of others, which no signal ends
"""


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: Callable[..., str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setattr(signals, "_wish", signals._Wish())
    return signals.ask_to_stop


def test_no_run_is_opened_after_a_stop(tmp_path: Path, stop: Callable[[], None]) -> None:
    stop()
    with pytest.raises(KeyboardInterrupt):
        begin_another(tmp_path)
    assert not mlflow.MlflowClient().search_runs(["0"])


@pytest.mark.parametrize(
    "work",
    [
        lambda run: run.log_figure(Figure(), "figure"),
        lambda run: run.log_model(nn.Identity(), [1, 8, 8], {}, page="", texts={}),
    ],
)
def test_a_stop_before_a_figure_or_a_model_kills_the_run(
    tmp_path: Path, stop: Callable[[], None], work: Callable[[tracking.Run], None]
) -> None:
    def command() -> None:
        with tracking.run("run", output_dir=tmp_path, tags={}) as run:
            stop()
            work(run)

    with pytest.raises(KeyboardInterrupt):
        command()
    [run] = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "KILLED"
    assert not mlflow.MlflowClient().list_artifacts(run.info.run_id)
    assert not list(tmp_path.glob("figures/*"))


def left_by(process: str, **tags: str) -> str:
    """Return the id of a run that is open, of a process told in a tag."""
    return str(mlflow.MlflowClient().create_run("0", tags={"kd.process": process, **tags}).info.run_id)


def begin_another(folder: Path, again: str | None = None) -> None:
    with tracking.run("another", output_dir=folder, tags={}, again=again):
        pass


def status(run_id: str) -> str:
    return str(mlflow.get_run(run_id).info.status)


def test_a_run_whose_process_is_gone_ends_when_the_next_one_begins(tmp_path: Path, dead_process: Mapping[str, object]) -> None:
    left, of_a_trial = left_by(json.dumps(dead_process)), left_by(json.dumps(dead_process), **{"kd.state": "begun"})
    begin_another(tmp_path)
    assert [status(run) for run in (left, of_a_trial)] == ["FAILED", "FAILED"]
    assert mlflow.get_run(left).data.tags["kd.reason"] == "its process died"
    assert "kd.state" not in mlflow.get_run(left).data.tags
    assert mlflow.get_run(of_a_trial).data.tags["kd.state"] == "failed"


def test_a_run_that_may_be_alive_is_left_alone(tmp_path: Path, dead_process: Mapping[str, object]) -> None:
    elsewhere = {**dead_process, "machine": "elsewhere"}
    texts = [json.dumps(myself()), json.dumps(elsewhere), "no JSON", "[]", "{}", '{"machine": null}', json.dumps(1)]
    runs = [*map(left_by, texts), mlflow.MlflowClient().create_run("0").info.run_id]
    begin_another(tmp_path)
    assert {status(run) for run in runs} == {"RUNNING"}


def test_a_run_that_is_resumed_is_not_ended_first(tmp_path: Path, dead_process: Mapping[str, object]) -> None:
    left = left_by(json.dumps(dead_process))
    begin_another(tmp_path, again=left)
    assert status(left) == "FINISHED"
    assert "kd.reason" not in mlflow.get_run(left).data.tags
    assert json.loads(mlflow.get_run(left).data.tags["kd.process"]) == myself()


def test_the_next_command_ends_what_a_second_ctrl_c_left(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        begin_another(tmp_path)
        runs = {run.info.run_name: run.info.run_id for run in mlflow.MlflowClient().search_runs(["0"])}
        assert (status(runs["parent"]), status(runs["child"])) == ("RUNNING", "RUNNING")
        process.send_signal(signal.SIGINT)
        time.sleep(3 * ECHO_SECONDS)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 130
        assert errors == "kd: stopped at once; the next command ends the runs that this one left\n"
    begin_another(tmp_path)
    assert (status(runs["parent"]), status(runs["child"])) == ("FAILED", "FAILED")
