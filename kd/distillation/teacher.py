"""The teacher: any net that maps images to logits of all classes, and is asked for logits alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from kd.data.dataset import Dataset
from kd.distillation.results import Tracked, TrackedRun, Trained
from kd.distillation.target_cache import weights_digest
from kd.distillation.task import Task, whole_task
from kd.errors import UserError, reason
from kd.evaluation.predict import predict
from kd.nets.cost import count_parameters
from kd.specialists.kind import TaskKind


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

    @cached_property
    def task(self) -> Task:
        """Return its task: all classes."""
        return whole_task(self.dataset)

    @cached_property
    def parameters(self) -> int:
        """Return the number of its trained parameters."""
        return count_parameters(self.model)

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


def as_teacher(teacher: Teacher | Trained | nn.Module, dataset: Dataset | None, device: torch.device) -> Teacher:
    """Return anything that can teach as a :class:`Teacher`, on a device.

    Args:
        teacher: a teacher, a training's result, or a module from uint8 images to logits of all classes.
        dataset: the images to teach on; None: those of the teacher, which a bare module lacks.
        device: where its logits are computed.

    Raises:
        UserError: a bare module without a data set, a net of some classes only, or one whose logits are not of the classes.
    """
    found = _teacher(teacher, dataset)
    found.model.to(device)
    _check_logits(found, device)
    return found


def _teacher(teacher: Teacher | Trained | nn.Module, dataset: Dataset | None) -> Teacher:
    if isinstance(teacher, Teacher):
        return teacher if dataset in {None, teacher.dataset} else Teacher(teacher.model, _known(dataset), teacher.origin)
    if isinstance(teacher, Trained):
        if teacher.task.kind != TaskKind.ALL:
            raise UserError(f"{teacher.name} knows some classes only; a teacher knows all of them", field="teacher")
        own = dataset in {None, teacher.dataset}
        return Teacher(
            teacher.model, teacher.dataset if own else _known(dataset), "trained", teacher.run, teacher if own else None
        )
    return Teacher(teacher, _known(dataset))


def _known(dataset: Dataset | None) -> Dataset:
    if dataset is None:
        raise UserError("a module alone does not say which images it teaches on; give the data set", field="dataset")
    return dataset


def _check_logits(teacher: Teacher, device: torch.device) -> None:
    if teacher.trained is not None:
        return
    try:
        shape = tuple(predict(teacher.model, teacher.dataset.val.select(torch.arange(1)).to(device)).shape)
    except RuntimeError as error:
        raise UserError(
            f"the teacher can't take uint8 images of shape {teacher.dataset.image_shape} ({reason(error)}); wrap a net that "
            "expects normalised ones: kd.Classifier(net, mean, std)",
            field="teacher",
        ) from error
    if shape != (1, teacher.dataset.num_classes):
        raise UserError(
            f"the teacher answers an image with {shape[1:]}, not with {teacher.dataset.num_classes} logits; "
            f"give a model of the classes of {teacher.dataset.name}",
            field="teacher",
        )
