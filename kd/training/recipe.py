"""How a net is trained: plain settings, known without torch."""

from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal["sgd", "muon"]
"""sgd: Nesterov momentum; muon: orthogonalised steps for the filters."""


@dataclass(frozen=True)
class Recipe:
    """How a net is trained; the seed decides its initial weights and the order of the images."""

    epochs: int = 20
    batch_size: int = 64
    lr: float = 0.1
    weight_decay: float = 5e-4
    seed: int = 0
    views: int = 0
    """Epoch e sees view e mod ``views``; 0: every epoch sees a view of its own."""
    optimizer: OptimizerName = "sgd"
    """muon: for the filters; norms, biases and the head have SGD's steps."""
    start_px: int = 0
    """Height of the images in the first steps, which grows to what it is; 0: they are seen as they are all the time."""
    compile: bool = False
    """Take the steps with the net as ``torch.compile`` has it."""

    def view(self, epoch: int) -> int:
        """Return the view that epoch number ``epoch`` (from 0) sees."""
        return epoch % self.views if self.views else epoch
