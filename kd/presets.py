"""Named settings of the generalist that were found to do well on a data set: ``kd teacher --preset cifar10``."""

from typing import Any

from kd.config import TEACHER_PREFIX, Config, TeacherConfig
from kd.errors import UserError

PRESETS: dict[str, dict[str, Any]] = {
    # Chosen on val among short trainings on CIFAR-10 as JPEG files, for accuracy in little time on two cores.
    "cifar10": {
        "net": "pooled",
        "depth": 1,
        "width": 64,
        "optimizer": "muon",
        "lr": 0.07,
        "batch_size": 512,
        "epochs": 18,
        "label_smoothing": 0.2,
        "start_px": 24,
        "shift_px": 2,
    },
}


def preset_settings(name: str, config: type[Config]) -> dict[str, Any]:
    """Return a preset's settings by their names in a configuration: as they are for a teacher's, prefixed elsewhere.

    Raises:
        UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"--preset {name}: choose one of {', '.join(PRESETS)}")
    prefix = "" if config is TeacherConfig else TEACHER_PREFIX
    return {f"{prefix}{field}": value for field, value in PRESETS[name].items()}
