"""What the runs of a command share, are called and show."""

import logging
from dataclasses import replace

from kd.config import TEACHER_PREFIX, CombinationOptions, DataConfig, NetAndRecipe, PaperConfig, StudentConfig, TrainingConfig
from kd.data.dataset import Dataset
from kd.distillation.teacher import Teacher
from kd.from_config.asked import exports, learns_unlabelled
from kd.losses.names import LOSS_WEIGHTS
from kd.tracking.run_names import details, seeds_text
from kd.tracking.run_settings import RunSettings
from kd.tracking.store import Run, run_params
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")


def run_settings(config: DataConfig, workspace: Workspace, above: Run | None = None) -> RunSettings:
    """Return what the runs of one command share.

    Args:
        config: the command's.
        workspace: data, device and folders.
        above: the command's run; None: it has one run alone.
    """
    settings = RunSettings(
        workspace.output_dir,
        workspace.tags,
        workspace.resume,
        in_resumed=above is not None and above.is_resumed,
        register_as=config.register_as if isinstance(config, CombinationOptions) else "",
        export=exports(config),
    )
    if not isinstance(config, TrainingConfig | PaperConfig):
        return settings
    return replace(settings, checkpoint_minutes=config.checkpoint_minutes)


def run_details(config: DataConfig) -> str:
    """Return what tells a command's run from others of the same command, as the end of its name."""
    if isinstance(config, PaperConfig):
        return details({"net": config.net, "seed": seeds_text(range(config.seed, config.seed + config.seeds))})
    if not isinstance(config, StudentConfig):
        return ""
    names = [
        name
        for name in ("temperature", "alpha", *_loss_names(config), "width", "depth", "net_args", "net")
        if name in config.recorded()
    ]
    seeds = seeds_text(range(config.seed, config.seed + config.seeds))
    values: dict[str, object] = {
        name: getattr(config, name) for name in names if getattr(config, name) != ""
    }  # an alpha of 0 is told
    return details({**values, "seed": seeds})


def _loss_names(config: StudentConfig) -> list[str]:
    """Return the settings of the loss, where it is not the usual one."""
    named = ["loss", *(f"{config.loss}_{name}" for name in LOSS_WEIGHTS.get(config.loss, {}))] if config.loss != "kd" else []
    return [*named, *(["standardize"] if config.standardize else [])]


def log_images(run: Run, config: DataConfig, dataset: Dataset) -> None:
    """Log the images of a command as inputs of its run; of those without labels also how many there are, and their digest."""
    unlabelled = dataset.unlabelled if learns_unlabelled(config) else None
    run.log_dataset(dataset, unlabelled=unlabelled is not None)
    if unlabelled is not None:
        run.log_params({"unlabelled": str(len(unlabelled))})
        run.log_tags({"kd.unlabelled_digest": dataset.unlabelled_digest})


def log_teacher_params(run: Run, config: StudentConfig, teacher: Teacher) -> None:
    """Log which teacher was taken and why, and the settings that it was trained with where the configuration has others."""
    known = run_params(teacher.run_id.split(",")) if teacher.run and not config.decides_teacher() else {}
    settings = {f"{TEACHER_PREFIX}{name}": known[name] for name in NetAndRecipe.model_fields if name in known}
    run.log_params({"teacher_chosen": teacher.chosen, **settings})
