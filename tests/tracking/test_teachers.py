"""The generalist's training is the one that was asked for, and one that can't be loaded is trained again."""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
import torch
import yaml
from filelock import FileLock, Timeout
from torch.nn import functional as F

from kd.commands.parent import guided_by_teacher
from kd.config import StudentConfig, TeacherConfig
from kd.data.dataset import Dataset
from kd.data.views import Augmentation
from kd.distillation.results import Trained
from kd.distillation.tracker import carry_out, tracked_by
from kd.errors import UserError
from kd.from_config import check_teacher, find_teacher, prepare, teacher_job, teacher_tracker
from kd.tracking import store as tracking
from kd.tracking.teachers import load_teacher, net_of_facts
from kd.tracking.workspace import Workspace


def test_its_images_are_shifted_as_asked_and_another_shift_is_another_training(tmp_path: Path) -> None:
    config = TeacherConfig(output_dir=str(tmp_path), data_seed=3)
    workspace = prepare("teacher", config)
    usual, twice = (teacher_job(config.model_copy(update={"shift_px": shift}), workspace) for shift in (0, 2))
    assert usual.augmentation == Augmentation(1, flip=False, seed=3)
    assert twice.augmentation == Augmentation(2, flip=False, seed=3)
    assert usual.fingerprint() != twice.fingerprint()


def test_a_generalist_whose_model_is_damaged_is_trained_again_or_refused(
    tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    settings = {"teacher_depth": 1, "teacher_width": 1, "teacher_epochs": 1, "output_dir": str(tmp_path)}
    config = StudentConfig.parse(settings)
    workspace = prepare("student", config)
    own = config.teacher_config()
    with tracked_by(teacher_tracker(own, workspace)):
        first = carry_out(teacher_job(own, workspace))
    [model] = tmp_path.glob("mlruns/**/model.pt2")
    whole = model.read_bytes()
    model.write_bytes(whole[:1000])
    told = rf"^{first.run_id}: its model's file model.pt2 is not the one that was logged; name another run$"
    with pytest.raises(UserError, match=told):
        load_teacher(first.run_id, workspace)
    with tracking.run("student", output_dir=tmp_path, tags={}):
        again = find_teacher(config, workspace)
    assert again.run_id != first.run_id
    assert again.origin == "trained"
    assert f"run {first.run_id} would do but can't be used" in caplog.text
    assert {run.info.status for run in mlflow.MlflowClient().search_runs(["0"])} == {"FINISHED"}

    # Of another split it is warned of once, though a command loads it twice: to check it, and to use it.
    other = prepare("student", config.model_copy(update={"data_seed": 1}))
    check_teacher(config.model_copy(update={"teacher": again.run_id}), other)
    load_teacher(again.run_id, other)
    warned = [record.getMessage() for record in caplog.records if "another split" in record.getMessage()]
    assert warned == [f"{again.run_id} was trained on another split: it may have seen images of val or test"]

    # Of two that would do, the older one is reused where the newest is damaged.
    [newest] = set(tmp_path.glob("mlruns/**/model.pt2")) - {model}
    newest.write_bytes(b"")
    model.write_bytes(whole)
    found = find_teacher(config, workspace)
    assert found.run_id == first.run_id
    assert found.net is not None
    assert (found.net.name, found.net.settings) == ("resnet", {"depth": 1, "width": 1})


@pytest.mark.parametrize(
    ("facts", "settings"),
    [
        ({"net": "pooled", "depth": 2, "width": 3, "px": 6, "parameters": 7}, {"depth": 2, "width": 3, "px": 6}),
        ({"net": "torchvision:resnet18", "small_stem": True, "width": 4}, {"small_stem": True}),
        ({"net": "resnet", "depth": 1}, None),
        ({"net": "resnet", "depth": 1, "width": "4"}, None),
        ({"net": "resnet", "depth": 0, "width": 4}, None),
        ({"net": "resnet", "depth": 1, "width": 2**21}, None),
        ({"net": "resnet", "depth": 1, "width": 4, "px": "large"}, None),
        ({"net": "torchvision:resnet18", "net_args": "weights=DEFAULT"}, None),
        ({"net": "torchvision:no_such_net"}, None),
        ({"net": "timm:hf-hub:someone/model"}, None),
        ({"net": "FOLDER/theirs.py:make"}, None),
        ({"net": ["resnet"]}, None),
        ({}, None),
    ],
)
def test_the_facts_beside_a_model_name_a_net_and_no_code_to_run(
    facts: dict[str, object], settings: dict[str, object] | None, tmp_path: Path
) -> None:
    told = {name: value.replace("FOLDER", str(tmp_path)) if isinstance(value, str) else value for name, value in facts.items()}
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nmake = None\n", encoding="utf-8")
    net = net_of_facts(told)
    assert (None if net is None else net.settings) == settings
    assert net is None or net.name == facts["net"]
    assert not (tmp_path / "ran").exists()


def test_an_equal_training_cannot_take_the_checkpoint_before_it_is_kept(
    tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    config = TeacherConfig(depth=1, width=1, epochs=1, output_dir=str(tmp_path))
    checkpoints = tmp_path / "checkpoints"
    log_model = tracking.Run.log_model
    refused = []

    def look_and_log_model(run: tracking.Run, *what: object, **beside: object) -> str:
        [lock] = checkpoints.glob("*.lock")
        with pytest.raises(Timeout):
            FileLock(lock).acquire(timeout=0)
        refused.append(lock)
        return log_model(run, *what, **beside)  # type: ignore[arg-type] # as they came; the last that is done before the checkpoint is kept

    monkeypatch.setattr(tracking.Run, "log_model", look_and_log_model)
    workspace = prepare("teacher", config)
    with tracked_by(teacher_tracker(config, workspace)):
        trained = carry_out(teacher_job(config, workspace))
    assert len(refused) == 1
    assert [path.name for path in checkpoints.iterdir()] == [f"teacher-{trained.run_id[:8]}.pt"]


def test_a_command_logs_the_settings_of_the_teacher_that_was_named(
    tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    own = TeacherConfig(depth=1, width=2, epochs=1, output_dir=str(tmp_path))
    workspace = prepare("teacher", own)
    with tracked_by(teacher_tracker(own, workspace)):
        trained = carry_out(teacher_job(own, workspace))
    config = StudentConfig(teacher=trained.run_id, output_dir=str(tmp_path), teacher_lr=0.5, dkd_beta=2)  # type: ignore[call-arg]
    assert config.teacher_depth != 1  # type: ignore[attr-defined] # the default, which this teacher never had
    with guided_by_teacher("student", config, prepare("student", config)) as guided:
        pass
    assert "not used, since --teacher names a teacher: --teacher-lr" in caplog.text
    assert "not used, since --loss is kd: --dkd-beta" in caplog.text
    params = mlflow.get_run(guided.parent.id).data.params
    of_teacher = {name: params[f"teacher_{name}"] for name in ("net", "depth", "width", "epochs", "lr")}
    assert of_teacher == {"net": "resnet", "depth": "1", "width": "2", "epochs": "1", "lr": "0.1"}
    recorded = yaml.safe_load(mlflow.artifacts.load_text(f"runs:/{guided.parent.id}/settings/config.yaml"))
    assert not [name for name in recorded if name.startswith("teacher_")]


@pytest.fixture
def taught(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> tuple[Trained, Workspace]:
    """Return a tracked teacher of digits, and the workspace in which it was trained."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    config = TeacherConfig(depth=1, width=2, epochs=1, output_dir=str(tmp_path))
    workspace = prepare("teacher", config)
    with tracked_by(teacher_tracker(config, workspace)):
        return carry_out(teacher_job(config, workspace)), workspace


def test_a_teacher_is_named_by_its_run_its_first_characters_its_name_or_its_file(taught: tuple[Trained, Workspace]) -> None:
    trained, workspace = taught
    assert trained.run is not None
    names = [trained.run_id, trained.run_id[:8], "teacher width=2 depth=1 resnet seed=0", str(trained.run.model_file)]
    teachers = [load_teacher(name, workspace) for name in names]
    assert [teacher.run_id for teacher in teachers] == [trained.run_id, trained.run_id, trained.run_id, ""]
    for teacher in teachers:
        torch.testing.assert_close(teacher.test_logits, trained.test_logits, rtol=1e-4, atol=1e-4)


def test_a_name_of_two_runs_is_refused_with_their_ids(taught: tuple[Trained, Workspace]) -> None:
    trained, workspace = taught
    client = mlflow.MlflowClient()
    other = client.create_run("0", run_name="teacher width=2 depth=1 resnet seed=0").info.run_id
    with pytest.raises(UserError, match=r"several runs are called so \(") as refused:
        load_teacher("teacher width=2 depth=1 resnet seed=0", workspace)
    assert {trained.run_id, other} <= set(re.findall(r"[0-9a-f]{32}", str(refused.value)))
    with pytest.raises(UserError, match=r"it's: neither a run"):
        load_teacher("it's", workspace)


def test_a_teacher_of_more_classes_and_larger_images_teaches_those_that_are_shared(
    taught: tuple[Trained, Workspace], caplog: pytest.LogCaptureFixture
) -> None:
    trained, workspace = taught
    caplog.set_level(logging.INFO, "kd")
    whole = workspace.dataset
    rows = (whole.test.labels == 7) | (whole.test.labels == 3)
    small = F.interpolate(whole.test.images[rows].float(), size=(4, 4), mode="bilinear", antialias=True).round().to(torch.uint8)
    labels = (whole.test.labels[rows] == 3).long()  # class 0 is "7", class 1 is "3"
    images = small.numpy()
    some = Dataset.from_arrays(images, labels.numpy(), classes=["7", "3"], name="two")
    teacher = load_teacher(trained.run_id, replace(workspace, dataset=some))
    seen = F.interpolate(some.test.images.float(), size=(8, 8), mode="bilinear", antialias=True).round().to(torch.uint8)
    expected = trained.model(seen)[:, [7, 3]]
    torch.testing.assert_close(teacher.test_logits, expected, rtol=1e-4, atol=1e-4)
    assert "of its 10 classes the 2 of two are taken" in caplog.text
    assert "it sees images as 1 x 8 x 8" in caplog.text
    other = Dataset.from_arrays(images, labels.numpy(), classes=["7", "eleven"], name="two")
    with pytest.raises(UserError, match=r"its classes \(0, 1, 2, 3, \.\.\.\) are not those of two \(7, eleven\)"):
        load_teacher(trained.run_id, replace(workspace, dataset=other))
