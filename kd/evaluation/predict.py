"""Logits for every image of a split."""

import torch
from torch import Tensor, nn

from kd.data.dataset import Split
from kd.machine.signals import stoppable

EVAL_BATCH_SIZE = 128
"""About that of a training step, whose memory evaluation then uses again: larger batches make the peak higher."""


@torch.inference_mode()
def predict(model: nn.Module, split: Split) -> Tensor:
    """Return the model's logits for every image of a split, without augmentation, in evaluation mode.

    Returns:
        (N, classes) float32, on the CPU.
    """
    model.eval()
    device = next(iter([*model.parameters(), *model.buffers()])).device
    chunks = stoppable(torch.split(split.images, EVAL_BATCH_SIZE))
    return torch.cat([model(images.to(device)).float().cpu() for images in chunks])
