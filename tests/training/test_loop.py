"""The training loop against a slow version, and the promises that resumed and repeated trainings rest on."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from kd.data.batches import Batch, batches
from kd.data.dataset import NO_LABEL, Dataset, Split
from kd.data.views import Augmentation
from kd.errors import UserError
from kd.evaluation.predict import predict
from kd.losses.hard_targets import hard_loss
from kd.losses.soft_targets import distillation_loss, soft_loss
from kd.losses.terms import LossTerms
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet
from kd.training import checkpoints
from kd.training.loop import Objective, Trainer, resized, seen_px
from kd.training.optimizers import learning_rate
from kd.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch_size=16, lr=0.1, weight_decay=5e-4, seed=1)
PLAIN = Augmentation(0, flip=False, seed=0)


def hard(logits: Tensor, batch: Batch) -> LossTerms:
    return hard_loss(logits, batch.labels)


def random_split(images: int, classes: int = 3, channels: int = 1, side: int = 4) -> Split:
    generator = torch.Generator().manual_seed(images)
    return Split(
        torch.randint(0, 256, (images, channels, side, side), dtype=torch.uint8, generator=generator),
        torch.randint(0, classes, (images,), generator=generator),
        torch.arange(images),
    )


class Linear(nn.Module):
    """Logits that are linear in the pixels: no norms, so that nothing but the optimiser changes anything."""

    def __init__(self, pixels: int, classes: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(classes, pixels, generator=generator) * 0.1)
        self.bias = nn.Parameter(torch.randn(classes, generator=generator) * 0.1)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).to(self.weight.dtype) / 255 @ self.weight.T + self.bias


def digits_trainer(dataset: Dataset, recipe: Recipe = RECIPE, objective: Objective = hard) -> Trainer:
    torch.manual_seed(recipe.seed)
    net = ResNet(dataset.num_classes, 1, depth=1, width=4)
    model = Classifier(net, dataset.mean, dataset.std)
    return Trainer(model, dataset.train, objective, recipe, dataset.augmentation(7))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def losses(trainer: Trainer) -> list[tuple[float, ...]]:
    return [(epoch.number, epoch.loss, epoch.accuracy, epoch.learning_rate) for epoch in trainer.epochs()]


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_one_others(tiny_digits: Dataset) -> None:
    one, two, other = (digits_trainer(tiny_digits, replace(RECIPE, seed=seed)) for seed in (1, 1, 2))
    assert losses(one) == losses(two)
    torch.rand(5)  # somebody else draws in between
    losses(other)
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(other))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"epochs": 0}, "0 can't be the recipe's epochs; give 1 or more"),
        ({"batch_size": 0}, "0 can't be the recipe's batch_size; give 1 or more"),
        ({"lr": -0.1}, "-0.1 can't be the recipe's lr; give 0 or more"),
        ({"lr": float("nan")}, "nan can't be the recipe's lr; give 0 or more"),
        ({"weight_decay": float("inf")}, "inf can't be the recipe's weight_decay; give 0 or more"),
        ({"views": -1}, "-1 can't be the recipe's views; give 0 or more"),
        ({"label_smoothing": 1.0}, "1.0 can't be the recipe's label_smoothing; give 0 or more, below 1"),
        ({"optimizer": "adam"}, "'adam' can't be the recipe's optimizer; give sgd or muon"),
        ({"use": "first"}, "'first' can't be the recipe's use; give best or last"),
    ],
)
def test_a_recipe_out_of_bounds_is_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        Recipe(**changed)
    assert str(caught.value) == told
    assert [caught.value.field] == list(changed)


MUON_RECIPE = replace(RECIPE, optimizer="muon", start_px=6)


@pytest.mark.parametrize("recipe", [RECIPE, MUON_RECIPE])
@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_a_training_resumed_after_any_epoch_is_the_one_never_stopped(
    stop: int, recipe: Recipe, tiny_digits: Dataset, tmp_path: Path
) -> None:
    whole = digits_trainer(tiny_digits, recipe)
    expected = losses(whole)

    stopped = digits_trainer(tiny_digits, recipe)
    told = []
    epochs = stopped.epochs()
    for _ in range(stop):
        epoch = next(epochs)
        told.append((epoch.number, epoch.loss, epoch.accuracy, epoch.learning_rate))
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(path, stopped.state())

    torch.manual_seed(99)
    resumed = digits_trainer(tiny_digits, recipe)
    for parameter in resumed.model.parameters():
        nn.init.normal_(parameter)
    state = checkpoints.load(path)
    assert state is not None
    resumed.restore(state)
    assert [*told, *losses(resumed)] == expected
    assert same(weights(resumed), weights(whole))


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_net_that_draws_random_numbers_itself_draws_the_same_ones_whatever_happens_between_epochs(stop: int) -> None:
    split = random_split(40)

    def with_dropout() -> Trainer:
        net = nn.Sequential(nn.Dropout(0.5), Linear(16, 3))
        return Trainer(Classifier(net, [0.5], [0.01]), split, hard, RECIPE, PLAIN)

    whole, stopped, resumed = with_dropout(), with_dropout(), with_dropout()
    expected = losses(whole)
    told = [
        (epoch.number, epoch.loss, epoch.accuracy, epoch.learning_rate) for epoch in itertools.islice(stopped.epochs(), stop)
    ]
    torch.rand(5)  # somebody else draws in between
    resumed.restore(stopped.state())
    assert told + losses(resumed) == expected
    assert same(weights(resumed), weights(whole))
    assert len({loss for _, loss, _, _ in expected}) == len(expected)


class Stopped(Exception):  # noqa: N818 - no error
    """Stands for whatever ends a training between two steps."""


@pytest.mark.parametrize("recipe", [RECIPE, MUON_RECIPE])
@pytest.mark.parametrize("stop", [1, 2, 4, 5])
def test_a_training_resumed_after_any_step_is_the_one_never_stopped(
    stop: int, recipe: Recipe, tiny_digits: Dataset, tmp_path: Path
) -> None:
    def trainer() -> Trainer:
        made = digits_trainer(tiny_digits, recipe)
        model = nn.Sequential(made.model, nn.Dropout(0.3))  # it draws from torch's generator at each step
        return Trainer(model, tiny_digits.train, hard, recipe, made.augmentation)

    whole, stopped, resumed = trainer(), trainer(), trainer()
    expected, path = losses(whole), tmp_path / "checkpoint.pt"
    told: list[tuple[float, ...]] = []
    calls = itertools.count(1)

    def save_then_stop() -> None:
        if next(calls) == stop:
            checkpoints.save(path, stopped.state())
            raise Stopped

    stopped.after_step = save_then_stop
    with suppress(Stopped):
        for epoch in stopped.epochs():
            told.append((epoch.number, epoch.loss, epoch.accuracy, epoch.learning_rate))  # noqa: PERF401 - it is cut off
    torch.rand(7)  # another process has drawn other numbers
    state = checkpoints.load(path)
    assert state is not None
    assert state["part"]["seconds"] > 0
    resumed.restore(state)
    assert told + losses(resumed) == expected
    assert same(weights(resumed), weights(whole))


ALTERED_PARTS: list[Callable[[dict[str, Any]], object]] = [
    lambda part: part.pop("values"),
    lambda part: part.update(values=torch.zeros(3, 3)),
    lambda part: part.update(values="x"),
    lambda part: part.update(sizes=[]),
    lambda part: part.update(sizes=["x"]),
    lambda part: part.update(generators=[]),
    lambda part: part.update(generators=[torch.zeros(3)]),
    lambda part: part.update(seconds="x"),
]


@pytest.mark.parametrize("alter", ALTERED_PARTS)
def test_a_part_of_an_epoch_that_is_something_else_is_refused(
    alter: Callable[[dict[str, Any]], object], tiny_digits: Dataset
) -> None:
    held: list[dict[str, Any]] = []
    trainer = digits_trainer(tiny_digits, RECIPE)
    trainer.after_step = lambda: held.append(trainer.state())
    next(trainer.epochs())
    trainer.restore(held[0])
    alter(held[0]["part"])
    with pytest.raises(checkpoints.UNREADABLE):
        digits_trainer(tiny_digits, RECIPE).restore(held[0])


class Recorder:
    """An objective that keeps what it was given."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.values: list[Tensor] = []

    def __call__(self, logits: Tensor, batch: Batch) -> LossTerms:
        self.batches.append(batch)
        soft = logits.square().mean(dim=1)
        hard_terms = nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        self.values.append(torch.stack([soft + hard_terms, soft, hard_terms], dim=1).detach())
        return LossTerms((soft + hard_terms).mean(), soft.mean(), hard_terms.mean())

    def epoch(self, number: int, steps: int) -> list[Batch]:
        return self.batches[(number - 1) * steps : number * steps]


def test_means_are_over_images_where_batches_differ_in_size() -> None:
    recorder = Recorder()
    split = random_split(11)
    model = Linear(16, 3)
    trainer = Trainer(model, split, recorder, replace(RECIPE, epochs=1, batch_size=4, lr=0.0), PLAIN)
    [epoch] = trainer.epochs()
    assert sorted(len(batch.labels) for batch in recorder.batches) == [3, 4, 4]
    by_image = torch.cat(recorder.values).double()  # (11, 3)
    by_batch = torch.stack([value.double().mean(dim=0) for value in recorder.values])  # (3, 3)
    assert (epoch.loss, epoch.soft_loss, epoch.hard_loss) == pytest.approx(by_image.mean(dim=0).tolist(), rel=1e-5)
    assert epoch.loss != pytest.approx(by_batch.mean(dim=0)[0].item(), rel=1e-5)
    right = (model(split.images).argmax(dim=1) == split.labels).sum().item()
    assert epoch.accuracy == right / 11
    assert 0 < right < 11


def softmax_gradient(w: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of the mean cross-entropy of logits x w^T + b, by hand."""
    logits = x @ w.T + b
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    errors = powers / powers.sum(axis=1, keepdims=True)
    errors[np.arange(len(y)), y] -= 1
    return errors.T @ x / len(y), errors.mean(axis=0)


def test_each_step_is_nesterov_momentum_with_decay_on_the_weights_alone() -> None:
    """Each from where the last one ended, in float64 but for the logits, which a step takes in float32."""
    recorder: list[tuple[Batch, np.ndarray, np.ndarray]] = []
    model, split = Linear(16, 3).double(), random_split(17)

    def weight_and_bias() -> tuple[np.ndarray, np.ndarray]:
        return model.weight.detach().numpy().copy(), model.bias.detach().numpy().copy()

    def objective(logits: Tensor, batch: Batch) -> LossTerms:
        recorder.append((batch, *weight_and_bias()))
        return hard(logits.double(), batch)

    recipe = Recipe(epochs=4, batch_size=5, lr=0.5, weight_decay=0.05, seed=3)
    rates = [epoch.learning_rate for epoch in Trainer(model, split, objective, recipe, PLAIN).epochs()]

    steps = len(recorder)
    assert steps == 4 * 4
    ends = [*((w, b) for _, w, b in recorder[1:]), weight_and_bias()]
    moving_w, moving_b = np.zeros((3, 16)), np.zeros(3)
    slow_rates = []
    for step, ((batch, w, b), (next_w, next_b)) in enumerate(zip(recorder, ends, strict=True), start=1):
        done = step / (steps + 1)
        rate = 0.5 * min(done / 0.1, (1 - done) / 0.9)
        slow_rates.append(rate)
        pixels = batch.images.flatten(1).double().numpy() / 255
        # Logits below 8 are rounded by 2^-22, and gradients once more by 2^-24 of themselves, which are below 1: it is less
        # than 1e-6 a gradient, and momentum sums up ten of them.
        assert np.abs(pixels @ w.T + b).max() < 8
        gradient_w, gradient_b = softmax_gradient(w, b, pixels, batch.labels.numpy())
        gradient_w += 0.05 * w
        moving_w, moving_b = 0.9 * moving_w + gradient_w, 0.9 * moving_b + gradient_b
        np.testing.assert_allclose(next_w, w - rate * (gradient_w + 0.9 * moving_w), rtol=0, atol=rate * 1e-5)
        np.testing.assert_allclose(next_b, b - rate * (gradient_b + 0.9 * moving_b), rtol=0, atol=rate * 1e-5)
    assert rates == pytest.approx(slow_rates[3::4])


def test_decay_shrinks_weights_and_leaves_norms_and_biases(tiny_digits: Dataset) -> None:
    def nothing_to_learn(logits: Tensor, _batch: Batch) -> LossTerms:
        zero = 0 * logits.sum()
        return LossTerms(zero, zero, zero)

    trainer = digits_trainer(tiny_digits, replace(RECIPE, weight_decay=0.1), nothing_to_learn)
    trainer.model.double()  # 24 steps of rounding to float32 would be seen
    for parameter in trainer.model.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    before = weights(trainer)
    losses(trainer)
    for name, parameter in trainer.model.named_parameters():
        ratio = parameter.detach() / before[name]
        if name.endswith(("head.weight", "stem.weight", "conv1.weight", "conv2.weight")):
            torch.testing.assert_close(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-12, atol=0)
            assert ratio.max() < 0.95, name
        else:
            assert torch.equal(ratio, torch.ones_like(ratio)), name


@given(st.floats(0, 1), st.floats(1e-4, 10))
def test_the_rate_rises_to_its_peak_over_a_tenth_and_falls_to_zero(progress: float, peak: float) -> None:
    rate = learning_rate(progress, peak)
    assert -1e-12 <= rate <= peak * (1 + 1e-12)
    assert rate == pytest.approx(np.interp(progress, [0, 0.1, 1], [0, peak, 0]).item(), abs=1e-9)


@pytest.mark.parametrize(("epochs", "images"), [(1, 3), (1, 100), (10, 100)])
def test_no_step_is_taken_at_a_rate_of_zero(epochs: int, images: int) -> None:
    rates: list[float] = []

    def objective(logits: Tensor, batch: Batch) -> LossTerms:
        [optimizer] = trainer.optimizers
        rates.append(optimizer.param_groups[0]["lr"])
        assert rates[-1] == optimizer.param_groups[1]["lr"]
        return hard(logits, batch)

    recipe = Recipe(epochs=epochs, batch_size=10, lr=0.2, weight_decay=0, seed=0)
    trainer = Trainer(Linear(16, 3), random_split(images), objective, recipe, PLAIN)
    last = list(trainer.epochs())[-1]
    assert all(0 < rate <= 0.2 for rate in rates)
    assert rates.index(max(rates)) <= len(rates) // 10
    assert last.learning_rate == rates[-1] == min(rates[len(rates) // 2 :])


@pytest.mark.parametrize(
    ("views", "expected"), [(0, [0, 1, 2, 3, 4]), (1, [0] * 5), (2, [0, 1, 0, 1, 0]), (8, [0, 1, 2, 3, 4])]
)
def test_epochs_see_their_views_and_every_image_once(views: int, expected: list[int]) -> None:
    recorder, split = Recorder(), random_split(20, side=8)
    augmentation = Augmentation(2, flip=True, seed=5)
    recipe = Recipe(epochs=5, batch_size=8, lr=0.01, weight_decay=0, seed=1, views=views)
    list(Trainer(Linear(64, 3), split, recorder, recipe, augmentation).epochs())
    orders = []
    for number, view in enumerate(expected, start=1):
        seen = recorder.epoch(number, 3)
        assert {batch.view for batch in seen} == {view}
        index = torch.cat([batch.index for batch in seen])
        orders.append(index.tolist())
        assert sorted(orders[-1]) == list(range(20))
        assert torch.equal(torch.cat([batch.labels for batch in seen]), split.labels[index])
        assert torch.equal(torch.cat([batch.images for batch in seen]), augmentation(split.images[index], index, view))
    assert len({tuple(order) for order in orders}) == 5


def test_the_order_of_the_images_is_that_of_the_seed() -> None:
    def order(seed: int) -> list[int]:
        recorder = Recorder()
        trainer = Trainer(Linear(16, 3), random_split(20), recorder, replace(RECIPE, epochs=1, seed=seed), PLAIN)
        list(trainer.epochs())
        return torch.cat([batch.index for batch in recorder.batches]).tolist()

    split = random_split(20)
    told = batches(split, PLAIN, batch_size=16, seed=4, epoch=0, view=0)
    assert order(4) == torch.cat([batch.index for batch in told]).tolist()
    assert order(4) != order(5)


def test_an_epoch_may_be_made_of_chosen_rows() -> None:
    recorder = Recorder()
    rows = [torch.tensor([1, 1, 7]), torch.tensor([2, 3, 4, 5, 6])]
    recipe = Recipe(epochs=2, batch_size=2, lr=0.01, weight_decay=0, seed=1)
    trainer = Trainer(Linear(16, 3), random_split(10), recorder, recipe, PLAIN, epoch_rows=lambda epoch: rows[epoch])
    list(trainer.epochs())
    seen = [batch.index.tolist() for batch in recorder.batches]
    assert [sorted(seen[0]), sorted(seen[1] + seen[2])] == [row.tolist() for row in rows]


def test_a_net_with_a_norm_learns_in_pairs_from_an_odd_number_of_images() -> None:
    sizes = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3))  # which has no spread in a batch of one
    net.register_forward_pre_hook(lambda _, images: sizes.append(len(images[0])))
    [epoch] = Trainer(
        Classifier(net, (0.5,), (0.5,)), random_split(7), hard, replace(RECIPE, epochs=1, batch_size=2), PLAIN
    ).epochs()
    assert sorted(sizes) == [2, 2, 3]
    assert np.isfinite(epoch.loss)


def test_hard_loss_and_accuracy_are_means_over_the_images_that_have_labels() -> None:
    split = random_split(11)
    labels = torch.where(torch.arange(11) % 3 == 0, NO_LABEL, split.labels)
    recipe = Recipe(epochs=1, batch_size=4, lr=1e-9, weight_decay=0, seed=1)  # the net stays as it is

    def distil(logits: Tensor, batch: Batch) -> LossTerms:
        return distillation_loss(logits, logits.detach().flip(1), batch.labels, temperature=2.0, alpha=0.5)

    net = Linear(16, 3)
    logits = net(split.images)
    [epoch] = Trainer(net, Split(split.images, labels, split.index), distil, recipe, PLAIN).epochs()
    has_label = labels != NO_LABEL
    hard = nn.functional.cross_entropy(logits[has_label], labels[has_label]).item()
    soft = soft_loss(logits, logits.flip(1), 2.0).mean().item()
    assert epoch.hard_loss == pytest.approx(hard, rel=1e-4)
    assert epoch.soft_loss == pytest.approx(soft, rel=1e-4)
    assert epoch.loss == pytest.approx(0.5 * soft + 0.5 * hard * int(has_label.sum()) / 11, rel=1e-4)
    right = (logits.argmax(dim=1) == labels)[has_label]
    assert epoch.accuracy == pytest.approx(right.double().mean().item())


def test_the_model_trains_in_every_epoch_though_the_caller_evaluates_in_between(tiny_digits: Dataset) -> None:
    modes: list[bool] = []

    def objective(logits: Tensor, batch: Batch) -> LossTerms:
        modes.append(all(module.training for module in evaluated.model.modules()))
        return hard(logits, batch)

    evaluated, left_alone = digits_trainer(tiny_digits, objective=objective), digits_trainer(tiny_digits)
    for _ in evaluated.epochs():
        predict(evaluated.model, tiny_digits.val)
    losses(left_alone)
    assert modes == [True] * 3 * 8
    assert same(weights(evaluated), weights(left_alone))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_a_user_error_that_names_epoch_and_step(value: float) -> None:
    taken: Iterator[int] = iter(range(100))

    def objective(logits: Tensor, batch: Batch) -> LossTerms:
        terms = hard(logits, batch)
        return terms if next(taken) < 6 else terms._replace(total=terms.total * value)

    recipe = Recipe(epochs=3, batch_size=5, lr=0.25, weight_decay=0, seed=0)
    epochs = Trainer(Linear(16, 3), random_split(20), objective, recipe, PLAIN).epochs()
    next(epochs)
    with pytest.raises(UserError) as caught:
        next(epochs)
    message = str(caught.value)
    assert f"loss is {value} at epoch 2, step 3:" in message
    assert "learning rate (it is 0.25)" in message
    assert "\n" not in message


def bright_quarter(images: int) -> Split:
    """Make images that are dark but for one quarter, which is the label."""
    labels = torch.arange(images) % 4
    pixels = torch.randint(0, 60, (images, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for number, label in enumerate(labels.tolist()):
        top, left = 4 * (label // 2), 4 * (label % 2)
        pixels[number, :, top : top + 4, left : left + 4] += 150
    return Split(pixels, labels, torch.arange(images))


def resnet() -> nn.Module:
    return Classifier(ResNet(4, 1, 1, 4), [0.3], [0.3])


@pytest.mark.parametrize("create", [resnet, lambda: Linear(64, 4)])
def test_it_learns_to_tell_classes_that_can_be_told_apart(create: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    split, model = bright_quarter(120), create()
    recipe = Recipe(epochs=8, batch_size=20, lr=0.1, weight_decay=5e-4, seed=0)
    trained = list(Trainer(model, split, hard, recipe, PLAIN).epochs())
    assert [epoch.number for epoch in trained] == list(range(1, 9))
    assert trained[-1].loss < 0.5 * trained[0].loss
    assert (predict(model, split).argmax(dim=1) == split.labels).double().mean() > 0.95
    assert all(epoch.seconds > 0 and epoch.images_per_second > 0 for epoch in trained)


def test_a_compiled_training_is_the_plain_one_to_rounding_and_its_state_fits_the_plain_net(tiny_digits: Dataset) -> None:
    plain, compiled = (digits_trainer(tiny_digits, replace(RECIPE, compile=asked)) for asked in (False, True))
    with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError, match="recompile"):
        next(compiled.epochs())  # it is the compiled net that takes the steps: there is no code of it yet
    with torch.compiler.set_stance("force_eager"):  # the compiler itself, which takes long, is not under test
        assert losses(compiled) == losses(plain)
    plain.restore(compiled.state())
    assert same(weights(plain), weights(compiled))


def test_every_parameter_is_trained_by_one_optimizer_and_filters_alone_by_muon(tiny_digits: Dataset) -> None:
    trainer = digits_trainer(tiny_digits, MUON_RECIPE)
    sgd, muon = ([p for group in optimizer.param_groups for p in group["params"]] for optimizer in trainer.optimizers)
    assert {id(p) for p in [*sgd, *muon]} == {id(p) for p in trainer.model.parameters()}
    assert len(sgd) + len(muon) == len(list(trainer.model.parameters()))
    assert {p.ndim for p in muon} == {4}
    assert {p.ndim for p in sgd} == {1, 2}


def test_images_grow_to_their_size_over_seven_tenths_of_a_training() -> None:
    shapes: list[tuple[int, int]] = []

    class Anything(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(4))

        def forward(self, images: Tensor) -> Tensor:
            shapes.append((images.shape[2], images.shape[3]))
            return self.bias.expand(len(images), 4)

    recipe = Recipe(epochs=5, batch_size=20, lr=0.1, weight_decay=0, seed=0)
    for start_px in (0, 8, 9, 4):
        list(Trainer(Anything(), bright_quarter(40), hard, replace(recipe, start_px=start_px), PLAIN).epochs())
    assert shapes == [(8, 8)] * 30 + [(4, 4)] * 7 + [(8, 8)] * 3


@given(st.floats(0, 1), st.integers(0, 64), st.integers(1, 64))
def test_the_size_grows_and_is_never_beyond_the_image(progress: float, start: int, full: int) -> None:
    seen = seen_px(progress, start, full)
    assert min(start, full) <= seen <= full
    assert seen <= seen_px(min(1.0, progress + 0.1), start, full)
    assert seen_px(0.7, start, full) == full
    assert seen_px(0.0, start, full) == (start if 0 < start < full else full)


def test_sizes_between_are_eight_pixels_apart() -> None:
    assert [seen_px(progress, 16, 32) for progress in (0.1, 0.3, 0.4, 0.6, 0.7)] == [16, 16, 24, 24, 32]
    assert [seen_px(progress, 20, 39) for progress in (0.2, 0.3, 0.5, 0.7)] == [20, 28, 36, 39]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(0, 255))
def test_resizing_keeps_proportions_and_a_flat_image_flat(height: int, width: int, px: int, value: int) -> None:
    small = resized(torch.full((2, 3, height, width), value, dtype=torch.uint8), px)
    assert small.shape[-2] == px
    assert abs(small.shape[-1] - width * px / height) <= 1
    torch.testing.assert_close(small.float(), torch.full_like(small, value, dtype=torch.float32), atol=1e-3, rtol=0)


def test_halving_weighs_the_neighbours_by_a_triangle() -> None:
    row = torch.tensor([0.0, 0, 8, 0, 0, 0]).expand(1, 1, 6, 6)
    # Each small pixel is a weighted mean of four: 1, 3, 3, 1 eighths, cut off and renormalised at the edges.
    torch.testing.assert_close(resized(row, 3)[0, 0, 1], torch.tensor([8 * 1 / 7, 8 * 3 / 8, 0.0]))


def test_gradients_are_cleared_and_nothing_is_left_to_do() -> None:
    model = Linear(16, 3)
    trainer = Trainer(model, random_split(10), hard, replace(RECIPE, epochs=1), PLAIN)
    list(trainer.epochs())
    assert all(parameter.grad is None for parameter in model.parameters())
    before = weights(trainer)
    assert list(trainer.epochs()) == []
    assert same(weights(trainer), before)


@pytest.mark.parametrize("recipe", [RECIPE, MUON_RECIPE], ids=["sgd", "muon"])
def test_filters_and_images_of_convolutions_are_channels_last_after_a_resume_too(tiny_digits: Dataset, recipe: Recipe) -> None:
    trainer = digits_trainer(tiny_digits, recipe)
    stepped = digits_trainer(tiny_digits, recipe)
    next(stepped.epochs())
    trainer.restore(stepped.state())
    in_channels_last: list[bool] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        tensors = [inputs[0], *module.parameters()]
        in_channels_last.extend(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors)

    for module in trainer.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(look)
    next(trainer.epochs())
    assert len(in_channels_last) > 0
    assert all(in_channels_last)
