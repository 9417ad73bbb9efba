"""The study: what all its trials have in common, its name, and how it is created or opened again."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.pruners import BasePruner
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from kd.config import OF_GIVEN_TEACHER, TEACHER_PREFIX, SpecialistOptions, StudentConfig, TuneConfig
from kd.errors import UserError, reason
from kd.losses.names import LOSS_WEIGHTS
from kd.machine.secrets import masked
from kd.machine.signals import sleep
from kd.search.attributes import IDENTITY, POINT, UNREADABLE, read_trials, study_attribute
from kd.search.space import Axis, Value
from kd.tracking.params import canonical

IDENTITY_SECONDS = 20.0
"""How long a study may be without its identity: the command that created it is just writing it."""

# Fields that leave a trial's value as it is, beside the switches.
_WITHOUT_EFFECT = {"control", "teacher"}
# Fields that studies of before lack. One that has its default is left out, so that those studies resume.
_ADDED = {
    *OF_GIVEN_TEACHER,
    *("net", "label_smoothing", "optimizer", "start_px", "shift_px", "train_fraction", "label_fraction"),
    "select_by",
    *("loss", "standardize", *(f"{loss}_{name}" for loss, own in LOSS_WEIGHTS.items() for name in own)),
    *(name for short in ("net_args", "weights", "small_stem", "px") for name in (short, f"{TEACHER_PREFIX}{short}")),
}


def identity(config: TuneConfig, space: Sequence[Axis], data_digest: str, code_digest: str = "") -> dict[str, str]:
    """Return what all trials of a study have in common, as text by name: with anything else it is another study.

    Args:
        config: the search.
        space: what is searched.
        data_digest: of all its images.
        code_digest: of the nets and of the loss that are not kd's own; empty: all are kd's.
    """
    kind = StudentConfig if config.objective == "student" else SpecialistOptions
    usual = {name for name in _ADDED if getattr(config, name) == kind.model_fields[name].default}
    left_out = {*(axis.name for axis in space), *kind.switches(), *_WITHOUT_EFFECT, *usual}
    common = {name: canonical(getattr(config, name)) for name in kind.model_fields if name not in left_out}
    return {
        "direction": ", minimize ".join(filter(None, ["maximize accuracy", config.second_objective()])),
        "objective": config.objective,
        "search": ";".join(axis.text() for axis in space),
        "data digest": data_digest,
        **({"code of nets and loss": code_digest} if code_digest else {}),
        **({"max_parameters": canonical(config.max_parameters)} if config.max_parameters else {}),  # before, none had one
        **({"max_latency": canonical(config.max_latency)} if config.max_latency else {}),  # the same
        **common,
    }


def study_name(config: TuneConfig, facts: Mapping[str, str]) -> str:
    """Return the name of the study: the one given, or one made of all that its trials have in common."""
    if config.study_name != "auto":
        return masked(config.study_name)
    # A teacher that was named is another study by name; one that was found is checked when it is there.
    digest = hashlib.sha256(json.dumps([facts, config.teacher], sort_keys=True).encode()).hexdigest()
    pareto = {"": "", "parameters": "-pareto"}.get(config.second_objective(), f"-pareto-{config.second_objective()}")
    return f"{config.data}-{config.objective}{pareto}-{digest[:8]}"


def load_study(storage: RDBStorage, name: str, pruner: BasePruner | None = None) -> optuna.Study:
    """Load a study that is there.

    Raises:
        UserError: the database has something else than Optuna writes.
    """
    try:
        return optuna.load_study(storage=storage, study_name=name, pruner=pruner)
    except UNREADABLE as error:
        raise UserError(f"{name}: the study can't be read ({reason(error)}); give another name", field="study_name") from None


def open_study(
    storage: RDBStorage, name: str, facts: Mapping[str, str], points: Mapping[str, Mapping[str, Value]], *, pareto: bool
) -> optuna.Study:
    """Create a study with its first points enqueued, or open the one of that name.

    Raises:
        UserError: there is a study of that name that is of something else.
    """
    directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE] if pareto else [StudyDirection.MAXIMIZE]
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    except DuplicatedStudyError:
        study = load_study(storage, name)
        present = _wait_for_identity(study)
        if present is not None:
            _check_identity(name, present, facts)
            return study
        if study.directions != directions or _has_begun(study):
            raise UserError(f"{name}: a study that kd did not make; give another name", field="study_name") from None
    for label, point in points.items():
        study.enqueue_trial(dict(point), user_attrs={POINT: label}, skip_if_exists=True)
    study.set_user_attr(IDENTITY, dict(facts))
    return study


def _wait_for_identity(study: optuna.Study) -> Mapping[str, str] | None:
    until = time.monotonic() + IDENTITY_SECONDS
    while True:
        found: Mapping[str, str] | None = study_attribute(study, IDENTITY)
        if found is not None or _has_begun(study) or time.monotonic() >= until:
            return found
        sleep(0.5)


def _has_begun(study: optuna.Study) -> bool:
    return any(trial.state != TrialState.WAITING for trial in read_trials(study))


def _check_identity(name: str, present: Mapping[str, str], facts: Mapping[str, str]) -> None:
    """Refuse a study whose identity, which is kept in it, is not the one that is asked for."""
    differing = [fact for fact in {**present, **facts} if present.get(fact) != facts.get(fact)]
    if differing:
        told = "; ".join(f"its {fact} is {present.get(fact, 'none')}, not {facts.get(fact, 'none')}" for fact in differing[:3])
        raise UserError(f"{name}: the study is of something else ({told}); give another name", field="study_name")
