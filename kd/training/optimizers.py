"""The optimizers: Nesterov momentum, or Muon for the filters; and the learning rate of each step."""

import torch
from torch import nn

from kd.training.muon import Muon
from kd.training.recipe import Recipe

MOMENTUM = 0.9


MUON_MOMENTUM = 0.8


WARMUP_FRACTION = 0.1


MATRIX_DIMENSIONS = 2


def learning_rate(progress: float, peak: float) -> float:
    """Return the rate after ``progress`` (0..1) of the training: linear from 0 to ``peak``, then linear to 0."""
    if progress < WARMUP_FRACTION:
        return peak * progress / WARMUP_FRACTION
    return peak * (1 - progress) / (1 - WARMUP_FRACTION)


def create_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return the optimizers of a model: each parameter is in one of them, with the recipe's peak learning rate."""
    filters = [parameter for parameter in model.parameters() if parameter.ndim > MATRIX_DIMENSIONS]
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == MATRIX_DIMENSIONS]
    # Norms and biases are vectors; decay on them costs accuracy and regularises nothing (He et al. 2018, 3.1).
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < MATRIX_DIMENSIONS]
    decayed = matrices if recipe.optimizer == "muon" else filters + matrices
    sgd = torch.optim.SGD(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=recipe.lr,
        momentum=MOMENTUM,
        nesterov=True,
        fused=True,
    )
    if recipe.optimizer == "sgd" or not filters:
        return [sgd]
    return [sgd, Muon(filters, lr=recipe.lr, momentum=MUON_MOMENTUM)]
