"""Muon: momentum whose update of a layer's filters is orthogonalised, with filters of a fixed norm.

Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks".
``torch.optim.Muon`` takes matrices only, and computes in bfloat16, which CPUs without AMX do far slower than float32.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

STEPS = 3
MIN_NORM = 1e-12
"""Divisor of filters that are all zero, which stay so until the first update."""
QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b and c of the iteration X <- a X + b X X^T X + c (X X^T)^2 X, which Jordan et al. tuned for a steep slope at 0."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, for filters (out, in, height, width) taken as matrices (out, in x height x width).

    Before each step a filter bank is brought to the norm sqrt(out), so that its rows have a mean square norm of 1: under
    a batch norm only a filter's direction matters, and with its length fixed the rate alone says how far that turns.
    """

    def __init__(self, filters: Iterable[Tensor], lr: float, momentum: float) -> None:
        """Take parameters of two or more dimensions, the peak learning rate, and the momentum in [0, 1)."""
        super().__init__(filters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override] # no loss is asked for
        """Take one step; ``closure`` is PyTorch's signature, and is not used."""
        del closure
        for group in self.param_groups:
            for filters in group["params"]:
                if filters.grad is None:
                    continue
                state: dict[str, Any] = self.state[filters]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(filters)
                buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(filters.grad)
                update = filters.grad.add(buffer, alpha=group["momentum"]).reshape(len(filters), -1)
                filters.mul_(len(filters) ** 0.5 / filters.norm().clamp(min=MIN_NORM))
                filters.sub_(group["lr"] * orthogonalised(update).view_as(filters))


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return a matrix (M, N) with the same singular vectors, and singular values near 1 but for the smallest ones.

    Newton-Schulz iterations of degree 5, on whichever of the matrix and its transpose has the fewer rows.
    """
    if len(matrix) > matrix.shape[1]:
        transposed: Tensor = orthogonalised(matrix.T).T
        return transposed
    a, b, c = QUINTIC
    x: Tensor = matrix / matrix.norm().clamp(min=torch.finfo(matrix.dtype).tiny)  # (M, N), no singular value above 1
    for _ in range(STEPS):
        gram = x @ x.T  # (M, M)
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
