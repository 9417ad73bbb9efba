"""The facts beside a model's weights: what each must be, since nobody knows who wrote the file that they lie in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kd.data.decode import CROP
from kd.data.source import BIT_DEPTH
from kd.specialists.kind import TaskKind

OUTPUTS: Final = ("logits", "probabilities")
PREPARATION: Final[Mapping[str, Any]] = {"bit_depth": BIT_DEPTH, "crop": CROP}
"""How image files become a model's images, as it was in all models that do not say it."""


def wrong_fact(facts: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return the first of some names whose fact is missing, or not one that kd writes; None: all are right."""
    return next((name for name in names if not _RIGHT[name](facts.get(name), facts)), None)


def with_preparation(facts: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return facts with those of the preparation of images, and the names of those that were missing."""
    return {**PREPARATION, **facts}, [name for name in PREPARATION if name not in facts]


def outputs_of(kind: str, group: Sequence[int], classes: Sequence[str]) -> int:
    """Return how many numbers a net of a kind of task gives per image."""
    if kind in {TaskKind.DUSTBIN, TaskKind.OWN}:
        return len(group) + (kind == TaskKind.DUSTBIN)
    return len(classes)


def _is_text(value: object, _: Mapping[str, Any]) -> bool:
    return isinstance(value, str)


def _are_names(value: object, _: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value) and 0 < len(value) == len(set(value))


def _is_shape(value: object, _: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(one) is int and one > 0 for one in value)  # noqa: PLR2004 - C, H, W


def _is_group(value: object, facts: Mapping[str, Any]) -> bool:
    """Return whether a value is ascending numbers of classes."""
    if not isinstance(value, list) or not value or not all(type(one) is int for one in value):
        return False
    return value == sorted(set(value)) and value[0] >= 0 and value[-1] < len(facts["classes"])


def _is_share(value: object, _: Mapping[str, Any]) -> bool:
    return type(value) in {int, float} and 0 < value <= 1  # type: ignore[operator] # it is a number


_RIGHT: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], bool]]] = {
    "bit_depth": lambda value, _: type(value) is int and 1 <= value <= 16,  # noqa: PLR2004 - bits
    "classes": _are_names,
    "crop": lambda value, _: value == CROP,
    "data_digest": _is_text,
    "group": _is_group,
    "held_out_digest": _is_text,
    "image_shape": _is_shape,
    "kind": lambda value, _: value in list(TaskKind),
    "outputs": lambda value, _: value in OUTPUTS,
    "own_fraction": _is_share,
    "role": _is_text,
}
