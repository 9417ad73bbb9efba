"""What came out: plain records that reports and the library share."""

from dataclasses import dataclass

from torch import Tensor, nn

from kd.distillation.task import Task


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained net, where it is tracked, and how it scored."""

    name: str
    role: str
    run_id: str
    link: str
    model: nn.Module
    task: Task
    metrics: dict[str, float]
    val_logits: Tensor
    test_logits: Tensor
    parameters: int
    multiply_adds: int
    seconds: float
