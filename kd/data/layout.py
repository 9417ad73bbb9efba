"""Where the classes of each split lie below a folder: in the folder itself, under train/ and test/, or deeper."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kd.data.entries import folders, holds_pictures, holds_pictures_directly
from kd.data.split_names import SPLITS, Role, SplitName, is_doubtful, is_second_val, role_of, says_nothing, says_unlabelled
from kd.errors import UserError
from kd.machine.text import listed, nfc, printable

MAX_DEPTH = 12
"""Folders around the data at most; a link can lead back up."""


@dataclass(frozen=True)
class Layout:
    """The folder of each class in each split that there is; train is always there."""

    folder: Path
    """That in which the splits are, or the classes."""
    classes: Mapping[SplitName, Mapping[str, Path]]
    """The folder of each class, by the class's name."""
    names: Mapping[SplitName, str] = field(default_factory=dict)
    """What the folder of each split is called; empty where the classes are not in splits."""
    unused: Sequence[str] = ()
    """What is passed over, and why, for the user to know."""


def find_layout(root: Path) -> Layout:
    """Return where the classes of each split lie below a folder.

    Folders around it all are descended into. Names of splits are those that people use, in any case. What was not
    understood is refused, since images in the wrong split or class make results that are wrong without a word.

    Raises:
        UserError: a folder can't be read; two folders are for one split, or have one name; train has no class folders.
    """
    folder = root
    unused: list[str] = []
    for _ in range(MAX_DEPTH):
        found = _splits(folder) or _splits_in_classes(folder)
        inner = None if found else _inner(folder)
        if inner is None:
            if found is None:
                _refuse_unknown_splits(folder)
                found = Layout(folder, {"train": _by_name(folders(folder))})
            return replace(found, unused=[*unused, *found.unused])
        unused += _not_used(path for path in folders(folder) if path != inner)
        folder = inner
    raise UserError(f"{printable(root)} holds a folder in a folder, {MAX_DEPTH} deep: name the one that holds the classes")


def _splits(folder: Path) -> Layout | None:
    """Return the layout of a folder that holds train/ and, most often, test/ or val/; None: it holds no splits."""
    inner = folders(folder)
    chosen = _choose_splits(folder, inner)
    if chosen is None:
        return None
    train = _unwrapped(chosen["train"], ())
    classes: dict[SplitName, dict[str, Path]] = {"train": _by_name(folders(train))}
    if not any(map(holds_pictures, classes["train"].values())):
        direct = "images but no class folders" if holds_pictures_directly(train) else "no class folders with images"
        raise UserError(f"{printable(train)} holds {direct}: put the images of each class into a folder of their own")
    unused = _not_used(path for path in inner if path not in chosen.values())
    for split in ("val", "test"):
        if split not in chosen:
            continue
        known = {_key(path) for path in folders(train)}
        labelled = _unwrapped(chosen[split], known)
        if _is_unlabelled(labelled, known):
            unused.append(f"the images in {printable(chosen[split].name)}/ are in no class folders and are not used")
        else:
            classes[split] = _by_name(folders(labelled))
    return Layout(folder, classes, {split: chosen[split].name for split in SPLITS if split in classes}, unused)


def _choose_splits(folder: Path, inner: Sequence[Path]) -> dict[SplitName, Path] | None:
    """Return the folder of each split, of train always; None: the folders in this one are not splits.

    Raises:
        UserError: there are several trains.
    """
    found = []
    for alike in _alike(inner):
        paths = {split: named for split, named in _by_split(alike).items() if named}
        others = [path for path in inner if path not in alike and not says_unlabelled(path.name) and holds_pictures(path)]
        if "train" in paths and _are_splits(paths, alike, others):
            found.append({split: _only(split, named) for split, named in paths.items()})
    plain = [splits for splits in found if not _around(splits["train"])]
    if len(found) > 1 and not plain:
        names = listed(splits["train"].name for splits in found)
        raise UserError(
            f"{printable(folder)} holds several folders for train: {names}; if they are classes, make folders train/NAME and "
            "test/NAME of them, and if they are data sets, keep one of them there"
        )
    return next(iter(plain or found), None)


def _alike(inner: Iterable[Path]) -> list[dict[Path, Role]]:
    """Return folders that are named as splits, those together that have the same words around: mri_train and mri_test."""
    found: dict[tuple[str, ...], dict[Path, Role]] = defaultdict(dict)
    for path in inner:
        role = role_of(path.name)
        if role is not None:
            found[role.around][path] = role
    return list(found.values())


def _around(folder: Path) -> tuple[str, ...]:
    role = role_of(folder.name)
    return role.around if role is not None else ()


def _by_split(roles: Mapping[Path, Role]) -> dict[SplitName, list[Path]]:
    paths: dict[SplitName, list[Path]] = {
        split: [path for path, role in roles.items() if role.split == split] for split in SPLITS
    }
    second = [path for path in paths["test"] if is_second_val(roles[path])]
    if second and len(second) < len(paths["test"]) and not paths["val"]:
        paths["test"] = [path for path in paths["test"] if path not in second]
        paths["val"] = second
    return paths


def _are_splits(paths: Mapping[SplitName, Sequence[Path]], roles: Mapping[Path, Role], others: Sequence[Path]) -> bool:
    """Return whether folders that are named as splits are splits, and not classes of such names.

    Args:
        paths: the folders of each split.
        roles: what their names say.
        others: the folders with images beside them.

    Raises:
        UserError: train/ holds classes that also lie beside it.
    """
    train = [path for path in paths["train"] if _holds_classes(_unwrapped(path, ()))]
    if len(paths) > 1 or not others:
        return bool(train) or not any(map(is_doubtful, roles.values()))
    both = {_key(path) for path in others} & {_key(path) for found in train for path in folders(found)}
    if both:
        raise UserError(
            f"{printable(train[0].parent)} holds classes ({listed(sorted(both))}) beside {printable(train[0].name)}/, which "
            f"holds them too: name {printable(train[0])} to use that alone, or move it away",
            field="data_root",
        )
    return False


def _only(split: SplitName, paths: Sequence[Path]) -> Path:
    filled = [path for path in paths if holds_pictures(path)] or list(paths)
    if len(filled) > 1:
        names = " and ".join(f"{printable(path.name)}/" for path in filled)
        raise UserError(f"{printable(filled[0].parent)} holds {names}, which are all names for {split}: move away all but one")
    return filled[0]


def _splits_in_classes(folder: Path) -> Layout | None:
    """Return the layout of a folder of class folders that each hold train/ and test/, or val/; None: it is another.

    Raises:
        UserError: its folders are whole data sets, each with classes of its own.
    """
    filled = [path for path in folders(folder) if holds_pictures(path)]
    chosen = {path: None if holds_pictures_directly(path) else _choose_splits(path, folders(path)) for path in filled}
    if len(filled) < 2 or None in chosen.values():  # noqa: PLR2004 - a classifier chooses between two or more
        return None
    whole = [path for path, splits in chosen.items() if splits and _holds_classes(_unwrapped(splits["train"], ()))]
    if whole:
        raise UserError(
            f"{printable(folder)} holds several data sets, each with splits of its own: {listed(path.name for path in whole)}; "
            f"name one of them, such as {printable(whole[0])}",
            field="data_root",
        )
    classes: dict[SplitName, dict[str, Path]] = {}
    for split in SPLITS:
        found = {name: splits[split] for name, path in _by_name(filled).items() if (splits := chosen[path]) and split in splits}
        if found:
            classes[split] = found
    return Layout(folder, classes, {split: f"*/{next(iter(found.values())).name}" for split, found in classes.items()})


def _inner(folder: Path) -> Path | None:
    """Return the one folder in this one that holds all the data; None: this one holds the classes."""
    all_folders = folders(folder)
    filled = [path for path in all_folders if holds_pictures(path)]
    data = [path for path in filled if not (says_nothing(path.name) and _is_unlabelled(_unwrapped(path, ()), ()))] or filled
    if len(data) != 1 or not _holds_data(data[0]):
        return None
    empty = [path for path in all_folders if path not in filled and not any(path.iterdir())]
    return None if empty and not _names_splits(data[0]) else data[0]


def _holds_data(folder: Path, depth: int = MAX_DEPTH) -> bool:
    """Return whether a folder holds classes or splits, or a folder that does: then it is no class itself."""
    if not depth or holds_pictures_directly(folder):
        return False
    filled = [path for path in folders(folder) if holds_pictures(path)]
    return len(filled) > 1 or any(_names_splits(folder) or _holds_data(path, depth - 1) for path in filled)


def _names_splits(folder: Path) -> bool:
    return any((role := role_of(path.name)) is not None and role.split == "train" for path in folders(folder))


def _holds_classes(folder: Path) -> bool:
    """Return whether a folder holds two class folders or more, and no images beside them."""
    return not holds_pictures_directly(folder) and sum(map(holds_pictures, folders(folder))) > 1


def _unwrapped(split: Path, known: Iterable[str]) -> Path:
    """Return the folder of a split that holds its classes: seg_train/ of seg_train/seg_train/, say."""
    for _ in range(MAX_DEPTH):
        filled = [path for path in folders(split) if holds_pictures(path)]
        if len(filled) != 1 or holds_pictures_directly(split) or _key(filled[0]) in known:
            break
        if not _holds_classes(filled[0]) and not says_nothing(filled[0].name):
            break
        split = filled[0]
    return split


def _is_unlabelled(split: Path, known: Iterable[str]) -> bool:
    """Return whether the images of a split lie in no class folders."""
    filled = [path for path in folders(split) if holds_pictures(path)]
    return holds_pictures_directly(split) and not any(_key(path) in known or not says_nothing(path.name) for path in filled)


def _refuse_unknown_splits(folder: Path) -> None:
    """Refuse a folder whose folders look like splits of names that are not known: taken for classes, they train on nonsense.

    Raises:
        UserError: two of its folders hold the same folders of images, or one of them holds splits.
    """
    seen: dict[frozenset[str], Path] = {}
    for path in folders(folder):
        inner = frozenset(_key(one) for one in folders(path) if holds_pictures(one))
        if len(inner) < 2 or holds_pictures_directly(path):  # noqa: PLR2004 - a classifier chooses between two or more
            continue
        other = seen.setdefault(inner, path)
        if other != path:
            raise UserError(
                f"{printable(folder)} holds {printable(other.name)}/ and {printable(path.name)}/, both with the folders "
                f"{listed(sorted(inner))}: if they are splits, name them train and test; if they are classes, put their images "
                "directly into them",
                field="data_root",
            )
        if _choose_splits(path, folders(path)) is not None:
            raise UserError(
                f"{printable(folder)} holds {printable(path.name)}/, which holds splits, beside other folders: name "
                f"{printable(path)}",
                field="data_root",
            )


def _by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Return folders by the name of the class.

    Raises:
        UserError: two have the same name, one with composed letters (é) and one with decomposed ones (e and an accent).
    """
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(_key(path), path)
        if other != path:
            raise UserError(
                f"{printable(path.parent)} holds two folders named '{printable(path.name)}', one with composed letters and one "
                "with decomposed ones: put the images of both into one, and remove the other"
            )
    return {class_name(path): path for path in found.values()}


def class_name(folder: Path) -> str:
    """Return a folder's name as text; bytes that are not UTF-8 are written as Python shows them, with a backslash and an x."""
    return os.fsencode(folder.name).decode("utf-8", "backslashreplace")


def _key(folder: Path) -> str:
    return nfc(class_name(folder))


def _not_used(paths: Iterable[Path]) -> list[str]:
    return [f"{printable(path.name)}/ is not used: it is no split" for path in paths if holds_pictures(path)]
