"""A training as it is told to whoever carries it out."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from kd.data.dataset import Dataset
from kd.data.views import Augmentation
from kd.distillation.fingerprint import fingerprint
from kd.distillation.task import Task
from kd.nets.classifier import Classifier
from kd.specialists.warm_start import inherited_weights
from kd.training.loop import Objective, Trainer
from kd.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Job:
    """What to train, on what, by which recipe, and what to write beside it."""

    name: str
    role: str
    task: Task
    dataset: Dataset
    create_net: Callable[[int, int, int, int], nn.Module]
    depth: int
    width: int
    recipe: Recipe
    objective: Objective
    params: Mapping[str, object]
    """What was decided for this training and a reader compares."""
    facts: Mapping[str, object]
    """What decides the result beside net, recipe and data: the fingerprint is over all of them."""
    output_dir: Path
    device: torch.device
    use: Literal["best", "last"]
    resume: bool
    augmentation: Augmentation
    settings: Mapping[str, object] = field(default_factory=dict)
    """The command's whole configuration, for a run that stands alone."""
    tags: Mapping[str, str] = field(default_factory=dict)
    temperature: float | None = None
    """T of the soft targets; None: there are none."""
    start: nn.Module | None = None
    """A net on all classes whose weights to start from where the nets match; None: drawn by the recipe's seed."""

    def fingerprint(self) -> str:
        """Return 32 hex digits over everything that decides the trained weights and which epoch's are used."""
        return fingerprint(
            {
                "role": self.role,
                "data": self.dataset.digest,
                "views": asdict(self.augmentation),
                "net": [self.depth, self.width, self.task.kind, list(self.task.group), self.task.own_fraction],
                "recipe": asdict(self.recipe),
                "use": self.use,
                **self.facts,
            }
        )


def create_trainer(job: Job) -> tuple[Trainer, Literal["random", "generalist"]]:
    """Create a job's net on its device with what trains it, and tell where its weights come from."""
    torch.manual_seed(job.recipe.seed)
    task = job.task
    model = Classifier(
        job.create_net(len(task.classes), job.dataset.image_shape[0], job.depth, job.width), job.dataset.mean, job.dataset.std
    )
    weights = None
    if job.start is not None:
        weights = inherited_weights(job.start.state_dict(), model.state_dict(), task.group, task.num_classes)
    if weights is not None:
        model.load_state_dict(weights)
    trainer = Trainer(
        model.to(job.device),
        task.train.to(job.device),
        job.objective,
        job.recipe,
        job.augmentation,
        epoch_rows=task.epoch_rows(job.recipe.seed),
    )
    return trainer, "random" if weights is None else "generalist"
