"""The end of a run's name: the settings by which it differs from its neighbours."""

from kd.config import StudentConfig
from kd.from_config import run_details
from kd.tracking.run_names import details, seeds_text


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
