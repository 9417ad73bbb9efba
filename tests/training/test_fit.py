"""Which epoch's weights a training ends with, and that one resumed between any two epochs is the one never stopped."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from kd.data.batches import Batch
from kd.data.dataset import Dataset
from kd.evaluation.predict import predict
from kd.evaluation.scores import Scores, score
from kd.losses.hard_targets import hard_loss
from kd.losses.terms import LossTerms
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet
from kd.training import checkpoints
from kd.training.fit import FitState, ScoredEpoch, fit
from kd.training.loop import Trainer
from kd.training.recipe import Recipe

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Told:
    """A score that says itself how it ranks."""

    value: float

    @property
    def rank(self) -> tuple[float, ...]:
        return (self.value,)


class Judge:
    """Gives the epochs the scores told, one after the other, and remembers the weights that it saw."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values: Iterator[float] = iter(values)
        self.seen: list[Weights] = []

    def __call__(self, model: nn.Module) -> Told:
        self.seen.append(weights(model))
        return Told(next(self.values))


def weights(model: nn.Module) -> Weights:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def hard(logits: Tensor, batch: Batch) -> LossTerms:
    return hard_loss(logits, batch.labels)


def trainer(dataset: Dataset, epochs: int) -> Trainer:
    torch.manual_seed(0)
    model = Classifier(ResNet(dataset.num_classes, 1, depth=1, width=2), dataset.mean, dataset.std)
    return Trainer(model, dataset.train, hard, Recipe(epochs=epochs, batch_size=30), dataset.augmentation(0))


def on_val(dataset: Dataset) -> Callable[[nn.Module], Scores]:
    return lambda model: score(predict(model, dataset.val), dataset.val.labels)


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([1, 2, 3], 3),
        ([3, 2, 1], 1),
        ([1, 3, 2], 2),
        ([2, 2, 2], 1),  # the first of equals
        ([1, 3, 3], 2),
        ([0, 0, -1], 1),
    ],
)
def test_the_weights_of_the_best_epoch_on_val_are_used(values: list[float], best: int, tiny_digits: Dataset) -> None:
    judge, training, state = Judge(values), trainer(tiny_digits, len(values)), FitState[Told]()
    epochs = list(fit(training, judge, state=state))
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert [epoch.val.value for epoch in epochs] == values
    assert state.chosen_epoch("best") == best
    assert not any(same(one, other) for place, one in enumerate(judge.seen) for other in judge.seen[:place])
    assert same(weights(training.model), judge.seen[best - 1])


@pytest.mark.parametrize(("values", "news"), [([1, 2, 3], [1, 2, 3]), ([2, 2, 3], [1, 3]), ([3, 1, 2], [1])])
def test_an_epoch_is_the_best_where_none_before_scored_as_well(
    values: list[float], news: list[int], tiny_digits: Dataset
) -> None:
    epochs = fit(trainer(tiny_digits, len(values)), Judge(values))
    assert [epoch.number for epoch in epochs if epoch.is_best] == news


def test_the_weights_of_the_last_epoch_are_used_where_the_recipe_says_so(tiny_digits: Dataset) -> None:
    judge, training, state = Judge([3, 2, 1]), trainer(tiny_digits, 3), FitState[Told]()
    list(fit(training, judge, use="last", state=state))
    assert same(weights(training.model), judge.seen[2])
    assert same(state.best_weights, judge.seen[0])


def test_another_rank_can_decide_and_a_resumed_training_keeps_to_it(tiny_digits: Dataset) -> None:
    judge, training, state = Judge([3, 1, 2]), trainer(tiny_digits, 3), FitState[Told]()
    for _ in fit(training, judge, rank=lambda told: (-told.value,), state=state):
        if training.epochs_done == 2:
            break
    list(fit(training, judge, rank=lambda told: (-told.value,), state=state))
    assert state.chosen_epoch("best") == 2
    assert same(weights(training.model), judge.seen[1])


def test_the_best_weights_are_those_that_were_scored_whatever_is_trained_after(tiny_digits: Dataset) -> None:
    judge, training, state = Judge([2, 1, 1]), trainer(tiny_digits, 3), FitState[Told]()
    for _ in fit(training, judge, state=state):
        assert same(state.best_weights, judge.seen[0])


def test_a_training_that_has_not_begun_has_no_best_epoch() -> None:
    assert FitState[Told]().chosen_epoch("best") == 0


@pytest.mark.parametrize("use", ["best", "last"])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_training_resumed_after_any_epoch_ends_as_the_one_never_stopped(
    stop: int, use: Literal["best", "last"], tiny_digits: Dataset, tmp_path: Path
) -> None:
    whole, all_of_it = trainer(tiny_digits, 4), FitState[Scores]()
    list(fit(whole, on_val(tiny_digits), use=use, state=all_of_it))

    stopped, begun = trainer(tiny_digits, 4), FitState[Scores]()
    for epoch in fit(stopped, on_val(tiny_digits), use=use, state=begun):
        if epoch.number == stop:
            break
    checkpoints.save(tmp_path / "stopped.pt", {"trainer": stopped.state(), "fit": begun.state()})

    saved = checkpoints.load(tmp_path / "stopped.pt")
    assert saved is not None
    resumed, state = trainer(tiny_digits, 4), FitState[Scores]()
    resumed.restore(saved["trainer"])
    state.restore(saved["fit"], Scores)
    told = list(fit(resumed, on_val(tiny_digits), use=use, state=state))
    assert [epoch.number for epoch in told] == list(range(stop + 1, 5))
    assert [lasting(epoch) for epoch in state.history] == [lasting(epoch) for epoch in all_of_it.history]
    assert state.chosen_epoch("best") == all_of_it.chosen_epoch("best")
    assert same(state.best_weights, all_of_it.best_weights)
    assert same(weights(resumed.model), weights(whole.model))


def lasting(epoch: ScoredEpoch[Scores]) -> dict[str, object]:
    """Return what an epoch says, but for the time that it took."""
    said = asdict(epoch)
    for name in ("seconds", "images_per_second"):
        del said["train"][name]
    return said


def test_a_resumed_training_is_measured_by_the_best_epoch_of_before(tiny_digits: Dataset) -> None:
    stopped, begun = trainer(tiny_digits, 3), FitState[Told]()
    first = next(iter(fit(stopped, Judge([5]), state=begun)))
    judge = Judge([4, 5])
    assert first.is_best
    assert [epoch.is_best for epoch in fit(stopped, judge, state=begun)] == [False, False]
    assert begun.chosen_epoch("best") == 1
    assert same(weights(stopped.model), begun.best_weights)
    assert not any(same(begun.best_weights, seen) for seen in judge.seen)


def test_the_time_of_all_its_parts_is_added_up(tiny_digits: Dataset) -> None:
    training, state, taken = trainer(tiny_digits, 3), FitState[Told](), []
    for epoch in fit(training, Judge([1, 2, 3]), state=state):
        taken.append(epoch.train.seconds)
        assert state.seconds >= sum(taken)
    again = FitState[Told]()
    again.restore(state.state(), Told)
    assert again.seconds == state.seconds
