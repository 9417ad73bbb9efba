"""Images of a folder are decoded once, at the largest height at which a net sees them; each net sees them at its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from kd.config import StudentConfig, TeacherConfig
from kd.data.dataset import Dataset
from kd.distillation.plan import Distillation
from kd.errors import UserError
from kd.from_config import distillation, prepare, teacher_job
from kd.nets.classifier import Classifier
from kd.tracking.workspace import Workspace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of twelve pictures of noise, each of 64 px, in two classes."""
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            pixels = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


def config(folder: Path, kind: Any = StudentConfig, **settings: Any) -> Any:  # noqa: ANN401 - of the kind
    own = {"data": "folder", "data_root": str(folder), "image_px": 16, "batch_size": 4, "output_dir": str(folder.parent)}
    teacher = {"teacher_batch_size": 4} if kind is StudentConfig else {}
    return kind.parse({**own, **teacher, **settings})


def opened(made: StudentConfig, mlflow_store: Callable[..., str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(folder.parent))
    return prepare("student", made)


def seen_by(spec: Any, dataset: Dataset, images: Tensor) -> Tensor:  # noqa: ANN401 - a net's
    """Return the normalised images that the inner net of a spec is given."""
    model = Classifier(spec.create(2, 3), dataset.mean, dataset.std).eval()
    net = next(part for part in model.modules() if type(part).__name__ == "ResNet")
    seen: list[Tensor] = []
    net.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(images)
    return seen[0]


def test_teacher_and_student_see_the_same_view_each_at_its_own_height(
    folder: Path,
    mlflow_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = config(folder, teacher_px=48, shift_px=3, teacher_shift_px=1)
    workspace = opened(made, mlflow_store, folder, monkeypatch)
    dataset = workspace.dataset
    assert dataset.image_shape == (3, 48, 48)
    how: Distillation = distillation(made, workspace)
    job = teacher_job(made.teacher_config(), workspace)
    assert (how.recipe.shift_px, job.recipe.shift_px) == (9, 3)  # as far in proportion: 3 and 1 of 16 px
    view = dataset.augmentation(dataset.seed, how.recipe.shift_px)(dataset.train.images, dataset.train.index, 1)
    by_teacher, by_student = seen_by(job.net, dataset, view), seen_by(how.net, dataset, view)
    assert by_teacher.shape[2:] == (48, 48)
    assert by_student.shape[2:] == (16, 16)
    smaller = F.interpolate(by_teacher, size=(16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(by_student, smaller, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "decoded", "student", "teacher"),
    [
        ({}, 16, 16, 16),
        ({"px": 24}, 24, 24, 16),
        ({"teacher_px": 24}, 24, 16, 24),
        ({"px": 8, "teacher_px": 32}, 32, 8, 32),
        ({"px": 8}, 16, 8, 16),
    ],
)
def test_images_are_decoded_at_the_largest_height_and_each_net_sees_its_own(  # noqa: PLR0913, PLR0917 - cases and fixtures
    settings: dict[str, Any],
    decoded: int,
    student: int,
    teacher: int,
    folder: Path,
    mlflow_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = config(folder, **settings)
    workspace = opened(made, mlflow_store, folder, monkeypatch)
    assert workspace.dataset.image_shape[1] == decoded
    images = workspace.dataset.train.images[:2]
    assert seen_by(distillation(made, workspace).net, workspace.dataset, images).shape[-1] == student
    assert seen_by(teacher_job(made.teacher_config(), workspace).net, workspace.dataset, images).shape[-1] == teacher


def test_a_teacher_that_was_trained_before_is_the_one_that_a_student_asks_for(
    folder: Path,
    mlflow_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(folder.parent))
    student = config(folder, teacher_px=32)
    asked = teacher_job(student.teacher_config(), prepare("student", student)).fingerprint()
    before = config(folder, TeacherConfig, px=32)
    assert teacher_job(before, prepare("teacher", before)).fingerprint() == asked
    other = config(folder, TeacherConfig, px=24)
    assert teacher_job(other, prepare("teacher", other)).fingerprint() != asked


def test_a_shift_is_measured_in_pixels_of_image_px(
    folder: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="16: images of 16 px can only be shifted by fewer"):
        opened(config(folder, teacher_px=48, shift_px=16), mlflow_store, folder, monkeypatch)


def test_other_data_has_its_own_height(
    mlflow_store: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = StudentConfig.parse({"px": 16, "shift_px": 2, "output_dir": str(tmp_path)})
    workspace = opened(made, mlflow_store, tmp_path / "x", monkeypatch)
    how = distillation(made, workspace)
    assert (workspace.dataset.image_shape, how.recipe.shift_px) == ((1, 8, 8), 2)
    model = nn.Sequential(how.net.create(10, 1))
    assert isinstance(model[0], nn.Module)
    assert how.net.settings["px"] == 16
