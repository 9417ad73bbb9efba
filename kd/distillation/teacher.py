"""The teacher: any net that maps images to logits of all classes, and is asked for logits alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kd.data.dataset import Dataset
from kd.distillation.results import Tracked, TrackedRun, Trained
from kd.distillation.target_cache import weights_digest
from kd.distillation.task import Task, whole_task
from kd.evaluation.latency import Latency, latencies
from kd.evaluation.predict import predict
from kd.nets.cost import count_parameters

if TYPE_CHECKING:
    from kd.nets.registry import NetSpec  # a model that is loaded needs the code of no net


class Ensemble(nn.Module):
    """Several models on all classes as one: the logarithm of the mean of their probabilities (paper, section 4)."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images (B, C, H, W) to (B, classes), whose softmax is the members' mean."""
        logs = torch.stack([member(images).log_softmax(dim=1) for member in self.members])  # (members, B, classes)
        return logs.logsumexp(dim=0) - math.log(len(self.members))


@dataclass(frozen=True, eq=False)
class Teacher(Tracked):
    """A model that guides others, with its logits on val and test.

    The model maps uint8 images (B, C, H, W) of the data set to logits (B, all classes). A net that expects normalised images
    is first wrapped in a :class:`~kd.nets.classifier.Classifier`.
    """

    model: nn.Module
    dataset: Dataset
    origin: str = "given"
    """Its origin: given, named, reused or trained."""
    run: TrackedRun | None = None
    trained: Trained | None = None
    """The training that made it in this process, and has scored it already; None: it was not made here."""
    chosen: str = ""
    """Why a command took it, in a few words."""
    net: "NetSpec | None" = None
    """Its net, as it can be created again; None: that is not known."""

    @cached_property
    def task(self) -> Task:
        """Return its task: all classes."""
        return whole_task(self.dataset)

    @cached_property
    def parameters(self) -> int:
        """Return the number of its trained parameters."""
        return count_parameters(self.model)

    @cached_property
    def latencies(self) -> tuple[Latency, ...]:
        """Return the time of a pass, by the size of the batch, measured when first asked for."""
        return self.trained.latencies if self.trained else latencies(self.model, self.dataset.test.images)

    @cached_property
    def digest(self) -> str:
        """Return the digest of its weights."""
        return weights_digest(self.model)

    @cached_property
    def val_logits(self) -> Tensor:
        """Return its logits (N, all classes) for the validation images, computed when first asked for."""
        return self.trained.val_logits if self.trained else predict(self.model, self.dataset.val)

    @cached_property
    def test_logits(self) -> Tensor:
        """Return its logits (N, all classes) for the test images; a worker of a search never asks for them."""
        return self.trained.test_logits if self.trained else predict(self.model, self.dataset.test)

    def test_on(self, task: Task) -> Tensor:
        """Return its logits (N, all classes) for the test images of a task."""
        return self.test_logits[task.test.index]
