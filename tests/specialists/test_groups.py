"""Groups as the user gives them, as a data set fixes them, and as they are found from predictions."""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kd.errors import UserError
from kd.machine.text import printable
from kd.specialists.clustering import Group, auto_groups, covariance
from kd.specialists.groups import (
    check_groups,
    choose_groups,
    describe_group,
    fixed_groups,
    given_groups,
    groups_text,
    least_sizes,
    parse_groups,
    resolve_groups,
)

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DIGITS = tuple("0123456789")
_CIFAR100 = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
    forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
    mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
    sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
    wolf woman worm"""
CIFAR100 = tuple(_CIFAR100.split())


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("0,1,8,9;2,3,4,5,6,7", ((0, 1, 8, 9), (2, 3, 4, 5, 6, 7))),
        ("dog,cat;ship,truck", ((3, 5), (8, 9))),
        ("  9 , cat ;\tship,0 ", ((3, 9), (0, 8))),
        ("0,1,2;1,2,3", ((0, 1, 2), (1, 2, 3))),
        ("3,5", ((3, 5),)),
    ],
)
def test_groups_are_given_by_number_or_name(text: str, groups: tuple[Group, ...]) -> None:
    assert parse_groups(text, CIFAR10) == groups


def test_a_class_whose_name_is_a_number_goes_by_its_name() -> None:
    assert parse_groups("1,3", ("1", "2", "3", "4")) == ((0, 2),)
    assert parse_groups("7,1", DIGITS) == ((1, 7),)
    assert parse_groups("0,3", ("1", "2", "3", "4")) == ((0, 2),)  # no class is named 0: the first


def test_a_name_is_the_same_composed_and_decomposed_and_with_blanks_around_it() -> None:
    classes = ("cafe\u0301", "thé", " eau ", "lait")
    assert parse_groups("café,the\u0301;eau,lait", classes) == ((0, 1), (2, 3))
    assert parse_groups("cafe\u0301,thé;eau,lait", classes) == ((0, 1), (2, 3))


def test_a_name_in_quotes_may_have_commas_and_a_name_can_be_typed_as_it_is_shown() -> None:
    classes = ("a,b", "c;d", 'e"f', "g\nh", "1")
    assert parse_groups('"a,b","c;d"; "e\\"f" ,g\\nh; e"f, "1"', classes) == ((0, 1), (2, 3), (2, 4))


def test_a_class_that_is_named_with_quotes_is_that_class() -> None:
    assert parse_groups('"a",b', ('"a"', "b", "c")) == ((0, 1),)
    assert parse_groups('"a,b', ('"a', "b", "c")) == ((0, 1),)


def test_groups_are_told_by_number_or_by_name_where_numbers_are_names() -> None:
    assert groups_text([(0, 2), (1, 2)], ["cat", "dog", "ship", "truck"]) == "0,2;1,2"
    assert groups_text([(0, 2)], ["1", "2", "3", "4"]) == "1,3"
    assert groups_text([(0, 1), (2, 3)], [*"123456789"]) == "1,2;3,4"
    assert groups_text([(0, 1), (2, 3)], ["1", "0,1", "2", "3"]) == '"1","0,1";"2","3"'
    assert groups_text([], ["cat", "dog"]) == ""


@given(st.data())
def test_groups_of_any_names_come_back_as_they_were(data: st.DataObject) -> None:
    texts = st.text(max_size=6) | st.sampled_from(["0", "1", "2", "-1", "00", "a,b", '"', '"0"', "\\", "é", "e\u0301", ""])
    classes = data.draw(st.lists(texts, min_size=3, max_size=8, unique=True))
    numbers = st.frozensets(st.integers(0, len(classes) - 1), min_size=2, max_size=len(classes) - 1).map(sorted).map(tuple)
    groups = data.draw(st.lists(numbers, min_size=1, max_size=4, unique=True))
    assert parse_groups(groups_text(groups, classes), classes) == tuple(groups)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat,dgo", "unknown class 'dgo'; did you mean dog"),
        ("cat,unicorn", "unknown class 'unicorn'; the classes are airplane"),
        ("cat,\x1b[2J", r"unknown class '\\x1b\[2J'"),
        ("9" * 5000 + ",1", "unknown class '999"),
        ("1,10", "class 10 is out of range; classes are numbered 0 to 9"),
        ("-1,3", "class -1 is out of range"),
        ("", "a group is empty"),
        ("0,1;;2,3", "a group is empty"),
        ("0,1; ", "a group is empty"),
        ("0,1;4", "group '4' has one class; give each group two or more"),
        ("3,4,cat", "group '3,4,cat' has class cat twice"),
        ("3,3", "has class cat twice"),
        ("0,1,2,3,4,5,6,7,8,9", "is all 10 classes"),
        ("0,1;cat,dog;1,0", "group airplane-automobile is given twice"),
    ],
)
def test_a_bad_group_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_groups(text, CIFAR10)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{printable(text.strip()) or repr('')}: ")
    assert caught.value.field == "groups"


def test_an_unknown_class_of_a_hundred_is_told_in_a_short_line() -> None:
    with pytest.raises(UserError, match=r"the classes are apple, .*, \.\.\.") as caught:
        parse_groups("zzz,apple", CIFAR100)
    assert len(str(caught.value)) < 250


@given(st.data())
def test_groups_come_back_as_they_were_written(data: st.DataObject) -> None:
    numbers = st.frozensets(st.integers(0, 9), min_size=2, max_size=9)
    groups = data.draw(st.lists(numbers, min_size=1, max_size=4, unique=True))
    named = data.draw(st.booleans())
    text = ";".join(",".join(CIFAR10[number] if named else str(number) for number in group) for group in groups)
    assert parse_groups(text, CIFAR10) == tuple(tuple(sorted(group)) for group in groups)


@pytest.mark.parametrize(
    ("dataset", "classes"),
    [("digits", DIGITS), ("mnist", DIGITS), ("cifar10", CIFAR10), ("fashion_mnist", FASHION), ("cifar100", CIFAR100)],
)
def test_fixed_groups_are_groups(dataset: str, classes: Sequence[str]) -> None:
    groups = fixed_groups(dataset, classes)
    assert len(groups) >= 2
    _assert_valid(groups, len(classes))


def test_the_superclasses_of_cifar100_share_out_its_classes_by_fives() -> None:
    groups = fixed_groups("cifar100", CIFAR100)
    assert [len(group) for group in groups] == [5] * 20
    assert sorted(number for group in groups for number in group) == list(range(100))
    assert tuple(CIFAR100.index(name) for name in ("baby", "boy", "girl", "man", "woman")) in groups


@pytest.mark.parametrize(
    ("count", "groups"),
    [(2, ()), (3, ((0, 1),)), (4, ((0, 1), (2, 3))), (5, ((0, 1), (2, 3, 4))), (6, ((0, 1, 2), (3, 4, 5)))],
)
def test_images_of_ones_own_have_halves_as_fixed_groups(count: int, groups: tuple[Group, ...]) -> None:
    assert fixed_groups("folder", [f"class {number}" for number in range(count)]) == groups


def test_covariance_is_that_of_numpy() -> None:
    predictions = torch.rand(50, 6, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    torch.testing.assert_close(covariance(predictions), torch.from_numpy(np.cov(predictions.double().numpy().T)))


def test_covariance_by_hand() -> None:
    predictions = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(covariance(predictions), torch.tensor([[0.5, -0.5], [-0.5, 0.5]], dtype=torch.float64))


def _confused(blocks: Sequence[Sequence[int]], share: float, seed: int = 0) -> Tensor:
    """Predictions (N, C) of a generalist that gives `share` to other classes, all in the true class's block."""
    classes = sum(len(block) for block in blocks)
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for block in blocks:
        for label in block:
            for _ in range(60):
                row = torch.rand(classes, generator=generator) * 0.01 * share
                others = [other for other in block if other != label]
                mass = 2 * share * torch.rand(1, generator=generator)
                row[others] += mass * torch.rand(len(others), generator=generator).softmax(dim=0)
                row[label] += 1 - mass.item()
                rows.append(row / row.sum())
    return torch.stack(rows)


BLOCKS = ((0, 4, 9), (1, 2, 5, 7), (3, 6, 8))


@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_classes_that_are_confused_are_found(share: float, seed: int) -> None:
    """An accurate generalist (5 % on other classes) as well as a poor one."""
    predictions = _confused(BLOCKS, share)
    assert auto_groups(predictions, seed=seed) == BLOCKS
    assert auto_groups(predictions, count=3, size=3, seed=seed)[0] == (0, 4, 9)


def test_groups_of_a_size_have_that_size_and_may_overlap() -> None:
    groups = auto_groups(_confused(BLOCKS, 0.3), count=3, size=6, seed=0)
    assert [len(group) for group in groups] == [6, 6, 6]
    assert any(set(one) & set(other) for one in groups for other in groups if one != other)
    for block in BLOCKS:
        assert any(set(block) <= set(group) for group in groups)


def test_groups_are_the_same_for_the_same_seed() -> None:
    predictions = torch.rand(200, 12, generator=torch.Generator().manual_seed(1)).mul(6).softmax(dim=1)
    assert auto_groups(predictions, seed=5) == auto_groups(predictions, seed=5)


@settings(max_examples=25)
@given(
    classes=st.integers(2, 9),
    images=st.integers(1, 12),
    scale=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_every_prediction_gives_valid_groups(classes: int, images: int, scale: float, seed: int, data: st.DataObject) -> None:
    """Also where all predictions are equal (scale 0), of one image or one-hot (scale 30)."""
    logits = scale * torch.randn(images, classes, generator=torch.Generator().manual_seed(seed))
    count = data.draw(st.none() | st.integers(2, max(2, classes // 2)))
    groups = auto_groups(logits.softmax(dim=1), count=count, seed=seed)
    _assert_valid(groups, classes)
    if classes >= 4:
        assert sorted(number for group in groups for number in group) == list(range(classes))
        assert count is None or len(groups) == count
    else:
        assert len(groups) == classes - 2
    if classes >= 3:
        size = data.draw(st.integers(2, classes - 1))
        sized = auto_groups(logits.softmax(dim=1), count=count, size=size, seed=seed)
        assert {len(group) for group in sized} == {size}
        _assert_valid(sized, classes)


def _assert_valid(groups: tuple[Group, ...], classes: int) -> None:
    assert len(set(groups)) == len(groups)
    for group in groups:
        assert 2 <= len(group) < classes
        assert group == tuple(sorted(set(group)))
        assert set(group) <= set(range(classes))
        assert all(type(number) is int for number in group)


@pytest.mark.parametrize("spec", ["auto", "auto:2", "auto:4", "auto:2x3", "0,1;2,3,4", "fixed"])
@pytest.mark.parametrize("which", ["all", 0])
@pytest.mark.parametrize("classes", [3, 4, 6, 10])
def test_groups_have_at_least_the_sizes_that_are_known_before_a_generalist(
    spec: str, which: int | Literal["all"], classes: int
) -> None:
    names = [f"class {number}" for number in range(classes)]
    predictions = torch.randn(40, classes, generator=torch.Generator().manual_seed(classes)).softmax(dim=1)
    try:
        groups = resolve_groups(spec, "folder", names, lambda: predictions, seed=0)
    except UserError:
        assert classes < 8  # too few classes for it
        return
    sizes = [len(group) for group in choose_groups(groups, which).values()]
    least = least_sizes(spec, which, "folder", names)
    assert len(least) <= len(sizes)
    assert sum(least) <= sum(sizes)
    if not spec.startswith("auto"):
        assert least == sizes
    if spec in {"auto", "auto:2", "auto:4"} and which == "all":
        assert (len(least), sum(least)) == (len(sizes), sum(sizes))


@pytest.mark.parametrize(("classes", "expected"), [(4, 2), (10, 3), (30, 5)])
def test_there_are_about_as_many_groups_as_classes_in_a_group(classes: int, expected: int) -> None:
    predictions = torch.rand(100, classes, generator=torch.Generator().manual_seed(2)).softmax(dim=1)
    assert len(auto_groups(predictions, seed=0)) == expected


@pytest.mark.parametrize("bad", [torch.full((3, 4), float("nan")), torch.zeros(0, 4), torch.zeros(4)])
def test_predictions_that_are_none_are_refused(bad: Tensor) -> None:
    with pytest.raises(ValueError, match="finite predictions"):
        auto_groups(bad, seed=0)


def _never() -> Tensor:
    pytest.fail("asked for predictions that are not needed")


def test_given_and_fixed_groups_need_no_predictions() -> None:
    assert resolve_groups("cat,dog", "cifar10", CIFAR10, _never, seed=0) == ((3, 5),)
    assert resolve_groups(" fixed ", "cifar10", CIFAR10, _never, seed=0) == ((0, 1, 8, 9), (2, 3, 4, 5, 6, 7))
    assert given_groups("cat,dog", "cifar10", CIFAR10) == ((3, 5),)


def test_auto_asks_for_predictions() -> None:
    def predictions() -> Tensor:
        return _confused(BLOCKS, 0.1)

    assert given_groups("auto:3", "cifar10", CIFAR10) is None
    assert resolve_groups("auto", "cifar10", CIFAR10, predictions, seed=0) == BLOCKS
    assert resolve_groups("auto:3", "cifar10", CIFAR10, predictions, seed=0) == BLOCKS
    assert len(resolve_groups(" auto:5 ", "cifar10", CIFAR10, predictions, seed=0)) == 5
    assert {len(group) for group in resolve_groups("auto:4x5", "cifar10", CIFAR10, predictions, seed=0)} == {5}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("auto:", "expected auto, auto:M"),
        ("auto:x3", "expected auto, auto:M"),
        ("auto:3x", "expected auto, auto:M"),
        ("auto:three", "expected auto, auto:M"),
        ("auto:-2", "expected auto, auto:M"),
        ("automatic", "unknown class 'automatic'"),
        ("auto:0", "0 groups of 10 classes; ask for 2 to 5"),
        ("auto:1", "1 groups of 10 classes.*as in auto:1x2"),
        ("auto:6", "6 groups of 10 classes; ask for 2 to 5"),
        ("auto:11x2", "11 groups of 10 classes; ask for 1 to 10"),
        ("auto:3x1", "1 classes per group do not fit 10 classes; ask for 2 to 9"),
        ("auto:3x10", "10 classes per group do not fit 10 classes"),
    ],
)
def test_a_bad_form_of_auto_is_told_before_predictions_are_made(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_groups(spec, "cifar10", CIFAR10, _never, seed=0)


@pytest.mark.parametrize("spec", ["auto", "fixed", "a,b"])
def test_two_classes_leave_no_group(spec: str) -> None:
    with pytest.raises(UserError, match="specialists need 3 classes or more, and there are 2"):
        resolve_groups(spec, "folder", ("a", "b"), _never, seed=0)


@pytest.mark.parametrize(
    ("group", "classes", "name"),
    [
        ((3, 5), CIFAR10, "cat-dog"),
        ((0, 1, 8, 9), CIFAR10, "airplane-automobile-ship-truck"),
        ((2, 3, 4, 5, 6, 7), CIFAR10, "bird-cat-deer-dog-frog-horse"),
        ((0, 1, 2, 3, 4, 5), CIFAR10, "airplane-automobile-bird-cat+2"),
        ((0, 6), FASHION, "T_shirt_top-Shirt"),
        ((0, 1), ("x" * 50, "y"), "x" * 20 + "-y"),
        ((1, 4, 7, 9), DIGITS, "1-4-7-9"),
    ],
)
def test_a_group_has_a_short_name(group: Group, classes: Sequence[str], name: str) -> None:
    assert describe_group(group, classes) == name


@pytest.mark.parametrize(
    ("spec", "which", "told"),
    [
        ("0,1;2,3", 2, "there are 2 groups, numbered from 0"),
        ("auto", 3, "auto gives 3 groups at most"),
        ("auto:4", 4, "auto:4 gives 4 groups at most"),
        ("auto:2x3", 2, "auto:2x3 gives 2 groups at most"),
        ("0,10", "all", "class 10 is out of range"),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_generalist(spec: str, which: int | Literal["all"], told: str) -> None:
    classes = tuple("0123456789")
    with pytest.raises(UserError, match=re.escape(told)):
        check_groups(spec, which, "digits", classes)
    check_groups("auto", 2, "digits", classes)
    check_groups("auto:4", 3, "digits", classes)
    check_groups("0,1;2,3", 1, "digits", classes)
