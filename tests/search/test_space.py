"""What ``--search`` means, and what it refuses."""

import re
from collections.abc import Callable, Sequence

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd.config import DEFAULT_SPACE, TuneConfig
from kd.errors import UserError
from kd.search.space import Axis, first_points, parse_space, searchable
from kd.tracking.views import SEARCHED


def config(**fields: object) -> TuneConfig:
    return TuneConfig.parse(fields)


def test_the_default_space_is_temperature_on_a_log_scale_alpha_and_width() -> None:
    alpha, temperature, width = parse_space(config())
    assert (temperature.kind, temperature.low, temperature.high) == ("log", 1, 20)
    assert (alpha.kind, alpha.low, alpha.high) == ("float", 0, 1)
    assert (width.kind, width.low, width.high, width.step) == ("int", 4, 32, 4)


@pytest.mark.parametrize(
    ("width", "searched"),
    [(5, "int:4:5:1"), (6, "int:4:6:2"), (8, "int:4:8:4"), (10, "int:4:10:2"), (16, "int:4:32:4"), (64, "int:4:64:4")],
)
def test_a_width_other_than_the_default_is_the_largest_that_is_searched(width: int, searched: str) -> None:
    options = config(width=width)
    space = parse_space(options)
    assert space[-1].text() == f"width={searched}"
    assert parse_space(config(search=";".join(axis.text() for axis in space))) == space  # it ends at the width, in whole steps
    points, outside = first_points(options, space)
    assert [point["width"] for point in points.values()] == [width, width]
    assert outside == []


@pytest.mark.parametrize("width", [1, 4])
def test_a_width_of_no_more_than_the_least_usual_one_is_the_only_one(width: int) -> None:
    assert [axis.name for axis in parse_space(config(width=width))] == ["alpha", "temperature"]


def test_a_search_of_width_rules_over_the_width_that_was_asked_for() -> None:
    assert parse_space(config(width=8, search="width=int:4:32:4"))[-1].text() == "width=int:4:32:4"
    assert parse_space(config(width=8, search="width=cat:8,64"))[-1].choices == (8, 64)
    assert len(parse_space(config(width=8, search="width=fixed"))) == 2


def test_search_adds_replaces_and_takes_out() -> None:
    space = parse_space(
        config(search="lr=log:0.01:0.5; depth=int:1:3;init=cat:random,generalist;alpha=fixed;width=intlog:2:64")
    )
    assert [axis.text() for axis in space] == [
        "depth=int:1:3",
        "init=cat:random,generalist",
        "lr=log:0.01:0.5",
        "temperature=log:1:20",
        "width=intlog:2:64",
    ]


def test_categories_have_the_type_of_their_field() -> None:
    (dustbin,) = [axis for axis in parse_space(config(search="dustbin=cat:true,false")) if axis.name == "dustbin"]
    assert dustbin.choices == (True, False)
    (batch,) = [axis for axis in parse_space(config(search="batch_size=cat:32,64")) if axis.name == "batch_size"]
    assert batch.choices == (32, 64)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("temprature=log:1:20", "did you mean temperature?"),
        ("colour=cat:red,blue", "no field 'colour'"),
        ("views=int:1:3", "the same for all trials"),
        ("dustbin_correction=cat:paper,none", "the same for all trials"),  # no matter to the objective specialist
        ("lr=log:0:0.5", "lr 0: input should be greater than 0"),
        ("alpha=float:0:1.5", "alpha 1.5: input should be less than or equal to 1"),
        ("batch_size=int:1:64", "batch_size 1"),
        ("depth=float:1:3", "depth takes int or intlog or cat"),
        ("dustbin=int:0:1", "dustbin takes cat"),
        ("lr=log:0.5:0.01", "0.5 is not below 0.01"),
        ("weight_decay=log:0:0.1", "a log scale starts above 0"),
        ("lr=log:0.01", "expected NAME="),
        ("lr", "expected NAME="),
        ("lr=log:0.01:0.5:0.1", "expected NAME="),
        ("width=int:4:32:5", "do not end at 32"),
        ("alpha=float:0:1:1e-320", "do not end at 1"),
        ("width=int:4:32:1.5", "not a whole number"),
        ("alpha=float:0:1:x", "is not a number"),
        ("init=cat:random", "two different choices"),
        ("init=cat:random,random", "two different choices"),
        ("init=cat:random,teacher", "init teacher"),
        ("lr=log:0.01:0.5;lr=log:0.1:0.5", "given twice"),
        ("temperature=fixed;alpha=fixed;width=fixed", "nothing is left"),
    ],
)
def test_a_bad_search_is_refused_in_one_line(search: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        parse_space(config(search=search))
    assert "\n" not in str(refused.value)


def test_what_may_be_searched_follows_the_objective() -> None:
    parse_space(config(objective="combined", search="top_n=int:1:3;dustbin_correction=cat:paper,none,fit"))
    with pytest.raises(UserError, match="own_fraction is the same for all trials"):
        parse_space(config(objective="student", search="own_fraction=float:0.3:0.7"))


def test_the_configured_and_the_papers_point_come_first() -> None:
    options = config(temperature="6", search="init=cat:random,generalist;alpha=fixed")
    points, outside = first_points(options, parse_space(options))
    assert points == {
        "configured": {"init": "generalist", "temperature": 6.0, "width": 16},
        "paper": {"init": "generalist", "temperature": 20.0, "width": 16},
    }
    assert outside == []


def test_points_outside_the_space_are_left_out_and_said_to_be() -> None:
    options = config(width="10", search="temperature=log:1:8;width=int:4:32:4")
    points, outside = first_points(options, parse_space(options))
    assert points == {}
    assert outside == [
        "configured width 10 is not in width=int:4:32:4",
        "paper temperature 20 is not in temperature=log:1:8",
        "paper width 10 is not in width=int:4:32:4",
    ]


@given(low=st.integers(1, 20), steps=st.integers(1, 9), step=st.integers(1, 5), seed=st.integers(0, 99))
def test_every_suggested_value_is_held_and_the_text_reads_back(low: int, steps: int, step: int, seed: int) -> None:
    text = f"width=int:{low}:{low + steps * step}:{step};lr=log:0.001:{low};alpha=float:0:1:0.125"
    space = parse_space(config(search=text))
    assert parse_space(config(search=";".join(axis.text() for axis in space))) == space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    for axis in space:
        assert axis.holds(axis.suggest(trial))


def test_an_axis_holds_its_steps_alone() -> None:
    assert [value for value in range(12) if Axis("width", "int", 2, 10, 4).holds(value)] == [2, 6, 10]
    assert not Axis("width", "int", 2, 10).holds("4")


def test_the_default_space_is_not_refused() -> None:
    assert ";".join(sorted(axis.text() for axis in parse_space(config()))) == ";".join(sorted(DEFAULT_SPACE.split(";")))


def test_repeated_and_joined_searches_are_one(configured: Callable[[Sequence[str]], TuneConfig]) -> None:
    repeated = configured(["tune", "--search", "lr=log:0.01:0.5", "--search", "depth=int:1:3"])
    assert repeated == configured(["tune", "--search", "lr=log:0.01:0.5;depth=int:1:3"])
    assert repeated.search == "lr=log:0.01:0.5;depth=int:1:3"


def test_the_saved_view_of_trials_has_a_column_for_all_that_can_be_searched() -> None:
    assert set(searchable(config(objective="combined"))) == set(SEARCHED)


def test_a_net_that_is_not_kds_own_is_searched_by_its_arguments_and_has_no_width() -> None:
    own = {"net": "torchvision:resnet18"}
    assert [axis.name for axis in parse_space(config(**own))] == ["alpha", "temperature"]
    searched = parse_space(config(**own, search="net_args=cat:width_per_group=32,width_per_group=64"))
    assert [axis.choices for axis in searched if axis.name == "net_args"] == [("width_per_group=32", "width_per_group=64")]
    with pytest.raises(UserError, match=r"width=int:4:8: width is the same for all trials"):
        parse_space(config(**own, search="width=int:4:8"))
    with pytest.raises(UserError, match=r"net_args"):
        parse_space(config(search="net_args=cat:a=1,a=2"))
