"""The time that a model takes per image."""

import statistics
import time

import torch
from torch import Tensor, nn

from kd.evaluation.predict import evaluating

REPEATS = 5
IMAGES = 128


def milliseconds_per_image(model: nn.Module, images: Tensor, device: torch.device) -> float:
    """Return the time in ms that a model takes per image: the median of 5 passes of one batch.

    Args:
        model: maps images to logits or probabilities; it is moved to the device.
        images: (N, C, H, W) uint8; the first 128 are the batch.
        device: where the model runs.
    """
    images = images[:IMAGES].to(device)
    model = model.to(device)
    seconds = []
    with evaluating(model), torch.inference_mode():
        for _ in range(REPEATS):
            started = time.perf_counter()
            model(images).sum().item()  # waits for the device
            seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds) / len(images)
