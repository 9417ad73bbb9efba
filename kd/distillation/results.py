"""Results: plain records that the library returns, and that tracking and reports read."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from kd.data.dataset import Dataset
from kd.distillation.task import Task
from kd.evaluation.latency import Latency
from kd.evaluation.scores import Scores
from kd.training.fit import ScoredEpoch
from kd.training.recipe import Recipe

if TYPE_CHECKING:
    from kd.nets.registry import NetSpec  # a model that is loaded needs the code of no net


@dataclass(frozen=True)
class TrackedRun:
    """The tracker's run of a result."""

    id: str
    link: str
    """A Markdown link, by the run's name."""
    model_file: Path | None = None
    """The model as a file on this machine; None: it was trained elsewhere or before, or not exported."""
    experiment_id: str = ""
    """The experiment that it stands in."""
    way_to_see: str = ""
    """How to see it in a browser."""
    view: str = ""
    """The address of the view of all systems of its experiment."""
    weights_file: Path | None = None
    """The weights of a net that was not exported, a state dict; None: it was."""


class Tracked:
    """A result that may be tracked."""

    run: TrackedRun | None

    @property
    def run_id(self) -> str:
        """Return the id of its run; empty: it is tracked nowhere."""
        return self.run.id if self.run else ""


@dataclass(frozen=True, eq=False)
class Trained(Tracked):
    """A trained net with the weights to use, and its scores; test was scored once."""

    name: str
    label: str
    """Name of the net, the same for every seed."""
    role: str
    """One of teacher, student, specialist, control and without unlabelled."""
    model: nn.Module
    """Maps uint8 images (B, C, H, W) to logits (B, classes of its task)."""
    dataset: Dataset
    task: Task
    recipe: Recipe
    history: tuple[ScoredEpoch[Scores], ...]
    """The epochs in order, each scored on val."""
    chosen_epoch: int
    """Number, from 1, of the epoch whose weights are used."""
    val: Scores
    test: Scores
    val_logits: Tensor
    """(N, classes of its task), on the task's validation images."""
    test_logits: Tensor
    """(N, classes of its task), on the task's test images."""
    parameters: int
    multiply_adds: int
    """Multiply-adds of one forward pass for one image."""
    seconds: float
    """Time of training and of scoring on val."""
    latencies: tuple[Latency, ...] = ()
    """Time of a pass, by the size of the batch."""
    teacher_agreement: float | None = None
    """Share of the test images for which it names the same class as its teacher; None: there is no teacher."""
    control: "Trained | None" = None
    """A training of the same net, recipe, seed and views on hard targets alone; None: not asked for, or this is it."""
    without_unlabelled: "Trained | None" = None
    """The same distillation from the labelled images alone, in as many steps; None: there are no others, or this is it."""
    run: TrackedRun | None = None
    net: "NetSpec | None" = None
    """The net that was trained, as it can be created again; None: that is not known."""
