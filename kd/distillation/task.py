"""The task of a net: the classes that it learns, the images that it learns from, and its scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from kd.data.batches import cycled_rows
from kd.data.dataset import NO_LABEL, Dataset, Split
from kd.evaluation.scores import Scores, balanced_accuracy, score
from kd.specialists.clustering import Group
from kd.specialists.dustbin import group_labels, group_logits
from kd.specialists.kind import TaskKind
from kd.specialists.sampling import epoch_rows
from kd.training.loop import EpochRows

DUSTBIN = "dustbin"


@dataclass(frozen=True, eq=False)
class Task:
    """Images with the labels that a net is to give them, and the classes that its logits stand for."""

    kind: TaskKind
    group: Group
    """The classes learned, as numbers of the data set's classes."""
    num_classes: int
    """The number of the data set's classes."""
    classes: tuple[str, ...]
    """The name of each logit."""
    train: Split
    val: Split
    test: Split
    own_fraction: float = 1.0
    """Share of an epoch's images that are of the group's classes; the kinds all and own take each image once."""
    epoch_images: int = 0
    """Images of an epoch that walks on through train, where that is not to be the size of train; 0: an epoch is train."""

    @property
    def own_columns(self) -> list[int]:
        """Return the places of the group's classes among the logits."""
        return list(self.group) if self.kind in {TaskKind.ALL, TaskKind.FULL} else list(range(len(self.group)))

    @cached_property
    def unlabelled(self) -> int:
        """The number of images to learn from that have no label."""
        return int((self.train.labels == NO_LABEL).sum())

    def own_images(self, labels: Tensor) -> Tensor:
        """Return which images are of the group's classes, (N,) bool."""
        return torch.isin(labels, torch.tensor(self.own_columns, device=labels.device))

    def epoch_rows(self, seed: int) -> EpochRows | None:
        """Return a function that picks each epoch's images, ``own_fraction`` of them from the group; None: each image once."""
        if self.epoch_images:
            size, images = len(self.train), self.epoch_images
            return lambda epoch: cycled_rows(size, images, seed=seed, epoch=epoch)
        if self.kind in {TaskKind.ALL, TaskKind.OWN}:
            return None
        labels = self.own_images(self.train.labels).logical_not().long().cpu()  # 0: own, 1: the rest
        return lambda epoch: epoch_rows(labels, (0,), own_fraction=self.own_fraction, seed=seed, epoch=epoch)

    def of_teacher(self, logits: Tensor, temperature: float) -> Tensor:
        """Return a teacher's logits (B, num_classes) as logits of this task, whose softmax at T sums the dustbin."""
        if self.kind in {TaskKind.ALL, TaskKind.FULL}:
            return logits
        return group_logits(logits, self.group, dustbin=self.kind == TaskKind.DUSTBIN, temperature=temperature)

    def scores(self, logits: Tensor, labels: Tensor) -> Scores:
        """Score logits (N, classes) against labels (N,); for a specialist also on its own classes."""
        scores = score(logits, labels)
        if self.kind == TaskKind.ALL:
            return scores
        correct, own = self.own_correct(logits, labels), labels[self.own_images(labels)]
        return replace(
            scores,
            own_accuracy=correct.double().mean().item(),
            own_balanced_accuracy=balanced_accuracy(correct, own),
        )

    def own_correct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return, for each image of the group's classes, whether the largest of the group's logits is right; (n,) bool."""
        own = self.own_images(labels)
        columns = torch.tensor(self.own_columns)
        answers = columns[logits[own][:, columns].argmax(dim=1)]
        return answers.eq(labels[own])


def whole_task(dataset: Dataset) -> Task:
    """Return the task of a generalist or a student: all classes."""
    return Task(
        kind=TaskKind.ALL,
        group=tuple(range(dataset.num_classes)),
        num_classes=dataset.num_classes,
        classes=dataset.classes,
        train=dataset.train,
        val=dataset.val,
        test=dataset.test,
    )


def transfer_task(dataset: Dataset) -> Task:
    """Return the task of a student: all classes, from all images of the transfer set, with labels or without."""
    return replace(whole_task(dataset), train=dataset.transfer_set)


def labelled_task(dataset: Dataset) -> Task:
    """Return the same from the labelled images alone, in epochs of as many images and so of as many steps."""
    return replace(whole_task(dataset), epoch_images=0 if dataset.unlabelled is None else len(dataset.transfer_set))


def task_classes(classes: Sequence[str], group: Group, kind: TaskKind) -> tuple[str, ...]:
    """Return the name of each logit of a net of a kind of task, by the names of the data set's classes."""
    names = tuple(classes[number] for number in group)
    rest = DUSTBIN if DUSTBIN not in names else f"{DUSTBIN} (all others)"
    return {TaskKind.DUSTBIN: (*names, rest), TaskKind.OWN: names}.get(kind, tuple(classes))


def specialist_task(dataset: Dataset, group: Group, kind: TaskKind, own_fraction: float) -> Task:
    """Return the task of the specialist of a group (paper, section 5.2 and 6.1)."""
    classes = task_classes(dataset.classes, group, kind)
    train, val, test = (_relabel(split, group, kind, dataset) for split in (dataset.train, dataset.val, dataset.test))
    return Task(kind, group, dataset.num_classes, classes, train, val, test, own_fraction)


def _relabel(split: Split, group: Group, kind: TaskKind, dataset: Dataset) -> Split:
    if kind == TaskKind.FULL:
        return split
    if kind == TaskKind.OWN:
        split = split.select(torch.isin(split.labels, torch.tensor(group, device=split.labels.device)))
    labels = group_labels(split.labels, group, dataset.num_classes, dustbin=kind == TaskKind.DUSTBIN)
    return Split(split.images, labels, split.index)
