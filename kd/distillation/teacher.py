"""The teacher: any net of all classes, and its logits where others are compared with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from kd.distillation.results import Trained
from kd.distillation.task import Task
from kd.evaluation.predict import predict


class Ensemble(nn.Module):
    """Several models on all classes as one: the mean of their probabilities, told as log-probabilities."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images (B, C, H, W) to (B, classes), whose softmax is the members' mean."""
        logs = torch.stack([member(images).log_softmax(dim=1) for member in self.members])  # (members, B, classes)
        return logs.logsumexp(dim=0) - math.log(len(self.members))


@dataclass(frozen=True, eq=False)
class Teacher:
    """A model that guides others, on the device of the command, and its logits where others are compared with it."""

    model: nn.Module
    task: Task
    run_id: str
    link: str
    parameters: int
    origin: str
    """How it was come by, in words."""
    trained: Trained | None = None
    """Its training, where this command trained it: it was scored then."""

    @cached_property
    def val_logits(self) -> Tensor:
        """Return its logits (N, all classes) for the validation images, computed when they are first asked for."""
        return self.trained.val_logits if self.trained else predict(self.model, self.task.val)

    @cached_property
    def test_logits(self) -> Tensor:
        """Return the same for the test images: a worker of a search never asks for them."""
        return self.trained.test_logits if self.trained else predict(self.model, self.task.test)

    def test_on(self, task: Task) -> Tensor:
        """Return its logits (N, all classes) for the test images of a task."""
        return self.test_logits[task.test.index]
