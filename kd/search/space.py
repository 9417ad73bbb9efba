"""The space that is searched: ``--search`` as axes, each within the bounds of its field, and the points tried first."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import optuna

from kd.config import DEFAULT_SPACE, SIZES, SpecialistOptions, TuneConfig
from kd.errors import UserError
from kd.nets.names import NET_ARGS, is_named_elsewhere
from kd.tracking.params import canonical

Kind = Literal["float", "log", "int", "intlog", "cat"]
Value = bool | int | float | str

_OF_A_TRAINING = (
    "temperature", "alpha", "loss", "standardize", "dkd_alpha", "dkd_beta", "dist_beta", "dist_gamma",
    "epochs", "batch_size", "lr", "weight_decay", "use",
)  # fmt: skip
_OF_A_SPECIALIST = ("dustbin", "specialist_kind", "init", "own_fraction")
_OF_A_COMBINATION = ("dustbin_correction", "top_n")
_FORMS = "NAME=float:LOW:HIGH[:STEP], log:LOW:HIGH, int:LOW:HIGH[:STEP], intlog:LOW:HIGH, cat:A,B,... or NAME=fixed"
_TOLERANCE = 1e-9
_MIN_WIDTH, _WIDTH_STEP = 4, 4

PAPER: Mapping[str, Value] = {
    "temperature": 20.0,  # section 3
    "alpha": 0.9,  # section 2: a considerably lower weight on the hard targets
    "init": "generalist",  # section 5.3, as are the two below
    "own_fraction": 0.5,
    "dustbin_correction": "paper",
    "top_n": 1,  # section 5.4
}
"""The values of the paper, where it gives one."""


@dataclass(frozen=True)
class Axis:
    """One field that is searched."""

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    choices: tuple[Value, ...] = ()

    def suggest(self, trial: optuna.Trial) -> Value:
        """Return the trial's value.

        Raises:
            UserError: somebody enqueued the trial with one that is not searched, which Optuna takes all the same.
        """
        value = self._suggested(trial)
        if not self.holds(value):
            raise UserError(f"{self.name} {value!r} is not in {self.text()}", field="search")
        return value

    def _suggested(self, trial: optuna.Trial) -> Value:
        if self.kind == "cat":
            return cast("Value", trial.suggest_categorical(self.name, list(self.choices)))
        if self.kind in {"int", "intlog"}:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=step, log=self.kind == "intlog")
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.kind == "log")

    def holds(self, value: Value) -> bool:
        """Return whether the value can be suggested."""
        if self.kind == "cat":
            return value in self.choices
        types = {int} if self.kind in {"int", "intlog"} else {int, float}
        if isinstance(value, str) or type(value) not in types or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return math.isclose(steps, round(steps), abs_tol=_TOLERANCE)

    def whole_values(self) -> Sequence[int]:
        """Return all values of an axis of whole numbers, in ascending order."""
        if self.kind == "cat":
            return sorted(cast("tuple[int, ...]", self.choices))
        return range(int(self.low), int(self.high) + 1, 1 if self.step is None else int(self.step))

    def up_to(self, most: int) -> "Axis":
        """Return the axis of whole numbers without its values above one of them."""
        if self.kind == "cat":
            return replace(self, choices=tuple(choice for choice in self.choices if cast("int", choice) <= most))
        return replace(self, high=float(most))

    def text(self) -> str:
        """Return the axis in the form of ``--search``."""
        if self.kind == "cat":
            return f"{self.name}=cat:{','.join(canonical(choice) for choice in self.choices)}"
        bounds = [self.low, self.high] if self.step is None else [self.low, self.high, self.step]
        return f"{self.name}={self.kind}:{':'.join(canonical(bound) for bound in bounds)}"


def sizes_of(config: TuneConfig) -> tuple[str, ...]:
    """Return the fields that decide the size of a net and may differ between trials."""
    return (NET_ARGS,) if is_named_elsewhere(config.net) else SIZES


def searchable(config: TuneConfig) -> tuple[str, ...]:
    """Return the fields that the study's objective depends on, and that all trials need not share."""
    sizes = sizes_of(config)
    if config.objective == "student":
        return (*sizes, *_OF_A_TRAINING)
    if config.objective == "specialist":
        return (*sizes, *_OF_A_TRAINING, *_OF_A_SPECIALIST)
    return (*sizes, *_OF_A_TRAINING, *_OF_A_SPECIALIST, *_OF_A_COMBINATION)


def parse_space(config: TuneConfig) -> tuple[Axis, ...]:
    """Return the axes of the default space and of ``--search``, by name.

    Raises:
        UserError: an unknown field, a bad form, a bound that the field does not allow, or nothing is left to search.
    """
    axes: dict[str, Axis] = {}
    given: set[str] = set()
    usual = _usual_items(config)
    for item in [*usual, *filter(None, (part.strip() for part in config.search.split(";")))]:
        name, form = _name_and_form(item, config)
        if item not in usual:
            if name in given:
                raise UserError(f"{item}: {name} is given twice; give it once", field="search")
            given.add(name)
        if form == "fixed":
            axes.pop(name, None)
        else:
            axes[name] = _axis(item, name, form, config)
    if not axes:
        raise UserError("every field is fixed, nothing is left to search", field="search")
    return tuple(axes[name] for name in sorted(axes))


def _usual_items(config: TuneConfig) -> list[str]:
    """Return the default space, in which a width that was asked for is the largest."""
    items = [item for item in DEFAULT_SPACE.split(";") if item.partition("=")[0] in searchable(config)]
    if not is_width_asked_for(config):
        return items
    # No step leads from a width below the usual ones to itself: it is the one width.
    step = math.gcd(_WIDTH_STEP, config.width - _MIN_WIDTH)
    width = f"int:{_MIN_WIDTH}:{config.width}:{step}" if config.width > _MIN_WIDTH else "fixed"
    return [f"width={width}" if item.startswith("width=") else item for item in items]


def is_width_asked_for(config: TuneConfig) -> bool:
    """Return whether the width is not the default.

    ``mlflow run`` passes each default as if it were typed, and a recorded configuration has them all: a rule that told a typed
    default from others would search something else each time.
    """
    return bool(config.width != type(config).model_fields["width"].default)


def first_points(config: TuneConfig, space: Sequence[Axis]) -> tuple[dict[str, dict[str, Value]], list[str]]:
    """Return the points to try first, by what they are, and a line per value that lies outside the space."""
    configured: dict[str, Value] = {axis.name: getattr(config, axis.name) for axis in space}
    points: dict[str, dict[str, Value]] = {}
    outside: list[str] = []
    for label, point in {
        "configured": configured,
        "paper": configured | {name: value for name, value in PAPER.items() if name in configured},
    }.items():
        bad = [axis for axis in space if not axis.holds(point[axis.name])]
        if bad:
            outside += [f"{label} {axis.name} {canonical(point[axis.name])} is not in {axis.text()}" for axis in bad]
        elif point not in points.values():
            points[label] = point
    return points, outside


def _name_and_form(item: str, config: TuneConfig) -> tuple[str, str]:
    name, equals, form = (part.strip() for part in item.partition("="))
    if not equals:
        raise UserError(f"{item}: expected {_FORMS}", field="search")
    name = name.replace("-", "_")
    known = searchable(config)
    if name in known:
        return name, form
    if name in SpecialistOptions.model_fields:
        raise UserError(f"{item}: {name} is the same for all trials; search {', '.join(known)}", field="search")
    alike = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {alike[0]}?" if alike else f"search {', '.join(known)}"
    raise UserError(f"{item}: no field {name!r}; {advice}", field="search")


def _axis(item: str, name: str, form: str, config: TuneConfig) -> Axis:
    """Return the axis of one field, by the form that is given for it."""
    kind, _, rest = form.partition(":")
    if kind == "cat":
        return Axis(name, "cat", choices=_choices(item, name, rest, config))
    allowed = _kinds(getattr(config, name))
    if kind not in allowed:
        raise UserError(f"{item}: {name} takes {' or '.join([*allowed, 'cat'])}; the forms are {_FORMS}", field="search")
    return _range(item, name, kind, rest.split(":"), config)


def _kinds(value: Value) -> tuple[Kind, ...]:
    """Return the kinds of range that a field of such a value can have."""
    if isinstance(value, bool | str):
        return ()
    return ("int", "intlog") if isinstance(value, int) else ("float", "log")


def _choices(item: str, name: str, text: str, config: TuneConfig) -> tuple[Value, ...]:
    choices = tuple(_checked(item, name, choice, config) for choice in re.split(r"\s*,\s*", text.strip()))
    if len(set(choices)) < max(2, len(choices)):
        raise UserError(f"{item}: expected two different choices or more", field="search")
    return choices


def _range(item: str, name: str, kind: Kind, texts: Sequence[str], config: TuneConfig) -> Axis:
    """Return an axis with two bounds, and with a step where a third text is given."""
    with_step = kind in {"int", "float"} and len(texts) == 3  # noqa: PLR2004 - low, high, step
    if len(texts) != 2 and not with_step:  # noqa: PLR2004 - low, high
        raise UserError(f"{item}: expected {_FORMS}", field="search")
    low, high = (float(_checked(item, name, text, config)) for text in texts[:2])
    if not low < high:
        raise UserError(f"{item}: {texts[0]} is not below {texts[1]}", field="search")
    if kind in {"log", "intlog"} and low <= 0:
        raise UserError(f"{item}: a log scale starts above 0", field="search")
    return Axis(name, kind, low, high, _step(item, texts[2], low, high, whole=kind == "int") if with_step else None)


def _checked(item: str, name: str, text: str, config: TuneConfig) -> Value:
    """Return the value that the field makes of a text."""
    try:
        value: Value = getattr(type(config).parse({name: text}), name)
    except UserError as error:
        raise UserError(f"{item}: {name} {error}", field="search") from None
    return value


def _step(item: str, text: str, low: float, high: float, *, whole: bool) -> float:
    try:
        step = float(text)
    except ValueError:
        raise UserError(f"{item}: the step {text!r} is not a number", field="search") from None
    if not 0 < step <= high - low or (whole and step != int(step)):
        raise UserError(
            f"{item}: the step {text} is not {'a whole number ' if whole else ''}in (0, {high - low:g}]", field="search"
        )
    steps = (high - low) / step
    if not math.isfinite(steps) or not math.isclose(steps, round(steps), abs_tol=_TOLERANCE):
        raise UserError(f"{item}: steps of {text} from {low:g} do not end at {high:g}", field="search")
    return step
