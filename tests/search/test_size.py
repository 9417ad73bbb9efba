"""The size of candidates: counted before they are made, and kept within ``--max-parameters``."""

import pytest

from kd.config import TuneConfig
from kd.errors import UserError
from kd.nets.cost import count_parameters_of
from kd.nets.resnet import ResNet
from kd.search.candidate import Candidate, Guide
from kd.search.size import candidate_parameters, fitting_config, fitting_space
from kd.search.space import parse_space

OF_DIGITS = {4: 4934, 8: 19074, 16: 75002, 32: 297450}
"""Parameters of a ResNet of depth 1 on ten classes of grey images, by width."""


def by_hand(width: int) -> int:
    """Return the same, layer by layer: stem and norm, six convolutions and norms, head."""
    norms = 2 * width * (1 + 2 + 2 * 2 + 2 * 4)
    first, second, third = 2 * width * width, (1 * 2 + 2 * 2) * width * width, (2 * 4 + 4 * 4) * width * width
    return 9 * (width + first + second + third) + norms + 4 * width * 10 + 10


def config(**fields: object) -> TuneConfig:
    return TuneConfig.parse(fields)


def fitting(guide: Guide, options: TuneConfig) -> list[str]:
    return [axis.text() for axis in fitting_space(parse_space(options), options, guide.workspace.dataset)]


@pytest.mark.parametrize(
    "fields",
    [
        {"objective": "student", "net": "pooled"},
        {"objective": "student", "depth": 2, "seeds": 2},
        {"dustbin": True},
        {"dustbin": False},
        {"objective": "combined", "specialist_kind": "full"},
    ],
)
def test_parameters_are_counted_as_those_of_the_nets_that_would_be_made(guide: Guide, fields: dict[str, object]) -> None:
    options = config(**{"width": 4, "views": 0, "batch_size": 32, **fields})
    sizes = [len(group) for group in guide.groups.values()]
    assert candidate_parameters(options, sizes, guide.workspace.dataset) == Candidate(options, guide).parameters


def test_a_net_of_any_size_is_counted_without_memory() -> None:
    assert count_parameters_of(lambda: ResNet(10, 1, 1, 2**18)) == by_hand(2**18)
    assert {width: by_hand(width) for width in OF_DIGITS} == OF_DIGITS


@pytest.mark.parametrize(
    ("limit", "search", "width"),
    [
        (0, "", "int:4:32:4"),
        (297450, "", "int:4:32:4"),
        (297449, "", "int:4:28:4"),
        (19074, "", "int:4:8:4"),
        (19073, "", "int:4:4:4"),
        (19074, "width=cat:32,4,8", "cat:4,8"),
        (19074, "width=intlog:1:200", "intlog:1:8"),
        (19074, "depth=int:1:3", "int:4:8:4"),  # a width is left out where no depth fits
    ],
)
def test_no_width_is_searched_at_which_a_student_is_too_large(guide: Guide, limit: int, search: str, width: str) -> None:
    options = config(objective="student", max_parameters=limit, search=search)
    assert f"width={width}" in fitting(guide, options)


def test_specialists_are_counted_together_with_their_own_outputs(guide: Guide) -> None:
    together = 2 * count_parameters_of(lambda: ResNet(4, 1, 1, 8)) + count_parameters_of(lambda: ResNet(3, 1, 1, 8))
    fields = {"groups": "0,1,2;3,4,5;6,7", "max_parameters": together}
    assert "width=int:4:8:4" in fitting(guide, config(**fields))
    assert "width=int:4:4:4" in fitting(guide, config(**{**fields, "max_parameters": together - 1}))
    assert "width=int:4:8:4" in fitting(guide, config(**{**fields, "max_parameters": together - 1, "dustbin": False}))
    searched = config(**{**fields, "max_parameters": together - 1, "search": "dustbin=cat:true,false"})
    assert "width=int:4:8:4" in fitting(guide, searched)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"objective": "student", "max_parameters": 4933}, "of width 4, would have 4,934 parameters; allow as many"),
        ({"objective": "student", "max_parameters": 9999, "search": "width=fixed"}, "of width 16, would have 75,002"),
        ({"objective": "student", "max_parameters": 4000, "width": 4}, "of width 4, would have 4,934"),
        ({"max_parameters": 5000}, "specialists together of this search, of width 4"),
    ],
)
def test_a_limit_below_the_smallest_candidate_is_refused_with_its_number(
    guide: Guide, fields: dict[str, object], told: str
) -> None:
    with pytest.raises(UserError, match=told) as refused:
        fitting(guide, config(**fields))
    assert refused.value.field == "max_parameters"


def test_the_number_that_a_refusal_names_is_enough(guide: Guide) -> None:
    assert "width=int:4:4:4" in fitting(guide, config(objective="student", max_parameters=4934))


def test_the_configured_values_are_no_wider_than_what_fits(guide: Guide) -> None:
    dataset = guide.workspace.dataset
    for limit, width, expected in ((19074, 16, 8), (19074, 4, 4), (0, 16, 16), (75002, 16, 16)):
        options = config(objective="student", max_parameters=limit, width=width)
        assert fitting_config(options, fitting_space(parse_space(options), options, dataset)).width == expected
