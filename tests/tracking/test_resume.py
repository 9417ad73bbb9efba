"""A checkpoint that is whole but not of this training: it is passed over with a line, and the training begins anew."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import kd
from kd.data.dataset import Dataset
from kd.distillation.job import Job, fit_job
from kd.distillation.plan import hard_targets_job
from kd.nets.registry import net_spec
from kd.tracking import store
from kd.tracking.checkpoint import Checkpoint
from kd.tracking.training import _begin
from kd.training import checkpoints

CODE = "__import__('os').system('touch sprung')"


def fits(edit: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda state: edit(state["fit"])


def trainers(edit: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda state: edit(state["trainer"])


def history(edit: Callable[[list[dict[str, Any]]], object]) -> Callable[[dict[str, Any]], object]:
    def alter(state: dict[str, Any]) -> None:
        held = json.loads(state["fit"]["history"])
        edit(held)
        state["fit"]["history"] = json.dumps(held)

    return alter


def other_momentum(state: dict[str, Any]) -> None:
    first = next(iter(state["optimizers"][0]["state"].values()))
    first["momentum_buffer"] = torch.zeros(3)


ALTERED: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "something else": lambda state: [state.pop(name) for name in list(state)],
    "no run": lambda state: state.pop("run_id"),
    "no fit": lambda state: state.pop("fit"),
    "text as trainer": lambda state: state.update(trainer=CODE),
    "weights of another net": trainers(lambda held: held["model"].update({"net.stem.weight": torch.zeros(3)})),
    "weights that are text": trainers(lambda held: held["model"].update({"net.stem.weight": CODE})),
    "a weight less": trainers(lambda held: held["model"].popitem()),
    "no optimizer": trainers(lambda held: held.update(optimizers=[])),
    "an optimizer of another net": trainers(other_momentum),
    "more epochs": trainers(lambda held: held.update(epochs_done=7)),
    "epochs that are text": trainers(lambda held: held.update(epochs_done=CODE)),
    "best weights of another net": fits(lambda held: held["best_weights"].update({"net.stem.weight": torch.zeros(3)})),
    "best weights that are a list": fits(lambda held: held.update(best_weights=[1])),
    "best weights that are text": fits(lambda held: held["best_weights"].update({"net.stem.weight": CODE})),
    "seconds that are text": fits(lambda held: held.update(seconds=CODE)),
    "history that is no JSON": fits(lambda held: held.update(history=CODE)),
    "deep history": fits(lambda held: held.update(history="[" * 100_000)),
    "a history of numbers": fits(lambda held: held.update(history="[1]")),
    "a field of code": history(lambda held: held[0]["train"].update(code=CODE)),
    "a score that is text": history(lambda held: held[0]["val"].update(nll=CODE)),
    "a loss that is a list": history(lambda held: held[0]["train"].update(loss=[1])),
    "an epoch twice": history(lambda held: held.append(held[0])),
}


@pytest.fixture
def job(tiny_digits: Dataset) -> Job:
    recipe = kd.Recipe(epochs=2, batch_size=60)
    return hard_targets_job(net_spec("resnet", {"depth": 1, "width": 1}), tiny_digits, recipe, torch.device("cpu"))


def test_a_checkpoint_of_something_else_is_passed_over(
    job: Job,
    tmp_path: Path,
    mlflow_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    with store.run("teacher", output_dir=tmp_path, tags={}) as run, Checkpoint(tmp_path, "f", run.id) as checkpoint:
        fresh, state = _begin(job, run, checkpoint, resume=True)
        first = {name: weight.clone() for name, weight in fresh.model.state_dict().items()}
        next(iter(fit_job(job, fresh, state)))
        fresh.epochs_done = 1
        saved = {"trainer": fresh.state(), "fit": state.state()}
        checkpoint.save(saved)
        resumed, after = _begin(job, run, checkpoint, resume=True)
        assert (resumed.epochs_done, len(after.history)) == (1, 1)
        for name, alter in ALTERED.items():
            checkpoint.save(saved)
            held = next(checkpoint.states())
            alter(held)
            (tmp_path / "unfinished-f.before.pt").unlink()
            checkpoints.save(tmp_path / "unfinished-f.pt", held)
            caplog.clear()
            begun, nothing = _begin(job, run, checkpoint, resume=True)
            assert (begun.epochs_done, nothing.history) == (0, []), name
            assert all(torch.equal(weight, first[key]) for key, weight in begun.model.state_dict().items()), name
            [record] = caplog.records
            assert "its checkpoint holds something else (" in record.getMessage(), name
            assert "\n" not in record.getMessage(), name
    assert not (tmp_path / "sprung").exists()


def test_of_a_last_checkpoint_that_is_damaged_the_one_before_is_used_with_the_exact_result(
    job: Job,
    tmp_path: Path,
    mlflow_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    job = replace(job, recipe=replace(job.recipe, epochs=3))
    last = tmp_path / "unfinished-f.pt"
    with store.run("teacher", output_dir=tmp_path, tags={}) as run, Checkpoint(tmp_path, "f", run.id) as checkpoint:
        trainer, state = _begin(job, run, checkpoint, resume=True)
        for _ in fit_job(job, trainer, state):
            if trainer.epochs_done < job.recipe.epochs:
                checkpoint.save({"trainer": trainer.state(), "fit": state.state()})
        whole = last.read_bytes()
        for number, damaged in enumerate((whole[: len(whole) // 2], b"", whole[:-100] + bytes(100), whole[:99] + whole[100:])):
            last.write_bytes(damaged)
            caplog.clear()
            resumed, after = _begin(job, run, checkpoint, resume=True)
            assert resumed.epochs_done == 1
            assert f"{last}: damaged or altered: passed over" in caplog.text
            if number:
                continue
            for _ in fit_job(job, resumed, after):
                pass
            expected = trainer.model.state_dict()
            assert all(torch.equal(weight, expected[name]) for name, weight in resumed.model.state_dict().items())
            assert [epoch.val for epoch in after.history] == [epoch.val for epoch in state.history]
