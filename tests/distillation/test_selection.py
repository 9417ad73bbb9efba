"""What the best epoch on val is chosen by."""

import dataclasses
import math

import pytest

import kd
from kd.data.dataset import Dataset
from kd.distillation.plan import hard_targets_job
from kd.distillation.selection import rank_by
from kd.distillation.task import Task
from kd.errors import UserError
from kd.evaluation.scores import Scores
from kd.machine.device import resolve_device
from kd.nets.registry import net_spec
from kd.training.recipe import SelectBy

SCORES = Scores(accuracy=0.75, nll=0.5, calibration_error=0.0, balanced_accuracy=0.625)


@pytest.mark.parametrize(
    ("select_by", "whole", "own"),
    [
        ("accuracy", (0.75, -0.5), (0.875, -0.5)),
        ("balanced_accuracy", (0.625, -0.5), (0.8125, -0.5)),
        ("nll", (-0.5, 0.75), (-0.5, 0.875)),
    ],
)
def test_epochs_are_ranked_by_what_was_asked_for_and_specialists_on_their_own_classes(
    select_by: SelectBy, whole: tuple[float, float], own: tuple[float, float]
) -> None:
    assert rank_by(SCORES, select_by) == whole
    specialist = dataclasses.replace(SCORES, own_accuracy=0.875, own_balanced_accuracy=0.8125)
    assert rank_by(specialist, select_by) == own


def test_an_epoch_of_an_earlier_version_has_no_balanced_accuracy_and_comes_last() -> None:
    assert rank_by(dataclasses.replace(SCORES, balanced_accuracy=None), "balanced_accuracy") == (-math.inf, -0.5)


@pytest.mark.parametrize(("select_by", "epoch"), [("accuracy", 1), ("balanced_accuracy", 2), ("nll", 3)])
def test_a_training_uses_the_epoch_that_is_best_by_what_was_asked_for(
    select_by: SelectBy, epoch: int, tiny_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter(
        dataclasses.replace(SCORES, accuracy=accuracy, balanced_accuracy=balanced, nll=nll)
        for accuracy, balanced, nll in ((0.9, 0.1, 3.0), (0.8, 0.9, 2.0), (0.7, 0.5, 1.0), *2 * [(0.0, 0.0, 9.0)])
    )
    monkeypatch.setattr(Task, "scores", lambda *_: next(told))
    trained = kd.train("resnet", tiny_digits, kd.Recipe(epochs=3, select_by=select_by), device="cpu", depth=1, width=1)
    assert trained.chosen_epoch == epoch


def test_it_decides_a_result_and_so_the_fingerprint(tiny_digits: Dataset) -> None:
    spec, device = net_spec("resnet", {"depth": 1, "width": 2}), resolve_device("cpu")
    prints = {
        hard_targets_job(spec, tiny_digits, kd.Recipe(select_by=by), device).fingerprint()
        for by in ("accuracy", "balanced_accuracy", "nll")
    }
    assert len(prints) == 3


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(UserError, match="'loss' can't be the recipe's select_by; give accuracy or balanced_accuracy or nll"):
        kd.Recipe(select_by="loss")  # type: ignore[arg-type]
