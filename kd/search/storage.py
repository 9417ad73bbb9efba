"""Where a study is kept, and which study: never MLflow's own database, never a study of something else."""

import hashlib
import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import optuna
import sqlalchemy
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from kd.config import SpecialistConfig, StudentConfig, TuneConfig
from kd.errors import UserError, reason
from kd.machine.signals import sleep
from kd.search.space import Axis, Value
from kd.tracking import store as tracking
from kd.tracking.params import canonical

log = logging.getLogger("kd")

HEARTBEAT_SECONDS = 60  # shorter than a stall of a busy machine, and live trials would be failed
GRACE_SECONDS = 120
LOCKED_SECONDS = 60
"""How long sqlite waits for another process's write."""
IDENTITY = "kd.identity"
IDENTITY_SECONDS = 20.0
"""How long a study may be without its identity: its creator is just writing it."""

# What leaves a trial's value as it is, beside the switches.
_BESIDE_THE_POINT = {"control", "teacher"}
# Fields that studies of before lack. One that has its default is left out, so that those studies resume.
_ADDED = {"net", "label_smoothing", "optimizer", "start_px", "shift_px"}


@contextmanager
def opened(url: str) -> Iterator[RDBStorage]:
    """Open a database for studies, and close it.

    Raises:
        UserError: it is no database that several processes can share, it is MLflow's, or it can't be used.
    """
    _check_database(url)
    shared = {"connect_args": {"timeout": LOCKED_SECONDS}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats are experimental to Optuna
        storage = RDBStorage(url, shared, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=GRACE_SECONDS)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _check_database(url: str) -> None:
    try:
        address = make_url(url)
    except ArgumentError:
        raise UserError(f"--storage {url}: expected a database such as sqlite:///optuna.db or postgresql://...") from None
    shown = f"--storage {address.render_as_string()}"
    if address.get_backend_name() == "sqlite" and address.database in {None, "", ":memory:"}:
        raise UserError(f"{shown}: workers can't share what is in memory; name a file, as in sqlite:///optuna.db")
    if _same_database(address, tracking.tracking_uri()):
        raise UserError(f"{shown}: that is MLflow's own database; give the study another one")
    try:
        engine = sqlalchemy.create_engine(address)
        tables = set(sqlalchemy.inspect(engine).get_table_names())
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        asked = "is the server up, its driver there, the folder too?"
        raise UserError(f"{shown}: can't be used ({reason(error)}); {asked}") from None
    if {"experiments", "runs"} <= tables:
        raise UserError(f"{shown}: that is a database of MLflow's; give the study another one")


def _same_database(address: URL, uri: str) -> bool:
    try:
        other = make_url(uri)
    except ArgumentError:
        return False
    return (address.get_backend_name(), address.host, address.port, address.database) == (
        other.get_backend_name(), other.host, other.port, other.database,
    )  # fmt: skip


def identity(config: TuneConfig, space: Sequence[Axis], data_digest: str) -> dict[str, str]:
    """Return what all trials of a study share, as text by name: a study of anything else is another study."""
    kind = StudentConfig if config.objective == "student" else SpecialistConfig
    usual = {name for name in _ADDED if getattr(config, name) == kind.model_fields[name].default}
    left_out = {*(axis.name for axis in space), *kind.switches(), *_BESIDE_THE_POINT, *usual}
    shared = {name: canonical(getattr(config, name)) for name in kind.model_fields if name not in left_out}
    return {
        "direction": "maximize accuracy, minimize parameters" if config.pareto else "maximize accuracy",
        "objective": config.objective,
        "search": ";".join(axis.text() for axis in space),
        "data digest": data_digest,
        **shared,
    }


def without_password(config: TuneConfig) -> TuneConfig:
    """Return a configuration as it may be shown: what is tracked is read by many."""
    return config.model_copy(update={"storage": make_url(config.storage).render_as_string()})


def study_name(config: TuneConfig, facts: Mapping[str, str]) -> str:
    """Return the name of the study: the one given, or one made of all that its trials share."""
    if config.study_name != "auto":
        return config.study_name
    # A teacher that was named is another study by name; one that was found is checked when it is there.
    digest = hashlib.sha256(json.dumps([facts, config.teacher], sort_keys=True).encode()).hexdigest()
    return f"{config.data}-{config.objective}{'-pareto' if config.pareto else ''}-{digest[:8]}"


def open_study(
    storage: RDBStorage, name: str, facts: Mapping[str, str], points: Mapping[str, Mapping[str, Value]], *, pareto: bool
) -> optuna.Study:
    """Create a study with its first points enqueued, or go on with the one of that name.

    Raises:
        UserError: there is a study of that name that is of something else.
    """
    directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE] if pareto else [StudyDirection.MAXIMIZE]
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        if _wait_for_identity(study) is not None:
            _check_identity(study, name, facts)
            return study
        if study.directions != directions or study.get_trials(states=_BEGUN):
            raise UserError(f"--study-name {name}: a study that kd did not make; give another name") from None
    for label, point in points.items():
        study.enqueue_trial(dict(point), user_attrs={"kd.point": label}, skip_if_exists=True)
    study.set_user_attr(IDENTITY, dict(facts))
    return study


_BEGUN = tuple(state for state in TrialState if state != TrialState.WAITING)


def _wait_for_identity(study: optuna.Study) -> Mapping[str, str] | None:
    until = time.monotonic() + IDENTITY_SECONDS
    while IDENTITY not in study.user_attrs and not study.get_trials(states=_BEGUN) and time.monotonic() < until:
        sleep(0.5)
    found: Mapping[str, str] | None = study.user_attrs.get(IDENTITY)
    return found


def _check_identity(study: optuna.Study, name: str, facts: Mapping[str, str]) -> None:
    present: Mapping[str, str] = study.user_attrs[IDENTITY]
    differing = [fact for fact in {**present, **facts} if present.get(fact) != facts.get(fact)]
    if differing:
        told = "; ".join(f"its {fact} is {present.get(fact)}, not {facts.get(fact)}" for fact in differing[:3])
        raise UserError(f"--study-name {name}: the study is of something else ({told}); give another name")
