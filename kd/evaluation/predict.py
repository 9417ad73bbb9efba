"""Logits for every image of a split."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from kd.data.dataset import Split
from kd.errors import UserError
from kd.machine.activity import counted, doing
from kd.machine.signals import stoppable
from kd.machine.text import with_article

EVAL_BATCH_SIZE = 128
"""Images per batch, about those of a training step, whose memory is then reused: larger batches would raise the peak."""


class HasModel(Protocol):
    """A result that holds its model: of a training or a combination, or a teacher."""

    @property
    def model(self) -> nn.Module:
        """The model: uint8 images (B, C, H, W) to (B, classes)."""


def predict(model: nn.Module | HasModel, split: Split) -> Tensor:
    """Return a model's logits for every image of a split, without augmentation, in evaluation mode.

    Each of the model's modules has its own mode back afterwards.

    Args:
        model: maps uint8 images (B, C, H, W) to (B, classes), on any device; or a training's result, a teacher or a
            combination, which gives probabilities.
        split: the images.

    Returns:
        (N, classes) float32, on the CPU.

    Raises:
        UserError: it is neither a module nor a result that holds one.
    """
    module = model if isinstance(model, nn.Module) else getattr(model, "model", None)
    if not isinstance(module, nn.Module):
        raise UserError(f"{with_article(type(model).__name__)} predicts nothing; give a module, or what holds one as its model")
    return predict_images(module, split.images)


def predict_images(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of images (N, C, H, W) uint8, as :func:`predict` does."""
    batches = torch.split(images, EVAL_BATCH_SIZE)
    with doing(f"predicting {len(images):,} images"):
        return torch.cat([answers(model, batch) for batch in stoppable(counted(batches, len(batches)))])


def answers(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits (B, classes) float32, on the CPU, of one batch of images (B, C, H, W) uint8.

    The model is in evaluation mode meanwhile.
    """
    device = next(iter([*model.parameters(), *model.buffers()]), images).device
    with evaluating(model), torch.inference_mode():
        logits: Tensor = model(images.to(device)).float().cpu()
        return logits


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, without gradients; each of its modules has its own mode back afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # not inference_mode: a loss could not save such logits for its backward pass
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
