"""One candidate configuration: its specialists or students of all seeds, trained side by side, scored as the study asks."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn

from kd.config import TuneConfig
from kd.data.dataset import Split
from kd.distillation.combination import Member, Parts, dustbin_shifts
from kd.distillation.job import Job, create_trainer
from kd.distillation.plan import distillation_jobs
from kd.distillation.selection import rank_by
from kd.distillation.targets import TeacherTargets
from kd.distillation.task import Task, specialist_task, whole_task
from kd.distillation.teacher import Teacher
from kd.evaluation.predict import predict
from kd.evaluation.scores import Scores
from kd.from_config import distillation, specialist_kind
from kd.machine.activity import in_turn
from kd.nets.cost import count_parameters
from kd.specialists.clustering import Group
from kd.specialists.groups import describe_group
from kd.specialists.kind import TaskKind
from kd.tracking.workspace import Workspace
from kd.training.fit import fit
from kd.training.loop import Epoch


@dataclass(frozen=True, eq=False)
class Guide:
    """What all trials of a study share: the data, the teacher with its targets, and the groups by number."""

    workspace: Workspace
    teacher: Teacher
    targets: TeacherTargets
    groups: Mapping[int, Group]


@dataclass(frozen=True)
class OnVal:
    """How a net's weights score on val."""

    scores: Scores
    logits: Tensor
    """On all validation images."""

    @property
    def rank(self) -> tuple[float, float]:
        """Return the accuracy that trials are judged by, and the likelihood."""
        return self.scores.rank


@dataclass(eq=False)
class Training:
    """One net's training, and how its weights to use score so far: those of the best epoch on val, or of the last one."""

    job: Job
    val: Split
    """All validation images, on the job's device."""
    model: nn.Module = field(init=False)
    """At the training's end it has the weights to use."""
    on_val: OnVal = field(init=False)

    def __post_init__(self) -> None:
        """Create the net and what trains it."""
        self._trainer, _ = create_trainer(self.job)
        self.model = self._trainer.model

    def epochs(self) -> Iterator[Epoch]:
        """Train, and yield each epoch once it is scored on val.

        Raises:
            UserError: the loss is not finite.
        """
        recipe = self.job.recipe
        for epoch in fit(
            self._trainer, self._score, use=recipe.use, rank=lambda on_val: rank_by(on_val.scores, recipe.select_by)
        ):
            if epoch.is_chosen(recipe.use):
                self.on_val = epoch.val
            yield epoch.train

    def _score(self, model: nn.Module) -> OnVal:
        task = self.job.task
        logits = own = predict(model, self.val)
        if task.kind == TaskKind.OWN:
            own = logits[torch.isin(self.job.dataset.val.labels, torch.tensor(task.group))]
        return OnVal(task.scores(own, task.val.labels), logits)


class Candidate:
    """All trainings of one configuration, each epoch of them one after the other."""

    def __init__(self, config: TuneConfig, guide: Guide, role: Literal["distilled", "control"] = "distilled") -> None:
        self._config = config
        self._guide = guide
        which = 0 if role == "control" else 1
        val = guide.workspace.dataset.val.to(guide.workspace.device)
        self.trainings = [
            Training(self._jobs(config.model_copy(update={"seed": seed}), number, task)[which], val)
            for seed in range(config.seed, config.seed + config.seeds)
            for number, task in _tasks(config, guide).items()
        ]
        self.parameters = sum(count_parameters(training.model) for training in self.trainings) // config.seeds

    def epochs(self) -> Iterator[dict[str, float]]:
        """Train, and yield the metrics of each epoch: means over the nets, and ``val/accuracy``, by which trials are judged.

        That is the accuracy of the weights which would be used if the training ended here.

        Raises:
            UserError: a loss is not finite.
        """
        for epochs in _rounds(self.trainings):
            seconds = sum(epoch.seconds for epoch in epochs)
            yield {
                "epoch": float(epochs[0].number),
                "val/accuracy": statistics.fmean(self.val_accuracies()),
                "val/nll": statistics.fmean(training.on_val.scores.nll for training in self.trainings),
                "train/loss": statistics.fmean(epoch.loss for epoch in epochs),
                "train/accuracy": statistics.fmean(epoch.accuracy for epoch in epochs),
                "train/learning_rate": epochs[0].learning_rate,
                "train/seconds": seconds,
                "train/images_per_second": sum(epoch.images_per_second * epoch.seconds for epoch in epochs) / seconds,
            }

    def val_accuracies(self) -> list[float]:
        """Return the accuracy that the study's objective names on val, of each seed."""
        if self._config.objective == "combined":
            return [self._combined(trainings, "val") for trainings in self._by_seed()]
        return [statistics.fmean(training.on_val.rank[0] for training in trainings) for trainings in self._by_seed()]

    def test_accuracies(self) -> list[float]:
        """Return the same on test, of each seed."""
        if self._config.objective == "combined":
            return [self._combined(trainings, "test") for trainings in self._by_seed()]
        return [statistics.fmean(map(_own_test_accuracy, trainings)) for trainings in self._by_seed()]

    def _by_seed(self) -> Iterator[list[Training]]:
        for seed in range(self._config.seed, self._config.seed + self._config.seeds):
            yield [training for training in self.trainings if training.job.recipe.seed == seed]

    def _jobs(self, config: TuneConfig, number: int, task: Task) -> tuple[Job, Job]:
        classes = self._guide.workspace.dataset.classes
        student = config.objective == "student"
        return distillation_jobs(
            distillation(config, self._guide.workspace),
            self._guide.teacher,
            self._guide.targets,
            task,
            label="student" if student else f"specialist {number} {describe_group(task.group, classes)}",
            start=self._guide.teacher.model if config.init == "generalist" and not student else None,
        )

    def _combined(self, trainings: Sequence[Training], split: Literal["val", "test"]) -> float:
        """Return the accuracy of generalist and specialists by Eq. 5 on all classes."""
        config, teacher, dataset = self._config, self._guide.teacher, self._guide.workspace.dataset
        members = [
            Member(job.name, training.model, job.task.group, job.task.kind, job.task.own_fraction)
            for training in trainings
            for job in [training.job]
        ]
        val_logits = [training.on_val.logits for training in trainings]
        test_logits = [predict(training.model, dataset.test) for training in trainings] if split == "test" else []
        parts = Parts(teacher, members, config.top_n, val_logits, test_logits)
        shifts = dustbin_shifts(config.dustbin_correction, parts)
        if split == "test":
            probabilities = parts.probabilities(teacher.test_logits, test_logits, shifts)  # (N, C)
        else:
            probabilities = parts.probabilities(teacher.val_logits, val_logits, shifts)  # (N, C)
        labels = (dataset.test if split == "test" else dataset.val).labels
        return (probabilities.argmax(dim=1) == labels).double().mean().item()


def _rounds(trainings: Sequence[Training]) -> Iterator[list[Epoch]]:
    """Yield each epoch of all trainings, one net after the other."""
    under_way = [training.epochs() for training in trainings]
    while epochs := [epoch for one in in_turn(under_way) for epoch in islice(one, 1)]:
        yield epochs


def _own_test_accuracy(training: Training) -> float:
    """Return the accuracy on the test images of the net's own classes, among those classes."""
    task = training.job.task
    return task.own_correct(predict(training.model, task.test), task.test.labels).double().mean().item()


def _tasks(config: TuneConfig, guide: Guide) -> dict[int, Task]:
    dataset = guide.workspace.dataset
    if config.objective == "student":
        return {0: whole_task(dataset)}
    kind = specialist_kind(config)
    return {number: specialist_task(dataset, group, kind, config.own_fraction) for number, group in guide.groups.items()}
