"""Slow versions of what losses are made of, one number at a time."""

import math

import torch
from torch import Tensor


def tensor(values: object) -> Tensor:
    """Return numbers as a tensor of doubles."""
    return torch.tensor(values, dtype=torch.float64)


def softmax(logits: list[float], temperature: float) -> list[float]:
    """Return probabilities at a temperature."""
    powers = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]
