"""The teacher's logits for the images of a batch: cached, or computed for it."""

from typing import Protocol

import torch
from torch import Tensor, nn

from kd.data.batches import Batch
from kd.data.dataset import Split
from kd.data.views import Augmentation
from kd.evaluation.predict import evaluating
from kd.machine.activity import counted, doing
from kd.machine.progress import bar
from kd.machine.signals import stoppable

TARGETS_BATCH_SIZE = 128


class TeacherTargets(Protocol):
    """The logits of a teacher, cached or live, as a training loop asks for them."""

    @property
    def views(self) -> int:
        """Return K, the number of views: epoch e takes view e mod K; 0: each epoch has a fresh one."""

    def __call__(self, batch: Batch) -> Tensor:
        """Return the teacher's raw logits for the images of a batch in its view, (B, C) float32, without gradient."""


class LiveTargets:
    """A teacher that computes its logits for each batch."""

    views = 0

    def __init__(self, model: nn.Module) -> None:
        """Take the teacher, on the device of the batches to come."""
        self.model = model

    def __call__(self, batch: Batch) -> Tensor:
        """Return the teacher's raw logits for ``batch.images``, (B, C) float32, without gradient."""
        with evaluating(self.model):
            logits: Tensor = self.model(batch.images)  # (B, C)
        return logits.float()


class CachedTargets:
    """Cached logits for each image of a split in each of K views."""

    def __init__(self, logits: Tensor, index: Tensor) -> None:
        """Take the logits (K, N, C) of the images with these ``Split.index`` (N,)."""
        if logits.shape[1] != len(index):
            raise ValueError(f"{logits.shape[1]} rows of logits can't belong to {len(index)} images")
        row_of = torch.full((int(index.max()) + 1,), -1)  # by Split.index; -1 has no row
        row_of[index.cpu()] = torch.arange(len(index))
        self.views = len(logits)
        self._tables = {torch.device("cpu"): (logits, row_of)}

    def __call__(self, batch: Batch) -> Tensor:
        """Return the logits of ``batch.index`` in ``batch.view``, as :meth:`lookup` does."""
        return self.lookup(batch.index, batch.view)

    def lookup(self, index: Tensor, view: int) -> Tensor:
        """Return the logits of the images with these ``Split.index`` (B,) in a view, (B, C) float32, on their device.

        Raises:
            IndexError: an image without targets, or a view outside 0..K-1. An accelerator raises an error of its own for the
                image, some time later: no step waits for the check.
        """
        if not 0 <= view < self.views:
            raise IndexError(f"view {view} has no targets: there are {self.views} views, from 0")
        if index.device not in self._tables:
            logits, row_of = self._tables[torch.device("cpu")]
            self._tables[index.device] = (logits.to(index.device), row_of.to(index.device))
        logits, row_of = self._tables[index.device]
        try:
            # index_select, unlike [], refuses negative rows
            return logits[view].index_select(0, row_of.index_select(0, index)).float()  # (B, C)
        except IndexError:
            raise IndexError(f"no targets for some image of index {index.tolist()}") from None


def compute_targets(  # noqa: PLR0913 - who computes what, where and how
    model: nn.Module,
    split: Split,
    augmentation: Augmentation,
    views: int,
    *,
    device: torch.device | str,
    batch_size: int = TARGETS_BATCH_SIZE,
    progress: bool = False,
) -> Tensor:
    """Return the logits of a model in evaluation mode for ``views`` views of each image, (K, N, C) float32, on the CPU.

    Each of the model's modules is in its own mode (training or evaluation) again afterwards.
    """
    if views < 1 or len(split) == 0:
        raise ValueError(f"targets need at least one view and one image, not {views} and {len(split)}")
    steps = [(view, rows) for view in range(views) for rows in torch.split(torch.arange(len(split)), batch_size)]
    what = "computing the teacher's targets"
    with evaluating(model), doing(what, has_bar=progress), bar(what, len(steps), "batch", shown=progress) as shown:
        logits = []
        for view, rows in stoppable(counted(steps, len(steps))):
            logits.append(view_logits(model, split.select(rows), augmentation, view, device))
            shown.update()
    return torch.cat(logits).view(views, len(split), -1)  # (K, N, C)


def view_logits(model: nn.Module, split: Split, augmentation: Augmentation, view: int, device: torch.device | str) -> Tensor:
    """Return a model's logits (N, C) float32 for one view of each image of a split, on the CPU."""
    images = augmentation(split.images.to(device), split.index.to(device), view)
    logits: Tensor = model(images)  # (N, C)
    return logits.float().cpu()
