"""The library's functions inside ``with kd.track``: the same results, each in an MLflow run below the block's own."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

import kd
from kd.data.dataset import Dataset
from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.errors import UserError
from kd.training import checkpoints

RECIPE = kd.Recipe(epochs=2, batch_size=30)
GROUPS = [(1, 7), (3, 5, 8)]


@pytest.fixture
def client(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Return the client of an empty store, which is the one that kd uses."""
    store = mlflow_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return MlflowClient(store)


def runs(client: MlflowClient) -> list[Run]:
    return list(client.search_runs(["0"], order_by=["attributes.start_time ASC"]))


def same(one: Trained, other: Trained) -> bool:
    """Return whether two trainings ended with the same weights, bit for bit, and the same scores."""
    mine, others = one.model.state_dict(), other.model.state_dict()
    return (
        all(torch.equal(mine[name], others[name]) for name in mine | others)
        and (one.chosen_epoch, one.val, one.test) == (other.chosen_epoch, other.val, other.test)
        and [(epoch.train.loss, epoch.val) for epoch in one.history]
        == [(epoch.train.loss, epoch.val) for epoch in other.history]
    )


def act(dataset: Dataset) -> tuple[Trained, Trained, list[Trained], Combination]:
    """Train a teacher, a student and specialists, and combine: all that may be tracked."""
    teacher = kd.train("resnet", dataset, RECIPE, depth=1, width=4)
    student = kd.distil(teacher, "resnet", None, RECIPE, views=2, width=2)
    specialists = kd.specialise(teacher, GROUPS, "resnet", None, RECIPE, views=2, width=2, control=False)
    return teacher, student, specialists, kd.combine(teacher, specialists)


@pytest.fixture(scope="module")
def untracked(tiny_digits: Dataset) -> tuple[Trained, Trained, list[Trained], Combination]:
    return act(tiny_digits)


def test_tracked_trainings_end_as_untracked_ones_each_in_a_run_below_the_parent(
    tiny_digits: Dataset,
    untracked: tuple[Trained, Trained, list[Trained], Combination],
    client: MlflowClient,
    tmp_path: Path,
) -> None:
    with kd.track("by hand", tmp_path / "out") as tracked:
        teacher, student, specialists, combination = act(tiny_digits)
        tracked.summarise(teacher, [student, *specialists], [combination])
    was_teacher, was_student, were_specialists, was_combination = untracked
    assert student.control is not None
    assert was_student.control is not None
    pairs = [
        (teacher, was_teacher),
        (student.control, was_student.control),
        (student, was_student),
        *zip(specialists, were_specialists, strict=True),
    ]
    assert all(same(one, other) for one, other in pairs)
    assert torch.equal(combination.test_probabilities, was_combination.test_probabilities)
    assert {one.run_id for _, one in pairs} | {was_combination.run_id} == {""}

    parent, *children = runs(client)
    assert (parent.info.run_id, parent.info.run_name) == (tracked.run_id, "by hand")
    assert [child.info.run_id for child in children] == [*(one.run_id for one, _ in pairs), combination.run_id]
    assert [child.data.tags["kd.role"] for child in children] == [
        *("teacher", "control", "student", "specialist", "specialist", "combined")
    ]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {tracked.run_id}
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    for (one, _), child in zip(pairs, children, strict=False):
        if one.role in {"specialist", "control"} and one.test.own_accuracy is not None:
            assert child.data.metrics["test/own_accuracy"] == one.test.own_accuracy
            assert "test/accuracy" not in child.data.metrics
        else:
            assert child.data.metrics["test/accuracy"] == one.test.accuracy
        assert child.data.metrics["val/chosen_epoch"] == one.chosen_epoch
        assert child.data.tags["kd.device"].startswith(str(next(one.model.parameters()).device))
        assert len(client.get_metric_history(child.info.run_id, "val/accuracy")) == RECIPE.epochs
        assert 0 < child.data.metrics["cost/latency_ms_batch_1"] < child.data.metrics["cost/latency_ms_batch_32"] * 32
        assert one.run is not None
        assert one.run.model_file is not None
        assert child.data.metrics["cost/file_bytes"] == one.run.model_file.stat().st_size
    for child in children[1:]:
        assert child.data.tags["kd.teacher"] == teacher.run_id

    difference = kd.compare(student, student.control).difference
    assert parent.data.metrics["student/minus_control"] == pytest.approx(difference.mean)
    assert "combined/minus_generalist" in parent.data.metrics
    assert parent.data.tags["mlflow.note.content"].startswith("**combined: ")
    assert parent.data.tags["kd.model_run"] == combination.run_id
    told = str(kd.compare(student, student.control)).rpartition(": ")
    tagged = {child.data.tags["kd.role"]: child.data.tags.get("kd.verdict") for child in children}
    assert tagged["student"] == f"{told[2]}, {told[0]}"
    assert tagged["combined"] == parent.data.tags["kd.verdict"]
    assert tagged["teacher"] is tagged["control"] is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoints", "figures", "models", "reports"]
    folders = list((tmp_path / "out" / "models").iterdir())
    assert len(folders) == len(children)
    for folder in folders:
        assert {file.name for file in folder.iterdir()} == {"model.pt2", "README.md", "classes.json"}
        assert list(kd.load(folder).classes) == json.loads((folder / "classes.json").read_text(encoding="utf-8"))


def test_nothing_is_tracked_outside_the_block(tiny_digits: Dataset, client: MlflowClient, tmp_path: Path) -> None:
    before = kd.train("resnet", tiny_digits, RECIPE, depth=1, width=2)
    with kd.track("one", tmp_path):
        inside = kd.train("resnet", tiny_digits, RECIPE, depth=1, width=2)
    after = kd.train("resnet", tiny_digits, RECIPE, depth=1, width=2)
    assert [run.info.run_name for run in runs(client)] == ["one", "teacher width=2 depth=1 resnet seed=0"]
    assert (before.run, after.run) == (None, None)
    assert inside.run is not None
    assert same(before, inside)
    assert same(inside, after)


def test_an_error_ends_the_run_as_failed_and_the_tracking(tiny_digits: Dataset, client: MlflowClient, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^loss is"), kd.track("by hand", tmp_path):
        kd.train("resnet", tiny_digits, kd.Recipe(epochs=2, batch_size=30, lr=1e20), depth=1, width=2)
    assert [(run.data.tags["kd.role"], run.info.status) for run in runs(client)] == [
        ("parent", "FAILED"),
        ("teacher", "FAILED"),
    ]
    assert kd.train("resnet", tiny_digits, RECIPE, depth=1, width=2).run is None
    assert mlflow.active_run() is None


class StopError(Exception):
    """StopErrors a training from within its net."""


def test_a_training_that_was_stopped_resumes_when_it_is_asked_for_again(
    tiny_digits: Dataset, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = kd.Recipe(epochs=4, batch_size=30)
    whole = kd.train(Counted(), tiny_digits, recipe)
    monkeypatch.setattr(Counted, "left", 1 + 10)  # the batch on which the net is tried, and ten steps of four per epoch
    with pytest.raises(StopError), kd.track("stopped", tmp_path):
        kd.train(Counted(), tiny_digits, recipe)
    monkeypatch.setattr(Counted, "left", 1 + 8)  # as many as the last two epochs have
    with kd.track("again", tmp_path):
        resumed = kd.train(Counted(), tiny_digits, recipe)
    assert Counted.left == 0
    assert same(resumed, whole)
    [parent] = [run for run in runs(client) if run.info.run_name == "stopped"]
    stopped, again = (run for run in runs(client) if run.data.tags["kd.role"] == "teacher")
    assert parent.info.status == stopped.info.status == "FAILED"
    assert again.data.tags["kd.resumed_from"] == stopped.info.run_id
    assert again.info.status == "FINISHED"


@pytest.mark.parametrize(("content", "said"), [({"a": 1}, "holds something else"), (None, "damaged")])
def test_a_checkpoint_that_holds_something_else_is_passed_over_with_a_line(  # noqa: PLR0913, PLR0917 - pytest's fixtures
    content: dict[str, int] | None,
    said: str,
    tiny_digits: Dataset,
    client: MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe = kd.Recipe(epochs=2, batch_size=30)
    whole = kd.train(Counted(), tiny_digits, recipe)
    monkeypatch.setattr(Counted, "left", 1 + 6)  # of four steps per epoch
    with pytest.raises(StopError), kd.track("stopped", tmp_path):
        kd.train(Counted(), tiny_digits, recipe)
    [path] = (tmp_path / "checkpoints").glob("unfinished-*.pt")
    checkpoints.save(path, content) if content else path.write_bytes(b"damaged")
    monkeypatch.setattr(Counted, "left", 1 + 8)
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    with kd.track("again", tmp_path):
        again = kd.train(Counted(), tiny_digits, recipe)
    assert Counted.left == 0
    assert same(again, whole)
    assert said in caplog.text
    assert not [run for run in runs(client) if "kd.resumed_from" in run.data.tags]


class Counted(torch.nn.Module):
    """A net with dropout that stops after some steps."""

    left = 1000

    def __init__(self) -> None:
        super().__init__()
        self.dropout = torch.nn.Dropout(0.2)
        self.layer = torch.nn.Linear(64, 10)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            if not Counted.left:
                raise StopError
            Counted.left -= 1
        logits: torch.Tensor = self.layer(self.dropout(images.flatten(1)))
        return logits


def test_a_folder_that_can_not_be_written_to_is_refused_before_any_run(client: MlflowClient, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="file"), kd.track("by hand", tmp_path / "file" / "out"):
        pass
    assert runs(client) == []


def test_a_specialist_of_a_tracked_generalist_can_be_combined_elsewhere(
    tiny_digits: Dataset, client: MlflowClient, tmp_path: Path
) -> None:
    teacher = kd.train("resnet", tiny_digits, RECIPE, depth=1, width=2)
    specialists = kd.specialise(teacher, GROUPS, "resnet", None, RECIPE, views=1, width=2, control=False)
    with kd.track("only combined", tmp_path, register_as="digits"):
        combination = kd.combine(teacher, specialists)
    assert [run.data.tags["kd.role"] for run in runs(client)] == ["parent", "combined"]
    assert client.get_model_version_by_alias("digits", "champion").run_id == combination.run_id
