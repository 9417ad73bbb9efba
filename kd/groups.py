"""Class groups of specialists: given by the user, fixed for a data set, or found from the generalist's predictions."""

import difflib
import math
import re
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kd.errors import UserError

Group = tuple[int, ...]
"""Numbers of classes, in ascending order."""

_Columns = npt.NDArray[np.float64]

SMALLEST_GROUP = 2
LEAST_CLASSES = 3
"""With two classes every group would be all of them."""
KMEANS_STARTS = 32
LONGEST_NAME = 32
LONGEST_CLASS_NAME = 20
MOST_NAMES_LISTED = 12

# The classes of each fixed group, by number: alike at a glance, or in kind. A class in none is left to the generalist.
_DIGITS = "0,6;1,4,7,9;2,3,5,8"
_FIXED = {
    "digits": _DIGITS,
    "mnist": _DIGITS,
    "cifar10": "0,1,8,9;2,3,4,5,6,7",  # vehicles; animals
    "fashion_mnist": "0,2,3,4,6;1,3;5,7,9",  # what covers the arms; trousers and dresses; shoes
    "cifar100": (  # its superclasses
        "beaver,dolphin,otter,seal,whale; aquarium_fish,flatfish,ray,shark,trout; orchid,poppy,rose,sunflower,tulip;"
        "bottle,bowl,can,cup,plate; apple,mushroom,orange,pear,sweet_pepper; clock,keyboard,lamp,telephone,television;"
        "bed,chair,couch,table,wardrobe; bee,beetle,butterfly,caterpillar,cockroach; bear,leopard,lion,tiger,wolf;"
        "bridge,castle,house,road,skyscraper; cloud,forest,mountain,plain,sea; camel,cattle,chimpanzee,elephant,kangaroo;"
        "fox,porcupine,possum,raccoon,skunk; crab,lobster,snail,spider,worm; baby,boy,girl,man,woman;"
        "crocodile,dinosaur,lizard,snake,turtle; hamster,mouse,rabbit,shrew,squirrel;"
        "maple_tree,oak_tree,palm_tree,pine_tree,willow_tree; bicycle,bus,motorcycle,pickup_truck,train;"
        "lawn_mower,rocket,streetcar,tank,tractor"
    ),
}


def given_groups(spec: str, dataset: str, classes: Sequence[str]) -> tuple[Group, ...] | None:
    """Return the groups of a ``--groups`` that names them, ``fixed`` included; None where they are to be found.

    Raises:
        UserError: a bad group, a bad form of ``auto``, or fewer than three classes.
    """
    if len(classes) < LEAST_CLASSES:
        raise UserError(f"--groups {spec}: specialists need {LEAST_CLASSES} classes or more, and there are {len(classes)}")
    if spec.partition(":")[0].strip() == "auto":
        _parse_auto(spec, len(classes))
        return None
    return fixed_groups(dataset, classes) if spec.strip() == "fixed" else parse_groups(spec, classes)


def resolve_groups(
    spec: str, dataset: str, classes: Sequence[str], probabilities: Callable[[], Tensor], *, seed: int
) -> tuple[Group, ...]:
    """Return the groups of any ``--groups``.

    Args:
        spec: auto, auto:M, auto:MxK, fixed, or groups such as "0,1;2,3" or "cat,dog;ship,truck".
        dataset: name of the data set, for ``fixed``.
        classes: its classes.
        probabilities: gives the generalist's predictions (N, C); called only where groups are to be found from them.
        seed: of the clustering.

    Raises:
        UserError: a bad group, a bad form of ``auto``, or fewer than three classes.
    """
    given = given_groups(spec, dataset, classes)
    if given is not None:
        return given
    count, size = _parse_auto(spec, len(classes))
    return auto_groups(probabilities(), count=count, size=size, seed=seed)


def parse_groups(text: str, classes: Sequence[str]) -> tuple[Group, ...]:
    """Return the groups that ``"0,1;2,3"`` or ``"cat,dog;ship,truck"`` names, in the order given.

    Numbers and names may be mixed, and groups may overlap. Where a data set's classes are themselves numbers and differ from
    their places (folders 1 to 9, say), the name goes first: "7" is the class named 7.

    Raises:
        UserError: an unknown class, an empty group, one of a single class or of all, a class or a group given twice.
    """
    groups = tuple(_parse_group(part.strip(), classes) for part in text.split(";"))
    for number, group in enumerate(groups):
        if group in groups[:number]:
            raise UserError(f"--groups {text}: group {describe_group(group, classes)} is given twice; give it once")
    return groups


def _parse_group(text: str, classes: Sequence[str]) -> Group:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError("--groups: a group is empty; name two classes or more in each, with a semicolon between groups")
    numbers = [_class_number(name, classes) for name in names]
    for place, number in enumerate(numbers):
        if number in numbers[:place]:
            raise UserError(f"--groups: group {text!r} has class {classes[number]} twice; name each class once")
    if len(numbers) < SMALLEST_GROUP:
        raise UserError(f"--groups: group {text!r} has one class; give each group two or more")
    if len(numbers) == len(classes):
        raise UserError(f"--groups: group {text!r} is all {len(classes)} classes; a specialist needs some left out")
    return tuple(sorted(numbers))


def _class_number(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return list(classes).index(name)
    if re.fullmatch(r"-?[0-9]+", name):
        if 0 <= int(name) < len(classes):
            return int(name)
        raise UserError(f"--groups: class {name} is out of range; classes are numbered 0 to {len(classes) - 1}")
    alike = difflib.get_close_matches(name, classes, n=3)
    listed = ", ".join(classes[:MOST_NAMES_LISTED]) + (", ..." if len(classes) > MOST_NAMES_LISTED else "")
    advice = f"did you mean {' or '.join(alike)}?" if alike else f"the classes are {listed}"
    raise UserError(f"--groups: unknown class {name!r}; {advice}")


def fixed_groups(dataset: str, classes: Sequence[str]) -> tuple[Group, ...]:
    """Return the fixed groups of a data set: classes that are alike; for images of one's own, halves in class order.

    A half of a single class is left out, so three classes give one group of two, and two classes none.
    """
    if dataset in _FIXED:
        return parse_groups(_FIXED[dataset], classes)
    half = max(SMALLEST_GROUP, len(classes) // 2)
    halves = (tuple(range(half)), tuple(range(half, len(classes))))
    return tuple(group for group in halves if SMALLEST_GROUP <= len(group) < len(classes))


def covariance(probabilities: Tensor) -> Tensor:
    """Return the covariance matrix (C, C), float64, of predictions (N, C): large where two classes are predicted together."""
    centred = probabilities.to(device="cpu", dtype=torch.float64)
    centred = centred - centred.mean(dim=0)  # (N, C)
    return centred.T @ centred / max(1, len(centred) - 1)


def auto_groups(probabilities: Tensor, *, count: int | None = None, size: int | None = None, seed: int) -> tuple[Group, ...]:
    """Return groups of classes that the generalist confuses, found without labels (section 5.3).

    The columns of the covariance matrix of its predictions are clustered by on-line K-means, so that classes often predicted
    together fall in one group. One thing is changed before: see `_confusion_columns`.

    Args:
        probabilities: its predictions, (N, C), on val or train, never test.
        count: M, the number of clusters; default: the root of C, rounded, so that there are about as many groups as classes in
            a group (3 for 10 classes, 10 for 100).
        size: K classes a group, those nearest to the cluster's centre, so that groups may overlap and leave classes out;
            default: the clusters share out all classes, and a cluster of one class is given the nearest class of a larger one.
        seed: of the clustering.

    Returns:
        Distinct groups of two classes or more and never of all, by their smallest classes: M of them, or fewer where `size` is
        given and clusters come to the same classes. Three classes without `size` give one group, two classes none.

    Raises:
        UserError: `count` or `size` does not fit the number of classes.
        ValueError: predictions are not (N, C) with N >= 1, or are not finite.
    """
    if probabilities.ndim != 2 or len(probabilities) == 0 or not bool(probabilities.isfinite().all()):  # noqa: PLR2004  a matrix
        raise ValueError(f"expected finite predictions (N, C), got shape {tuple(probabilities.shape)}")
    classes = probabilities.shape[1]
    if classes < LEAST_CLASSES:
        return ()
    _check_auto(count, size, classes)
    from sklearn.cluster import MiniBatchKMeans  # noqa: PLC0415 - a slow import, of no use to a training

    columns = _confusion_columns(covariance(probabilities))  # (C, C): a row a class
    kmeans = MiniBatchKMeans(count or _usual_count(classes), random_state=seed, n_init=KMEANS_STARTS)
    kmeans.fit(columns)
    if size is None:
        groups = _partition(columns, kmeans.labels_, kmeans.cluster_centers_)
    else:
        groups = [_nearest(columns, centre)[:size] for centre in kmeans.cluster_centers_]
    return tuple(sorted({tuple(sorted(int(number) for number in group)) for group in groups}))


def _confusion_columns(matrix: Tensor) -> _Columns:
    """Return the columns of a covariance matrix, each with its diagonal entry replaced by its largest other entry.

    The variance of a class by itself says nothing about confusion, and in the columns of an accurate generalist it is by far
    the largest number: all columns are then about equally far apart, and K-means ends in one class here and there and a
    cluster of all the rest. With the replacement the columns of two classes that are confused with each other most agree.
    """
    columns = matrix.numpy().copy()
    np.fill_diagonal(columns, -np.inf)
    np.fill_diagonal(columns, columns.max(axis=1))
    # K-means sees no units; numbers around one keep it clear of its absolute tolerances.
    return np.asarray(columns / max(np.abs(columns).max(), np.finfo(np.float64).tiny), dtype=np.float64)


def _partition(columns: _Columns, labels: npt.NDArray[np.int32], centres: _Columns) -> list[list[int]]:
    """Return the members of each cluster, after clusters of fewer than two took the nearest classes of those of over two."""
    labels = labels.copy()  # (C,)
    for cluster, found in enumerate(centres):
        while (labels == cluster).sum() < SMALLEST_GROUP:
            donors = [row for row in range(len(labels)) if (labels == labels[row]).sum() > SMALLEST_GROUP]
            if not donors:  # three classes: one pair, and the third is left to the generalist
                break
            own = columns[labels == cluster]
            nearest = _nearest(columns[donors], own[0] if len(own) else found)[0]
            labels[donors[nearest]] = cluster
    members = [np.flatnonzero(labels == cluster).tolist() for cluster in range(len(centres))]
    return [group for group in members if len(group) >= SMALLEST_GROUP]


def _nearest(columns: _Columns, centre: _Columns) -> list[int]:
    """Return the rows of `columns` by their distance to `centre`."""
    return list(np.linalg.norm(columns - centre, axis=1).argsort(kind="stable"))


def _parse_auto(spec: str, classes: int) -> tuple[int | None, int | None]:
    """Return M and K of auto, auto:M or auto:MxK."""
    match = re.fullmatch(r"\s*auto\s*(?::\s*([0-9]+)\s*(?:x\s*([0-9]+))?)?\s*", spec)
    if not match:
        raise UserError(f"--groups {spec}: expected auto, auto:M (M groups) or auto:MxK (M groups of K classes)")
    count, size = (None if number is None else int(number) for number in match.groups())
    _check_auto(count, size, classes)
    return count, size


def _check_auto(count: int | None, size: int | None, classes: int) -> None:
    if size is not None and not SMALLEST_GROUP <= size < classes:
        raise UserError(
            f"--groups auto: {size} classes a group do not fit {classes} classes; ask for {SMALLEST_GROUP} to {classes - 1}"
        )
    least, most = (1, classes) if size is not None else (2, max(2, classes // SMALLEST_GROUP))
    if count is not None and not least <= count <= most:
        advice = "; one group would be all classes, or say how many it has, as in auto:1x2" if count == 1 else ""
        raise UserError(f"--groups auto: {count} groups of {classes} classes; ask for {least} to {most}{advice}")


def _usual_count(classes: int) -> int:
    return max(2, round(math.sqrt(classes)))


def describe_group(group: Group, classes: Sequence[str]) -> str:
    """Return a short name for runs and files, such as ``cat-dog-horse`` or ``apple-bear+18``; two groups can share one."""
    names = [re.sub(r"[^\w.]+", "_", classes[number])[:LONGEST_CLASS_NAME] for number in group]
    shown = len(names)
    while shown > 1 and len(_joined(names, shown)) > LONGEST_NAME:
        shown -= 1
    return _joined(names, shown)


def _joined(names: Sequence[str], shown: int) -> str:
    more = f"+{len(names) - shown}" if shown < len(names) else ""
    return "-".join(names[:shown]) + more


def check_groups(spec: str, which: int | Literal["all"], dataset: str, classes: Sequence[str]) -> None:
    """Refuse, as far as that can be known without a generalist, a bad ``--groups`` or a ``--group`` that is none of them.

    Raises:
        UserError: as :func:`resolve_groups` and :func:`choose_groups`; or ``auto`` never gives so many groups.
    """
    given = given_groups(spec, dataset, classes)
    if given is not None:
        choose_groups(given, which)
        return
    count, _ = _parse_auto(spec, len(classes))
    most = count or _usual_count(len(classes))
    if which != "all" and which >= most:
        raise UserError(f"--group {which}: --groups {spec} gives {most} groups at most, numbered from 0; or give all")


def choose_groups(groups: Sequence[Group], which: int | Literal["all"]) -> dict[int, Group]:
    """Return the groups to train by number: all of them, or one.

    Raises:
        UserError: there is no group of that number.
    """
    if which != "all" and which >= len(groups):
        raise UserError(f"--group {which}: there are {len(groups)} groups, numbered from 0; or give all")
    return {number: group for number, group in enumerate(groups) if which in {"all", number}}
