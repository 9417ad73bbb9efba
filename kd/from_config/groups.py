"""The groups of classes that have a specialist each."""

import logging

from kd.config import SpecialistOptions
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.machine.activity import doing
from kd.machine.text import printable
from kd.specialists.clustering import Group
from kd.specialists.confusion import in_groups
from kd.specialists.groups import check_groups, choose_groups, resolve_groups
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")


@doing("finding groups")
def groups_of(config: SpecialistOptions, workspace: Workspace, teacher: Teacher) -> tuple[tuple[Group, ...], dict[int, Group]]:
    """Return all groups of ``--groups``, and by number those of ``--group``; each is logged.

    Raises:
        UserError: a bad group, or none of that number.
    """
    dataset = workspace.dataset
    groups = resolve_groups(
        config.groups,
        config.data,
        dataset.classes,
        lambda: teacher.val_logits.softmax(dim=1),
        labels=dataset.val.labels.cpu() if config.group_by == "confusion" else None,
        seed=config.data_seed,
    )
    for number, group in enumerate(groups):
        log.info("group %d: %s", number, ", ".join(printable(dataset.classes[label]) for label in group))
    _say_in_groups(groups, teacher)
    return groups, choose_groups(groups, config.group)


def _say_in_groups(groups: tuple[Group, ...], teacher: Teacher) -> None:
    """Say how many of the generalist's mistakes on val are between classes of one group: what specialists can mend."""
    val = teacher.dataset.val
    told = in_groups(teacher.val_logits.argmax(dim=1), val.labels.cpu(), groups, teacher.dataset.num_classes)
    if not told.mistakes:
        log.warning("the generalist makes no mistake on the %d val images: groups of what it confuses tell little", len(val))
        return
    log.info(
        "%d of the generalist's %d mistakes on val are between classes of one group; by chance %.0f",
        told.inside,
        told.mistakes,
        told.by_chance * told.mistakes,
    )


def check_group_settings(config: SpecialistOptions, workspace: Workspace) -> None:
    """Refuse bad groups before any run is opened, as far as they are known without a teacher.

    Raises:
        UserError: bad groups, or more classes of the generalist's ranking than there are.
    """
    check_top_n(config.top_n, workspace)
    check_groups(config.groups, config.group, config.data, workspace.dataset.classes)


def check_top_n(top_n: int, workspace: Workspace) -> None:
    """Refuse more classes of the generalist's ranking than there are.

    Raises:
        UserError: there are not so many.
    """
    if top_n > workspace.dataset.num_classes:
        raise UserError(f"{top_n}: there are only {workspace.dataset.num_classes} classes", field="top_n")
