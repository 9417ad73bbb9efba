"""Nets and teachers of one's own: where each training starts, and what is refused before the first epoch."""

import dataclasses
import importlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kd
from kd.data.dataset import Dataset
from kd.distillation.as_teacher import Teaching, as_teacher, teacher_of
from kd.distillation.results import Trained
from kd.distillation.targets import LiveTargets
from kd.errors import UserError
from kd.evaluation.predict import predict_images
from kd.nets.registry import Net

ONE = kd.Recipe(epochs=1, batch_size=30)
STILL = kd.Recipe(epochs=1, batch_size=30, lr=0.0)
"""Steps of no length: what is trained ends where it started."""


def flat(num_classes: int, in_channels: int = 1) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))


@pytest.fixture(scope="module")
def teacher(tiny_digits: Dataset) -> kd.Teacher:
    torch.manual_seed(3)
    return kd.Teacher(kd.Classifier(flat(10), tiny_digits.mean, tiny_digits.std), tiny_digits)


def weights(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def net_of(trained: Trained) -> list[Tensor]:
    assert isinstance(trained.model, kd.Classifier)
    return weights(trained.model.net)


def test_a_training_starts_from_the_weights_of_a_module_and_leaves_them_as_they_are(tiny_digits: Dataset) -> None:
    module = flat(10)
    before = weights(module)
    assert same(net_of(kd.train(module, tiny_digits, STILL)), before)
    assert not same(net_of(kd.train(module, tiny_digits, ONE)), before)
    assert same(weights(module), before)


@pytest.mark.parametrize("form", ["module", "function", "name"])
def test_a_student_and_its_control_start_from_the_same_weights(form: str, teacher: kd.Teacher, tiny_digits: Dataset) -> None:
    module = flat(10)
    forms: dict[str, Net] = {"module": module, "function": flat, "name": "resnet"}
    student = kd.distil(teacher, forms[form], tiny_digits, STILL, views=1)
    assert student.control is not None
    assert student.control.model is not student.model
    # Of norms the running means move all the same, by the images alone.
    assert same(net_of(student), net_of(student.control))
    if form == "module":
        assert same(net_of(student), weights(module))


def test_a_student_and_its_control_end_with_other_weights(teacher: kd.Teacher, tiny_digits: Dataset) -> None:
    student = kd.distil(teacher, flat(10), tiny_digits, ONE, views=1)
    assert student.control is not None
    assert not same(net_of(student), net_of(student.control))
    assert (student.role, student.control.role) == ("student", "control")
    assert student.control.control is None


def test_without_a_control_the_student_is_the_same(teacher: kd.Teacher, tiny_digits: Dataset) -> None:
    alone = kd.distil(teacher, flat, tiny_digits, ONE, views=1, control=False)
    beside = kd.distil(teacher, flat, tiny_digits, ONE, views=1)
    assert alone.control is None
    assert same(net_of(alone), net_of(beside))


class Watched(nn.Module):
    """Remembers how it was called, whatever copies are made of it."""

    in_training: ClassVar[list[bool]] = []

    def __init__(self, outputs: int, pixels: int = 64) -> None:
        super().__init__()
        self.layer = nn.Linear(pixels, outputs)

    def forward(self, images: Tensor) -> Tensor:
        self.in_training.append(self.training)
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def refusal(act: Callable[[], object]) -> UserError:
    Watched.in_training.clear()
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    assert True not in Watched.in_training
    return caught.value


def test_a_net_with_another_number_of_outputs_is_refused_before_the_first_epoch(
    teacher: kd.Teacher, tiny_digits: Dataset
) -> None:
    told = (
        "Watched answers an image with (9,), not with 10 logits, one per class of {}; "
        "give a net whose last layer has so many outputs: a function of (num_classes, in_channels)"
    )
    error = refusal(lambda: kd.train(Watched(9), tiny_digits, ONE))
    assert str(error) == told.format("teacher")
    assert error.field == "net"
    assert str(refusal(lambda: kd.distil(teacher, Watched(9), tiny_digits, ONE))) == told.format("student")
    assert Watched.in_training == [False]  # one image was tried
    kd.train(Watched(10), tiny_digits, ONE)
    assert True in Watched.in_training


def test_a_net_for_other_images_is_refused_before_the_first_epoch(tiny_digits: Dataset) -> None:
    error = refusal(lambda: kd.train(Watched(10, pixels=63), tiny_digits, ONE))
    assert str(error).startswith("Watched can't take images of shape (1, 8, 8) (mat1 and mat2 shapes cannot be multiplied")
    assert error.field == "net"


def test_a_specialists_net_is_asked_for_one_more_class(teacher: kd.Teacher, tiny_digits: Dataset) -> None:
    asked = []

    def net(num_classes: int, in_channels: int) -> nn.Module:
        asked.append(num_classes)
        return flat(num_classes, in_channels)

    for kind in ("dustbin", "own", "full"):
        kd.specialise(teacher, [(3, 5, 8)], net, tiny_digits, ONE, kind=kind, views=1, control=False)
    assert asked == [4] * 3 + [3] * 3 + [10] * 3  # each is tried on one image first, and looked at beside the generalist's
    refusal(lambda: kd.specialise(teacher, [(3, 5, 8)], Watched(3), tiny_digits, ONE, views=1))


def test_a_module_teaches_where_the_data_set_is_given(teacher: kd.Teacher, tiny_digits: Dataset) -> None:
    one = kd.distil(teacher.model, flat, tiny_digits, ONE, views=2)
    two = kd.distil(teacher, flat, None, ONE, views=2)
    assert same(net_of(one), net_of(two))
    with pytest.raises(UserError, match=r"^a module alone does not say which images it teaches on; give the data set$"):
        kd.distil(teacher.model, flat)


def test_a_teacher_for_normalised_images_is_refused_with_what_to_do(tiny_digits: Dataset) -> None:
    error = refusal(lambda: kd.distil(flat(10), "resnet", tiny_digits, ONE))
    assert str(error).startswith("the teacher can't take uint8 images of shape (1, 8, 8) (")
    assert str(error).endswith("wrap a net that expects normalised ones: kd.Classifier(net, mean, std)")
    assert error.field == "teacher"


def test_a_teacher_of_other_classes_is_refused(tiny_digits: Dataset) -> None:
    model = kd.Classifier(flat(9), tiny_digits.mean, tiny_digits.std)
    error = refusal(lambda: kd.distil(model, "resnet", tiny_digits, ONE))
    assert str(error) == ("the teacher answers an image with (9,), not with 10 logits; give a model of the classes of digits")


def test_targets_that_are_at_hand_give_the_same_student(teacher: kd.Teacher, tmp_path: Path) -> None:
    recipe = kd.Recipe(epochs=2, batch_size=30)
    in_memory, in_a_file = kd.cached_targets(teacher, views=2), kd.cached_targets(teacher, views=2, folder=tmp_path)
    assert list(tmp_path.glob("*.targets"))
    students = [
        kd.distil(teacher, flat, None, recipe, views=2, targets=targets, control=False)
        for targets in (None, in_memory, in_a_file)
    ]
    assert same(net_of(students[0]), net_of(students[1]))
    assert same(net_of(students[0]), net_of(students[2]))


@pytest.mark.parametrize(("views", "epochs", "fits"), [(2, 3, True), (3, 2, True), (3, 3, False), (0, 2, True), (0, 3, False)])
def test_targets_of_fewer_views_than_are_seen_are_refused(views: int, epochs: int, *, fits: bool, teacher: kd.Teacher) -> None:
    recipe, targets = kd.Recipe(epochs=epochs, batch_size=60), kd.cached_targets(teacher, views=2)

    def act() -> object:
        return kd.distil(teacher, flat, None, recipe, views=views, targets=targets, control=False)

    if fits:
        act()
    else:
        assert str(refusal(act)) == f"{views} views are seen, and the targets have 2; give as many as they have"


@pytest.mark.parametrize("wrong", ["teacher", "shift", "seed", "images"])
def test_targets_of_another_teacher_or_of_other_views_or_images_are_refused(wrong: str, teacher: kd.Teacher) -> None:
    digits = teacher.dataset
    others = {
        "teacher": kd.cached_targets(kd.Classifier(flat(10), digits.mean, digits.std), digits, views=1),
        "shift": kd.cached_targets(teacher, views=1, shift_px=2),
        "seed": kd.cached_targets(teacher, dataclasses.replace(digits, seed=1), views=1),
        "images": kd.cached_targets(teacher, dataclasses.replace(digits, train=digits.test), views=1),
    }
    for act in (kd.distil, lambda *given, **more: kd.specialise(given[0], [(1, 2)], *given[1:], **more)):
        error = refusal(lambda act=act: act(teacher, flat, None, ONE, views=1, targets=others[wrong]))  # type: ignore[misc]
        assert str(error).startswith("the targets are not this teacher's logits for these images in these views; give those of")
        assert error.field == "targets"


@pytest.mark.parametrize(
    ("changed", "told", "field"),
    [
        ({"temperature": 0.0}, "0.0: expected a temperature above 0, and no more than 1,000,000", "temperature"),
        ({"alpha": 1.1}, "1.1: expected a weight of the soft term from 0 to 1", "alpha"),
        ({"recipe": kd.Recipe(batch_size=121)}, "121: the training split has only 120 images", "batch_size"),
        ({"recipe": kd.Recipe(shift_px=8)}, "8: images of 8 px can only be shifted by fewer", "shift_px"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], told: str, field: str, teacher: kd.Teacher) -> None:
    error = refusal(lambda: kd.distil(teacher, flat, **changed))
    assert (str(error), error.field) == (told, field)


def test_targets_of_no_views_or_of_shifts_beyond_an_image_are_refused(teacher: kd.Teacher) -> None:
    assert str(refusal(lambda: kd.cached_targets(teacher, views=0))) == "0 views can't be cached; give 1 or more"
    assert str(refusal(lambda: kd.cached_targets(teacher, shift_px=8))) == "8: images of 8 px can only be shifted by fewer"


def with_classes(dataset: Dataset, names: str, digest: str = "1" * 32) -> Dataset:
    return dataclasses.replace(dataset, classes=tuple(names), digest=digest)


@pytest.mark.parametrize("form", ["teacher", "trained"])
def test_a_teacher_of_classes_in_another_order_or_of_other_images_is_refused(
    form: str, teacher: kd.Teacher, tiny_digits: Dataset
) -> None:
    teaching: Teaching = teacher if form == "teacher" else kd.train(flat(10), tiny_digits, ONE)
    error = refusal(lambda: kd.distil(teaching, flat, with_classes(tiny_digits, "1023456789"), ONE))
    assert str(error) == (
        "the teacher: its classes (0, 1, 2, 3, ...) are not those of digits (1, 0, 2, 3, ...); name one of this data set"
    )
    assert error.field == "teacher"
    train = kd.Split(tiny_digits.train.images.repeat(1, 1, 2, 2), tiny_digits.train.labels, tiny_digits.train.index)
    error = refusal(lambda: kd.distil(teaching, flat, dataclasses.replace(tiny_digits, train=train), ONE))
    assert str(error) == (
        "the teacher: its images are [1, 8, 8] and those of digits [1, 16, 16] (channels, height, width); "
        "name one of such images"
    )
    assert error.field == "teacher"


def test_a_loaded_model_teaches_its_classes_by_their_names_and_sees_images_at_its_own_size(
    tiny_digits: Dataset, tmp_path: Path
) -> None:
    trained = kd.train(flat(10), tiny_digits, ONE)
    saved = kd.load(kd.save(trained, tmp_path / "net.pt2"))
    swapped = teacher_of(saved, with_classes(tiny_digits, "1023456789"))
    torch.testing.assert_close(swapped.test_logits, trained.test_logits[:, [1, 0, *range(2, 10)]], rtol=1e-4, atol=1e-4)
    images = tiny_digits.test.images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)  # the mean of each four is theirs
    split = kd.Split(images, tiny_digits.test.labels, tiny_digits.test.index)
    larger = dataclasses.replace(tiny_digits, train=split, val=split, test=split)
    seen = F.interpolate(images.float(), size=(8, 8), mode="bilinear", antialias=True).round().to(torch.uint8)
    expected = trained.model.eval()(seen)
    torch.testing.assert_close(teacher_of(saved, larger).test_logits, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match=r"its classes .* are not those of digits \(0, 1, 2, 3, \.\.\.\)"):
        teacher_of(saved, with_classes(tiny_digits, "012345678x"))


def test_a_teacher_of_another_split_is_warned_of_and_scored_anew(
    tiny_digits: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.WARNING, logger="kd")
    trained = kd.train(flat(10), tiny_digits, ONE)
    same_images = dataclasses.replace(tiny_digits)
    others = dataclasses.replace(tiny_digits, digest="1" * 32, val=tiny_digits.val.select(torch.arange(30)))
    cpu = torch.device("cpu")
    assert as_teacher(trained, same_images, cpu).trained is trained
    assert as_teacher(as_teacher(trained, None, cpu), same_images, cpu).trained is trained
    assert caplog.messages == []
    assert as_teacher(trained, others, cpu).trained is None
    assert caplog.messages == ["the teacher was trained on another split: it may have seen images of val or test"]


def test_a_teacher_of_the_whole_train_beside_the_same_val_and_test_is_not_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.WARNING, logger="kd")
    whole, share, seed = (
        kd.load_dataset("digits"),
        kd.load_dataset("digits", train_fraction=0.1),
        kd.load_dataset("digits", seed=1),
    )
    trained = kd.train(flat(10), whole, ONE)
    saved = kd.load(kd.save(trained, tmp_path / "net.pt2"))
    for teacher in (trained, saved):
        assert teacher_of(teacher, share).trained is None
        assert caplog.messages == []
        teacher_of(teacher, seed)
        assert caplog.messages == ["the teacher was trained on another split: it may have seen images of val or test"]
        caplog.clear()
    saved.held_out_digest = ""  # as in files of before
    teacher_of(saved, share)
    assert "was trained on another split" in caplog.messages[0]
    # The same images twice as large are of no other split, for all that is known.
    images = share.val.images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    split = kd.Split(images, share.val.labels, share.val.index)
    caplog.clear()
    teacher_of(saved, dataclasses.replace(share, train=split, val=split, test=split))
    told = "the teacher was trained on images of another size, so its split can't be compared: it may have seen"
    assert caplog.messages == [f"{told} images of val or test"]


@pytest.mark.parametrize("form", ["saved net", "combination", "saved combination", "combined model"])
def test_a_loaded_model_and_a_combination_teach_with_the_logarithm_of_their_probabilities(
    form: str, tiny_digits: Dataset, tmp_path: Path
) -> None:
    trained = kd.train(flat(10), tiny_digits, ONE)
    specialists = kd.specialise(trained, [(3, 5, 8)], flat, None, ONE, views=1, control=False)
    combination = kd.combine(trained, specialists)
    known: dict[str, tuple[Teaching, Tensor]] = {
        "saved net": (kd.load(kd.save(trained, tmp_path / "net.pt2")), trained.test_logits.softmax(dim=1)),
        "combination": (combination, combination.test_probabilities),
        "saved combination": (kd.load(kd.save(combination, tmp_path / "net.pt2")), combination.test_probabilities),
        "combined model": (combination.model, combination.test_probabilities),
    }
    teaching, expected = known[form]
    guide = as_teacher(teaching, tiny_digits, torch.device("cpu"))
    torch.testing.assert_close(guide.test_logits.softmax(dim=1), expected)
    student = kd.distil(teaching, flat, tiny_digits, ONE, views=1, control=False)
    assert student.teacher_agreement is not None


def test_what_can_not_teach_is_refused(tiny_digits: Dataset) -> None:
    error = refusal(lambda: kd.distil("teacher.pt2", flat, tiny_digits, ONE))  # type: ignore[arg-type]
    assert str(error).startswith("a str can't teach; give what kd.train")
    assert error.field == "teacher"


def test_specialists_that_can_not_be_combined_are_refused_before_any_prediction(tiny_digits: Dataset) -> None:
    teacher = kd.Teacher(kd.Classifier(Watched(10), tiny_digits.mean, tiny_digits.std), tiny_digits)
    [one] = kd.specialise(teacher, [(3, 5, 8)], flat, None, ONE, views=1, control=False)
    other = dataclasses.replace(one, model=flat(4), dataset=dataclasses.replace(tiny_digits, digest="1" * 32))
    for specialists, told in (
        ([one, one], f"{one.name} is given twice; give each specialist once"),
        ([one, other], f"{one.name} is of another data set than the first; give those of one"),
    ):
        error = refusal(lambda specialists=specialists: kd.combine(teacher, specialists))  # type: ignore[misc]
        assert (str(error), error.field) == (told, "specialists")
    error = refusal(lambda: kd.combine(teacher, [one], correction="fitted"))  # type: ignore[arg-type]
    assert (str(error), error.field) == ("'fitted' is no correction; give one of none, paper, fit", "correction")
    assert Watched.in_training == []


@pytest.mark.parametrize(
    ("kind", "groups", "told", "field"),
    [
        ("all", [(1, 2)], "'all' is no kind of specialist; give one of dustbin, own, full", "kind"),
        ("dust", 3, "'dust' is no kind of specialist; give one of dustbin, own, full", "kind"),
        ("own", 3, "3 are not groups; give a sequence of groups of class numbers", "groups"),
        ("own", [1, 2], "1 is not a group; give a sequence of class numbers", "groups"),
        ("own", ["12"], "'12' is not a group; give a sequence of class numbers", "groups"),
        ("own", [(1, 1)], "(1, 1) is not a group; give two or more different class numbers below 10, not all", "groups"),
    ],
)
def test_a_kind_or_groups_that_are_none_are_refused(
    kind: str, groups: list[Any], told: str, field: str, teacher: kd.Teacher
) -> None:
    error = refusal(lambda: kd.specialise(teacher, groups, flat, None, ONE, kind=kind))
    assert (str(error), error.field) == (told, field)


def test_groups_may_be_of_numpys_numbers(teacher: kd.Teacher) -> None:
    [one] = kd.specialise(teacher, np.array([[8, 3]]), flat, None, ONE, views=1, control=False)  # type: ignore[arg-type]
    assert one.task.group == (3, 8)
    assert {type(number) for number in one.task.group} == {int}


def test_prediction_leaves_each_modules_mode_as_it_was(teacher: kd.Teacher, tiny_digits: Dataset) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Dropout()).eval(), Watched(10))
    modes = [module.training for module in model.modules()]
    Watched.in_training.clear()
    predict_images(model, tiny_digits.val.images.float())
    assert set(Watched.in_training) == {False}
    assert [module.training for module in model.modules()] == modes == [True, True, False, False, True, True]
    assert torch.equal(kd.predict(teacher, tiny_digits.val), kd.predict(teacher.model, tiny_digits.val))
    error = refusal(lambda: kd.predict("net.pt2", tiny_digits.val))  # type: ignore[arg-type]
    assert str(error) == "a str predicts nothing; give a module, or what holds one as its model"


def test_a_trained_model_is_ready_to_answer(tiny_digits: Dataset) -> None:
    assert not any(module.training for module in kd.train(flat, tiny_digits, ONE).model.modules())


def test_logits_and_labels_of_other_images_are_not_scored() -> None:
    error = refusal(lambda: kd.score(torch.zeros(2, 3), torch.zeros(1, dtype=torch.int64)))
    assert str(error) == "2 rows of logits and 1 labels can't be scored; give as many of both"


def broken(num_classes: int, in_channels: int) -> nn.Module:
    raise AttributeError(f"no net of {num_classes} and {in_channels}")


@pytest.mark.parametrize(
    ("net", "settings", "told"),
    [
        (broken, {}, "broken(10, 1) can't make a net (no net of 10 and 1)"),
        (lambda _classes, _channels: None, {}, "<lambda>(10, 1) returned a NoneType, not a module"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 10).requires_grad_(requires_grad=False)),
            {},
            "Sequential has no param",
        ),
        ("resnet", {"epochs": 3}, "epochs is no setting of a net; depth and width are; a recipe's settings go into kd.Recipe"),
        ("resnet", {"width": 0}, "0 can't be a net's width; give 1 or more"),
    ],
)
def test_a_net_that_can_not_be_trained_is_refused_before_the_teacher_is_asked(
    net: Net, settings: dict[str, Any], told: str, teacher: kd.Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("kd.distillation.distil")  # when first used, it would import what is patched here
    monkeypatch.setattr("kd.distillation.plan.obtain_targets", None)
    assert str(refusal(lambda: kd.distil(teacher, net, None, ONE, **settings))).startswith(told)
    if not settings and net is not broken:
        refusal(lambda: kd.specialise(teacher, [(1, 2)], net, None, ONE))


@pytest.mark.parametrize(("of_recipe", "given", "seen"), [(1, None, 1), (0, None, 4), (1, 0, 0), (3, 2, 2)])
def test_the_views_of_a_recipe_are_seen_where_none_are_given(
    of_recipe: int, given: int | None, seen: int, teacher: kd.Teacher
) -> None:
    recipe = dataclasses.replace(ONE, views=of_recipe)
    assert kd.distil(teacher, flat, None, recipe, views=given, control=False).recipe.views == seen


def test_live_targets_of_another_model_and_what_is_no_targets_are_refused(teacher: kd.Teacher) -> None:
    kd.distil(teacher, flat, None, ONE, targets=LiveTargets(teacher.model), control=False)
    for targets in (LiveTargets(flat(10)), torch.zeros(1)):
        error = refusal(lambda targets=targets: kd.distil(teacher, flat, None, ONE, targets=targets))  # type: ignore[misc]
        assert "not this teacher's targets" in str(error)


@pytest.mark.parametrize("form", ["name", "function"])
@pytest.mark.parametrize("kind", ["dustbin", "own", "full"])
def test_specialists_have_their_generalists_net_and_start_from_its_weights(form: str, kind: str, tiny_digits: Dataset) -> None:
    settings: dict[str, Any] = {"depth": 1, "width": 2} if form == "name" else {}
    generalist = kd.train("pooled" if form == "name" else flat, tiny_digits, ONE, **settings)
    [one] = kd.specialise(generalist, [(3, 5, 8)], recipe=STILL, kind=kind, views=1, control=False)
    assert one.net is generalist.net
    theirs, own = generalist.model.state_dict(), one.model.state_dict()
    last = list(own)[-2]  # the head's weight; its bias is the last
    group = [3, 5, 8]
    outside = theirs[last][[0, 1, 2, 4, 6, 7, 9]].mean(dim=0, keepdim=True)
    rows = {"dustbin": torch.cat([theirs[last][group], outside]), "own": theirs[last][group], "full": theirs[last]}
    assert torch.allclose(own[last], rows[kind])
    first = next(name for name in own if name.endswith("weight"))
    assert form == "function" or torch.equal(own[first], theirs[first])


def always_ten(_classes: int, _channels: int) -> nn.Module:
    return flat(10)


@pytest.mark.parametrize("of", ["a module", "always ten outputs", "a teacher of no known net", "a size that is given"])
def test_specialists_of_a_generalist_without_a_net_for_them_have_a_small_one(
    of: str, tiny_digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="kd")
    nets: dict[str, Net] = {"a module": flat(10), "always ten outputs": always_ten}
    trained = kd.train(nets.get(of, flat), tiny_digits, STILL)
    generalist = kd.Teacher(trained.model, tiny_digits) if of == "a teacher of no known net" else trained
    settings: dict[str, Any] = {"width": 2} if of == "a size that is given" else {}
    [one] = kd.specialise(generalist, [(3, 5, 8)], recipe=ONE, views=1, control=False, **settings)
    assert one.net is not None
    assert (one.net.name, one.net.settings) == ("resnet", {"depth": 1, "width": 16, **settings})
    told = "specialists can't have this generalist's net: theirs is a small resnet; net= gives them another"
    assert (told in caplog.messages) == (of != "a size that is given")


def test_a_warm_start_from_another_net_is_said_to_be_none(teacher: kd.Teacher, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="kd")
    kd.specialise(teacher, [(1, 2)], "resnet", None, ONE, warm_start=True, control=False, width=1)
    told = "the generalist's net is another one than that of specialists, which start from random weights"
    assert caplog.messages.count(told) == 1
