"""The names that people give to the folders of train, val and test."""

import re
from typing import Final, Literal, NamedTuple

from kd.machine.text import nfc

SplitName = Literal["train", "val", "test"]
SPLITS: Final[tuple[SplitName, ...]] = ("train", "val", "test")

_WORDS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training", "trn", "tr", "entrenamiento", "treino", "训练", "訓練"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "development", "va"), "val"),
    **dict.fromkeys(("validación", "validação", "验证", "驗證", "検証"), "val"),
    **dict.fromkeys(("test", "testing", "tests", "tst", "te", "eval", "evaluation", "evaluate", "holdout", "heldout"), "test"),
    **dict.fromkeys(("prueba", "teste", "测试", "測試", "テスト"), "test"),
}
_SECOND_VAL = {"eval", "evaluation", "evaluate"}
"""Words for test that mean val where there is a test split beside."""
_SHORT = 2
"""Letters of a word so short that a class may well be called so (a language, say)."""
_FILLERS = {
    *("set", "sets", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos"),
    *("split", "sample", "samples", "folder", "dir", "batch", "class", "classes"),
}
_UNLABELLED = {"unlabelled", "unlabeled", "unsup", "unsupervised", "unknown", "pred", "predict", "prediction", "predictions"}


class Role(NamedTuple):
    """What a folder's name says: the split, the word that says it, and the words around it, such as ``seg`` or ``mri``."""

    split: SplitName
    word: str
    around: tuple[str, ...]


def role_of(name: str) -> Role | None:
    """Return what a folder's name says of its split: ``Train``, ``seg_train``, ``TestImages``, ``val2017``; None: nothing."""
    words = _split_into_words(name)
    said = [(place, word) for place, word in enumerate(words) if word in _WORDS]
    if len(said) != 1:
        return None
    [(place, word)] = said
    around = tuple(other for number, other in enumerate(words) if number != place and other not in _FILLERS)
    return Role(_WORDS[word], word, around)


def is_doubtful(role: Role) -> bool:
    """Return whether the word is so short that a class may be called so."""
    return len(role.word) <= _SHORT


def is_second_val(role: Role) -> bool:
    """Return whether the word means val where there is a test split beside: ``eval``."""
    return role.word in _SECOND_VAL


def says_unlabelled(name: str) -> bool:
    """Return whether a folder's name says that its images have no labels: ``unlabelled``, ``seg_pred``."""
    return not _UNLABELLED.isdisjoint(_split_into_words(name))


def says_nothing(name: str) -> bool:
    """Return whether a folder's name is no name of a class: ``images``, ``test``, ``unknown``, ``all``."""
    words = set(_split_into_words(name))
    return bool(words) and (says_unlabelled(name) or role_of(name) is not None or words <= {*_FILLERS, "all"})


def _split_into_words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", nfc(name))  # TrainData
    return [_without_filler(word) for word in re.split(r"[\W\d_]+", spaced.casefold()) if word]


def _without_filler(word: str) -> str:
    """Return ``train`` of ``trainset``, and other words as they are."""
    stem = next(
        (word.removesuffix(filler) for filler in ("set", "data", "images", "imgs", "集", "数据") if word.endswith(filler)), word
    )
    return stem if stem in _WORDS else word
