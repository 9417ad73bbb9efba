"""What a command is going to train: told in a line before it begins, and scheduled, so that place and time left are known."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from kd.config import SpecialistOptions, StudentConfig, TeacherConfig
from kd.distillation.task import task_classes
from kd.from_config import learns_unlabelled, net, specialist_kind
from kd.machine.activity import doing
from kd.machine.schedule import Planned
from kd.nets.classifier import Classifier
from kd.nets.cost import count_multiply_adds
from kd.nets.names import is_named_elsewhere
from kd.specialists.clustering import Group
from kd.specialists.groups import count_groups
from kd.specialists.kind import TaskKind
from kd.tracking.workspace import Workspace

EFFICIENCY = 0.7
"""A net with half the multiply-adds takes more than half the time: a power that fits nets of 19 to 972 million on two cores."""
FORWARD = 1 / 3
"""Share of a step that its forward pass takes: what the teacher's targets cost for each view."""


@doing("working out what to train")
def plan(config: StudentConfig, workspace: Workspace, *, with_teacher: bool) -> list[Planned]:
    """Return the trainings of a command in their order, as far as they are known before the groups are found.

    Args:
        config: the command's.
        workspace: its data.
        with_teacher: whether the teacher is trained; it may have been found.
    """
    teacher = [_planned(config.teacher_config(), workspace)] if with_teacher else []
    students = _students(config, workspace) if learns_unlabelled(config) else []
    specialists = _specialists(config, workspace) if isinstance(config, SpecialistOptions) else []
    if not teacher:
        return [*students, *specialists]
    views = min(config.views, config.epochs)
    first, *others = [*students, *specialists]
    return [*teacher, replace(first, before=views * FORWARD * teacher[0].cost), *others]


def plan_specialists(config: SpecialistOptions, workspace: Workspace, groups: Mapping[int, Group]) -> list[Planned]:
    """Return the trainings of specialists and their controls, in their order, once the groups are known."""
    kind = specialist_kind(config)
    labels = workspace.dataset.train.labels
    planned = []
    for group in groups.values():
        own = int(torch.isin(labels, torch.tensor(group)).sum())
        images = own if kind == TaskKind.OWN else round(own / config.own_fraction)
        planned += [_planned(config, workspace, len(task_classes(workspace.dataset.classes, group, kind)), images)] * _each(
            config
        )
    return planned * config.seeds


def plan_line(config: StudentConfig, workspace: Workspace, nets: int, *, with_teacher: bool) -> str:
    """Return what will be trained, in one line: ``5 nets to train: teacher (...), student and its control (...)``."""
    parts = []
    if with_teacher:
        parts.append(f"teacher ({described(config.teacher_config())})")
    if learns_unlabelled(config):
        parts.append(f"student {_compared(config, workspace)} ({described(config)})")
    if isinstance(config, SpecialistOptions):
        count = _count(config, workspace)
        parts.append(f"{count} specialist{'s' * (count > 1)} {_controls(config, count)} ({described(config)})")
    seeds = f"; {config.seeds} seeds of all but the teacher" if config.seeds > 1 else ""
    return f"{nets} net{'s' * (nets > 1)} to train: {', '.join(parts)}{seeds}"


def described(config: TeacherConfig | StudentConfig) -> str:
    """Return a configuration's own net, and how long it is trained, in a few words."""
    sizes = config.net_args if is_named_elsewhere(config.net) else f"depth {config.depth}, width {config.width}"
    epochs = f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
    return ", ".join(filter(None, [config.net, sizes, epochs]))


def _controls(config: StudentConfig, count: int) -> str:
    if not config.control:
        return "without control"
    return "and its control" if count == 1 else "and their controls"


def _compared(config: StudentConfig, workspace: Workspace) -> str:
    """Return what a student is trained beside."""
    unlabelled = workspace.dataset.unlabelled
    if unlabelled is None:
        return _controls(config, 1)
    beside = ", its control, and the same without them" if config.control else ""
    return f"with {len(unlabelled)} images without labels{beside}"


def _count(config: SpecialistOptions, workspace: Workspace) -> int:
    return count_groups(config.groups, config.group, config.data, workspace.dataset.classes)


def _each(config: StudentConfig) -> int:
    return 2 if config.control else 1


def _students(config: StudentConfig, workspace: Workspace) -> list[Planned]:
    dataset = workspace.dataset
    nets = 3 if config.control and dataset.unlabelled is not None else _each(config)
    return [_planned(config, workspace, images=len(dataset.transfer_set))] * nets * config.seeds


def _specialists(config: SpecialistOptions, workspace: Workspace) -> list[Planned]:
    """Return the trainings of specialists as long as their groups are not known: each has about its share of the classes."""
    dataset = workspace.dataset
    count = _count(config, workspace)
    own = len(dataset.train) // max(1, count)
    images = own if specialist_kind(config) == TaskKind.OWN else min(len(dataset.train), round(own / config.own_fraction))
    return [_planned(config, workspace, images=images)] * count * _each(config) * config.seeds


def _planned(
    config: TeacherConfig | StudentConfig, workspace: Workspace, outputs: int | None = None, images: int | None = None
) -> Planned:
    """Return a training by its epochs and the multiply-adds of one."""
    dataset = workspace.dataset
    with torch.random.fork_rng(devices=[]):
        created = net(config, dataset).create(outputs or dataset.num_classes, dataset.image_shape[0])
        model = Classifier(created, dataset.mean, dataset.std)
    adds = count_multiply_adds(model, dataset.image_shape)
    return Planned(config.epochs, adds**EFFICIENCY * (len(dataset.train) if images is None else images))
