"""Distillation as the commands do it: kept targets are those of the very images that a student sees."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kd.config import StudentConfig
from kd.data.dataset import Dataset
from kd.distillation.job import Job, create_trainer
from kd.distillation.targets import CachedTargets, LiveTargets
from kd.distillation.task import specialist_task, whole_task
from kd.distillation.teacher import Teacher
from kd.nets.classifier import Classifier
from kd.nets.registry import create_generalist_model
from kd.specialists.kind import TaskKind
from kd.tracking.pairs import distillation_jobs, teacher_targets
from kd.tracking.workspace import Setting

EPOCHS = 5
ROUNDING = 0.01
"""What float16's rounding of the targets grows to over the steps, as a share of the loss."""
SMALL = {"epochs": EPOCHS, "width": 4, "views": 2, "batch_size": 32}


@pytest.fixture(scope="module")
def teacher(tiny_digits: Dataset) -> Teacher:
    torch.manual_seed(0)
    model = Classifier(create_generalist_model(10, 1, 1, 4), tiny_digits.mean, tiny_digits.std).eval()
    return Teacher(model, whole_task(tiny_digits), "run", "link", parameters=0, origin="made")


@pytest.fixture
def setting(tiny_digits: Dataset, tmp_path: Path) -> Setting:
    return Setting("student", tiny_digits, torch.device("cpu"), tmp_path, {})


def distilled(
    teacher: Teacher, setting: Setting, changed: dict[str, int] | None = None, *, live: bool = False, own: bool = False
) -> Job:
    """Return the training of a student, or of a specialist, with targets kept or live."""
    config = StudentConfig.parse({**SMALL, **(changed or {})})
    targets = LiveTargets(teacher.model) if live else teacher_targets(config, setting, teacher)
    task = specialist_task(setting.dataset, (3, 7), TaskKind.DUSTBIN, 0.5) if own else whole_task(setting.dataset)
    _, soft = distillation_jobs(config, setting, task, teacher, targets, label="student")
    return soft


def losses(job: Job) -> list[float]:
    trainer, _ = create_trainer(job)
    return [epoch.soft_loss for epoch in trainer.epochs()]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("changed", [{}, {"data_seed": 5}, {"seed": 5, "views": 3}])
def test_a_student_has_the_same_losses_with_kept_targets_as_with_a_live_teacher(
    teacher: Teacher, setting: Setting, changed: dict[str, int], *, own: bool
) -> None:
    kept = losses(distilled(teacher, setting, changed, own=own))
    live = losses(distilled(teacher, setting, changed, own=own, live=True))
    assert kept == pytest.approx(live, rel=ROUNDING)
    other = losses(distilled(teacher, setting, {**changed, "data_seed": 9}, own=own, live=True))
    assert kept != pytest.approx(other, rel=ROUNDING)


def test_a_resumed_student_goes_on_with_the_targets_of_its_epoch(teacher: Teacher, setting: Setting) -> None:
    job = distilled(teacher, setting)
    whole = losses(job)
    stopped, _ = create_trainer(job)
    begun = [epoch.soft_loss for _, epoch in zip(range(3), stopped.epochs(), strict=False)]
    resumed, _ = create_trainer(distilled(teacher, setting))
    resumed.restore(stopped.state())
    assert begun + [epoch.soft_loss for epoch in resumed.epochs()] == whole


def test_no_views_are_a_live_teacher(teacher: Teacher, setting: Setting) -> None:
    assert isinstance(teacher_targets(StudentConfig(views=0), setting, teacher), LiveTargets)
    assert isinstance(teacher_targets(StudentConfig(views=1), setting, teacher), CachedTargets)


LEFT_TO_GIVE_BACK = """
import os, sys
from kd.specialists.kind import TaskKind
from kd.machine.memory import give_back_freed_memory
from kd.config import StudentConfig
from kd.tracking.pairs import teacher_targets
from kd.nets.classifier import Classifier
from kd.nets.registry import create_generalist_model
from kd.tracking.workspace import prepare
from kd.distillation.task import whole_task
from kd.distillation.teacher import Teacher
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
config = StudentConfig(data="digits", views=1, output_dir=sys.argv[1])
setting = prepare("student", config)
model = Classifier(create_generalist_model(10, 1, depth=1, width=128), setting.dataset.mean, setting.dataset.std)
teacher_targets(config, setting, Teacher(model, whole_task(setting.dataset), "run", "link", parameters=0, origin="made"))
kept = resident()
give_back_freed_memory()
print(kept - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep nothing")
def test_what_the_filling_of_targets_freed_is_not_kept_beside_the_training(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEFT_TO_GIVE_BACK, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert int(result.stdout) < 5e6  # a layer's output alone is 4 MB a batch
