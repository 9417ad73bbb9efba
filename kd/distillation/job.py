"""Jobs: trainings described before they are carried out, here without a tracker."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import nn

from kd.data.dataset import Dataset
from kd.data.views import Augmentation
from kd.distillation.fingerprint import fingerprint
from kd.distillation.net_check import check_answers
from kd.distillation.results import Trained
from kd.distillation.selection import rank_by
from kd.distillation.target_cache import weights_digest
from kd.distillation.task import Task
from kd.distillation.teacher import Teacher
from kd.evaluation.latency import latencies
from kd.evaluation.predict import predict
from kd.evaluation.scores import Scores, agreement
from kd.losses.choice import SoftLoss
from kd.machine.activity import doing
from kd.machine.progress import Progress
from kd.nets.classifier import Classifier
from kd.nets.cost import count_multiply_adds, count_parameters
from kd.nets.registry import NetSpec
from kd.specialists.warm_start import inherited_weights
from kd.training.fit import FitState, ScoredEpoch, fit
from kd.training.loop import Objective, Trainer
from kd.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Job:
    """The description of one training: the task, the net, the recipe, and the teacher."""

    name: str
    label: str
    """Name of the net, the same for every seed."""
    role: Literal["teacher", "student", "specialist", "control", "without unlabelled"]
    dataset: Dataset
    task: Task
    net: NetSpec
    recipe: Recipe
    objective: Objective
    device: torch.device
    teacher: Teacher | None = None
    """The teacher that guides it, or that a control is compared with; None: there is none."""
    temperature: float | None = None
    """T of the soft targets; None: there are none."""
    alpha: float | None = None
    """Weight of the soft term; None: there is none."""
    loss: SoftLoss | None = None
    """Loss of the soft targets; None: there are none."""
    altered: str = ""
    """What was done to the teacher's targets before they are learned from, in a few words; empty: nothing."""
    start: nn.Module | None = None
    """A net on all classes, from whose weights the training starts where the nets match; None: the seed draws the weights."""

    @property
    def augmentation(self) -> Augmentation:
        """Return the views of the training images: a function of the data set's seed, not of the training's."""
        return self.dataset.augmentation(self.dataset.seed, self.recipe.shift_px)

    def fingerprint(self) -> str:
        """Return 32 hex digits over all that decides the trained weights, and of which epoch they are used."""
        return fingerprint(
            {
                "role": self.role,
                "data": self.dataset.digest,
                "views": asdict(self.augmentation),
                "net": self.net.facts(len(self.task.classes), self.dataset.image_shape[0]),
                "task": [self.task.kind, list(self.task.group), self.task.own_fraction, self.task.epoch_images],
                "unlabelled": self.dataset.unlabelled_digest if self.task.unlabelled else "",
                "recipe": asdict(self.recipe),
                "temperature": self.temperature,
                "alpha": self.alpha,
                "loss": None if self.loss is None else self.loss.facts(),
                "teacher": self.teacher.digest if self.teacher and self.temperature is not None else None,
                "altered": self.altered,
                "start": None if self.start is None else weights_digest(self.start),
            }
        )


def create_trainer(job: Job) -> tuple[Trainer, Literal["random", "generalist"]]:
    """Create the trainer of a job, with its net on the job's device, and return where the net's weights come from.

    Raises:
        UserError: the net does not answer with one logit per class.
    """
    torch.manual_seed(job.recipe.seed)
    task = job.task
    net = job.net.create(len(task.classes), job.dataset.image_shape[0])
    model = Classifier(net, job.dataset.mean, job.dataset.std)
    weights = None
    if job.start is not None:
        weights = inherited_weights(job.start.state_dict(), model.state_dict(), task.group, task.num_classes, task.kind)
    if weights is not None:
        model.load_state_dict(weights)
    check_answers(job.net.name, model.to(job.device), job.dataset, len(task.classes), job.device, job.label)
    trainer = Trainer(
        model,
        task.train.to(job.device),
        job.objective,
        job.recipe,
        job.augmentation,
        epoch_rows=task.epoch_rows(job.recipe.seed),
    )
    return trainer, "random" if weights is None else "generalist"


def fit_job(job: Job, trainer: Trainer, state: FitState[Scores]) -> Iterator[ScoredEpoch[Scores]]:
    """Train a job's epochs that are left, and yield each one once it is scored on val."""
    val = job.task.val.to(job.device)
    labels = job.task.val.labels.cpu()
    recipe = job.recipe
    return fit(
        trainer,
        lambda model: job.task.scores(predict(model, val), labels),
        use=recipe.use,
        rank=lambda scores: rank_by(scores, recipe.select_by),
        state=state,
    )


@doing("scoring on val and test")
def score_job(job: Job, model: nn.Module, state: FitState[Scores], control: Trained | None) -> Trained:
    """Score the chosen weights on val and, for the only time, on test."""
    task = job.task
    model.eval()
    val_logits, test_logits = predict(model, task.val), predict(model, task.test)
    of_teacher = None if job.teacher is None else task.of_teacher(job.teacher.test_on(task), 1.0)
    return Trained(
        name=job.name,
        label=job.label,
        role=job.role,
        model=model,
        dataset=job.dataset,
        task=task,
        recipe=job.recipe,
        history=tuple(state.history),
        chosen_epoch=state.chosen_epoch(job.recipe.use),
        val=task.scores(val_logits, task.val.labels),
        test=task.scores(test_logits, task.test.labels),
        val_logits=val_logits,
        test_logits=test_logits,
        parameters=count_parameters(model),
        multiply_adds=count_multiply_adds(model, job.dataset.image_shape),
        seconds=state.seconds,
        latencies=latencies(model, task.test.images),
        teacher_agreement=None if of_teacher is None else agreement(test_logits, of_teacher),
        control=control,
        net=job.net,
    )


def train_job(job: Job, control: Trained | None = None) -> Trained:
    """Carry out a training without a tracker.

    Args:
        job: the training.
        control: the same net on hard targets, which the result holds beside it.

    Raises:
        UserError: the loss is not finite.
    """
    trainer, _ = create_trainer(job)
    state: FitState[Scores] = FitState()
    with Progress(job.name, job.recipe.epochs) as progress:
        for epoch in fit_job(job, trainer, state):
            show_epoch(progress, epoch)
    return score_job(job, trainer.model, state, control)


def show_epoch(progress: Progress, epoch: ScoredEpoch[Scores]) -> None:
    """Show an epoch by its loss, its accuracy on val and its speed."""
    accuracy, _ = epoch.val.rank
    progress.update(epoch.number, loss=epoch.train.loss, val_accuracy=accuracy, images_per_second=epoch.train.images_per_second)
