"""Small shares of the images, with hard and with soft targets."""

from collections.abc import Callable

import pytest
from laboratory import Done

from kd.evaluation.predict import predict
from kd.lab import small_data
from kd.lab.names import ExperimentName

CarriedOut = Callable[[ExperimentName], Done]


def test_hard_and_soft_targets_are_of_the_same_images_in_as_many_steps(carried_out: CarriedOut) -> None:
    notes = carried_out("small-data").notes
    for percent in small_data.PERCENT:
        hard, soft = (notes.job(f"{name(percent)} seed 0") for name in (small_data.hard, small_data.soft))
        assert hard.task.train.index.tolist() == soft.task.train.index.tolist()
        assert hard.task.epoch_images == soft.task.epoch_images == 120
        assert hard.recipe.batch_size == min(16, len(hard.task.train))
        assert (hard.recipe.use, soft.recipe.use) == ("best", "last")
        assert (hard.objective is not soft.objective, hard.temperature, soft.temperature) == (True, None, 20)
        assert soft.teacher is not None
        assert soft.teacher.model is notes.of("teacher seed 0").model
    assert len(notes.job("teacher seed 0").task.train) == 120


def test_the_smaller_share_is_part_of_the_larger_one(carried_out: CarriedOut) -> None:
    notes = carried_out("small-data").notes
    kept = [{*notes.job(f"{small_data.hard(percent)} seed 0").task.train.index.tolist()} for percent in small_data.PERCENT]
    assert kept[0] < kept[1] < kept[2]
    assert [len(rows) for rows in kept] == [10, 11, 36]  # of 120: one of each class at least


def test_accuracy_on_the_training_images_is_of_those_that_were_learned_from(carried_out: CarriedOut) -> None:
    done = carried_out("small-data")
    net = done.notes.of(f"{small_data.soft(10)} seed 0")
    split = net.task.train
    right = (predict(net.model, split).argmax(dim=1) == split.labels).double().mean().item()
    assert done.figure(small_data.on_train(small_data.soft(10))) == pytest.approx(100 * right)
    assert len(split) == 11
