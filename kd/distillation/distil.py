"""Nets trained alone or distilled from a teacher, each distilled one beside its control."""

from dataclasses import replace
from pathlib import Path

import numpy.typing as npt

from kd.data.dataset import Dataset
from kd.data.unlabelled import add_unlabelled
from kd.distillation.as_teacher import Teaching, as_teacher
from kd.distillation.defaults import ALPHA, TEMPERATURE, VIEWS
from kd.distillation.net_check import check_net
from kd.distillation.objectives import HINTON, check_loss
from kd.distillation.plan import (
    check_alpha,
    check_recipe,
    check_shift,
    checked_targets,
    distil_task,
    hard_targets_job,
    obtain_targets,
    plan_distillation,
    targets_seen,
)
from kd.distillation.results import Trained
from kd.distillation.targets import TeacherTargets
from kd.distillation.tracker import carry_out, is_exported
from kd.errors import UserError
from kd.losses.choice import Loss
from kd.machine.device import resolve_device
from kd.nets.registry import Net, net_spec
from kd.specialists.kind import TaskKind
from kd.training.recipe import Recipe


def train(
    net: Net, dataset: Dataset, recipe: Recipe | None = None, *, name: str = "teacher", device: str = "auto", **settings: object
) -> Trained:
    """Train a net on hard targets alone and on all classes, such as a teacher.

    The weights of the best epoch on val are used (``Recipe.use``); test is scored once. torch's generator is seeded with the
    recipe's seed.

    Args:
        net: ``resnet`` or ``pooled``, ``torchvision:NAME``, ``timm:NAME``, ``package.module:function`` or
            ``path/to/file.py:function``; a module to start from (a copy is trained), or a function of (num_classes,
            in_channels) that returns one. It maps normalised images (B, C, H, W) to logits (B, num_classes).
        dataset: the images.
        recipe: how to train; None: :class:`Recipe` with its defaults.
        name: name of the training, for progress and tracking.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        settings: ``depth`` (blocks per stage) and ``width`` (channels of the first stage) of kd's own nets; arguments of
            others by name. Of all by name ``weights``, a file of first weights or ``default`` (torchvision's own), ``px``, the
            height at which the net sees images, and ``small_stem=True``, first layers that fit images of less than 64 px.

    Raises:
        UserError: no such net or device, a net that does not fit the images, a batch larger than the training split, or a
            loss that is not finite.
    """
    on, spec = resolve_device(device), net_spec(net, settings)
    job = hard_targets_job(spec, dataset, recipe or Recipe(), on, name=name)
    check_net(spec, dataset, dataset.num_classes, on, name, exported=is_exported())
    return carry_out(job)


def distil(  # noqa: PLR0913 - the choices of one distillation
    teacher: Teaching,
    net: Net = "resnet",
    dataset: Dataset | None = None,
    recipe: Recipe | None = None,
    *,
    unlabelled: str | Path | npt.ArrayLike | None = None,
    temperature: float = TEMPERATURE,
    alpha: float = ALPHA,
    loss: Loss = HINTON,
    views: int | None = None,
    control: bool = True,
    targets: TeacherTargets | None = None,
    name: str = "student",
    device: str = "auto",
    **settings: object,
) -> Trained:
    """Distil a teacher into a net on all classes, beside its control (paper, section 2).

    The loss is ``alpha T^2 KL(teacher_T || student_T) + (1 - alpha) CE``, unless ``loss`` names another soft term. Teacher and
    student see the same view of the same image. The control is the same net with the same seed, views and recipe, on hard
    targets alone.

    Images without labels are learned from by the soft term alone. The control then learns from the labelled images, in as many
    steps, and so does a third net, with soft targets: the ``without_unlabelled`` beside the result.

    Args:
        teacher: a :class:`Teacher`; what ``train``, ``distil``, ``combine`` or ``load`` returned; or any module from uint8
            images to logits of all classes.
        net: as in :func:`train`; ``resnet`` is of depth 1 and width 16 unless ``settings`` say otherwise.
        dataset: the images; None: those of the teacher.
        recipe: how to train; None: :class:`Recipe` with its defaults.
        unlabelled: images without labels, beside those of the data set: a folder, or a uint8 array of its image shape.
        temperature: T of the soft targets, above 0.
        alpha: weight of the soft term, in [0, 1]; above 0 where there are images without labels.
        loss: the soft term: ``kd``, ``mse``, ``dkd`` or ``dist``; one of these with weights
            (``kd.losses.SoftLoss("dkd", {"beta": 2})``); or a function of (student logits, teacher logits, labels), by itself
            or by its name, ``package.module:function`` or ``path/to/file.py:function``.
        views: augmented views of each image whose teacher logits are computed once; 0: a fresh view each epoch, and a live
            teacher; None: those of the recipe where they are above 0, else 4.
        control: whether the control, and the net without images that have no labels, are trained too.
        targets: this teacher's logits from :func:`cached_targets`, in as many views as are seen; None: computed here, in
            memory.
        name: name of the training, for progress and tracking.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        settings: as in :func:`train`.

    Returns:
        The distilled net; its ``control`` and ``without_unlabelled`` are beside it.

    Raises:
        UserError: as :func:`train`, or the teacher does not fit the data set.
    """
    on = resolve_device(device)
    guide = as_teacher(teacher, dataset, on)
    if unlabelled is not None:
        guide = replace(guide, dataset=add_unlabelled(guide.dataset, unlabelled))
    how = plan_distillation(
        net, recipe, on, views=views, temperature=temperature, alpha=alpha, control=control, loss=loss, **settings
    )
    check_recipe(how.recipe, guide.dataset, unlabelled=True)
    check_loss(how.loss, TaskKind.ALL, guide.dataset.num_classes, unlabelled=len(guide.dataset.unlabelled or ()))
    check_alpha(alpha, guide.dataset)
    check_net(how.net, guide.dataset, guide.dataset.num_classes, on, name, exported=is_exported())
    seen = targets_seen(guide, how) if targets is None else checked_targets(targets, guide, how)
    return distil_task(how, guide, seen, guide.task, label=name)


def cached_targets(  # noqa: PLR0913 - whose logits, of what, and where they are cached
    teacher: Teaching,
    dataset: Dataset | None = None,
    *,
    views: int = VIEWS,
    folder: str | Path | None = None,
    shift_px: int = 0,
    device: str = "auto",
) -> TeacherTargets:
    """Return a teacher's logits for some views of each image to learn from, for any number of students.

    Args:
        teacher: as in :func:`distil`.
        dataset: the images; None: those of the teacher.
        views: augmented views of each image, 1 or more.
        folder: holds them in a file, where any later call finds them; None: they are in memory alone.
        shift_px: ``Recipe.shift_px`` of the students to come.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UserError: the teacher does not fit the data set, a shift is not smaller than an image, the teacher's logits are not
            finite, or the file can't be used.
    """
    if views < 1:
        raise UserError(f"{views} views can't be cached; give 1 or more", field="views")
    on = resolve_device(device)
    guide = as_teacher(teacher, dataset, on)
    check_shift(shift_px, guide.dataset)
    return obtain_targets(guide, views, on, shift_px=shift_px, folder=None if folder is None else Path(folder))
