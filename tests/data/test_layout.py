"""Which folders are classes and splits, in the ways in which people lay out their images."""

import shutil
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pytest

from kd.data.layout import Layout, find_layout
from kd.data.split_names import role_of
from kd.errors import UserError

PAIRS = [
    *(("train", "test"), ("Train", "Test"), ("TRAIN", "TEST"), ("Training", "Testing"), ("training", "eval"), ("tr", "te")),
    *(("seg_train", "seg_test"), ("train_set", "test_set"), ("trainset", "testset"), ("TrainData", "TestData")),
    *(("mri-train", "mri-test"), ("train2017", "test2017"), ("train_images", "test_images"), ("treino", "teste")),
    *(("训练集", "测试集"), ("asl alphabet train", "asl alphabet test"), ("train", "holdout"), ("train.v2", "test.v2")),
]


def make(root: Path, *names: str) -> Path:
    """Make empty files, and folders for names that end in a slash: what is in a file is no affair of the layout."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def classes(*splits: str, of: Iterable[str] = ("cat", "dog")) -> list[str]:
    """Return a picture for each class in each split."""
    return [f"{split}/{name}/1.png" for split in splits for name in of]


def told(layout: Layout, root: Path) -> dict[str, dict[str, str]]:
    """Return the folder of each class of each split, below root."""
    return {
        split: {name: path.relative_to(root).as_posix() for name, path in found.items()}
        for split, found in layout.classes.items()
    }


@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_train_and_test_are_known_by_the_names_that_people_use(tmp_path: Path, train: str, test: str) -> None:
    layout = find_layout(make(tmp_path, *classes(train, test)))
    assert told(layout, tmp_path) == {
        "train": {"cat": f"{train}/cat", "dog": f"{train}/dog"},
        "test": {"cat": f"{test}/cat", "dog": f"{test}/dog"},
    }


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "dev", "VAL", "val_images", "eval"])
def test_a_val_of_the_users_own_is_val(tmp_path: Path, val: str) -> None:
    layout = find_layout(make(tmp_path, *classes("train", val, "test")))
    assert layout.names == {"train": "train", "val": val, "test": "test"}


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev"])
def test_val_without_test_is_val_and_no_class(tmp_path: Path, val: str) -> None:
    assert told(find_layout(make(tmp_path, *classes("train", val))), tmp_path).keys() == {"train", "val"}


def test_eval_without_another_test_is_test(tmp_path: Path) -> None:
    assert find_layout(make(tmp_path, *classes("train", "val", "eval"))).names["test"] == "eval"


@pytest.mark.parametrize("around", ["mri", "data", "archive/photos", "a/b/c/d", "images"])
@pytest.mark.parametrize("beside", [(), ("README.txt", "__MACOSX/._x.png", "docs/list.csv", "preview.png")])
def test_folders_around_it_all_are_descended_into(tmp_path: Path, around: str, beside: tuple[str, ...]) -> None:
    split = make(tmp_path / "1", *classes(f"{around}/Training", f"{around}/Testing"), *beside)
    assert told(find_layout(split), split / around)["train"] == {"cat": "Training/cat", "dog": "Training/dog"}
    plain = make(tmp_path / "2", *classes(around), *beside)
    assert told(find_layout(plain), plain / around) == {"train": {"cat": "cat", "dog": "dog"}}


def test_a_split_in_a_split_of_the_same_name_is_the_split(tmp_path: Path) -> None:
    make(tmp_path, *classes("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred/1.png")
    layout = find_layout(tmp_path)
    assert told(layout, tmp_path)["test"] == {"cat": "seg_test/seg_test/cat", "dog": "seg_test/seg_test/dog"}
    assert layout.unused == ["seg_pred/ is not used: it is no split"]


@pytest.mark.parametrize("test", ["test/1.jpg", "test/test/1.jpg", "test/unknown/1.jpg", "test1/images/1.jpg"])
def test_a_test_without_class_folders_is_not_used_and_that_is_said(tmp_path: Path, test: str) -> None:
    layout = find_layout(make(tmp_path, *classes("train"), test))
    assert told(layout, tmp_path).keys() == {"train"}
    assert layout.unused == [f"the images in {test.partition('/')[0]}/ are in no class folders and are not used"]


def test_an_unlabelled_test_beside_the_folder_around_the_others_is_not_used(tmp_path: Path) -> None:
    make(tmp_path, *classes("plants/plants/train", "plants/plants/valid"), "test/test/1.jpg")
    layout = find_layout(tmp_path)
    assert told(layout, tmp_path / "plants/plants").keys() == {"train", "val"}
    assert layout.unused == ["test/ is not used: it is no split"]


def test_class_folders_that_hold_the_splits_are_classes(tmp_path: Path) -> None:
    make(tmp_path, *(f"{name}/{split}/1.png" for name in ("cat", "dog") for split in ("train", "test")))
    assert told(find_layout(tmp_path), tmp_path) == {
        "train": {"cat": "cat/train", "dog": "dog/train"},
        "test": {"cat": "cat/test", "dog": "dog/test"},
    }


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "dog", "train"),
        ("de", "tr", "te"),
        ("bullet train", "test tube"),
        ("cat", "unknown"),
        ("cat", "test"),
        ("Test pattern", "training shoe", "cat"),
    ],
)
def test_classes_that_are_called_like_splits_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *(f"{name}/1.png" for name in names))
    assert find_layout(tmp_path).classes["train"].keys() == set(names)


def test_a_class_called_train_may_have_folders_in_it(tmp_path: Path) -> None:
    make(tmp_path, "car/1.png", "train/steam/1.png", "train/diesel/1.png")
    assert find_layout(tmp_path).classes["train"].keys() == {"car", "train"}


def test_an_empty_class_folder_beside_the_only_one_with_images_is_no_litter(tmp_path: Path) -> None:
    make(tmp_path, "cat/indoor/1.png", "cat/outdoor/1.png", "dog/")
    assert find_layout(tmp_path).classes["train"].keys() == {"cat", "dog"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (classes("train", "Train", "test"), "holds Train/ and train/, which are all names for train: move away all but one"),
        (classes("train", "val", "dev", "test"), "holds dev/ and val/, which are all names for val"),
        (["train/1.png", "test/1.png"], "train holds images but no class folders: put the images of each class"),
        (["train/", "test/cat/1.png"], "train holds no class folders with images"),
        ([*classes("train"), "cat/1.png"], r"holds classes \(cat\) beside train/, which holds them too: name .*/train to use"),
        (
            [*classes("mri/train", "mri/test"), *classes("ct/train", "ct/test")],
            "holds several data sets, .*: ct, mri; name one",
        ),
        (classes("cat_train", "cat_test", "dog_train", "dog_test"), "several folders for train: cat_train, dog_train"),
        (["/".join("abcdefghijklmn"[:12]) + "/" + name for name in classes("train")], "holds a folder in a folder, 12 deep"),
        (
            classes("Training", "PublicTest", "PrivateTest"),
            "holds PrivateTest/ and PublicTest/, both with the folders cat, dog",
        ),
        (classes("trainval", "test"), "both with the folders cat, dog: if they are splits, name them train and test"),
        (classes("обучение", "тест"), "both with the folders cat, dog"),
        (classes("val", "test"), "both with the folders cat, dog"),
        (
            [*classes("data/train", "data/test"), "readme/1.png"],
            "holds data/, which holds splits, beside other folders: name .*/data$",
        ),
        (["cafe\u0301/1.png", "café/1.png"], "two folders named '.*', one with composed letters and one with decomposed"),
    ],
)
def test_what_can_be_understood_in_two_ways_is_one_line(tmp_path: Path, names: list[str], message: str) -> None:
    make(tmp_path, *names)
    with pytest.raises(UserError, match=message) as caught:
        find_layout(tmp_path)
    assert "\n" not in str(caught.value)


def test_links_to_folders_are_folders_and_loops_end(tmp_path: Path) -> None:
    make(tmp_path / "store", *classes("x"))
    root = make(tmp_path / "photos", "train/", "test/")
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (root / split / name).symlink_to(tmp_path / "store" / "x" / name)
    (root / "again").symlink_to(root)
    (root / "train" / "cat" / "loop").symlink_to(root / "train")
    assert told(find_layout(root), root)["test"] == {"cat": "test/cat", "dog": "test/dog"}


def test_a_name_that_is_not_utf8_is_written_with_escapes(tmp_path: Path) -> None:
    for name in ("caf\udce9", "the"):  # as Python has the byte e9, é of another time
        try:
            make(tmp_path, f"{name}/1.png")
        except (OSError, UnicodeError):
            pytest.skip("this file system has no such names")
    assert find_layout(tmp_path).classes["train"].keys() == {r"caf\xe9", "the"}


@pytest.mark.parametrize("name", ["train station", "cats", "", "1", "testament", "training test", "valley"])
def test_other_names_say_nothing_of_a_split_or_something_beside_it(name: str) -> None:
    role = role_of(name)
    assert role is None or role.around == ("station",)


def test_the_advice_to_move_a_second_train_away_works(tmp_path: Path) -> None:
    make(tmp_path, *classes("train", "Train", "test"))
    with pytest.raises(UserError):
        find_layout(tmp_path)
    shutil.rmtree(tmp_path / "Train")
    assert find_layout(tmp_path).names == {"train": "train", "test": "test"}


def test_class_names_are_those_of_the_folders_composed_or_not(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    make(tmp_path, f"{decomposed}/1.png", "thé/1.png")
    assert find_layout(tmp_path).classes["train"].keys() == {decomposed, "thé"}
