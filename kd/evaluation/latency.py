"""The time that a model takes: of one image, and of a batch, each the median of many passes, the same way for all models."""

import statistics
import time
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from kd.evaluation.predict import evaluating

BATCHES: Final = (1, 32)
"""Images per batch: one that somebody waits for, and many."""
WARM_UP: Final = 2
"""Passes that are not timed: they choose kernels and take memory."""
MIN_PASSES: Final = 5
MAX_PASSES: Final = 100
SECONDS: Final = 0.05
"""Time after which no further pass is timed."""


@dataclass(frozen=True)
class Latency:
    """The time of one pass of a batch."""

    batch: int
    """Images in the batch."""
    median_ms: float
    low_ms: float
    """A quarter of the passes took less."""
    high_ms: float
    """A quarter of them took more."""
    place: str
    """Where it ran, and with how many threads: ``cpu, 2 threads``."""

    def __str__(self) -> str:
        """Return it with the middle half of the passes: ``0.52 ms [0.50, 0.61]``."""
        return f"{_ms(self.median_ms)} ms [{_ms(self.low_ms)}, {_ms(self.high_ms)}]"


def latencies(model: nn.Module, images: Tensor) -> tuple[Latency, ...]:
    """Return the time that a model takes for each of :data:`BATCHES`, where it is.

    Args:
        model: maps uint8 images (B, C, H, W) to (B, classes).
        images: (N, C, H, W) uint8; where there are fewer than a batch has, they are repeated.
    """
    return tuple(latency(model, images, batch) for batch in BATCHES)


def latency(model: nn.Module, images: Tensor, batch: int) -> Latency:
    """Return the time that a model takes for a batch; the arguments are those of :func:`latencies`."""
    device = next(iter([*model.parameters(), *model.buffers()]), images).device
    given = images[torch.arange(batch) % len(images)].to(device)
    with evaluating(model), torch.inference_mode():
        for _ in range(WARM_UP):
            _seconds(model, given)
        passes = [_seconds(model, given) for _ in range(MIN_PASSES)]
        end = time.perf_counter() + SECONDS - sum(passes)
        while len(passes) < MAX_PASSES and time.perf_counter() < end:
            passes.append(_seconds(model, given))
    low, median, high = (1000 * quarter for quarter in statistics.quantiles(passes, n=4, method="inclusive"))
    return Latency(batch, median, low, high, _place(device))


def _seconds(model: nn.Module, images: Tensor) -> float:
    started = time.perf_counter()
    model(images).sum().item()  # waits for the device
    return time.perf_counter() - started


def _place(device: torch.device) -> str:
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else str(device)


def _ms(value: float) -> str:
    """Return a time with three digits, or whole above a hundred."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004 - what three digits hold
