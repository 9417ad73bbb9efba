"""The end of a run's name: the settings by which it differs from its neighbours."""

from dataclasses import replace

import pytest
import torch

import kd
from kd.config import StudentConfig
from kd.data.dataset import Dataset
from kd.distillation.plan import hard_targets_job
from kd.from_config import run_details
from kd.losses.choice import SoftLoss
from kd.nets.registry import net_spec
from kd.tracking.run_names import details, seeds_text
from kd.tracking.training import _details


def test_settings_stand_in_their_order_with_the_net_by_its_name() -> None:
    settings = {"temperature": 4.0, "alpha": 0.9, "width": 8, "net": "resnet", "seed": 0}
    assert details(settings) == "T=4 alpha=0.9 width=8 resnet seed=0"


def test_numbers_that_a_search_drew_are_short() -> None:
    assert details({"temperature": 3.046353276, "alpha": 0.368346176, "lr": 0.0001234567}) == "T=3.05 alpha=0.368 lr=0.000123"


def test_what_is_none_is_left_out() -> None:
    assert details({"temperature": None, "alpha": None, "width": 4}) == "width=4"


def test_seeds_that_follow_one_another_are_a_range() -> None:
    assert (seeds_text(range(3, 4)), seeds_text(range(3, 8))) == ("3", "3-7")


def test_an_alpha_of_0_is_told_and_empty_arguments_are_not() -> None:
    assert run_details(StudentConfig(alpha=0)) == "T=4 alpha=0 width=16 depth=1 resnet seed=0"


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (None, ""),
        (SoftLoss(), ""),
        (SoftLoss("dkd", {"beta": 2.0}), " loss=dkd dkd_alpha=1 dkd_beta=2"),
        (SoftLoss("kd", standardize=True), " loss=kd standardize=true"),
    ],
)
def test_a_training_tells_its_loss_where_it_is_not_the_usual_one(
    loss: SoftLoss | None, told: str, tiny_digits: Dataset
) -> None:
    spec = net_spec("resnet", {"depth": 1, "width": 4})
    job = hard_targets_job(spec, tiny_digits, kd.Recipe(epochs=1, batch_size=60), torch.device("cpu"))
    assert _details(replace(job, temperature=4.0, alpha=0.9, loss=loss)) == f"T=4 alpha=0.9{told} width=4 depth=1 resnet seed=0"
