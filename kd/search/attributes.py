"""What a study and its trials keep that Optuna does not know: its names, and what each must be.

Others may write to the database of a study, so nothing in it is used that kd would not have written. A study of an earlier
version has the same.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import optuna
from optuna.trial import FrozenTrial, TrialState

from kd.errors import UserError, reason
from kd.machine.processes import is_description

# Attributes of a study.
IDENTITY = "kd.identity"
"""What all its trials have in common, as text by name."""
PARENT_RUN = "kd.parent"
"""Its MLflow run, known as soon as that is open."""
SHARED = "kd.shared"
"""What the leader found and all workers take: teacher and groups."""
LEADER = "kd.leader"
"""The lease of the leading command."""
LATENCIES = "kd.latencies"
"""The latency of each net of the search, and where it was measured; none where the search asks for none."""
UNTIL = "kd.until"
"""When the last trial may begin, in seconds since 1970; None: there is no limit."""
FINAL = "kd.final"
"""The comparison on test, and what was compared."""

# Attributes of a trial.
POINT = "kd.point"
"""Why a trial that was enqueued is tried: its point is the configured one, or the paper's."""
WORKER = "kd.worker"
"""The process that runs it, and its number: a retry inherits the attributes of the trial before it."""
RUN = "kd.run"
"""Its MLflow run."""
PARAMETERS = "kd.parameters"
"""How many parameters its nets have."""
LATENCY = "kd.latency_ms"
"""How many milliseconds its nets take for one image, where the search asks for it."""
SIZE = "kd.file_bytes"
"""How many bytes their files have, the same."""
END = "kd.end"
"""Why it failed, where it would fail again: it is not retried."""
STOPPED = "kd.stopped"
"""The numbers of those that the user stopped, among the trial itself and its earlier tries."""

RETRIED = "retry_history"
"""Optuna's own attribute: the numbers of the trials of which this one is a retry, oldest first."""

SURPLUS = "surplus"
"""The value of ``END`` of a trial that was begun after the last one that was asked for."""

LARGEST: Final = 1e300
UNREADABLE: Final = (RecursionError, ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""Errors of Optuna and of its database's driver, of values that they did not write."""
_RUN_IDS = re.compile(r"[0-9a-f]{32}(,[0-9a-f]{32})*")
_DIGEST = re.compile("[0-9a-f]{64}")


def study_attribute(study: optuna.Study, name: str) -> Any:  # noqa: ANN401 - each has another type
    """Return an attribute of a study; None where it has none.

    Raises:
        UserError: it is not one that kd wrote.
    """
    try:
        value = study.user_attrs.get(name)
    except UNREADABLE as error:
        raise _foreign(study, f"its attributes can't be read ({reason(error)})") from None
    if value is not None and not _OF_A_STUDY[name](value):
        raise _foreign(study, f"its attribute {name} is not one that kd wrote")
    return value


def read_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials of a study, by number; not to be changed.

    Raises:
        UserError: one of them can't be read, or has an attribute or a value that kd did not write.
    """
    try:
        trials = study.get_trials(deepcopy=False)
        values = len(study.directions)
    except UNREADABLE as error:
        raise _foreign(study, f"its trials can't be read ({reason(error)})") from None
    for trial in trials:
        attributes = {**trial.user_attrs, RETRIED: trial.system_attrs.get(RETRIED, [])}
        wrong = [name for name, value in attributes.items() if name in _OF_A_TRIAL and not _OF_A_TRIAL[name](value)]
        if wrong:
            raise _foreign(study, f"trial {trial.number} has an attribute {wrong[0]} that kd did not write")
        if trial.state == TrialState.COMPLETE and not _are_numbers(trial.values, values):
            raise _foreign(study, f"trial {trial.number} has no value that kd wrote")
    return trials


def _foreign(study: optuna.Study, what: str) -> UserError:
    return UserError(f"{study.study_name}: {what}; give another name", field="study_name")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < LARGEST


def _are_numbers(value: object, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _is_run(value: object) -> bool:
    return isinstance(value, str) and _RUN_IDS.fullmatch(value) is not None and "," not in value


def _are_texts_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_shared(value: object) -> bool:
    """Return whether a value is the run of a teacher (empty: it is a file), the digest of its weights, and groups by number."""
    if not isinstance(value, dict) or set(value) != {"teacher", "teacher_digest", "groups"}:
        return False
    teacher, digest, groups = value["teacher"], value["teacher_digest"], value["groups"]
    return (
        _is_text(teacher)
        and (not teacher or _RUN_IDS.fullmatch(teacher) is not None)
        and _is_text(digest)
        and _DIGEST.fullmatch(digest) is not None
        and isinstance(groups, dict)
        and all(re.fullmatch("[0-9]{1,9}", number) and _is_group(group) for number, group in groups.items())
    )


def _is_group(value: object) -> bool:
    return _are_counts(value) and value == sorted(set(value)) and bool(value)  # type: ignore[call-overload] # a list


def _is_lease(value: object) -> bool:
    return is_description(value) and _is_text(value.get("id")) and _is_number(value.get("time"))  # type: ignore[attr-defined]


def _is_comparison(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("of"), dict)
        and _is_text(value.get("note"))
        and _are_accuracies(value.get("test", {}))  # an earlier version kept none
    )


def _are_accuracies(value: object) -> bool:
    """Return whether a value is a list of accuracies per name, all of one length."""
    return (
        isinstance(value, dict)
        and all(_are_numbers(one, len(one)) if isinstance(one, list) and one else False for one in value.values())
        and len({len(one) for one in value.values()}) <= 1
    )


def _are_latencies(value: object) -> bool:
    """Return whether a value is the time of each net by its settings, where it was measured, and how much rounds differed."""
    if not isinstance(value, dict) or set(value) != {"ms", "place", "unrest"} or not isinstance(value["ms"], dict):
        return False
    times = [*value["ms"].values(), value["unrest"]]
    return _is_text(value["place"]) and _are_numbers(times, len(times)) and min(times) > 0


def _is_worker(value: object) -> bool:
    return is_description(value) and _is_count(value.get("trial"))  # type: ignore[attr-defined] # it is a mapping


_OF_A_STUDY: Final[Mapping[str, Callable[[Any], bool]]] = {
    IDENTITY: _are_texts_by_name,
    PARENT_RUN: _is_run,
    SHARED: _is_shared,
    LEADER: _is_lease,
    LATENCIES: _are_latencies,
    UNTIL: _is_number,
    FINAL: _is_comparison,
}
_OF_A_TRIAL: Final[Mapping[str, Callable[[Any], bool]]] = {
    POINT: _is_text,
    WORKER: _is_worker,
    RUN: _is_run,
    PARAMETERS: _is_count,
    LATENCY: _is_number,
    SIZE: _is_count,
    END: _is_text,
    STOPPED: _are_counts,
    RETRIED: _are_counts,
}
