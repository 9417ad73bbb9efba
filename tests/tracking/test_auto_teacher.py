"""``--teacher auto``: the best finished one on val, the newest with the settings asked for, or the one before a stop."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from kd.commands.parent import guided_by_teacher, parent_run
from kd.config import SpecialistConfig, StudentConfig, TeacherConfig
from kd.distillation.results import Trained
from kd.distillation.teacher import Teacher
from kd.distillation.tracker import carry_out, tracked_by
from kd.from_config import finished_teacher, prepare, teacher_job, teacher_tracker
from kd.tracking.earlier_seeds import GENERALISTS_NET
from kd.tracking.finished import TEACHER, best_teachers, teacher_of
from kd.tracking.workspace import Workspace

Trains = Callable[..., Trained]


@pytest.fixture
def workspace(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    return prepare("student", StudentConfig(output_dir=str(tmp_path)))


def train(workspace: Workspace, **settings: object) -> Trained:
    """Train a teacher in a run."""
    config = TeacherConfig.parse({"depth": 1, "width": 1, "epochs": 1, "output_dir": str(workspace.output_dir), **settings})
    with tracked_by(teacher_tracker(config, workspace)):
        return carry_out(teacher_job(config, workspace))


def logged(workspace: Workspace, metrics: dict[str, float], **tags: str) -> str:
    """Log a finished teacher of which there is nothing but its metrics."""
    client = mlflow.MlflowClient()
    of_teacher = {"kd.role": "teacher", "kd.data_digest": workspace.dataset.digest}
    run_id = client.create_run("0", tags={**of_teacher, **{f"kd.{name}": value for name, value in tags.items()}}).info.run_id
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)
    client.set_terminated(run_id, tags.get("status", "FINISHED"))
    return str(run_id)


def found(config: StudentConfig, workspace: Workspace) -> Teacher | None:
    """Return the teacher that a command finds."""
    with parent_run("student", config, workspace) as parent:
        return finished_teacher(config, workspace, parent)


def test_the_best_on_val_comes_first_by_present_and_former_names_and_the_newest_of_equals(workspace: Workspace) -> None:
    old = logged(workspace, {"chosen_val_accuracy": 0.75})
    worst = logged(workspace, {"val_result": 0.25})
    equal = logged(workspace, {"val/chosen_accuracy": 0.75, "chosen_val_accuracy": 0.875})
    best = logged(workspace, {"val/chosen_accuracy": 0.8125})
    logged(workspace, {"val/chosen_accuracy": 1.0}, data_digest="another split")
    logged(workspace, {"val/chosen_accuracy": 1.0}, role="student")
    logged(workspace, {"val/chosen_accuracy": 1.0}, status="FAILED")
    logged(workspace, {})
    ranked = best_teachers(workspace.dataset.digest)
    assert [(one.run_id, one.val_accuracy) for one in ranked] == [(best, 0.8125), (equal, 0.75), (old, 0.75), (worst, 0.25)]


def test_auto_takes_the_best_finished_teacher_and_says_so_once(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.INFO, "kd")
    trained = [train(workspace, width=1), train(workspace, width=4, lr=0.2)]
    best = max(trained, key=lambda one: one.val.accuracy)
    gone = logged(workspace, {"val/chosen_accuracy": 1.0})
    config = StudentConfig.parse({"output_dir": str(workspace.output_dir), "epochs": 1, "seed": 7})
    caplog.clear()
    with guided_by_teacher("student", config, workspace) as guided:
        assert guided.teacher.run_id == best.run_id
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("teacher: ")]
    why = f"the best on val ({best.val.accuracy:.2%}) of the finished teachers of this data"
    assert [line.partition(" (")[0] for line in told[:-1]] == [f"teacher: run {gone} would do but can't be used"]
    assert told[-1] == f"teacher: run {best.run_id}: {why}: reused"
    params = mlflow.get_run(guided.parent.id).data.params
    assert params["teacher_chosen"] == why
    own = mlflow.get_run(best.run_id).data.params  # those it was trained with, not the defaults of one that it never was
    assert {name: params[f"teacher_{name}"] for name in ("width", "lr", "epochs")} == {
        name: own[name] for name in ("width", "lr", "epochs")
    }


def test_settings_of_a_teacher_ask_for_the_newest_run_that_has_them(workspace: Workspace) -> None:
    plain, smoothed = train(workspace), train(workspace, label_smoothing=0.5)
    own = {"teacher_depth": 1, "teacher_width": 1, "teacher_epochs": 1}
    for trained, settings in ((plain, own), (smoothed, {**own, "teacher_label_smoothing": 0.5})):
        teacher = found(StudentConfig.parse({"output_dir": str(workspace.output_dir), **settings}), workspace)
        assert teacher is not None
        assert teacher.run_id == trained.run_id
        assert teacher.chosen == "it has the same configuration, data and code"
    assert found(StudentConfig.parse({"output_dir": str(workspace.output_dir), **own, "teacher_lr": 0.5}), workspace) is None


def test_new_finds_none_and_auto_none_of_other_data(workspace: Workspace) -> None:
    train(workspace)
    assert found(StudentConfig.parse({"output_dir": str(workspace.output_dir), "teacher": "new"}), workspace) is None
    other = prepare("student", StudentConfig.parse({"output_dir": str(workspace.output_dir), "data_seed": 1}))
    assert found(StudentConfig.parse({"output_dir": str(workspace.output_dir), "data_seed": 1}), other) is None


@pytest.mark.parametrize("teacher", ["auto", "new"])
def test_a_stopped_command_keeps_its_teacher_until_it_has_finished(workspace: Workspace, teacher: str) -> None:
    first = train(workspace)
    config = StudentConfig.parse({"output_dir": str(workspace.output_dir), "teacher": teacher})

    def run(*stopped_with: Sequence[str]) -> str | None:
        with parent_run("student", config, workspace) as parent:
            taught = finished_teacher(config, workspace, parent)
            for run_ids in stopped_with:
                parent.log_tags(dict.fromkeys([TEACHER], *run_ids) if run_ids else {})
                raise KeyboardInterrupt
            return taught.run_id if taught else None

    with pytest.raises(KeyboardInterrupt):
        run([first.run_id])
    better = logged(workspace, {"val/chosen_accuracy": 1.0})
    with pytest.raises(KeyboardInterrupt):  # stopped again, before it had a teacher
        run([])
    other = StudentConfig.parse({"output_dir": str(workspace.output_dir), "teacher": teacher, "temperature": 2})
    assert (found(other, workspace) is None) == (teacher == "new")  # another command is none that was stopped
    assert run() == first.run_id
    client = mlflow.MlflowClient()
    client.set_terminated(better, "FAILED")
    assert run() == (first.run_id if teacher == "auto" else None)  # it has finished, and chooses anew


@pytest.mark.usefixtures("workspace")
def test_what_a_tag_says_of_a_teacher_is_taken_for_runs_alone() -> None:
    client = mlflow.MlflowClient()
    run_id = client.create_run("0", tags={TEACHER: "/etc/passwd"}).info.run_id
    assert teacher_of(run_id) == ""
    client.set_tag(run_id, TEACHER, ",".join(["a" * 32, "b" * 32]))
    assert teacher_of(run_id) == ",".join(["a" * 32, "b" * 32])


def test_specialists_of_a_stopped_command_keep_the_net_of_the_teacher_that_it_had(workspace: Workspace) -> None:
    train(workspace, width=2)
    specialists = SpecialistConfig.parse({"output_dir": str(workspace.output_dir), "views": 1, "epochs": 1})
    place = replace(workspace, command="specialist")

    def params(*, stops: bool) -> dict[str, str]:
        with guided_by_teacher("specialist", specialists, place) as guided:
            assert (guided.config.net, guided.config.depth) == ("resnet", 1)
            if stops:
                raise KeyboardInterrupt
        found = mlflow.get_run(guided.parent.id).data
        assert found.tags[GENERALISTS_NET] == "true"
        return dict(found.params)

    with pytest.raises(KeyboardInterrupt):
        params(stops=True)
    better = train(workspace, width=3).run_id
    mlflow.MlflowClient().log_metric(better, "val/chosen_accuracy", 1.0)
    assert best_teachers(workspace.dataset.digest)[0].run_id == better
    own = {"net": "resnet", "depth": "1", "width": "2", "px": "0", "net_args": "", "small_stem": "false"}
    assert own.items() <= params(stops=False).items()
    assert len(mlflow.MlflowClient().search_runs(["0"], "tags.`kd.role` = 'parent'")) == 1
