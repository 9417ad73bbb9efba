"""Named settings of a net and its recipe: ``kd teacher --preset cifar10``."""

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
    # ResNet-56 in the recipe of the benchmarks on CIFAR-100 that others publish (Tian et al. 2020), but for the learning rate,
    # which falls linearly here and in steps there. It takes hours on a GPU.
    "cifar100-240": {
        "net": "resnet",
        "depth": 9,
        "width": 16,
        "lr": 0.05,
        "batch_size": 64,
        "epochs": 240,
        "weight_decay": 5e-4,
        "shift_px": 4,
    },
}
OF_STUDENTS: dict[str, dict[str, Any]] = {"cifar100-240": {"depth": 3}}  # ResNet-20
"""What is different where a preset is taken for students and specialists."""
STUDENT_PRESET = "student_preset"


def preset_options(config: type[Config]) -> dict[str, str]:
    """Return by name the options of a command that take a preset, each with the prefix of the fields that it sets."""
    if issubclass(config, StudentConfig):
        return {"preset": TEACHER_PREFIX, STUDENT_PRESET: ""}
    return {"preset": ""} if issubclass(config, NetAndRecipe) else {}


def preset_settings(name: str, prefix: str = "", option: str = "preset") -> dict[str, Any]:
    """Return a preset's settings, each named by its field with a prefix in front.

    Raises:
        UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"{name}: choose one of {', '.join(PRESETS)}", field=option)
    own = OF_STUDENTS.get(name, {}) if option == STUDENT_PRESET else {}
    return {f"{prefix}{field}": value for field, value in {**PRESETS[name], **own}.items()}
