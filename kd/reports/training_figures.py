"""The figures of one training."""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from kd.distillation.results import Trained
from kd.distillation.task import Task
from kd.distillation.teacher import Teacher
from kd.evaluation.scores import Scores, per_class_accuracy
from kd.reports import plots
from kd.specialists.kind import TaskKind
from kd.training.fit import ScoredEpoch

GENERALIST = "generalist"
"""The teacher's name in figures, whatever it teaches."""
DARK_KNOWLEDGE_IMAGES = 6
MENDED_IMAGES = 8
"""Images that distillation mended, and of those that it broke, in a figure: as many again take twice the time to draw."""


def training_figures(trained: Trained, teacher: Teacher | None, temperature: float | None) -> dict[str, Figure]:
    """Return the figures of a training by name.

    Args:
        trained: with its control, where there is one.
        teacher: the teacher that it is compared with; None: there is none.
        temperature: T of the soft targets; None: there are none.
    """
    task, title = trained.task, f"{trained.name} on {trained.dataset.name}"
    logits = {trained.role: trained.test_logits}  # of each system (N, task's classes), the trained one last
    if trained.control is not None:
        logits = {"control": trained.control.test_logits, **logits}
    if teacher is not None:
        logits = {GENERALIST: teacher.test_on(task), **logits}  # (N, all the data set's classes)
    labels = task.test.labels
    confidence, predicted = trained.test_logits.softmax(dim=1).max(dim=1)
    figures = {
        "1_training_curves": plots.training_curves(
            [_curve_point(epoch) for epoch in trained.history],
            f"Training of {title}",
            best_epoch=trained.chosen_epoch,
            train_images=len(task.train),
            val_images=len(task.val),
        ),
        "3_confusion_matrix": plots.confusion_matrix(
            labels.numpy(), predicted.numpy(), task.classes, f"Confusion of {title}, test"
        ),
        "5_reliability_diagram": plots.reliability_diagram(
            confidence.numpy(), (predicted == labels).numpy(), f"Reliability of {title}, test"
        ),
        "2_per_class_accuracy": plots.per_class_accuracy(
            {
                system: per_class_accuracy(_as_task(task, system, of_system), labels, len(task.classes)).numpy()
                for system, of_system in logits.items()
            },
            labels.bincount(minlength=len(task.classes)).numpy(),
            task.classes,
            f"Accuracy by class of {title}, test",
        ),
    }
    if trained.control is not None and task.kind == TaskKind.ALL:
        figures["6_mended_and_broken"] = plots.mended_and_broken(
            task.test.images.numpy(),
            labels.numpy(),
            trained.control.test_logits.argmax(dim=1).numpy(),
            predicted.numpy(),
            task.classes,
            f"Mended and broken by distillation: {title}, test",
            systems=("control", "distilled"),
            most=MENDED_IMAGES,
        )
    if temperature is not None:
        figures["4_dark_knowledge"] = _dark_knowledge(title, task, logits, temperature)
    return figures


def _curve_point(epoch: ScoredEpoch[Scores]) -> dict[str, float]:
    return {
        "epoch": float(epoch.number),
        "train_loss": epoch.train.loss,
        "train_soft_loss": epoch.train.soft_loss,
        "train_hard_loss": epoch.train.hard_loss,
        "train_accuracy": epoch.train.accuracy,
        "learning_rate": epoch.train.learning_rate,
        "val_loss": epoch.val.nll,
        "val_accuracy": epoch.val.accuracy,
        **({} if epoch.val.own_accuracy is None else {"val_own_accuracy": epoch.val.own_accuracy}),
    }


def _as_task(task: Task, system: str, logits: Tensor, temperature: float = 1.0) -> Tensor:
    return task.of_teacher(logits, temperature) if system == GENERALIST else logits


def _dark_knowledge(title: str, task: Task, logits: Mapping[str, Tensor], temperature: float) -> Figure:
    """Draw the test images on which the teacher's soft targets have the highest entropy, one per class."""
    soft = {
        system: (_as_task(task, system, of_system, temperature) / temperature).softmax(dim=1)
        for system, of_system in logits.items()
    }
    generalist, labels = soft[GENERALIST], task.test.labels
    entropy = torch.special.entr(generalist).sum(dim=1)  # (N,)
    right = generalist.argmax(dim=1) == labels
    by_class: dict[int, int] = {}
    for row in (entropy + right * entropy.max()).argsort(descending=True).tolist():
        by_class.setdefault(int(labels[row]), row)
    rows = torch.tensor(list(by_class.values())[:DARK_KNOWLEDGE_IMAGES])
    trained = list(soft)[-1]
    systems = {GENERALIST: generalist, trained: soft[trained]}
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
