"""Specialists of class groups, and generalist and specialists as one model (paper, section 5)."""

import logging
import operator
from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from kd.data.dataset import Dataset
from kd.distillation.as_teacher import Teaching, as_teacher
from kd.distillation.combination import CORRECTIONS, Combination, CombinationJob, as_member
from kd.distillation.defaults import (
    CORRECTION,
    GROUP_BY,
    OWN_FRACTION,
    SPECIALIST_ALPHA,
    SPECIALIST_TEMPERATURE,
    TOP_N,
    WARM_START,
)
from kd.distillation.net_check import check_net
from kd.distillation.objectives import HINTON, check_loss
from kd.distillation.plan import (
    Distillation,
    check_recipe,
    check_temperature,
    checked_targets,
    distil_task,
    plan_distillation,
    targets_seen,
)
from kd.distillation.results import Trained
from kd.distillation.targets import TeacherTargets
from kd.distillation.task import specialist_task, task_classes
from kd.distillation.teacher import Teacher
from kd.distillation.tracker import carry_out_combination, is_exported
from kd.errors import UserError
from kd.losses.choice import Loss
from kd.machine.device import resolve_device
from kd.nets.classifier import Classifier
from kd.nets.registry import Net, NetSpec
from kd.specialists.clustering import Group, auto_groups
from kd.specialists.groups import describe_group
from kd.specialists.kind import Correction, GroupBy, TaskKind
from kd.specialists.warm_start import inherited_weights
from kd.training.recipe import Recipe

log = logging.getLogger("kd")

_ANY_GROUP = (0, 1)
"""A group to ask by whether a net is one for specialists, whose groups may not be known yet."""


def find_groups(  # noqa: PLR0913 - whose predictions, and how they are clustered
    teacher: Teaching,
    dataset: Dataset | None = None,
    *,
    count: int | None = None,
    size: int | None = None,
    by: GroupBy = GROUP_BY,
    temperature: float = 1.0,
    seed: int = 0,
    device: str = "auto",
) -> tuple[Group, ...]:
    """Return groups of classes that a generalist confuses, found from its predictions on val.

    Args:
        teacher: as in :func:`~kd.distillation.distil.distil`.
        dataset: the images; None: those of the teacher.
        count: number of groups; None: about the root of the number of classes.
        size: classes per group, where groups may overlap; None: the groups share out all classes.
        by: ``confusion``: how much probability each class takes from the images of another; ``covariance``: that of the
            predictions, which needs no labels (paper, section 5.3).
        temperature: T of the predictions, above 0; at 1 the covariance of an accurate generalist hardly shows likeness.
        seed: seed of the clustering.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        Class numbers of each group, in ascending order.

    Raises:
        UserError: ``count`` or ``size`` does not fit the number of classes, there is no such way, the temperature is out of
            bounds, or the teacher does not fit the data set.
    """
    check_temperature(temperature)
    guide = as_teacher(teacher, dataset, resolve_device(device))
    if by not in get_args(GroupBy):
        raise UserError(f"{by!r} is no way to find groups; give {' or '.join(get_args(GroupBy))}", field="by")
    labels = guide.dataset.val.labels if by == "confusion" else None
    return auto_groups((guide.val_logits / temperature).softmax(dim=1), labels, count=count, size=size, seed=seed)


def specialise(  # noqa: PLR0913 - the choices of one distillation
    teacher: Teaching,
    groups: Sequence[Sequence[int]],
    net: Net | None = None,
    dataset: Dataset | None = None,
    recipe: Recipe | None = None,
    *,
    kind: TaskKind | str = TaskKind.DUSTBIN,
    own_fraction: float = OWN_FRACTION,
    warm_start: bool = WARM_START,
    temperature: float = SPECIALIST_TEMPERATURE,
    alpha: float = SPECIALIST_ALPHA,
    loss: Loss = HINTON,
    views: int | None = None,
    control: bool = True,
    targets: TeacherTargets | None = None,
    device: str = "auto",
    **settings: object,
) -> list[Trained]:
    """Train one specialist per group of classes, guided by a generalist, each beside its control (paper, section 5.2).

    Specialists learn from labelled images alone: one without a label is of no group.

    Args:
        teacher: the generalist, as in :func:`~kd.distillation.distil.distil`.
        groups: class numbers of each group, two or more and not all.
        net: as there; a function of (num_classes, in_channels) is asked for one more class where there is a dustbin. None: the
            generalist's own, as the paper has it, where it is known and a specialist can start from its weights; else
            ``resnet``, as also where a setting of it is given.
        dataset: the images; None: those of the teacher.
        recipe: how to train; None: :class:`~kd.training.recipe.Recipe` with its defaults.
        kind: ``dustbin``: the group's classes and one more for everything else; ``own``: the group's alone; ``full``: all
            classes, on images enriched with the group's (section 6.1).
        own_fraction: share of an epoch from the group's classes, in (0, 1]; the paper has a half.
        warm_start: whether to start from the generalist's weights, as the paper does, where the nets match.
        temperature: as in ``distil``, as are alpha, views, control, targets, device and settings.
        alpha: weight of the soft term.
        loss: the soft term, as in ``distil``.
        views: augmented views of each image; None: those of the recipe where they are above 0, else 4.
        control: whether each specialist's control is trained too.
        targets: the teacher's logits from :func:`~kd.distillation.distil.cached_targets`.
        device: where to compute.
        settings: ``depth`` and ``width`` of a net by name.

    Returns:
        The specialists in the order of the groups; the ``control`` of each is beside it.

    Raises:
        UserError: a bad kind, group or fraction, or as ``distil``.
    """
    task_kind = _checked_kind(kind)
    on = resolve_device(device)
    guide = as_teacher(teacher, dataset, on)
    checked = [_checked(group, guide.dataset) for group in _sequence(groups)]
    how = plan_distillation(
        _chosen_net(net, settings, guide, task_kind),
        recipe,
        on,
        views=views,
        temperature=temperature,
        alpha=alpha,
        control=control,
        loss=loss,
        **settings,
    )
    check_loss(how.loss, task_kind)
    if not 0 < own_fraction <= 1:
        raise UserError(f"{own_fraction}: expected a share of an epoch above 0, up to 1", field="own_fraction")
    check_recipe(how.recipe, guide.dataset)
    for outputs in sorted({len(task_classes(guide.dataset.classes, group, task_kind)) for group in checked}):
        check_net(how.net, guide.dataset, outputs, on, "a specialist", exported=is_exported())
    if targets is None:
        shared = targets_seen(guide, how, unlabelled=False)
    else:
        shared = checked_targets(targets, guide, how, unlabelled=False)
    start = start_of_specialists(how, guide, checked[0], task_kind) if warm_start and checked else None
    return [
        specialise_group(how, guide, shared, group, task_kind, own_fraction, number=number, start=start)
        for number, group in enumerate(checked)
    ]


def _chosen_net(net: Net | None, settings: Mapping[str, object], teacher: Teacher, kind: TaskKind) -> Net | NetSpec:
    """Return the net of specialists: the one that is given, or the generalist's where they can have it."""
    if net is not None:
        return net
    own = None if settings else net_of_specialists(teacher, kind)
    if own is None and not settings:
        log.info("specialists can't have this generalist's net: theirs is a small resnet; net= gives them another")
    return own or "resnet"


def start_of_specialists(how: Distillation, teacher: Teacher, group: Group, kind: TaskKind) -> nn.Module | None:
    """Return the generalist, from whose weights specialists start; None: their net is another one, which is said.

    Args:
        how: their net.
        teacher: the generalist.
        group: the classes of one of them.
        kind: what they tell apart.
    """
    if _inherits(how.net, teacher.model.state_dict(), teacher.dataset, group, kind):
        return teacher.model
    log.info("the generalist's net is another one than that of specialists, which start from random weights")
    return None


def net_of_specialists(teacher: Teacher, kind: TaskKind) -> NetSpec | None:
    """Return the generalist's net where specialists can have it and start from its weights; None: they can't.

    Args:
        teacher: the generalist.
        kind: what they tell apart.
    """
    net = teacher.net
    if net is None or not net.any_classes:
        return None
    return net if _inherits(net, teacher.model.state_dict(), teacher.dataset, _ANY_GROUP, kind) else None


def is_net_of_specialists(net: NetSpec, dataset: Dataset, kind: TaskKind) -> bool:
    """Return whether specialists could have the net of a generalist that is still to be trained, and start from its weights.

    Args:
        net: the generalist's.
        dataset: its images.
        kind: what the specialists tell apart.
    """
    return _inherits(net, _first_weights(net, dataset, dataset.num_classes), dataset, _ANY_GROUP, kind)


def _inherits(net: NetSpec, generalist: Mapping[str, Tensor], dataset: Dataset, group: Group, kind: TaskKind) -> bool:
    """Return whether a specialist with a net can start from the generalist's weights."""
    own = _first_weights(net, dataset, len(task_classes(dataset.classes, group, kind)))
    return inherited_weights(generalist, own, group, dataset.num_classes, kind) is not None


def _first_weights(net: NetSpec, dataset: Dataset, num_classes: int) -> dict[str, Tensor]:
    """Return the weights with which a net begins; of kd's own nets their shapes alone.

    Shapes take no memory: the sizes of a model of others may be any.
    """
    with torch.device("cpu" if net.is_own else "meta"), torch.random.fork_rng(devices=[]):
        created = net.create(num_classes, dataset.image_shape[0])
        return Classifier(created, dataset.mean, dataset.std).state_dict()


def specialise_group(  # noqa: PLR0913, PLR0917 - how, from whom, and which specialist
    how: Distillation,
    teacher: Teacher,
    targets: TeacherTargets,
    group: Group,
    kind: TaskKind,
    own_fraction: float,
    *,
    number: int,
    suffix: str = "",
    start: nn.Module | None = None,
) -> Trained:
    """Train the specialist of one group and its control.

    For the arguments see :func:`distil_task` and :func:`specialise`.
    """
    dataset = teacher.dataset
    return distil_task(
        how,
        teacher,
        targets,
        specialist_task(dataset, group, kind, own_fraction),
        label=f"specialist {number} {describe_group(group, dataset.classes)}",
        suffix=suffix,
        start=start,
    )


def combine(  # noqa: PLR0913 - what is combined, and how
    teacher: Teaching,
    specialists: Sequence[Trained],
    *,
    correction: Correction = CORRECTION,
    top_n: int = TOP_N,
    name: str = "combined",
    device: str = "auto",
) -> Combination:
    """Combine a generalist and specialists by the paper's Eq. 5 (section 5.4), and compare the two on val and test.

    Args:
        teacher: the generalist.
        specialists: what :func:`specialise` returned.
        correction: shift of the dustbin's logit: ``fit``: one number fitted on val; ``paper``: the log of the oversampling;
            ``none``.
        top_n: number of the generalist's most probable classes that call their specialists.
        name: name of the combination, for tracking.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UserError: no specialist, a student among them, one given twice, those of two data sets, no such correction, or more
            classes called than there are.
    """
    _check_specialists(specialists)
    if correction not in CORRECTIONS:
        raise UserError(f"{correction!r} is no correction; give one of {', '.join(CORRECTIONS)}", field="correction")
    on = resolve_device(device)
    guide = as_teacher(teacher, specialists[0].dataset, on)
    if not 1 <= top_n <= guide.dataset.num_classes:
        raise UserError(f"{top_n}: there are only {guide.dataset.num_classes} classes", field="top_n")
    members = [as_member(specialist) for specialist in specialists]
    seed = specialists[0].recipe.seed
    return carry_out_combination(CombinationJob(name, guide, members, correction, top_n, on, seed))


def _check_specialists(specialists: Sequence[Trained]) -> None:
    if not specialists:
        raise UserError("none to combine with the generalist; give one or more", field="specialists")
    seen: list[nn.Module] = []
    for specialist in specialists:
        if not isinstance(specialist, Trained):
            raise UserError(f"{specialist!r} is no specialist; give what kd.specialise returned", field="specialists")
        if specialist.model in seen:
            raise UserError(f"{specialist.name} is given twice; give each specialist once", field="specialists")
        if specialist.dataset.digest != specialists[0].dataset.digest:
            raise UserError(f"{specialist.name} is of another data set than the first; give those of one", field="specialists")
        seen.append(specialist.model)


def _checked(group: Sequence[int], dataset: Dataset) -> Group:
    try:
        given = [operator.index(number) for number in group]
    except TypeError:
        raise UserError(f"{group!r} is not a group; give a sequence of class numbers", field="groups") from None
    numbers = tuple(sorted(set(given)))
    known = set(range(dataset.num_classes))
    if len(numbers) != len(given) or not set(numbers) <= known or not 2 <= len(numbers) < len(known):  # noqa: PLR2004 - a group
        raise UserError(
            f"{tuple(given)} is not a group; give two or more different class numbers below {dataset.num_classes}, not all",
            field="groups",
        )
    return numbers


def _sequence(groups: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    try:
        return list(groups)
    except TypeError:
        raise UserError(f"{groups!r} are not groups; give a sequence of groups of class numbers", field="groups") from None


def _checked_kind(kind: str) -> TaskKind:
    kinds = [known.value for known in TaskKind if known != TaskKind.ALL]
    if kind not in kinds:
        raise UserError(f"{kind!r} is no kind of specialist; give one of {', '.join(kinds)}", field="kind")
    return TaskKind(kind)
