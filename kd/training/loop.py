"""The only training loop: one :class:`Epoch` at a time. It knows no tracker and no search."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd.data.batches import Batch, batches, count_batches, epoch_seed
from kd.data.dataset import NO_LABEL, Split
from kd.data.views import Augmentation
from kd.errors import UserError
from kd.losses.terms import LossTerms
from kd.machine.activity import counted
from kd.machine.signals import stoppable
from kd.training.optimizers import create_optimizers, learning_rate
from kd.training.recipe import Recipe

GROWTH_FRACTION = 0.7
"""Share of the training over which images grow to their own height, where the recipe begins with smaller ones."""


GROWTH_STEP_PX = 8
"""A net halves its images three times at most, so a height that is not a multiple of 8 costs nearly as much as the next one."""


VALUES = 4
"""Values of a step: loss, soft loss, hard loss, right answers."""


Objective = Callable[[Tensor, Batch], LossTerms]
"""Maps a batch's logits (B, C), and the batch, to its loss."""


EpochRows = Callable[[int], Tensor]
"""Maps an epoch's number to the rows of the split that make it up, (M,) int64."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images, with its means over images; those of ``hard_loss`` and ``accuracy`` have labels."""

    number: int
    """Number of the epoch, from 1."""
    loss: float
    soft_loss: float
    hard_loss: float
    accuracy: float
    learning_rate: float
    """Learning rate of the epoch's last step."""
    seconds: float
    images_per_second: float


def seen_px(progress: float, start: int, full: int) -> int:
    """Return the height at which images of height ``full`` are seen after ``progress`` (0..1) of the training.

    It grows from ``start`` (0: from ``full``) linearly, in steps of :data:`GROWTH_STEP_PX`: small images teach at less cost,
    and the last part of the training sees images of the height that is scored (Howard 2018, "Training Imagenet in 3 hours
    for 25 minutes").
    """
    if not 0 < start < full or progress >= GROWTH_FRACTION:
        return full
    steps = -(-(full - start) // GROWTH_STEP_PX)
    return start + GROWTH_STEP_PX * int(steps * progress / GROWTH_FRACTION)


def resized(images: Tensor, height: int) -> Tensor:
    """Return images (B, C, H, W) resized to a height, in proportion and float32; unchanged where they have it."""
    old_height, old_width = images.shape[-2:]
    if height == old_height:
        return images
    size = (height, max(1, round(old_width * height / old_height)))
    return F.interpolate(images.float(), size=size, mode="bilinear", antialias=True)


@dataclass(eq=False)
class _Part:
    """What is known of an epoch that is under way."""

    values: list[Tensor] = field(default_factory=list)
    """Per step: loss, soft loss, hard loss, right answers. Summed once per epoch: a sum per step would wait for the device."""
    sizes: list[int] = field(default_factory=list)
    """Images of each step."""
    seconds: float = 0.0
    """Time that its steps took before the training was resumed."""
    generators: list[Tensor] = field(default_factory=list)
    """States of torch's generators on the CPU and on the device, from which a net draws, when the training was saved."""
    began: float = field(default_factory=time.perf_counter)

    @property
    def steps(self) -> int:
        """Return the number of steps that are done."""
        return len(self.sizes)

    def spent(self) -> float:
        """Return how long its steps have taken, in seconds."""
        return self.seconds + time.perf_counter() - self.began


class Trainer:
    """The training of one model, one epoch at a time.

    Shuffling and augmentation are functions of seed and epoch, so that :meth:`state` taken between two epochs, or between two
    steps, is all that a resumed training needs to become the one that was never stopped.
    """

    after_step: Callable[[], None] | None = None
    """Called after each step but an epoch's last; it may call :meth:`state`."""

    def __init__(  # noqa: PLR0913 - a training is made of these
        self,
        model: nn.Module,
        split: Split,
        objective: Objective,
        recipe: Recipe,
        augmentation: Augmentation,
        *,
        epoch_rows: EpochRows | None = None,
    ) -> None:
        """Take the model and the split, both on one device; ``epoch_rows`` picks each epoch's images (default: all)."""
        self.model = model
        self.split = split
        self.objective = objective
        self.recipe = recipe
        self.augmentation = augmentation
        self.epoch_rows = epoch_rows
        self.epochs_done = 0
        self._part: _Part | None = None
        self.optimizers = create_optimizers(model, recipe)
        # A wrapper with the same weights: what is scored, saved and exported is the model itself.
        self._forward: Callable[[Tensor], Tensor] = torch.compile(model) if recipe.compile else model

    def epochs(self) -> Iterator[Epoch]:
        """Train the epochs that are left, and yield each one when it is done.

        Raises:
            UserError: the loss is not finite; the message names epoch and step.
        """
        while self.epochs_done < self.recipe.epochs:
            epoch = self._train_epoch(self.epochs_done)
            self.epochs_done += 1
            yield epoch

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs: tensors and numbers only."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "epochs_done": self.epochs_done,
        }
        if self._part is not None:
            state["part"] = {
                "values": torch.stack(self._part.values).cpu(),
                "sizes": list(self._part.sizes),
                "seconds": self._part.spent(),
                "generators": self._generators(),
            }
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state that :meth:`state` returned.

        What :meth:`state` did not return raises any of :data:`kd.training.checkpoints.UNREADABLE`.
        """
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            for parameter, held in optimizer.state.items():
                if any(value.ndim and value.shape != parameter.shape for value in held.values() if isinstance(value, Tensor)):
                    raise ValueError("its optimizer's state is that of another net")
        self.epochs_done = int(state["epochs_done"])
        self._part = self._restored_part(state["part"]) if "part" in state else None

    def _restored_part(self, saved: dict[str, Any]) -> _Part:
        values, sizes = saved["values"], [int(size) for size in saved["sizes"]]
        generators = list(saved["generators"])
        if not sizes or values.shape != (len(sizes), VALUES) or {one.dtype for one in generators} != {torch.uint8}:
            raise ValueError("its epoch is not one of this training")
        return _Part(list(values.to(self.split.labels.device)), sizes, float(saved["seconds"]), generators)

    def _generators(self) -> list[Tensor]:
        device = self.split.labels.device
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]

    def _begin_epoch(self, number: int) -> _Part:
        """Return the epoch that a resumed training was in, or a new one, with torch's generators where they have to be."""
        torch.manual_seed(epoch_seed(self.recipe.seed, number))  # for what a net itself draws, such as dropout
        part = self._part = self._part or _Part()
        part.began = time.perf_counter()
        if part.generators:
            torch.set_rng_state(part.generators[0])
        for state in part.generators[1:]:
            torch.cuda.set_rng_state(state, self.split.labels.device)
        return part

    def _train_epoch(self, number: int) -> Epoch:
        self.model.train()
        part = self._begin_epoch(number)
        rows = self.epoch_rows(number) if self.epoch_rows else None
        images = len(self.split) if rows is None else len(rows)
        steps = count_batches(images, self.recipe.batch_size)
        rate = 0.0
        epoch = batches(
            self.split,
            self.augmentation,
            batch_size=self.recipe.batch_size,
            seed=self.recipe.seed,
            epoch=number,
            view=self.recipe.view(number),
            rows=rows,
            skip=part.steps,
        )
        for step, batch in enumerate(
            stoppable(counted(epoch, steps, partial(_loss_so_far, part.values), done=part.steps)), part.steps
        ):
            progress = (number + (step + 1) / steps) / (self.recipe.epochs + 1 / steps)
            rate = learning_rate(progress, self.recipe.lr)
            part.values.append(self._step(batch, rate, seen_px(progress, self.recipe.start_px, self.split.images.shape[2])))
            part.sizes.append(len(batch.labels))
            if self.after_step is not None and part.steps < steps:
                self.after_step()
        values = torch.stack(part.values).double().cpu()  # (steps, 4)
        self._check_finite(values[:, 0], number)
        weights = torch.tensor(part.sizes, dtype=torch.float64)  # (steps,)
        labelled = self._count_labelled(rows)
        loss, soft, hard = (weights @ values[:, :3] / torch.tensor([images, images, labelled])).tolist()
        seconds = part.spent()
        self._part = None
        return Epoch(
            number=number + 1,
            loss=loss,
            soft_loss=soft,
            hard_loss=hard,
            accuracy=values[:, 3].sum().item() / labelled,
            learning_rate=rate,
            seconds=seconds,
            images_per_second=images / seconds,
        )

    def _count_labelled(self, rows: Tensor | None) -> int:
        """Return how many images of an epoch have a label."""
        labels = self.split.labels if rows is None else self.split.labels[rows.to(self.split.labels.device)]
        return int((labels != NO_LABEL).sum())

    def _step(self, batch: Batch, rate: float, height: int) -> Tensor:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        device = batch.images.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            logits = self._forward(resized(batch.images, height))  # (B, C)
        logits = logits.float()
        terms = self.objective(logits, batch)
        terms.total.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        correct = (logits.detach().argmax(dim=1) == batch.labels).sum()
        return torch.stack([terms.total.detach(), terms.soft.detach(), terms.hard.detach(), correct.float()])

    def _check_finite(self, losses: Tensor, number: int) -> None:
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            step = int(bad[0]) + 1
            raise UserError(
                f"loss is {losses[step - 1].item()} at epoch {number + 1}, step {step}: "
                f"lower the learning rate (it is {self.recipe.lr:g}) or a distillation's temperature"
            )


def _loss_so_far(taken: Sequence[Tensor]) -> str:
    """Return the mean loss of an epoch's steps so far as text, while another thread adds to them."""
    losses = [step[0] for step in taken]
    return f"loss {torch.stack(losses).mean().item():.3f}" if losses else ""
