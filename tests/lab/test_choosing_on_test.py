"""What choosing on test pretends: shown by one experiment, and out of reach of all that chooses."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import torch
from laboratory import TINY, Done, Notes

from kd.distillation.tracker import tracked_by
from kd.lab.choosing_on_test import HARD, LAST, SOFT, TEST, VAL, system
from kd.lab.inflation import EpochKeeper, best_on_test
from kd.lab.names import ExperimentName
from kd.lab.setup import Setup

CarriedOut = Callable[[ExperimentName], Done]


def test_the_first_of_the_best_epochs_on_test_is_taken() -> None:
    right = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.bool)
    assert best_on_test(right) == 1


def test_weights_of_each_epoch_are_kept_and_the_training_is_the_usual_one(tiny_setup: Setup) -> None:
    keeper, notes = EpochKeeper(), Notes()
    with tracked_by(keeper):
        kept = tiny_setup.hard(0, HARD, recipe=tiny_setup.recipe(0, epochs=4))
    with tracked_by(notes):
        usual = tiny_setup.hard(0, HARD, recipe=tiny_setup.recipe(0, epochs=4))
    test = usual.dataset.test.labels
    before = kept.test_logits.clone()
    right = keeper.correct(kept)
    assert right.shape == (4, 40)
    assert torch.equal(kept.test_logits, usual.test_logits)
    assert torch.equal(right[usual.chosen_epoch - 1], usual.test_logits.argmax(dim=1) == test)
    assert len({tuple(row) for row in right.tolist()}) > 1
    weights = usual.model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in kept.model.state_dict().items())  # its own again
    assert torch.equal(kept.test_logits, before)


def test_the_best_on_test_is_never_worse_there_and_only_the_teacher_is_tracked(carried_out: CarriedOut) -> None:
    done = carried_out("choosing-on-test")
    for net in (HARD, SOFT):
        assert done.errors(system(net, TEST)) <= min(done.errors(system(net, way)) for way in (LAST, VAL))
        assert done.figure(f"{system(net, LAST)}: its number") == TINY.epochs
    assert [job.name for job in done.notes.jobs] == ["teacher seed 0"]


def test_no_other_code_can_choose_on_test(root: Path) -> None:
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    [protected] = [contract for contract in contracts if contract["type"] == "protected"]
    assert protected["protected_modules"] == ["kd.lab.inflation"]
    assert protected["allowed_importers"] == ["kd.lab.choosing_on_test"]
