"""Logits for every image of a split."""

import torch
from torch import Tensor, nn

from kd.data.dataset import Split
from kd.machine.signals import stoppable

EVAL_BATCH_SIZE = 128
"""Images per batch, about those of a training step, whose memory is then reused: larger batches would raise the peak."""


def predict(model: nn.Module, split: Split) -> Tensor:
    """Return a model's logits for every image of a split, without augmentation, in evaluation mode.

    Args:
        model: maps uint8 images (B, C, H, W) to (B, classes), on any device.
        split: the images.

    Returns:
        (N, classes) float32, on the CPU.
    """
    return predict_images(model, split.images)


@torch.inference_mode()
def predict_images(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of images (N, C, H, W) uint8, as :func:`predict` does."""
    model.eval()
    device = next(iter([*model.parameters(), *model.buffers()]), images).device
    batches = stoppable(torch.split(images, EVAL_BATCH_SIZE))
    return torch.cat([model(batch.to(device)).float().cpu() for batch in batches])
