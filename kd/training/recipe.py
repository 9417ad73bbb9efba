"""The recipe of a training: plain settings, known without torch."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from kd.errors import UserError

OptimizerName = Literal["sgd", "muon"]
"""sgd: Nesterov momentum; muon: orthogonalised steps for the filters, in fewer epochs."""
Use = Literal["best", "last"]
"""Weights to use: those of the best epoch on val, or those of the last epoch."""
SelectBy = Literal["accuracy", "balanced_accuracy", "nll"]
"""What the best epoch on val is chosen by; nll: the negative log-likelihood of the labels, which is the cross-entropy."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a training. The defaults are those of the command line.

    Raises:
        UserError: a value is out of bounds.
    """

    epochs: int = 20
    """Passes over the training images."""
    batch_size: int = 64
    """Images per step."""
    lr: float = 0.1
    """Peak learning rate."""
    weight_decay: float = 5e-4
    """L2 penalty on the weights, but for norms and biases."""
    seed: int = 0
    """Seed of the initial weights and of the order of the images."""
    views: int = 0
    """Number of augmented views of each image: epoch e sees view e mod ``views``; 0: a new view each epoch."""
    optimizer: OptimizerName = "sgd"
    label_smoothing: float = 0.0
    """Share of each hard target that is spread evenly over all classes."""
    start_px: int = 0
    """Height of the images in the first steps, which grows to their own height; 0: their own height throughout."""
    shift_px: int = 0
    """Largest shift of the augmented images, in pixels; 0: an eighth of their height."""
    use: Use = "best"
    select_by: SelectBy = "accuracy"
    compile: bool = False
    """Whether the net is trained with ``torch.compile``."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        for name in ("lr", "weight_decay", "views", "start_px", "shift_px"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        self._check("label_smoothing", 0 <= self.label_smoothing < 1, "0 or more, below 1")
        for name, words in (("optimizer", get_args(OptimizerName)), ("use", get_args(Use)), ("select_by", get_args(SelectBy))):
            self._check(name, getattr(self, name) in words, " or ".join(words))

    def _check(self, name: str, holds: bool, wanted: str) -> None:  # noqa: FBT001 - a condition
        if not holds:
            raise UserError(f"{getattr(self, name)!r} can't be the recipe's {name}; give {wanted}", field=name)

    def view(self, epoch: int) -> int:
        """Return the view that epoch number ``epoch`` (from 0) sees."""
        return epoch % self.views if self.views else epoch
