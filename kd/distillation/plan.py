"""How a distillation is put together: its choices, the teacher's targets, and the trainings of control and student."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import nn

from kd.data.dataset import Dataset
from kd.distillation.defaults import ALPHA, MAX_TEMPERATURE, TEMPERATURE, VIEWS
from kd.distillation.job import Job
from kd.distillation.objectives import HINTON, hard_objective, soft_objective
from kd.distillation.results import Trained
from kd.distillation.target_cache import agrees, computed_targets, targets_from_file
from kd.distillation.targets import CachedTargets, LiveTargets, TeacherTargets
from kd.distillation.task import Task, labelled_task, transfer_task, whole_task
from kd.distillation.teacher import Teacher
from kd.distillation.tracker import carry_out
from kd.errors import UserError
from kd.losses.choice import Loss, SoftLoss, loss_of
from kd.machine.memory import give_back_freed_memory
from kd.nets.names import SMALL
from kd.nets.registry import Net, NetSpec, net_spec
from kd.specialists.kind import TaskKind
from kd.training.recipe import Recipe

WITHOUT_UNLABELLED: Final = "without unlabelled"
"""The role of a distillation from the labelled images alone, which shows what the others changed."""


@dataclass(frozen=True, eq=False)
class Distillation:
    """The choices of a distillation: the net, its recipe, and the weight and temperature of the soft targets."""

    net: NetSpec
    recipe: Recipe
    device: torch.device
    temperature: float = TEMPERATURE
    alpha: float = ALPHA
    control: bool = True
    """Whether the same net is first trained on hard targets alone, for comparison."""
    loss: SoftLoss = HINTON
    """The loss of the soft targets."""


def plan_distillation(  # noqa: PLR0913 - as distil
    net: Net | NetSpec,
    recipe: Recipe | None,
    device: torch.device,
    *,
    views: int | None,
    temperature: float,
    alpha: float,
    control: bool,
    loss: Loss = HINTON,
    **settings: object,
) -> Distillation:
    """Return the choices of a distillation from the arguments of :func:`distil`.

    Raises:
        UserError: no such net or loss, or a temperature or alpha out of bounds.
    """
    check_temperature(temperature)
    if not 0 <= alpha <= 1:
        raise UserError(f"{alpha}: expected a weight of the soft term from 0 to 1", field="alpha")
    recipe = recipe or Recipe()
    seen = (recipe.views or VIEWS) if views is None else views
    spec = net if isinstance(net, NetSpec) else net_spec(net, settings, SMALL)
    chosen = loss_of(loss)
    return Distillation(spec, replace(recipe, views=seen), device, temperature, alpha, control, chosen)


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not above 0, or whose square is too large a factor.

    Raises:
        UserError: it is 0, negative, above 1,000,000, or not a number.
    """
    if not 0 < temperature <= MAX_TEMPERATURE:
        raise UserError(
            f"{temperature}: expected a temperature above 0, and no more than {MAX_TEMPERATURE:,.0f}", field="temperature"
        )


def hard_targets_job(net: NetSpec, dataset: Dataset, recipe: Recipe, device: torch.device, *, name: str = "teacher") -> Job:
    """Return the training of a net on all classes and hard targets alone.

    Raises:
        UserError: the recipe does not fit the images.
    """
    check_recipe(recipe, dataset)
    return Job(
        name=name,
        label=name,
        role="teacher",
        dataset=dataset,
        task=whole_task(dataset),
        net=net,
        recipe=recipe,
        objective=hard_objective(recipe.label_smoothing),
        device=device,
    )


def check_recipe(recipe: Recipe, dataset: Dataset, *, unlabelled: bool = False) -> None:
    """Refuse a recipe that does not fit the images.

    Args:
        recipe: how to train.
        dataset: the images.
        unlabelled: whether those without labels are trained on too.

    Raises:
        UserError: a batch is larger than the training split, or a shift than an image.
    """
    images = len(dataset.transfer_set if unlabelled else dataset.train)
    if recipe.batch_size > images:
        raise UserError(f"{recipe.batch_size}: the training split has only {images} images", field="batch_size")
    check_shift(recipe.shift_px, dataset)


def check_alpha(alpha: float, dataset: Dataset) -> None:
    """Refuse images without labels where soft targets have no weight.

    Raises:
        UserError: there are such images, and alpha is 0.
    """
    if alpha == 0 and dataset.unlabelled is not None:
        raise UserError(
            f"0: {len(dataset.unlabelled)} images have no labels, and nothing to learn from them without soft targets; "
            "give an alpha above 0, or leave them out",
            field="alpha",
        )


def check_shift(shift_px: int, dataset: Dataset) -> None:
    """Refuse a shift of images by their whole height or more.

    Raises:
        UserError: it is not smaller than an image, or negative.
    """
    smallest_px = min(dataset.image_shape[1:])
    if not 0 <= shift_px < smallest_px:
        raise UserError(f"{shift_px}: images of {smallest_px} px can only be shifted by fewer", field="shift_px")


def obtain_targets(  # noqa: PLR0913 - whose logits, of what, and where they are cached
    teacher: Teacher,
    views: int,
    device: torch.device,
    *,
    shift_px: int = 0,
    folder: Path | None = None,
    unlabelled: bool = True,
) -> TeacherTargets:
    """Return the teacher's logits for the images to learn from, in some of the views that students see.

    Args:
        teacher: on the device.
        views: how many views; 0: a live teacher.
        device: where they are computed.
        shift_px: the students' largest shift, as in their recipe.
        folder: holds them in a file; None: they are in memory alone.
        unlabelled: whether images without labels are learned from too.

    Raises:
        UserError: the logits are not finite, or the file can't be used.
    """
    dataset = teacher.dataset
    unlabelled = unlabelled and dataset.unlabelled is not None
    split = dataset.transfer_set if unlabelled else dataset.train
    if views == 0:
        return LiveTargets(teacher.model)
    augmentation = dataset.augmentation(dataset.seed, shift_px)
    if folder is None:
        targets = computed_targets(teacher.model, split, augmentation, views, device=device, progress=True)
    else:
        targets = targets_from_file(
            teacher.model,
            split,
            augmentation,
            views=views,
            data_digest=dataset.transfer_digest if unlabelled else dataset.digest,
            split_name="transfer" if unlabelled else "train",
            root=folder,
            device=device,
            progress=True,
        )
    give_back_freed_memory()
    return targets


def targets_seen(teacher: Teacher, how: Distillation, folder: Path | None = None, *, unlabelled: bool = True) -> TeacherTargets:
    """Return the teacher's logits in the views that the students of a distillation see; see :func:`obtain_targets`."""
    # Epoch e sees view e mod views: with fewer epochs than views, no epoch would see the rest.
    views = min(how.recipe.views, how.recipe.epochs)
    return obtain_targets(teacher, views, how.device, shift_px=how.recipe.shift_px, folder=folder, unlabelled=unlabelled)


def checked_targets(targets: TeacherTargets, teacher: Teacher, how: Distillation, *, unlabelled: bool = True) -> TeacherTargets:
    """Return targets, which must be this teacher's, in all views that the students of a distillation see.

    Raises:
        UserError: they are another teacher's, or in fewer views.
    """
    if isinstance(targets, LiveTargets) and targets.model is teacher.model:
        return targets
    if not isinstance(targets, CachedTargets):
        raise UserError(
            f"{type(targets).__name__}: not this teacher's targets; give those of kd.cached_targets", field="targets"
        )
    epochs, dataset = how.recipe.epochs, teacher.dataset
    if targets.views < min(how.recipe.views or epochs, epochs):  # a recipe of 0 views shows a new one each epoch
        raise UserError(
            f"{how.recipe.views} views are seen, and the targets have {targets.views}; give as many as they have", field="views"
        )
    augmentation = dataset.augmentation(dataset.seed, how.recipe.shift_px)
    split = dataset.transfer_set if unlabelled else dataset.train
    if not agrees(targets, teacher.model, split, augmentation, how.device):
        raise UserError(
            "the targets are not this teacher's logits for these images in these views; "
            "give those of kd.cached_targets with this teacher, data set and shift_px",
            field="targets",
        )
    return targets


def distillation_jobs(  # noqa: PLR0913 - as above
    how: Distillation,
    teacher: Teacher,
    targets: TeacherTargets,
    task: Task,
    *,
    label: str,
    suffix: str = "",
    start: nn.Module | None = None,
) -> tuple[Job, Job]:
    """Return the trainings of the control and of the distilled net, alike but for the soft targets.

    Where there are images without labels, a net on all classes learns from them too, and its control from the labelled ones
    alone, in as many steps.

    Args:
        how: net, recipe, temperature and alpha.
        teacher: the teacher.
        targets: its logits on the training images.
        task: the classes and images to learn.
        label: name of the net, the same for every seed.
        suffix: end of the trainings' names.
        start: a net whose weights both start from, where the nets match; None: the seed draws their weights.

    Raises:
        UserError: the recipe does not fit the images.
    """
    dataset = teacher.dataset
    unlabelled = task.kind == TaskKind.ALL and dataset.unlabelled is not None
    check_recipe(how.recipe, dataset, unlabelled=unlabelled)
    hard = Job(
        name=f"control of {label}{suffix}",
        label=label,
        role="control",
        dataset=dataset,
        task=labelled_task(dataset) if unlabelled else task,
        net=how.net,
        recipe=how.recipe,
        objective=hard_objective(how.recipe.label_smoothing),
        device=how.device,
        teacher=teacher,
        start=start,
    )
    soft = replace(
        hard,
        name=f"{label}{suffix}",
        role="student" if task.kind == TaskKind.ALL else "specialist",
        task=transfer_task(dataset) if unlabelled else task,
        objective=soft_objective(
            task,
            targets,
            temperature=how.temperature,
            alpha=how.alpha,
            label_smoothing=how.recipe.label_smoothing,
            loss=how.loss,
        ),
        temperature=how.temperature,
        alpha=how.alpha,
        loss=how.loss,
    )
    return hard, soft


def distil_task(  # noqa: PLR0913 - how, from whom, what, and how it is called
    how: Distillation,
    teacher: Teacher,
    targets: TeacherTargets,
    task: Task,
    *,
    label: str,
    suffix: str = "",
    start: nn.Module | None = None,
) -> Trained:
    """Train the control, the same distillation without images that have no labels, then the distilled net.

    The arguments are those of :func:`distillation_jobs`.

    Raises:
        UserError: a loss is not finite.
    """
    hard, soft = distillation_jobs(how, teacher, targets, task, label=label, suffix=suffix, start=start)
    if not how.control:
        return carry_out(soft)
    control = carry_out(hard)
    if not soft.task.unlabelled:
        return carry_out(soft, control)
    name = f"{label} {WITHOUT_UNLABELLED}{suffix}"
    without = carry_out(replace(soft, name=name, role=WITHOUT_UNLABELLED, task=hard.task))
    return replace(carry_out(soft, control), without_unlabelled=without)
