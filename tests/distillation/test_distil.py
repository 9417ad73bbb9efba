"""Distillation as the commands do it: cached targets are those of the very images that a student sees."""

import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kd.config import StudentConfig
from kd.data.batches import Batch
from kd.data.dataset import Dataset
from kd.distillation.job import Job, create_trainer
from kd.distillation.plan import distillation_jobs
from kd.distillation.targets import CachedTargets, LiveTargets, TeacherTargets
from kd.distillation.task import specialist_task
from kd.distillation.teacher import Teacher
from kd.from_config import distillation, teacher_targets
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet
from kd.specialists.kind import TaskKind
from kd.tracking.workspace import Workspace

EPOCHS = 5
SMALL = {"epochs": EPOCHS, "width": 4, "views": 2, "batch_size": 32}


@pytest.fixture(scope="module")
def teacher(tiny_digits: Dataset) -> Teacher:
    torch.manual_seed(0)
    # In float64 its logits, which are kept and compared in fewer digits, are the same in any batch and on any processor.
    model = Classifier(ResNet(10, 1, 1, 4), tiny_digits.mean, tiny_digits.std).double().eval()
    return Teacher(model, tiny_digits)


@pytest.fixture
def workspace(tiny_digits: Dataset, tmp_path: Path) -> Workspace:
    return Workspace("student", tiny_digits, torch.device("cpu"), tmp_path, {})


def distilled(
    teacher: Teacher,
    workspace: Workspace,
    changed: dict[str, int] | None = None,
    *,
    own: bool = False,
    targets: TeacherTargets | None = None,
) -> Job:
    """Return the training of a student, or of a specialist, with its cached targets or with those given."""
    config, guide = seen_by(teacher, changed or {})
    task = specialist_task(guide.dataset, (3, 7), TaskKind.DUSTBIN, 0.5) if own else guide.task
    targets = targets or teacher_targets(config, workspace, guide)
    _, soft = distillation_jobs(distillation(config, workspace), guide, targets, task, label="student")
    return soft


def seen_by(teacher: Teacher, changed: dict[str, int]) -> tuple[StudentConfig, Teacher]:
    """Return the configuration of a student, and the teacher with the data set of its seed."""
    config = StudentConfig.parse({**SMALL, **changed})
    return config, Teacher(teacher.model, replace(teacher.dataset, seed=config.data_seed))


def losses(job: Job) -> list[float]:
    trainer, _ = create_trainer(job)
    return [epoch.soft_loss for epoch in trainer.epochs()]


class Compared:
    """Kept targets that are compared, in each step, with what a live teacher says of the images that the student sees."""

    def __init__(self, kept: TeacherTargets, teacher: Teacher) -> None:
        self.kept, self.live = kept, LiveTargets(teacher.model)
        self.views = kept.views
        self.errors: list[float] = []
        """The largest one of each step, as a share of what rounding to float16 may make of it."""

    def __call__(self, batch: Batch) -> Tensor:
        kept, live = self.kept(batch), self.live(batch)
        self.errors.append(((kept - live).abs() / (live.abs() / 2048 + 2**-25)).max().item())
        return kept


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("changed", [{}, {"data_seed": 5}, {"seed": 5, "views": 3}])
def test_a_student_has_the_cached_targets_of_the_images_that_it_sees_in_every_step(
    teacher: Teacher, workspace: Workspace, changed: dict[str, int], *, own: bool
) -> None:
    config, guide = seen_by(teacher, changed)
    kept = teacher_targets(config, workspace, guide)
    right, wrong = Compared(kept, teacher), Compared(kept, teacher)
    losses(distilled(teacher, workspace, changed, own=own, targets=right))
    assert len(right.errors) >= EPOCHS
    assert max(right.errors) <= 1.001  # a logit may also differ in float32's last digit
    losses(distilled(teacher, workspace, {**changed, "data_seed": 9}, own=own, targets=wrong))
    assert min(wrong.errors) > 10


def test_a_resumed_student_goes_on_with_the_targets_of_its_epoch(teacher: Teacher, workspace: Workspace) -> None:
    job = distilled(teacher, workspace)
    whole = losses(job)
    stopped, _ = create_trainer(job)
    begun = [epoch.soft_loss for _, epoch in zip(range(3), stopped.epochs(), strict=False)]
    resumed, _ = create_trainer(distilled(teacher, workspace))
    resumed.restore(stopped.state())
    assert begun + [epoch.soft_loss for epoch in resumed.epochs()] == whole


def test_no_views_are_a_live_teacher(teacher: Teacher, workspace: Workspace) -> None:
    assert isinstance(teacher_targets(StudentConfig(views=0), workspace, teacher), LiveTargets)
    assert isinstance(teacher_targets(StudentConfig(views=1), workspace, teacher), CachedTargets)


LEFT_TO_GIVE_BACK = """
import os, sys
from kd.specialists.kind import TaskKind
from kd.machine.memory import give_back_freed_memory
from kd.config import StudentConfig
from kd.from_config import teacher_targets
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet
from kd.from_config import prepare
from kd.distillation.teacher import Teacher
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
config = StudentConfig(data="digits", views=1, output_dir=sys.argv[1])
setting = prepare("student", config)
model = Classifier(ResNet(10, 1, depth=1, width=128), setting.dataset.mean, setting.dataset.std)
teacher_targets(config, setting, Teacher(model, setting.dataset))
kept = resident()
give_back_freed_memory()
print(kept - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep nothing")
def test_what_the_filling_of_targets_freed_is_not_kept_beside_the_training(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEFT_TO_GIVE_BACK, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert int(result.stdout) < 5e6  # a layer's output alone is 4 MB a batch
