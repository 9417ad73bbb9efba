"""The generalist's training is the one that was asked for."""

from pathlib import Path

from kd.augment import Augmentation
from kd.config import TeacherConfig
from kd.setting import prepare
from kd.teachers import teacher_job


def test_its_images_are_shifted_as_asked_and_another_shift_is_another_training(tmp_path: Path) -> None:
    config = TeacherConfig(output_dir=str(tmp_path), data_seed=3)
    setting = prepare("teacher", config)
    usual, twice = (teacher_job(config.model_copy(update={"shift_px": shift}), setting) for shift in (0, 2))
    assert usual.augmentation == Augmentation(1, flip=False, seed=3)
    assert twice.augmentation == Augmentation(2, flip=False, seed=3)
    assert usual.fingerprint() != twice.fingerprint()
