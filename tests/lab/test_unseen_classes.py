"""Classes that a student did not see: the images that it learns from, and the biases that are set afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laboratory import Done
from torch import Tensor

from kd.data.dataset import Dataset, Split
from kd.errors import UserError
from kd.lab import missing_class, specialists, two_classes
from kd.lab.bias import best_shift, shifted
from kd.lab.experiment import Measured
from kd.lab.names import ExperimentName
from kd.lab.setup import Setup
from kd.lab.unseen_classes import HARD, SOFT, SOFT_TEST, SOFT_VAL

CarriedOut = Callable[[ExperimentName], Done]


def errors(logits: Tensor, labels: Tensor, classes: Sequence[int], shift: float) -> int:
    """Count errors image by image."""
    wrong = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        raised = [value + (shift if number in classes else 0.0) for number, value in enumerate(row)]
        wrong += raised.index(max(raised)) != label
    return wrong


@given(st.integers(0, 2**32), st.integers(2, 30), st.sampled_from([(1,), (0, 3), (0, 1, 2)]))
def test_no_other_number_makes_fewer_errors(seed: int, images: int, classes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, 4, generator=generator) * 2
    labels = torch.randint(4, (images,), generator=generator)
    grid = [number / 20 for number in range(-240, 241)]
    found = errors(logits, labels, classes, best_shift(logits, labels, classes))
    assert found <= min(errors(logits, labels, classes, shift) for shift in grid)


def test_of_numbers_that_make_as_few_errors_the_likeliest_is_taken() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, -4.0]])  # class 1 leads by 0 and by -4
    labels = torch.tensor([1, 0])
    assert best_shift(logits, labels, (1,)) == 2.0  # any between 0 and 4 makes no error
    # One error at 0 to 1, and at 2 to 5: there the image whose label is 0 is wrong by far.
    two_gaps = torch.tensor([[0.0, 0.0], [0.0, -1.0], [0.0, -2.0], [0.0, -5.0]])
    assert best_shift(two_gaps, torch.tensor([1, 0, 1, 0]), (1,)) == 0.5
    assert best_shift(-two_gaps, torch.tensor([0, 1, 0, 1]), (1,)) == -0.5


def test_numbers_are_added_to_the_logits_of_some_classes_alone() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    assert shifted(logits, (0, 2), -1.5).tolist() == [[-0.5, 2.0, 1.5], [-1.5, 0.0, -1.5]]
    assert logits[0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("name", "seen"), [("missing-class", {0, 1, 2, 4, 5, 6, 7, 8, 9}), ("two-classes", {7, 8})])
def test_students_see_no_image_of_other_classes(name: ExperimentName, seen: set[int], carried_out: CarriedOut) -> None:
    notes = carried_out(name).notes
    for student in (HARD, SOFT):
        job = notes.job(f"{student} seed 0")
        assert {*job.task.train.labels.tolist()} == seen
        assert {*job.task.val.labels.tolist()} == {*range(10)}
        assert job.task.epoch_images == 120  # as many steps as with all images
        assert notes.of(job.name).chosen_epoch == job.recipe.epochs  # no epoch was chosen by images of the others
    assert {*notes.job("teacher seed 0").task.train.labels.tolist()} == {*range(10)}


@pytest.mark.parametrize(
    ("name", "biased", "told", "sign"),
    [
        ("missing-class", (3,), (missing_class.BIAS_VAL, missing_class.BIAS_TEST), 1),
        ("two-classes", (7, 8), (two_classes.BIAS_VAL, two_classes.BIAS_TEST), -1),
    ],
)
def test_one_bias_is_set_on_val_and_the_other_on_test(
    name: ExperimentName, biased: Sequence[int], told: tuple[str, str], sign: int, carried_out: CarriedOut
) -> None:
    done = carried_out(name)
    soft = done.notes.of(f"{SOFT} seed 0")
    test, on_val, on_test = soft.dataset.test.labels, *(sign * done.figure(figure) for figure in told)
    assert on_val == pytest.approx(best_shift(soft.val_logits, soft.dataset.val.labels, biased))
    assert done.errors(SOFT) == errors(soft.test_logits, test, biased, 0.0)
    assert done.errors(SOFT_VAL) == errors(soft.test_logits, test, biased, on_val)
    assert done.errors(SOFT_TEST) == errors(soft.test_logits, test, biased, on_test)
    assert done.errors(SOFT_TEST) <= min(done.errors(SOFT), done.errors(SOFT_VAL))


def test_errors_on_the_missing_class_are_those_of_its_images(carried_out: CarriedOut) -> None:
    done = carried_out("missing-class")
    hard = done.notes.of(f"{HARD} seed 0")
    threes = hard.dataset.test.labels == 3
    assert done.errors(missing_class.on_class(HARD)) == int((hard.test_logits[threes].argmax(dim=1) != 3).sum())
    [row] = [row for row in done.record.rows if row.system == missing_class.on_class(HARD)]
    assert row.images == int(threes.sum()) < 40


def of_classes(dataset: Dataset, count: int) -> Dataset:
    """Return the images of the first classes."""

    def part(split: Split) -> Split:
        kept = split.select(split.labels < count)
        return replace(kept, index=torch.arange(len(kept)))

    train, val, test = part(dataset.train), part(dataset.val), part(dataset.test)
    return replace(dataset, classes=dataset.classes[:count], digest=str(count) * 32, train=train, val=val, test=test)


def test_with_few_classes_the_last_ones_stand_for_the_papers(tiny_setup: Setup) -> None:
    few = replace(tiny_setup, dataset=of_classes(tiny_setup.dataset, 3))
    found: Measured = missing_class.run(few, 0)
    twos = int((few.dataset.test.labels == 2).sum())
    assert len(found.correct[missing_class.on_class(SOFT)]) == twos
    assert int(two_classes.run(few, 0).correct[HARD][few.dataset.test.labels == 0].sum()) == 0


@pytest.mark.parametrize("run", [missing_class.run, two_classes.run, specialists.run])
def test_images_of_two_classes_are_refused(run: Callable[[Setup, int], Measured], tiny_setup: Setup) -> None:
    with pytest.raises(UserError, match="has 2 classes; this experiment needs 3 or more"):
        run(replace(tiny_setup, dataset=of_classes(tiny_setup.dataset, 2)), 0)
