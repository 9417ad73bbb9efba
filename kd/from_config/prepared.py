"""The data of a command, and all that is checked before any run is opened."""

import logging
from collections.abc import Mapping
from pathlib import Path

from kd.config import (
    TEACHER_PREFIX,
    CombinationOptions,
    DataConfig,
    ImagesConfig,
    PaperConfig,
    PipelineConfig,
    SpecialistOptions,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
    TuneConfig,
)
from kd.data.dataset import Dataset
from kd.data.load import load_dataset
from kd.distillation.plan import check_alpha
from kd.errors import UserError
from kd.from_config.asked import FOLDER, exports, learns_unlabelled
from kd.machine.device import resolve_device
from kd.tracking.ready import check_ready, check_registered
from kd.tracking.store import send_waiting
from kd.tracking.workspace import Workspace, check_space, open_workspace, output_folder

log = logging.getLogger("kd")

MAX_SEED = 2**31 - 1
LOGIT_BYTES = 2
FILES_BYTES = 20 * 2**20
"""A model, its checkpoint and its figures, of a small net."""


def prepare(command: str, config: DataConfig) -> Workspace:
    """Load the data and check all that a command needs, before any run is opened; what is quick to check comes first.

    Raises:
        UserError: the data can't be loaded, there is no such device, a batch is larger than the training split, a shift than
            an image, the output folder can't be written to, the disk is too full, or MLflow can't be used.
    """
    resolve_device(config.device)
    _check_seeds(config)
    if isinstance(config, StudentConfig):
        config.check_teacher()
    output_dir = output_folder(config.output_dir)
    register_as = config.register_as if isinstance(config, CombinationOptions) else ""
    if not isinstance(config, PaperConfig) or config.track:
        check_registered(register_as, export=exports(config))
        check_ready(register_as)
        send_waiting(output_dir)
    dataset = load_dataset(
        config.data,
        config.data_root,
        image_px=config.decoded_px(),
        val_fraction=config.val_fraction,
        train_fraction=config.train_fraction,
        label_fraction=config.label_fraction,
        seed=config.data_seed,
        unlabelled=_transfer_root(config),
        skip_bad_images=config.skip_bad_images,
    )
    for name, size in config.batch_sizes().items():
        images = len(dataset.transfer_set) if name == "batch_size" and learns_unlabelled(config) else len(dataset.train)
        if size > images:
            raise UserError(f"{size}: the training split has only {images} images", field=name)
    _check_unlabelled(config, dataset)
    smallest_px = config.image_px if config.data == FOLDER else min(dataset.image_shape[1:])
    for name, shift in config.shifts().items():
        if shift >= smallest_px:
            raise UserError(f"{shift}: images of {smallest_px} px can only be shifted by fewer", field=name)
    check_space(output_dir, _least_bytes(config, dataset, output_dir))
    resume = config.resume if isinstance(config, TrainingConfig | PaperConfig) else True
    return open_workspace(command, dataset, config.device, output_dir, resume=resume)


def images_of_settings(settings: Mapping[str, object]) -> Dataset:
    """Load the data set that a recorded configuration tells of.

    Raises:
        UserError: it can't be loaded any more, or the configuration is none.
    """
    known = {name: settings[name] for name in ImagesConfig.model_fields if name in settings}
    config = ImagesConfig.parse(known)
    heights = (settings.get(name) for name in ("px", f"{TEACHER_PREFIX}px"))
    return load_dataset(
        config.data,
        config.data_root,
        image_px=max([config.image_px, *(height for height in heights if isinstance(height, int))]),
        val_fraction=config.val_fraction,
        train_fraction=config.train_fraction,
        label_fraction=config.label_fraction,
        seed=config.data_seed,
        skip_bad_images=config.skip_bad_images,
    )


def _transfer_root(config: DataConfig) -> str | None:
    """Return the folder of images without labels; None: there is none.

    Raises:
        UserError: the command trains specialists alone.
    """
    root = config.transfer_root if isinstance(config, StudentConfig) else ""
    if root and not learns_unlabelled(config):
        raise UserError(
            f"{root}: an image without a label is of no group, so specialists can't learn from it; kd student and kd pipeline "
            "have students, which can",
            field="transfer_root",
        )
    return root or None


def _check_unlabelled(config: DataConfig, dataset: Dataset) -> None:
    """Refuse images without labels where soft targets have no weight, and tell who does not learn from them."""
    if dataset.unlabelled is None:
        return
    if learns_unlabelled(config) and isinstance(config, StudentConfig) and not isinstance(config, TuneConfig):
        check_alpha(config.alpha, dataset)
    if isinstance(config, TeacherConfig):
        log.info("the generalist learns from the %d images with labels alone", len(dataset.train))
    elif isinstance(config, SpecialistOptions) and (isinstance(config, PipelineConfig) or not learns_unlabelled(config)):
        log.info("specialists learn from the %d images with labels alone", len(dataset.train))


def _check_seeds(config: DataConfig) -> None:
    """Refuse seeds of replicates beyond the largest that random generators take."""
    for name in ("seeds", "final_seeds"):
        last = getattr(config, "seed", 0) + getattr(config, name, 0) - 1
        if last > MAX_SEED:
            raise UserError(f"{getattr(config, name)}: the last seed would be {last}; the largest is {MAX_SEED}", field=name)


def _least_bytes(config: DataConfig, dataset: Dataset, output_dir: Path) -> int:
    """Return how many bytes a command writes at least: targets that are not cached yet, and a model or two."""
    if not isinstance(config, StudentConfig):
        return FILES_BYTES
    views = min(config.views, config.epochs)
    images = len(dataset.transfer_set if learns_unlabelled(config) else dataset.train)
    targets = images * views * dataset.num_classes * LOGIT_BYTES
    cached = sum(path.stat().st_size for path in (output_dir / "targets").glob("*") if path.is_file())
    return max(0, targets - cached) + FILES_BYTES
