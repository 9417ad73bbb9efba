"""``kd student`` and ``kd pipeline`` with images without labels: what is trained, logged and told."""

import logging
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from pictures import draw_classes, save

from kd.commands.student import student
from kd.config import PipelineConfig, SpecialistConfig, StudentConfig, TuneConfig
from kd.errors import UserError
from kd.from_config import prepare

SMALL = {
    "epochs": 1,
    "depth": 1,
    "width": 1,
    "views": 1,
    "batch_size": 8,
    "image_px": 8,
    "data": "folder",
    "teacher_epochs": 1,
    "teacher_depth": 1,
    "teacher_width": 1,
    "teacher_batch_size": 8,
}
UNLABELLED = 9


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    """Return short settings, of 20 pictures of two classes and 9 without labels, one of which is one of test."""
    root = draw_classes(tmp_path / "data" / "train", {"a": 8, "b": 8}).parent
    test = [save(root / "test" / name / "0.png") for name in ("a", "b")]
    for number in range(UNLABELLED - 1):
        save(tmp_path / "more" / f"{number}.png")
    save(tmp_path / "more" / "of_test.png", test[0])
    return {**SMALL, "data_root": str(root), "transfer_root": str(tmp_path / "more"), "output_dir": str(tmp_path / "out")}


def test_counts_and_digests_are_logged_where_they_decide_and_the_answer_tells_what_they_changed(
    settings: dict[str, object],
    tmp_path: Path,
    mlflow_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.INFO, "kd")
    answer = student(StudentConfig.parse(settings))
    runs = {run.data.tags["kd.role"]: run for run in mlflow.MlflowClient().search_runs(["0"])}
    assert runs.keys() == {"parent", "teacher", "control", "without unlabelled", "student"}
    logged = {role: {one.tags[0].value for one in run.inputs.dataset_inputs} for role, run in runs.items() if run.inputs}
    usual = {"train", "val", "test"}
    assert logged == {
        **dict.fromkeys(("teacher", "control", "without unlabelled"), usual),
        **dict.fromkeys(("parent", "student"), usual | {"unlabelled"}),
    }
    for role in ("parent", "student"):
        assert runs[role].data.params["unlabelled"] == "8"
        assert len(runs[role].data.tags["kd.unlabelled_digest"]) == 32
    assert (
        "unlabelled" not in runs["control"].data.params | runs["teacher"].data.params | runs["without unlabelled"].data.params
    )
    assert runs["parent"].data.metrics["student/minus_without_unlabelled"] == pytest.approx(
        runs["student"].data.metrics["test/accuracy"] - runs["without unlabelled"].data.metrics["test/accuracy"]
    )
    assert runs["student"].data.tags["kd.verdict"].endswith("images")
    assert [change["beside"] for change in answer.record["changes"]] == ["control", "without unlabelled"]
    assert [line for line, _ in answer.lines][1].startswith("student, by images without labels: ")
    assert list(answer.record["models"]) == ["control of student", "student without unlabelled", "student"]
    assert "1 of 9 images without labels is in val or test too, pixel by pixel: left out" in caplog.text
    assert "4 nets to train: teacher (resnet, depth 1, width 1, 1 epoch), student with 8 images without labels, " in caplog.text


@pytest.mark.parametrize(
    ("config", "changed", "told"),
    [
        (StudentConfig, {"alpha": 0}, "8 images have no labels, and nothing to learn from them without soft targets"),
        (SpecialistConfig, {}, "an image without a label is of no group, so specialists can't learn from it; kd student"),
        (TuneConfig, {"objective": "combined"}, "an image without a label is of no group"),
        (StudentConfig, {"batch_size": 23}, "23: the training split has only 22 images"),  # 14 with labels, 8 without
        (StudentConfig, {"teacher_batch_size": 15}, "15: the training split has only 14 images"),
        (PipelineConfig, {"alpha": 0}, "8 images have no labels"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(  # noqa: PLR0913, PLR0917 - pytest's fixtures
    config: type[StudentConfig],
    changed: dict[str, object],
    told: str,
    settings: dict[str, object],
    tmp_path: Path,
    mlflow_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    with pytest.raises(UserError, match=told):
        prepare("x", config.parse({**settings, **changed}))


def test_specialists_beside_labels_that_were_dropped_learn_from_the_others_and_say_so(
    settings: dict[str, object],
    tmp_path: Path,
    mlflow_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.INFO, "kd")
    prepare("x", SpecialistConfig.parse({**settings, "transfer_root": "", "label_fraction": 0.6, "alpha": 0}))
    assert "specialists learn from the 8 images with labels alone" in caplog.messages  # round(0.6 x 7) of each of two classes
