"""The figures of one training."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from kd.distillation.task import Task
from kd.evaluation.scores import per_class_accuracy
from kd.reports import plots

DARK_KNOWLEDGE_IMAGES = 6


def training_figures(  # noqa: PLR0913 - the parts of a training that are drawn
    title: str,
    task: Task,
    history: Sequence[dict[str, float]],
    *,
    chosen_epoch: int,
    logits: Mapping[str, Tensor],
    temperature: float | None,
) -> dict[str, Figure]:
    """Return the figures of a training by name.

    Args:
        title: what was trained on what.
        task: its classes and images.
        history: metrics of each epoch.
        chosen_epoch: the number of the epoch whose weights are used.
        logits: on the task's test images, by system, the trained one last: (N, task's classes), but for ``teacher``,
            whose are of all the data set's classes.
        temperature: T of the soft targets; None: there are none.
    """
    trained = list(logits.values())[-1]
    labels = task.test.labels
    confidence, predicted = trained.softmax(dim=1).max(dim=1)
    figures = {
        "training_curves": plots.training_curves(
            history,
            f"Training of {title}",
            best_epoch=chosen_epoch,
            train_images=len(task.train),
            val_images=len(task.val),
        ),
        "confusion_matrix": plots.confusion_matrix(
            labels.numpy(), predicted.numpy(), task.classes, f"Confusion of {title}, test"
        ),
        "reliability_diagram": plots.reliability_diagram(
            confidence.numpy(), (predicted == labels).numpy(), f"Reliability of {title}, test"
        ),
        "per_class_accuracy": plots.per_class_accuracy(
            {
                system: per_class_accuracy(_as_task(task, system, of_system), labels, len(task.classes)).numpy()
                for system, of_system in logits.items()
            },
            labels.bincount(minlength=len(task.classes)).numpy(),
            task.classes,
            f"Accuracy by class of {title}, test",
        ),
    }
    if temperature is not None:
        figures["dark_knowledge"] = _dark_knowledge(title, task, logits, temperature)
    return figures


def _as_task(task: Task, system: str, logits: Tensor, temperature: float = 1.0) -> Tensor:
    return task.of_teacher(logits, temperature) if system == "teacher" else logits


def _dark_knowledge(title: str, task: Task, logits: Mapping[str, Tensor], temperature: float) -> Figure:
    """Draw the test images on which the teacher's soft targets say most, those of the highest entropy: one a class."""
    soft = {
        system: (_as_task(task, system, of_system, temperature) / temperature).softmax(dim=1)
        for system, of_system in logits.items()
    }
    teacher, labels = soft["teacher"], task.test.labels
    entropy = torch.special.entr(teacher).sum(dim=1)  # (N,)
    right = teacher.argmax(dim=1) == labels
    by_class: dict[int, int] = {}
    for row in (entropy + right * entropy.max()).argsort(descending=True).tolist():
        by_class.setdefault(int(labels[row]), row)
    rows = torch.tensor(list(by_class.values())[:DARK_KNOWLEDGE_IMAGES])
    trained = list(soft)[-1]
    systems = {"teacher": teacher, trained: soft[trained]}
    if "control" in soft:
        systems["control (hard targets)"] = soft["control"]
    return plots.dark_knowledge(
        task.test.images[rows].numpy(),
        labels[rows].numpy(),
        {system: probabilities[rows].numpy() for system, probabilities in systems.items()},
        task.classes,
        temperature,
        f"Dark knowledge: {title}, test",
    )
