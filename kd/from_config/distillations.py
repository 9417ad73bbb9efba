"""The choices of students and specialists, their loss, and the teacher's targets."""

import logging
from dataclasses import replace

from kd.config import SpecialistOptions, StudentConfig
from kd.data.dataset import Dataset
from kd.distillation.objectives import check_loss
from kd.distillation.plan import Distillation, targets_seen
from kd.distillation.targets import TeacherTargets
from kd.distillation.teacher import Teacher
from kd.from_config.asked import learns_unlabelled
from kd.from_config.nets import net, recipe
from kd.losses.choice import SoftLoss, loss_of
from kd.losses.names import LOSS_WEIGHTS
from kd.nets.names import is_named_elsewhere
from kd.specialists.kind import TaskKind
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")


def distillation(config: StudentConfig, workspace: Workspace) -> Distillation:
    """Return the choices of the distillation of students and specialists."""
    own, how = net(config, workspace.dataset), recipe(config, workspace.dataset)
    return Distillation(own, how, workspace.device, config.temperature, config.alpha, config.control, loss(config))


def loss(config: StudentConfig) -> SoftLoss:
    """Return the loss of a configuration's soft targets.

    Raises:
        UserError: there is no such function, or standardised logits do not fit the loss.
    """
    if is_named_elsewhere(config.loss):
        return replace(loss_of(config.loss), standardize=config.standardize)
    weights = {name: getattr(config, f"{config.loss}_{name}") for name in LOSS_WEIGHTS[config.loss]}
    return SoftLoss(config.loss, weights, config.standardize)


def check_soft_targets(config: StudentConfig, dataset: Dataset) -> None:
    """Refuse a loss that does not fit what is trained, before any run is opened.

    Raises:
        UserError: it does not fit.
    """
    chosen = loss(config)
    if isinstance(config, SpecialistOptions):
        kind = specialist_kind(config)
        check_loss(chosen, kind, *([dataset.num_classes] if kind == TaskKind.FULL else []))
    if learns_unlabelled(config):
        check_loss(chosen, TaskKind.ALL, dataset.num_classes, unlabelled=len(dataset.unlabelled or ()))


def teacher_targets(config: StudentConfig, workspace: Workspace, teacher: Teacher) -> TeacherTargets:
    """Return the teacher's logits for the training images, from their file below ``targets/`` or live.

    Raises:
        UserError: the logits are not finite, or the file can't be used.
    """
    how, folder = distillation(config, workspace), workspace.output_dir / "targets"
    return targets_seen(teacher, how, folder, unlabelled=learns_unlabelled(config))


def specialist_kind(config: SpecialistOptions) -> TaskKind:
    """Return the kind of a configuration's specialists."""
    if config.specialist_kind == "full":
        return TaskKind.FULL
    return TaskKind.DUSTBIN if config.dustbin else TaskKind.OWN
