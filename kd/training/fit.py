"""A training whose epochs are scored: the one place where the best epoch on val is kept."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

from kd.training.loop import Epoch, Trainer
from kd.training.recipe import Use


class Ranked(Protocol):
    """A score by which epochs are compared."""

    @property
    def rank(self) -> tuple[float, ...]:
        """Return the key by which scores are compared; larger is better."""


Score = TypeVar("Score", bound=Ranked)


@dataclass(frozen=True)
class ScoredEpoch(Generic[Score]):
    """One epoch: its figures on the training images, and the score of its weights on val."""

    train: Epoch
    val: Score
    is_best: bool
    """Whether it scores better than all epochs before."""

    @property
    def number(self) -> int:
        """Return the epoch's number, from 1."""
        return self.train.number

    def is_chosen(self, use: Use) -> bool:
        """Return whether its weights would be used if the training ended with it."""
        return self.is_best or use == "last"


@dataclass(eq=False)
class FitState(Generic[Score]):
    """The progress of a training: plain tensors and numbers, as a checkpoint holds them."""

    history: list[ScoredEpoch[Score]] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    """Time that training and scoring have taken so far."""

    def chosen_epoch(self, use: Use) -> int:
        """Return the number of the epoch whose weights are used, from 1; 0: there is none yet."""
        return max((epoch.number for epoch in self.history if epoch.is_chosen(use)), default=0)

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs."""
        history = json.dumps([asdict(epoch) for epoch in self.history])
        return {"history": history, "best_weights": self.best_weights, "seconds": self.seconds}

    def restore(self, state: Mapping[str, Any], score: Callable[..., Score]) -> None:
        """Go back to a state that :meth:`state` returned; ``score`` makes a score of its fields.

        What :meth:`state` did not return raises any of :data:`kd.training.checkpoints.UNREADABLE`.
        """
        self.history = [
            ScoredEpoch(Epoch(**epoch["train"]), score(**epoch["val"]), epoch["is_best"])
            for epoch in json.loads(state["history"])
        ]
        self.best_weights, self.seconds = dict(state["best_weights"]), float(state["seconds"])

    def check_of(self, trainer: Trainer) -> None:
        """Refuse a state that is not one of a trainer's model, after as many epochs as the trainer has done.

        Raises:
            ValueError: it is not.
        """
        numbers = [*range(1, trainer.epochs_done + 1)]
        figures = [value for epoch in self.history for part in (epoch.train, epoch.val) for value in vars(part).values()]
        if [epoch.number for epoch in self.history] != numbers or not all(
            isinstance(one, float | int | None) for one in figures
        ):
            raise ValueError("its epochs are not those of its weights")
        model = trainer.model.state_dict()
        if numbers and shapes(self.best_weights) != shapes(model):
            raise ValueError("its best weights are those of another net")


def shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of weights by name."""
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def fit(
    trainer: Trainer,
    score: Callable[[nn.Module], Score],
    *,
    use: Use = "best",
    rank: Callable[[Score], tuple[float, ...]] | None = None,
    state: FitState[Score] | None = None,
) -> Iterator[ScoredEpoch[Score]]:
    """Train the epochs that are left, and yield each one once its weights are scored on val.

    At the end the trainer's model has the weights to use. Between two epochs ``trainer.state()`` and ``state.state()`` are
    all that a resumed training needs to become the one that was never stopped.

    Args:
        trainer: trains the model, one epoch at a time.
        score: scores the model on val; it is called after each epoch.
        use: ``best``: the weights of the epoch with the highest rank, the first of equals; ``last``: those of the last epoch.
        rank: returns the key by which scores are compared, larger is better; None: each score's own ``rank``.
        state: receives the epochs; that of a resumed training has the ones before; None: a new one.

    Raises:
        UserError: the loss is not finite.
    """
    state = FitState() if state is None else state
    key = rank or attrgetter("rank")
    best = max((key(epoch.val) for epoch in state.history), default=None)
    epochs = trainer.epochs()
    while True:
        began = time.perf_counter()
        epoch = next(epochs, None)
        if epoch is None:
            break
        val = score(trainer.model)
        is_best = best is None or key(val) > best
        if is_best:
            best = key(val)
            state.best_weights = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
        scored = ScoredEpoch(epoch, val, is_best)
        state.history.append(scored)
        state.seconds += time.perf_counter() - began
        yield scored
    if state.chosen_epoch(use) < len(state.history):
        trainer.model.load_state_dict(state.best_weights)
