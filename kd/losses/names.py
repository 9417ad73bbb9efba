"""The names of losses and their own weights, known without torch."""

from collections.abc import Mapping

LOSS_NAMES: Mapping[str, str] = {
    "kd": "Hinton",
    "mse": "on logits, Ba and Caruana",
    "dkd": "Zhao et al.",
    "dist": "Huang et al.",
}
"""Losses of soft targets, each with whose it is."""

LOSS_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "kd": {},
    "mse": {},
    "dkd": {"alpha": 1.0, "beta": 8.0},
    "dist": {"beta": 1.0, "gamma": 1.0},
}
"""Their own weights, with the papers' values: DKD's for most of its pairs on CIFAR-100, DIST's for ImageNet."""

STANDARDIZABLE = ("kd", "dkd")
"""Losses that standardised logits fit: those that compare distributions which a softmax makes."""
