"""What all trials of a study share: teacher, class groups and cached targets. The leader finds them, workers load them."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import optuna

from kd.config import TuneConfig
from kd.distillation.defaults import is_named_teacher
from kd.distillation.target_cache import weights_digest
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.from_config import find_teacher, groups_of, named_teacher, teacher_targets
from kd.search.attributes import SHARED, study_attribute
from kd.search.candidate import Guide
from kd.search.session import Session
from kd.specialists.clustering import Group
from kd.tracking import earlier
from kd.tracking import store as tracking
from kd.tracking.finished import TEACHER, teacher_of
from kd.tracking.teachers import load_teacher
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")


@dataclass(frozen=True)
class Shared:
    """What all trials share, as it is kept in the study."""

    teacher: str
    """Its run."""
    teacher_digest: str
    groups: Mapping[str, list[int]]


def read_shared(study: optuna.Study) -> Shared | None:
    """Return what the leader found; None: it is not so far yet."""
    kept = study_attribute(study, SHARED)
    return None if kept is None else Shared(**kept)


def find_guide(session: Session, parent: tracking.Run) -> Guide:
    """Find or train the teacher, fix the groups, cache the targets, and write them into the study for all workers.

    Raises:
        UserError: the study's trials had another teacher.
    """
    config, workspace, study = session.config, session.workspace, session.study
    kept = read_shared(study)
    teacher = _find_teacher(session, kept, parent)
    digest = weights_digest(teacher.model)
    _check_same_teacher(study, digest)
    parent.log_tags({TEACHER: teacher.run_id})
    groups = _find_groups(config, workspace, teacher) if kept is None else _numbered(kept.groups, workspace.dataset.num_classes)
    targets = teacher_targets(config, workspace, teacher)
    shared = Shared(teacher.run_id, digest, {str(number): list(group) for number, group in groups.items()})
    study.set_user_attr(SHARED, asdict(shared))
    return Guide(workspace, teacher, targets, groups)


def load_guide(config: TuneConfig, workspace: Workspace, shared: Shared) -> Guide:
    """Load what the leader found.

    Raises:
        UserError: the teacher can't be used, or is not the one that the leader found, or a class of a group is unknown.
    """
    teacher = _teacher_of_study(config, workspace, shared)
    if weights_digest(teacher.model) != shared.teacher_digest:
        named = shared.teacher or config.teacher
        raise UserError(f"{named}: not the teacher of study {config.study_name}, whose weights were others")
    groups = _numbered(shared.groups, workspace.dataset.num_classes)
    return Guide(workspace, teacher, teacher_targets(config, workspace, teacher), groups)


def _teacher_of_study(config: TuneConfig, workspace: Workspace, shared: Shared) -> Teacher:
    """Return the teacher that the user named, or that of the study's run; no file is opened that a study names.

    Raises:
        UserError: the teacher can't be used, or it is a file and was not named.
    """
    if is_named_teacher(config.teacher):
        return named_teacher(config, workspace, warn=False)  # the leader has warned
    if not shared.teacher:
        raise UserError(f"the teacher of study {config.study_name} is a file; name it", field="teacher")
    return load_teacher(shared.teacher, workspace, warn=False)


def check_named_teacher(session: Session) -> None:
    """Refuse a teacher named by the user that is not the one of the study, before any run is opened.

    Raises:
        UserError: it is another one.
    """
    kept, named = read_shared(session.study), session.config.teacher
    if kept is not None and is_named_teacher(named) and named != kept.teacher:
        teacher = named_teacher(session.config, session.workspace, warn=False)  # it is loaded again, or a leader has warned
        _check_same_teacher(session.study, weights_digest(teacher.model))


def _find_teacher(session: Session, kept: Shared | None, parent: tracking.Run) -> Teacher:
    """Return the teacher that the user named, or that of the study while its run is there, or another one."""
    config, workspace = session.config, session.workspace
    run_id = teacher_of(parent.id) if kept is None else kept.teacher  # it may have been stopped while it cached targets
    if is_named_teacher(config.teacher) or not run_id or not earlier.has_run(run_id):
        return find_teacher(config, workspace, parent)
    tracking.say_reuse(f"teacher: run {run_id}: this study had it before")
    return replace(load_teacher(run_id, workspace, origin="reused"), chosen="the study had it before")


def _check_same_teacher(study: optuna.Study, digest: str) -> None:
    kept = read_shared(study)
    if kept is not None and kept.teacher_digest != digest:
        raise UserError(
            f"{study.study_name}: its trials had another teacher, {kept.teacher or 'a file'}; give another name",
            field="study_name",
        )


def _find_groups(config: TuneConfig, workspace: Workspace, teacher: Teacher) -> dict[int, Group]:
    if config.objective == "student":
        return {}
    _, chosen = groups_of(config, workspace, teacher)
    return chosen


def _numbered(groups: Mapping[str, list[int]], classes: int) -> dict[int, Group]:
    """Return groups by number again: JSON, in which a study keeps them, has text alone for keys."""
    for group in groups.values():
        if group[-1] >= classes:
            raise UserError(f"the study has a group of class {group[-1]}, and there are {classes}; give another name for it")
    return {int(number): tuple(group) for number, group in groups.items()}
