"""What to try after a loss or a null result, in one line, from what was seen."""

from collections.abc import Sequence

from kd.config import StudentConfig
from kd.distillation.combination import Combination
from kd.distillation.defaults import is_named_teacher
from kd.distillation.results import Trained
from kd.nets.names import is_named_elsewhere
from kd.reports.changes import Change, is_like_chance

USUAL_TEMPERATURES = (1.0, 10.0)
USUAL_ALPHAS = (0.1, 0.99)
HARDLY_BETTER = 0.005
"""A teacher that is better than the control by less than this has hardly anything to teach."""
LONGER = "for longer (--epochs), or at a higher rate (--lr)"
LONGER_TEACHER = "for longer (--teacher-epochs), or at a higher rate (--teacher-lr)"
COMBINED = "generalist"
"""What a combination is compared with."""


def distillation_advice(changes: Sequence[Change], config: StudentConfig) -> str:
    """Return what to try where some distillation missed its gain; empty where each one gained, or none has a control.

    The first one that missed is looked at: the student of a pipeline, else the first specialist.
    """
    missed = [change for change in changes if change.verdict != "gain" and change.beside == "control"]
    if not missed:
        return ""
    first = missed[0]
    return (
        _like_chance_advice(first, config)
        or _teacher_advice(first, config)
        or _setting_advice(config)
        or _next_advice(first, config)
    )


def training_advice(trained: Trained) -> str:
    """Return what to try where a net trained on hard targets alone answers as by chance; empty where it does not."""
    accuracy, classes = trained.test.accuracy, len(trained.task.classes)
    if not is_like_chance(accuracy, len(trained.task.test), classes):
        return ""
    return f"{_percent(accuracy)} can't be told from chance (1 of {classes} classes): train {LONGER}"


def combination_advice(changes: Sequence[Change], combinations: Sequence[Combination]) -> str:
    """Return what to try where specialists did not help the generalist; empty where they did, or nothing was combined."""
    combined = next((change for change in changes if change.beside == COMBINED), None)
    if combined is None or combined.verdict == "gain":
        return ""
    if combined.is_like_chance(combined.before.mean):
        return (
            f"the generalist ({_percent(combined.before.mean)}) can't be told from chance (1 of {combined.classes} classes): "
            f"train it {LONGER_TEACHER}"
        )
    own = [change for change in changes if change.teacher is not None]
    worse = [change for change in own if change.teacher is not None and change.after.mean <= change.teacher]
    if worse:
        first = worse[0]
        return (
            f"{first.label} knows its own classes no better than the generalist ({_percent(first.after.mean)} and "
            f"{_percent(first.teacher)}): train specialists for longer (--epochs), or give them the generalist's net, from "
            "whose weights they start then (--depth, --width)"
        )
    corrections = combinations[0].corrections
    used = combinations[0].val.combined.accuracy
    name, best = max(corrections.items(), key=lambda item: item[1].val.accuracy)
    if best.val.accuracy > used:
        return (
            f"with --dustbin-correction {name} the combination is better on val ({_percent(best.val.accuracy)} and "
            f"{_percent(used)})"
        )
    if combined.over == "images":
        return "one seed shows large differences only: try --seeds 5 with kd specialist"
    return "specialists of other groups (--groups auto:M), or trained for longer (--epochs)"


def _like_chance_advice(change: Change, config: StudentConfig) -> str:
    """Return what to try where the teacher, or the net that it teaches, answers as by chance."""
    chance = f"can't be told from chance (1 of {change.classes} classes)"
    if change.teacher is not None and change.is_like_chance(change.teacher):
        better = "name a better one (--teacher)" if is_named_teacher(config.teacher) else f"train it {LONGER_TEACHER}"
        return f"on the classes of {change.label} the teacher ({_percent(change.teacher)}) {chance}: {better}"
    if not change.is_like_chance(change.after.mean):
        return ""
    return _setting_advice(config) or f"{change.label} ({_percent(change.after.mean)}) {chance}: train it {LONGER}"


def _teacher_advice(change: Change, config: StudentConfig) -> str:
    """Return what to try where the teacher has nothing to teach."""
    if change.teacher is None:
        return ""
    teacher, control = _percent(change.teacher), _percent(change.before.mean)
    better, smaller = _better_teacher(config), f"a smaller net ({_size(config.net, 'width')})"
    if change.teacher <= change.before.mean:
        return f"the teacher ({teacher}) is no better than the control of {change.label} ({control}): train {better}"
    if change.after.mean >= change.teacher:
        return (
            f"{change.label} ({_percent(change.after.mean)}) is as good as its teacher ({teacher}), so nothing is "
            f"left to learn from it: try {smaller}, or {better}"
        )
    if change.teacher < change.before.mean + HARDLY_BETTER:
        return (
            f"the teacher ({teacher}) is hardly better than the control of {change.label} ({control}): "
            f"try {better} or {smaller}"
        )
    return ""


def _better_teacher(config: StudentConfig) -> str:
    if is_named_teacher(config.teacher):
        return "a better teacher, and name it (--teacher)"
    return f"a better teacher (--teacher-epochs, {_size(config.teacher_config().net, 'teacher-width')})"


def _size(net: str, flag: str) -> str:
    """Return the flag that decides on a net's size: of one that is not kd's own, its name or its arguments."""
    return f"--{flag.replace('width', 'net')}" if is_named_elsewhere(net) else f"--{flag}"


def _setting_advice(config: StudentConfig) -> str:
    """Return what to try where temperature or alpha leaves hardly anything of the soft or the hard targets."""
    low, high = USUAL_TEMPERATURES
    least, most = USUAL_ALPHAS
    if not low < config.temperature <= high:
        return f"a temperature of {config.temperature:g} is at the edge of what helps: try --temperature 4"
    if not least <= config.alpha <= most:
        return f"an alpha of {config.alpha:g} leaves hardly anything of one of the two targets: try --alpha 0.9"
    return ""


def _next_advice(change: Change, config: StudentConfig) -> str:
    """Return what to try where neither the teacher nor a setting stands out."""
    if change.verdict == "loss":
        return f"{change.label} may need more epochs with soft targets (--epochs), or other settings, which kd tune searches"
    if config.seeds == 1:
        return "one seed shows large differences only: try --seeds 5"
    sizes = "" if is_named_elsewhere(config.net) else ", width"
    return f"kd tune searches temperature, alpha{sizes} and what you name on val"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
