"""Comparison of two trained systems on the same test images."""

from collections.abc import Sequence

from torch import Tensor

from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.distillation.task import Task
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.evaluation.comparisons import Comparison, compare_correct
from kd.specialists.kind import TaskKind

System = Trained | Teacher | Combination


def compare(system: System | Sequence[System], other: System | Sequence[System] | None) -> Comparison:
    """Compare the test accuracy of a system with that of another one, on the same images.

    A specialist, and the system that it is compared with, are scored on the images of its own classes, among these classes.

    Args:
        system: a trained net, a teacher or a combination; several of them are replicates, one per seed.
        other: the system that it is compared with; as many of them. None, which is the ``control`` of a net without one, is
            refused.

    Raises:
        UserError: there is none to compare with, they were scored on different images, or there are more of one than of
            the other.
    """
    if other is None:
        raise UserError("there is no control to compare with; distil with control=True", field="control")
    systems, others = (list(side) if isinstance(side, Sequence) else [side] for side in (system, other))
    if len(systems) != len(others) or not systems:
        raise UserError(f"{len(systems)} and {len(others)} systems can't be paired; give as many of both, one or more")
    return compare_correct([_both(one, two) for one, two in zip(systems, others, strict=True)])


def _both(system: System, other: System) -> tuple[Tensor, Tensor]:
    """Return the images, (N,) bool, that the other system and the system have right, in this order."""
    if system.dataset.digest != other.dataset.digest:
        raise UserError(f"{system.dataset.name} and {other.dataset.name}: not the same images; compare on one data set")
    tasks = [one.task for one in (system, other) if isinstance(one, Trained) and one.task.kind != TaskKind.ALL]
    if len({task.group for task in tasks}) > 1:
        raise UserError("the specialists are of two groups of classes; compare those of one group")
    return _correct(other, tasks), _correct(system, tasks)


def _correct(system: System, tasks: Sequence[Task]) -> Tensor:
    if not tasks:
        return system.after if isinstance(system, Combination) else _logits(system).argmax(dim=1) == system.dataset.test.labels
    task = system.task if isinstance(system, Trained) and system.task.kind != TaskKind.ALL else tasks[0]
    logits = _logits(system)
    if not isinstance(system, Trained) or system.task.kind == TaskKind.ALL:
        logits = task.of_teacher(logits[task.test.index], 1.0)
    return task.own_correct(logits, task.test.labels)


def _logits(system: System) -> Tensor:
    return system.test_probabilities.log() if isinstance(system, Combination) else system.test_logits
