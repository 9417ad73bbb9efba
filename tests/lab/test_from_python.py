"""An experiment from Python: its settings, what is refused, and its record on disk."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from laboratory import Notes

import kd
from kd.data.dataset import Dataset
from kd.distillation.tracker import tracked_by
from kd.errors import UserError
from kd.lab import experiment, soft_targets
from kd.lab.experiment import Contrast, Measured
from kd.lab.names import ExperimentName
from kd.lab.record import Record
from kd.lab.setup import Setup


def test_an_experiment_is_one_call_and_its_record_is_read_back_as_it_was(tiny_digits: Dataset, tmp_path: Path) -> None:
    record = kd.lab.run("soft-targets", tiny_digits, seeds=[3], width=4, teacher_width=4, epochs=1, teacher_epochs=1)
    assert record.seeds == (3,)
    assert record.settings["teacher_width"] == 4
    assert [row.images for row in record.rows] == [40, 40, 40]
    path = record.write(tmp_path / "results")
    assert path.name == "soft-targets-digits.json"
    assert Record.read(path) == record


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"name": "soft-target"}, "'soft-target' is no experiment; give one of soft-targets, temperature, "),
        ({"depht": 2}, "depht: no setting of an experiment; they are net, width, "),
        ({"seeds": []}, "no seeds; give one or more"),
        ({"seeds": [0, 1, 0]}, "[0, 1, 0]: expected seeds that differ, 0 or more"),
        ({"seeds": [-1]}, "[-1]: expected seeds that differ, 0 or more"),
        ({"seeds": 3}, "3: expected whole numbers, such as range(5)"),
        ({"seeds": ["0"]}, "['0']: expected whole numbers, such as range(5)"),
        ({"temperature": 0.0}, "0.0: expected a number above 0"),
        ({"temperature": "hot"}, "'hot': expected a number above 0"),
        ({"lr": math.nan}, "nan: expected a number above 0"),
        ({"teacher_lr": math.inf}, "inf: expected a number above 0"),
        ({"alpha": 3}, "3: expected a weight of the soft targets from 0 to 1"),
        ({"width": -1}, "-1: expected a whole number, 1 or more"),
        ({"depth": 0}, "0: expected a whole number, 1 or more"),
        ({"epochs": "3"}, "'3': expected a whole number, 1 or more"),
        ({"batch_size": 1}, "1: expected a whole number, 2 or more"),
        ({"groups": -2}, "-2: expected a whole number, 0 or more"),
        ({"net": "vgg"}, "'vgg': expected one of mlp, resnet, pooled"),
    ],
)
def test_what_can_not_be_run_is_refused_in_one_line(arguments: dict[str, object], line: str, tiny_digits: Dataset) -> None:
    with pytest.raises(UserError) as caught:
        kd.lab.run(**{"name": "soft-targets", "dataset": tiny_digits, **arguments})  # type: ignore[arg-type] # wrong on purpose
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        ("temperature", {"width": 1}, "1: this experiment compares students of several widths; give 2 or more"),
        ("controls", {"views": 0}, "0: this experiment shuffles cached targets, and there are none; give 1 or more"),
        ("specialists", {"groups": 1}, "1: 10 classes make 2 to 5 groups; give as many, or 0"),
        ("specialists", {"groups": 6}, "6: 10 classes make 2 to 5 groups; give as many, or 0"),
    ],
)
def test_settings_that_do_not_fit_an_experiment_are_refused_before_anything_is_trained(
    name: ExperimentName, settings: dict[str, Any], line: str, tiny_digits: Dataset
) -> None:
    trained = Notes()
    with tracked_by(trained), pytest.raises(UserError) as caught:
        kd.lab.run(name, tiny_digits, **settings)
    assert str(caught.value) == line
    assert trained.jobs == []


def test_seeds_may_be_numbers_of_numpy_and_two_widths_are_enough(tiny_digits: Dataset) -> None:
    small: dict[str, Any] = {"width": 2, "teacher_width": 4, "depth": 1, "teacher_depth": 1, "epochs": 1, "teacher_epochs": 1}
    record = kd.lab.run("temperature", tiny_digits, seeds=np.arange(2, 3), **small)
    assert record.seeds == (2,)
    assert [one.before for one in record.differences] == ["width 1, T = 20", "width 2, T = 20"]


def test_the_time_that_is_left_follows_from_the_longest_seed(
    tiny_digits: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.INFO, "kd")
    now = iter([0.0, 0.0, 1.0, 1.0, 301.0, 301.0, 302.0, 302.0])  # the second seed took 300 s: another one was finished before

    def run(setup: Setup, seed: int) -> Measured:
        del setup, seed
        right = torch.tensor([True, False])
        return Measured({"a": right, "b": right}, (Contrast("a", "b"),))

    own = replace(soft_targets.EXPERIMENT, run=run)
    monkeypatch.setattr(soft_targets, "EXPERIMENT", own)
    monkeypatch.setattr(experiment, "time", SimpleNamespace(monotonic=lambda: next(now)))
    kd.lab.run("soft-targets", tiny_digits, seeds=range(3))
    assert [message for message in caplog.messages if "left" in message] == [
        "soft-targets: 1 of 3 seeds done, less than 1 min left",
        "soft-targets: 2 of 3 seeds done, about 5 min left",
    ]
