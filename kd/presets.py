"""Named settings of a net and its recipe that were found to do well on a data set: ``kd teacher --preset cifar10``."""

from typing import Any

from kd.config import TEACHER_PREFIX, Config, NetAndRecipe, StudentConfig
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


def preset_options(config: type[Config]) -> dict[str, str]:
    """Return by name the options of a command that take a preset, each with the prefix of the fields that it sets."""
    if issubclass(config, StudentConfig):
        return {"preset": TEACHER_PREFIX, "student_preset": ""}
    return {"preset": ""} if issubclass(config, NetAndRecipe) else {}


def preset_settings(name: str, prefix: str = "", option: str = "preset") -> dict[str, Any]:
    """Return a preset's settings, each named by its field with a prefix in front.

    Raises:
        UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"{name}: choose one of {', '.join(PRESETS)}", field=option)
    return {f"{prefix}{field}": value for field, value in PRESETS[name].items()}
