"""A command that stopped: the same one resumes it in its own runs, and does nothing twice."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
import torch

from kd.commands import runs as runs_command
from kd.commands.parent import parent_run
from kd.config import RunsConfig, StudentConfig
from kd.distillation.job import Job
from kd.distillation.plan import hard_targets_job
from kd.distillation.results import Trained
from kd.distillation.tracker import carry_out
from kd.from_config import fingerprint_of, prepare
from kd.machine.processes import myself
from kd.nets.registry import net_spec
from kd.tracking import store
from kd.tracking.earlier import PROCESS
from kd.tracking.store import Run
from kd.tracking.workspace import Workspace
from kd.training.recipe import Recipe

Config = StudentConfig


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return StudentConfig.parse({"output_dir": str(tmp_path), "epochs": 2, "depth": 1, "width": 1, "teacher": "new"})


@pytest.fixture
def workspace(
    config: Config, tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    logger = logging.getLogger("kd")
    monkeypatch.setattr(logger, "propagate", True)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield prepare("student", config)
    logger.setLevel(level)


def job(workspace: Workspace, seed: int) -> Job:
    spec = net_spec("resnet", {"depth": 1, "width": 1})
    recipe = Recipe(epochs=2, batch_size=400, seed=seed)
    return hard_targets_job(spec, workspace.dataset, recipe, torch.device("cpu"), name=f"net {seed}")


def command(config: Config, workspace: Workspace, *seeds: int, stops: bool = False) -> tuple[str, list[Trained]]:
    """Train one net per seed in a command's run, which may stop before its end."""
    with parent_run("student", config, workspace) as parent:
        trained = [carry_out(job(workspace, seed)) for seed in seeds]
        if stops:
            raise Stopped(parent.id, trained)
        return parent.id, trained


class Stopped(KeyboardInterrupt):
    """A stop, with what was done before it."""


def stopped(config: Config, workspace: Workspace, *seeds: int) -> tuple[str, list[Trained]]:
    with pytest.raises(Stopped) as caught:
        command(config, workspace, *seeds, stops=True)
    parent, trained = caught.value.args
    return parent, trained


def tree() -> dict[str, str]:
    """Return the states of all runs by name."""
    return {f"{run.info.run_name}".split(" seed=")[0]: run.info.status for run in mlflow.MlflowClient().search_runs(["0"])}


def test_what_is_finished_is_reused_in_the_same_runs(
    config: Config, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    parent, [before] = stopped(config, workspace, 0)
    client = mlflow.MlflowClient()
    assert client.get_run(parent).info.status == "KILLED"
    caplog.clear()
    again, [reused, new] = command(config, workspace, 0, 1)
    assert again == parent
    assert reused.run_id == before.run_id != new.run_id
    assert reused.run is not None
    assert reused.run.model_file is not None
    assert reused.run.model_file.exists()
    assert (reused.val, reused.test, reused.chosen_epoch, reused.history) == (
        before.val,
        before.test,
        before.chosen_epoch,
        before.history,
    )
    assert torch.equal(reused.test_logits, before.test_logits)
    assert f"net 0: finished in run {before.run_id}: reused" in caplog.messages
    assert f"resuming run {parent} of this command, which stopped; --fresh begins anew" in caplog.messages
    assert len(client.search_runs(["0"])) == 3
    assert {run.info.status for run in client.search_runs(["0"])} == {"FINISHED"}


def test_a_net_whose_checkpoint_was_altered_is_trained_again(
    config: Config, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    _, [before] = stopped(config, workspace, 0)
    [here] = (workspace.output_dir / "checkpoints").glob("net*.pt")
    here.write_bytes(here.read_bytes()[:-1] + b"x")
    _, [fetched] = command(config, workspace, 0)
    assert fetched.run_id == before.run_id  # from the run's artifacts
    stopped(config, workspace, 0)
    for path in workspace.output_dir.rglob("net*.pt"):
        path.write_bytes(b"x")
    _, [trained] = command(config, workspace, 0)
    assert "can't be used: trained again" in caplog.text
    assert torch.equal(trained.test_logits, before.test_logits)


def test_a_finished_command_and_one_that_is_to_begin_anew_have_new_runs(config: Config, workspace: Workspace) -> None:
    first, _ = stopped(config, workspace, 0)
    fresh = config.model_copy(update={"resume": False})
    anew, [trained] = command(fresh, prepare("student", fresh), 0)
    assert anew != first
    second, [resumed] = command(config, workspace, 0)
    assert (second == first, resumed.run_id == trained.run_id) == (True, False)
    third, _ = command(config, workspace, 0)
    assert third not in {first, anew}


def test_another_command_other_data_and_another_net_are_not_resumed(
    config: Config, workspace: Workspace, tmp_path: Path
) -> None:
    def asked(**changed: object) -> str:
        other = StudentConfig.parse({**config.recorded(), **changed})
        return fingerprint_of(other, prepare("student", other))

    net = tmp_path / "net.py"
    net.write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    elsewhere = {"net": f"{net}:net", "depth": StudentConfig().depth, "width": StudentConfig().width}
    own = asked(**elsewhere)
    net.write_text(net.read_text() + "# changed\n")
    told = [asked(), asked(temperature=2), asked(data_seed=1), own, asked(**elsewhere)]
    assert len(set(told)) == len(told)
    same = {asked(output_dir=str(tmp_path / "other")), asked(device="cpu"), asked(checkpoint_minutes=1)}
    assert same == {fingerprint_of(config, workspace)}


def test_a_loss_whose_file_was_edited_is_another_command(workspace: Workspace, tmp_path: Path) -> None:
    code = "def loss(student, teacher, labels):\n    return (student - teacher).square().mean(dim=1)\n"
    file, asked = tmp_path / "loss.py", []
    for power in ("square", "abs"):
        file.write_text(code.replace("square", power))
        asked.append(fingerprint_of(StudentConfig.parse({"loss": f"{file}:loss"}), workspace))
    assert asked[0] != asked[1] == fingerprint_of(StudentConfig.parse({"loss": f"{file}:loss"}), workspace)


def test_it_is_said_that_a_run_is_not_resumed_since_images_or_code_changed(
    config: Config, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    before, _ = stopped(config, workspace)
    edited = replace(workspace, dataset=replace(workspace.dataset, digest="0" * 32))
    after, _ = stopped(config, edited)
    told = f"run {before} of this command stopped, but the images have changed since: it stays, and a new one begins"
    assert caplog.messages.count(told) == 1
    assert after != before
    assert mlflow.get_run(before).info.status == "KILLED"
    other = StudentConfig.parse({**config.recorded(), "temperature": 2})
    caplog.clear()
    command(other, workspace)
    assert "of this command stopped" not in caplog.text


def test_a_run_that_a_living_process_has_open_is_left_alone(config: Config, workspace: Workspace) -> None:
    parent, _ = stopped(config, workspace)
    client = mlflow.MlflowClient()
    client.update_run(parent, "RUNNING")
    for alive in (myself(), {**myself(), "machine": "elsewhere", "pid": 7}):
        client.set_tag(parent, PROCESS, json.dumps(alive))
        other, _ = command(config, workspace)
        assert other != parent
        assert client.get_run(parent).info.status == "RUNNING"


def test_a_run_of_a_dead_process_is_ended_by_repair_and_resumed(
    config: Config, workspace: Workspace, dead_process: dict[str, object]
) -> None:
    parent, _ = stopped(config, workspace)
    client = mlflow.MlflowClient()
    client.update_run(parent, "RUNNING")
    client.set_tag(parent, PROCESS, json.dumps(dead_process))
    listed = runs_command.runs(RunsConfig())
    assert [run["state"] for run in listed.record["runs"]] == ["left open"]
    assert client.get_run(parent).info.status == "RUNNING"
    repaired = runs_command.runs(RunsConfig(repair=True))
    assert repaired.record["ended"] == [parent]
    assert [run["state"] for run in repaired.record["runs"]] == ["failed"]
    again, _ = command(config, workspace)
    assert again == parent
    assert [run["state"] for run in runs_command.runs(RunsConfig()).record["runs"]] == ["finished"]


def test_the_run_that_mlflow_run_opened_leads_to_the_one_that_is_resumed(
    config: Config, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, _ = stopped(config, workspace, 0)
    client = mlflow.MlflowClient()
    opened = client.create_run("0", run_name="by mlflow run").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    again, _ = command(config, workspace, 0)
    assert again == parent
    tags = client.get_run(opened).data.tags
    assert tags["kd.resumed_run"] == parent
    assert f"runs/{parent}" in tags[store.NOTE]
    assert not client.get_run(opened).data.metrics
    below = client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{opened}'")
    assert not below


@pytest.mark.usefixtures("workspace")
def test_what_a_resumed_run_has_is_not_logged_again(tmp_path: Path) -> None:
    def fill(run: Run, epochs: int, seconds: float) -> None:
        run.log_epochs([{"epoch": number, "train/loss": 1 / number} for number in range(1, epochs + 1)])
        run.log_metrics({"test/accuracy": 0.5, "cost/ms": seconds})
        run.log_tables({"1_answers": {"image": [1, 2], "answer": ["cat", "dog"]}})

    with store.run("first", output_dir=tmp_path, tags={}) as run:
        fill(run, 2, 1.0)
    with store.run("first", output_dir=tmp_path, tags={}, again=run.id) as resumed:
        assert resumed.is_resumed
        fill(resumed, 3, 2.0)
    client = mlflow.MlflowClient()
    rows = {
        name: [(row.step, row.value) for row in client.get_metric_history(run.id, name)]
        for name in ("train/loss", "test/accuracy", "cost/ms")
    }
    assert rows == {"train/loss": [(1, 1.0), (2, 0.5), (3, 1 / 3)], "test/accuracy": [(0, 0.5)], "cost/ms": [(0, 1.0)]}
    table = mlflow.load_table("tables/1_answers.json", run_ids=[run.id])
    assert list(table["answer"]) == ["cat", "dog"]
