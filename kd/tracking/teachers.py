"""The teacher of a command: named by the user, reused by fingerprint, or trained as a child run."""

import logging
from functools import partial

from kd.config import StudentConfig, TeacherConfig
from kd.data.dataset import Dataset
from kd.distillation.job import Job
from kd.distillation.objectives import hard_objective
from kd.distillation.results import Trained
from kd.distillation.task import whole_task
from kd.distillation.teacher import Ensemble, Teacher
from kd.errors import UserError
from kd.nets.cost import count_parameters
from kd.nets.registry import create_generalist_model
from kd.tracking import store as tracking
from kd.tracking.training import train
from kd.tracking.workspace import Setting
from kd.training.recipe import Recipe

log = logging.getLogger("kd")


AUTO = "auto"


def teacher_job(config: TeacherConfig, setting: Setting) -> Job:
    """Return the training of a generalist as configured."""
    recipe = Recipe(
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        weight_decay=config.weight_decay,
        seed=config.seed,
        optimizer=config.optimizer,
        start_px=config.start_px,
        compile=config.compile,
    )
    return Job(
        name="teacher",
        role="teacher",
        task=whole_task(setting.dataset),
        dataset=setting.dataset,
        create_net=partial(create_generalist_model, kind=config.net),
        depth=config.depth,
        width=config.width,
        recipe=recipe,
        objective=hard_objective(config.label_smoothing),
        params=config.params(),
        facts={"label_smoothing": config.label_smoothing, "kind": config.net},
        settings=config.model_dump(),
        output_dir=setting.output_dir,
        device=setting.device,
        use=config.use,
        resume=config.resume,
        augmentation=setting.dataset.augmentation(config.data_seed, config.shift_px),
        tags=setting.tags,
    )


def find_teacher(config: StudentConfig, setting: Setting) -> Teacher:
    """Return the teacher that ``config.teacher`` asks for; the command's run is open.

    Raises:
        UserError: there is no such run or model, or it is of other classes or another image shape.
    """
    if config.teacher != AUTO:
        return load_teacher(config.teacher, "--teacher", setting)
    job = teacher_job(config.teacher_config(), setting)
    reused = tracking.find_finished(job.fingerprint())
    if reused:
        try:
            found = load_teacher(reused, "--teacher", setting, origin="reused")
        except UserError as error:  # its files were deleted, say
            log.warning("teacher: run %s would do but can't be used (%s): training another one", reused, error)
        else:
            log.info("teacher: run %s has the same configuration, data and code: reused", reused)
            return found
    return _trained(train(job), setting)


def check_teacher(config: StudentConfig, setting: Setting) -> None:
    """Refuse a teacher named by the user before any run is opened.

    Raises:
        UserError: there is no such run or model, or it is of other classes or another image shape.
    """
    if config.teacher != AUTO:
        _load_all(config.teacher, "--teacher", setting)


def load_teacher(references: str, flag: str, setting: Setting, origin: str = "named") -> Teacher:
    """Load a finished model of all classes; several, with commas between, are an ensemble.

    An ensemble answers with the mean of its members' probabilities (paper, section 4).

    Args:
        references: RUN_ID or models:/NAME@ALIAS, or several.
        flag: the flag that named them, for messages.
        setting: the command's.
        origin: how it was come by, in words.

    Raises:
        UserError: there is no such run or model, or it is of other classes or another image shape.
    """
    loaded = _load_all(references, flag, setting)
    modules = [model.module for model in loaded]
    model = (modules[0] if len(modules) == 1 else Ensemble(modules)).to(setting.device)
    return Teacher(
        model=model,
        task=whole_task(setting.dataset),
        run_id=",".join(model.run_id for model in loaded),
        link=" + ".join(tracking.run_link(model.run_id) for model in loaded),
        parameters=count_parameters(model),
        origin=origin,
    )


def _load_all(references: str, flag: str, setting: Setting) -> list[tracking.LoadedModel]:
    names = [name.strip() for name in references.split(",") if name.strip()]
    if not names:
        raise UserError(f"{flag} {references!r}: names no run; give RUN_ID or models:/NAME@ALIAS")
    loaded = []
    for name in names:
        model = tracking.load_model(name)
        _check_fits(model, f"{flag} {name}", setting.dataset)
        loaded.append(model)
    return loaded


def _trained(trained: Trained, setting: Setting) -> Teacher:
    return Teacher(
        model=trained.model.to(setting.device),
        task=trained.task,
        run_id=trained.run_id,
        link=trained.link,
        parameters=trained.parameters,
        origin="trained",
        trained=trained,
    )


def _check_fits(loaded: tracking.LoadedModel, reference: str, dataset: Dataset) -> None:
    classes, shape = loaded.metadata["classes"], loaded.metadata["image_shape"]
    if loaded.metadata["kind"] != "all":
        raise UserError(f"{reference}: a {loaded.metadata['role']} of some classes; name a run of all classes")
    if list(classes) != list(dataset.classes):
        raise UserError(
            f"{reference}: its classes ({_few(classes)}) are not those of {dataset.name} "
            f"({_few(dataset.classes)}); name a teacher of this data set"
        )
    if list(shape) != list(dataset.image_shape):
        raise UserError(
            f"{reference}: its images are {shape} and those of {dataset.name} "
            f"{list(dataset.image_shape)} (channels, height, width); name a teacher of such images"
        )
    if loaded.metadata["data_digest"] != dataset.digest:
        log.warning("--teacher %s was trained on another split: it may have seen images of val or test", reference)


def _few(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")  # noqa: PLR2004
