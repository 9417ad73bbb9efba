"""SGD with Nesterov momentum, by torch's fused kernel alone.

Creating an optimizer of ``torch.optim`` imports torch's compiler, which eager training never uses: 2 s and 100 MB before a
first step.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Sgd:
    """What ``torch.optim.SGD(..., momentum=m, nesterov=True, fused=True)`` does, bit for bit."""

    def __init__(self, groups: Sequence[tuple[Sequence[nn.Parameter], float]], *, lr: float, momentum: float) -> None:
        """Take groups of parameters, each with its weight decay; those of a group are on one device and of one dtype."""
        self.lr = lr
        self.momentum = momentum
        self._groups = [(list(parameters), weight_decay) for parameters, weight_decay in groups]
        self._velocity = {id(parameter): torch.zeros_like(parameter) for parameter in self.parameters()}

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of all groups, in order."""
        return [parameter for parameters, _ in self._groups for parameter in parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Move each parameter that has a gradient, and let go of the gradients."""
        for parameters, weight_decay in self._groups:
            moved: list[Tensor] = [parameter for parameter in parameters if parameter.grad is not None]
            if moved:
                torch._fused_sgd_(
                    moved,
                    [parameter.grad for parameter in moved if parameter.grad is not None],
                    [self._velocity[id(parameter)] for parameter in moved],
                    weight_decay=weight_decay,
                    momentum=self.momentum,
                    lr=self.lr,
                    dampening=0.0,
                    nesterov=True,
                    maximize=False,
                    is_first_step=False,  # a velocity of 0 makes the first step what it should be
                )
            for parameter in parameters:
                parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the velocities in the order of the parameters: what a resumed training needs."""
        return {"velocity": [self._velocity[id(parameter)] for parameter in self.parameters()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state that :meth:`state_dict` returned.

        Raises:
            ValueError: it is of other parameters.
        """
        saved: list[Tensor] = state["velocity"]
        for parameter, velocity in zip(self.parameters(), saved, strict=True):
            self._velocity[id(parameter)].copy_(velocity)
