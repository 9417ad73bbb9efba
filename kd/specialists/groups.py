"""Class groups of specialists as a user names them: given, fixed for a data set, or ``auto``."""

import difflib
import json
import re
from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from kd.errors import UserError
from kd.machine.text import listed, nfc, printable
from kd.specialists.clustering import MIN_CLASSES, MIN_GROUP_SIZE, Group, auto_groups, check_auto, usual_count

MAX_NAME_LENGTH = 32


MAX_CLASS_NAME_LENGTH = 20


_NUMBER = re.compile(r"-?[0-9]{1,9}")
"""A class's number; longer ones are text, since Python refuses to read thousands of digits."""
_NAME = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,;]*)\s*(?:([,;])|\Z)')
"""A name as JSON writes it, or any text without comma and semicolon; then the sign that ends it."""


# The classes of each fixed group look alike or are of one kind. A class in no group is left to the generalist.
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
    """Return the groups that a specification names, ``fixed`` included; None where they are to be found.

    Raises:
        UserError: a bad group, a bad form of ``auto``, or fewer than three classes.
    """
    if len(classes) < MIN_CLASSES:
        raise _bad_groups(spec, f"specialists need {MIN_CLASSES} classes or more, and there are {len(classes)}")
    if spec.partition(":")[0].strip() == "auto":
        _parse_auto(spec, len(classes))
        return None
    return fixed_groups(dataset, classes) if spec.strip() == "fixed" else parse_groups(spec, classes)


def resolve_groups(  # noqa: PLR0913 - the specification, and all that groups may be found from
    spec: str,
    dataset: str,
    classes: Sequence[str],
    probabilities: Callable[[], Tensor],
    *,
    labels: Tensor | None = None,
    seed: int,
) -> tuple[Group, ...]:
    """Return the groups of any specification.

    Args:
        spec: auto, auto:M, auto:MxK, fixed, or groups such as "0,1;2,3" or "cat,dog;ship,truck".
        dataset: name of the data set, for ``fixed``.
        classes: its classes.
        probabilities: gives the generalist's predictions (N, C); called only where groups are to be found from them.
        labels: the true classes of the same images, (N,); None: groups are found without them, as in the paper.
        seed: seed of the clustering.

    Raises:
        UserError: a bad group, a bad form of ``auto``, or fewer than three classes.
    """
    given = given_groups(spec, dataset, classes)
    if given is not None:
        return given
    count, size = _parse_auto(spec, len(classes))
    return auto_groups(probabilities(), labels, count=count, size=size, seed=seed)


def parse_groups(text: str, classes: Sequence[str]) -> tuple[Group, ...]:
    """Return the groups that ``"0,1;2,3"`` or ``"cat,dog;ship,truck"`` names, in the order given.

    Numbers and names may be mixed, and groups may overlap. Where a data set's classes are themselves numbers and differ from
    their places (folders 1 to 9, say), the name goes first: 7 is the class named 7. A name in double quotes, with escapes as
    in JSON, is always a name, and may have commas, semicolons and blanks at its ends.

    Raises:
        UserError: an unknown class, an empty group, one of a single class or of all, a class or a group given twice.
    """
    names = [*classes]
    groups = tuple(_group(words, text, names) for words in _words(text))
    for number, group in enumerate(groups):
        if group in groups[:number]:
            raise _bad_groups(text, f"group {describe_group(group, classes)} is given twice; give it once")
    return groups


def groups_text(groups: Sequence[Group], classes: Sequence[str]) -> str:
    """Return groups as text from which :func:`parse_groups` makes the same groups.

    That is by number; by name where numbers would be read as names; and by name in quotes where a name has a comma, say.
    """
    forms = (str, lambda number: classes[number], lambda number: json.dumps(classes[number]))
    texts = [";".join(",".join(map(form, group)) for group in groups) for form in forms]
    return next((text for text in texts if _reads_as(text, groups, classes)), texts[-1])


def _reads_as(text: str, groups: Sequence[Group], classes: Sequence[str]) -> bool:
    return [[_number_of(word, classes) for word in words] for words in _words(text)] == [
        list(group) for group in groups or [()]
    ]


def _words(text: str) -> list[list[str]]:
    """Return the names of each group as they were typed, without blanks around them; a name in quotes keeps its quotes."""
    groups: list[list[str]] = [[]]
    for match in _NAME.finditer(text):
        groups[-1] += filter(None, [match[1].strip()])
        if match[2] == ";":
            groups.append([])
    return groups


def _group(words: Sequence[str], text: str, classes: list[str]) -> Group:
    if not words:
        raise _bad_groups(text, "a group is empty; name two classes or more in each, with a semicolon between groups")
    shown = f"'{printable(','.join(words))}'"
    numbers = [_class_number(word, text, classes) for word in words]
    for place, number in enumerate(numbers):
        if number in numbers[:place]:
            raise _bad_groups(text, f"group {shown} has class {printable(classes[number])} twice; name each class once")
    if len(numbers) < MIN_GROUP_SIZE:
        raise _bad_groups(text, f"group {shown} has one class; give each group two or more")
    if len(numbers) == len(classes):
        raise _bad_groups(text, f"group {shown} is all {len(classes)} classes; a specialist needs some left out")
    return tuple(sorted(numbers))


def _class_number(word: str, text: str, classes: list[str]) -> int:
    number = _number_of(word, classes)
    if number is not None:
        return number
    if _NUMBER.fullmatch(word):
        raise _bad_groups(text, f"class {word} is out of range; classes are numbered 0 to {len(classes) - 1}")
    alike = difflib.get_close_matches(nfc(word), map(nfc, classes), n=3)
    advice = f"did you mean {printable(' or '.join(alike))}?" if alike else f"the classes are {listed(classes)}"
    raise _bad_groups(text, f"unknown class '{printable(word)}'; {advice}")


def _number_of(word: str, classes: Sequence[str]) -> int | None:
    """Return the class that a word means: a name in quotes, a name as it is or as kd shows it, or a number."""
    quoted = _unquoted(word)
    if quoted in classes:
        return classes.index(str(quoted))
    for form in (str, _plain, lambda name: _plain(printable(name))):
        forms = [form(name) for name in classes]
        if form(word) in forms:
            return forms.index(form(word))
    number = int(word) if _NUMBER.fullmatch(word) else -1
    return number if 0 <= number < len(classes) else None


def _plain(name: str) -> str:
    return nfc(name).strip()


def _unquoted(word: str) -> str | None:
    """Return the name that a word in quotes stands for; None: it is no such word."""
    try:
        name = json.loads(word, strict=False) if word.startswith('"') else None
    except ValueError:
        return None
    return name if isinstance(name, str) else None


def _bad_groups(spec: str, reason: str) -> UserError:
    return UserError(f"{printable(' '.join(spec.split())) or repr('')}: {reason}", field="groups")


def fixed_groups(dataset: str, classes: Sequence[str]) -> tuple[Group, ...]:
    """Return the fixed groups of a data set: classes that are alike; for a user's own images, halves in class order.

    A half of a single class is left out, so three classes give one group of two, and two classes none.
    """
    if dataset in _FIXED:
        return parse_groups(_FIXED[dataset], classes)
    half = max(MIN_GROUP_SIZE, len(classes) // 2)
    halves = (tuple(range(half)), tuple(range(half, len(classes))))
    return tuple(group for group in halves if MIN_GROUP_SIZE <= len(group) < len(classes))


def _parse_auto(spec: str, classes: int) -> tuple[int | None, int | None]:
    """Return M and K of auto, auto:M or auto:MxK."""
    match = re.fullmatch(r"\s*auto\s*(?::\s*([0-9]{1,9})\s*(?:x\s*([0-9]{1,9}))?)?\s*", spec)
    if not match:
        raise _bad_groups(spec, "expected auto, auto:M (M groups) or auto:MxK (M groups of K classes)")
    count, size = (None if number is None else int(number) for number in match.groups())
    check_auto(count, size, classes)
    return count, size


def describe_group(group: Group, classes: Sequence[str]) -> str:
    """Return a short name for runs and files, such as ``cat-dog-horse`` or ``apple-bear+18``; two groups can share one."""
    names = [re.sub(r"[^\w.]+", "_", nfc(classes[number]))[:MAX_CLASS_NAME_LENGTH] for number in group]
    shown = len(names)
    while shown > 1 and len(_joined(names, shown)) > MAX_NAME_LENGTH:
        shown -= 1
    return _joined(names, shown)


def _joined(names: Sequence[str], shown: int) -> str:
    more = f"+{len(names) - shown}" if shown < len(names) else ""
    return "-".join(names[:shown]) + more


def check_groups(spec: str, which: int | Literal["all"], dataset: str, classes: Sequence[str]) -> None:
    """Refuse bad groups, and the number of a group that there is not, as far as that is known without a generalist.

    Raises:
        UserError: as :func:`resolve_groups` and :func:`choose_groups`, or ``auto`` never finds so many groups.
    """
    given = given_groups(spec, dataset, classes)
    if given is not None:
        choose_groups(given, which)
        return
    count, _ = _parse_auto(spec, len(classes))
    most = count or usual_count(len(classes))
    if which != "all" and which >= most:
        raise UserError(f"{which}: {spec} gives {most} groups at most, numbered from 0; or give all", field="group")


def count_groups(spec: str, which: int | Literal["all"], dataset: str, classes: Sequence[str]) -> int:
    """Return how many groups are trained, as far as that is known without a generalist; ``auto`` with overlaps may find fewer.

    Raises:
        UserError: as :func:`check_groups`.
    """
    if which != "all":
        return 1
    given = given_groups(spec, dataset, classes)
    if given is not None:
        return len(given)
    count, _ = _parse_auto(spec, len(classes))
    return count or usual_count(len(classes))


def least_sizes(spec: str, which: int | Literal["all"], dataset: str, classes: Sequence[str]) -> list[int]:
    """Return how many classes each group has that is trained, or has at least where a generalist's predictions decide.

    Raises:
        UserError: as :func:`check_groups`.
    """
    given = given_groups(spec, dataset, classes)
    if given is not None:
        return [len(group) for group in choose_groups(given, which).values()]
    count, size = _parse_auto(spec, len(classes))
    if size is not None:
        return [size]  # clusters may come to the same classes
    count = count or usual_count(len(classes))
    if which != "all" or len(classes) == MIN_CLASSES:
        return [MIN_GROUP_SIZE]
    return [MIN_GROUP_SIZE] * (count - 1) + [len(classes) - MIN_GROUP_SIZE * (count - 1)]  # they share out all classes


def choose_groups(groups: Sequence[Group], which: int | Literal["all"]) -> dict[int, Group]:
    """Return the groups to train by number: all of them, or one.

    Raises:
        UserError: there is no group of that number.
    """
    if which != "all" and which >= len(groups):
        raise UserError(f"{which}: there are {len(groups)} groups, numbered from 0; or give all", field="group")
    return {number: group for number, group in enumerate(groups) if which in {"all", number}}
