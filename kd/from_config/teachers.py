"""The teacher of a command: named, found or trained."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from kd.config import TEACHER_PREFIX, CombineConfig, SpecialistOptions, StudentConfig, TeacherConfig, TuneConfig, numbers
from kd.distillation.defaults import AUTO_TEACHER, NEW_TEACHER, is_named_teacher
from kd.distillation.job import Job
from kd.distillation.net_check import check_combinable
from kd.distillation.plan import hard_targets_job
from kd.distillation.pretrained import About, read_classes
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.from_config.asked import FOLDER, exports
from kd.from_config.nets import net, net_with, recipe
from kd.from_config.runs import run_settings
from kd.nets.foreign import FromFile
from kd.tracking import teachers
from kd.tracking.store import Run
from kd.tracking.tracker import MlflowTracker
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")


def teacher_to_train(config: StudentConfig) -> TeacherConfig:
    """Return the configuration of a command's teacher; that of a search is always exported, since its workers load it."""
    own = config.teacher_config()
    return own.model_copy(update={"export": True}) if isinstance(config, TuneConfig) else own


@contextmanager
def of_teacher() -> Iterator[None]:
    """Name the settings of a teacher as the command that trains students has them."""
    try:
        yield
    except UserError as error:
        field = f"{TEACHER_PREFIX}{error.field}" if error.field else None
        raise UserError(str(error), field=field) from error.__cause__


def teacher_job(config: TeacherConfig, workspace: Workspace) -> Job:
    """Return the training of a generalist."""
    return hard_targets_job(
        net(config, workspace.dataset), workspace.dataset, recipe(config, workspace.dataset), workspace.device
    )


def teacher_tracker(config: TeacherConfig, workspace: Workspace, above: Run | None = None) -> MlflowTracker:
    """Return the tracker of a generalist's training, whose run shows its whole configuration.

    Args:
        config: the generalist's.
        workspace: data, device and folders.
        above: the command's run, in which it is trained; None: its own run is the command's.
    """
    settings = replace(run_settings(config, workspace, above), export=config.export)
    return MlflowTracker(replace(settings, params=config.params(), configuration=config.recorded()))


def find_teacher(config: StudentConfig, workspace: Workspace, run: Run | None = None) -> Teacher:
    """Return the teacher that ``--teacher`` asks for: loaded, reused or trained; the command's run is open.

    Raises:
        UserError: there is no such run or model, or it is of other classes or another image shape.
    """
    return finished_teacher(config, workspace, run) or train_teacher(config, workspace, run)


def finished_teacher(config: StudentConfig, workspace: Workspace, run: Run | None = None) -> Teacher | None:
    """Return the teacher that ``--teacher`` asks for, loaded or reused; None: it is still to be trained.

    A command that was stopped keeps its teacher when it is given again, even if a better one has come since.

    Args:
        config: the command's.
        workspace: its data.
        run: its run, which is open and may have been resumed; None: a study keeps its teacher itself.

    Raises:
        UserError: as :func:`find_teacher`.
    """
    if is_named_teacher(config.teacher):
        return replace(named_teacher(config, workspace), chosen="it was named")
    kept = teachers.kept_by(run.id, workspace) if run and run.is_resumed else None
    if kept or config.teacher == NEW_TEACHER:
        return kept
    if not config.has_teacher_settings():
        return teachers.best_on_val(workspace)
    return teachers.reusable(teacher_job(config.teacher_config(), workspace), workspace)


def named_teacher(config: StudentConfig, workspace: Workspace, *, warn: bool = True) -> Teacher:
    """Return the teacher that ``--teacher`` names.

    Raises:
        UserError: as :func:`find_teacher`.
    """
    return teachers.load_teacher(config.teacher, workspace, warn=warn, about=about_teacher(config))


def check_teacher(config: StudentConfig, workspace: Workspace) -> str:
    """Refuse a teacher that was named before any run is opened.

    Returns:
        Its digest; empty: none was named.

    Raises:
        UserError: as :func:`find_teacher`.
    """
    if not is_named_teacher(config.teacher):
        return ""
    teacher = named_teacher(config, workspace, warn=False)  # it is loaded again, and may be warned of then
    if isinstance(config, SpecialistOptions) and not isinstance(config, TuneConfig) and exports(config):
        _check_combinable(config.teacher, teacher, "teacher")
    return teacher.digest


def _check_combinable(name: str, teacher: Teacher, field: str) -> None:
    """Refuse a model of others that a combined model can't have as its part, before anything is trained."""
    if any(isinstance(part, FromFile) for part in teacher.model.modules()):
        check_combinable(name, teacher.model, teacher.dataset, field)


def about_teacher(config: StudentConfig) -> About:
    """Return what is said of a teacher that is named."""
    own, mean, std = config.teacher_config(), numbers(config.teacher_mean), numbers(config.teacher_std)
    with of_teacher():
        spec = net_with(own, {}) if config.names_state_dict() else None
    names = read_classes(config.teacher_classes, "teacher_classes") if config.teacher_classes else None
    usual = config.image_px if config.data == FOLDER else 0
    return About(spec, names, mean, std, own.px, usual)


def train_teacher(config: StudentConfig, workspace: Workspace, run: Run | None = None) -> Teacher:
    """Train the teacher of a configuration, in a run below the command's, which is open.

    Raises:
        UserError: the loss is not finite, or the tracking store can't be used.
    """
    own = teacher_to_train(config)
    trained = teachers.train_teacher(teacher_job(own, workspace), teacher_tracker(own, workspace, run))
    return replace(trained, chosen=_why_trained(config))


def generalist(config: CombineConfig, workspace: Workspace) -> Teacher:
    """Return the generalist that ``--generalist`` names, or the best finished one on val.

    Raises:
        UserError: there is no such run or model, or it is of other classes or another image shape.
    """
    if config.generalist != AUTO_TEACHER:
        named = teachers.load_teacher(config.generalist, workspace, field="generalist")
        _check_combinable(config.generalist, named, "generalist")
        return replace(named, chosen="it was named")
    best = teachers.best_on_val(workspace)
    if best is None:
        raise UserError("auto: the store has no finished teacher of this data; kd teacher trains one", field="generalist")
    return best


def _why_trained(config: StudentConfig) -> str:
    if config.teacher == NEW_TEACHER:
        return "it was trained, as --teacher new asks"
    asked = "has these settings" if config.has_teacher_settings() else "is of this data and can be used"
    return f"it was trained: no finished teacher {asked}"
