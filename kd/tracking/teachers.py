"""Teachers in the tracking store: named by the user, reused by fingerprint, or trained as a child run."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from kd.data.dataset import Dataset
from kd.distillation.defaults import is_named_teacher
from kd.distillation.fits import fitted, warn_of_split
from kd.distillation.job import Job
from kd.distillation.results import TrackedRun
from kd.distillation.saved import load
from kd.distillation.teacher import Ensemble, Teacher
from kd.distillation.tracker import carry_out, tracked_by
from kd.errors import UserError
from kd.machine.activity import doing
from kd.specialists.kind import TaskKind
from kd.tracking import finished, store
from kd.tracking.models import LoadedModel, load_model
from kd.tracking.tracker import MlflowTracker
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")


def reusable(job: Job, workspace: Workspace) -> Teacher | None:
    """Return the teacher of the newest usable run of the same training as a job; None: there is none."""
    found = dict.fromkeys(finished.find_finished(job.fingerprint()), "it has the same configuration, data and code")
    return _first_usable(found, workspace)


def best_on_val(workspace: Workspace) -> Teacher | None:
    """Return the best teacher on val, of any net and recipe, of the same data and split; None: there is none."""
    best = finished.best_teachers(workspace.dataset.digest)
    found = {one.run_id: f"the best on val ({one.val_accuracy:.2%}) of the finished teachers of this data" for one in best}
    return _first_usable(found, workspace)


def kept_by(run_id: str, workspace: Workspace) -> Teacher | None:
    """Return the teacher that a command had when it stopped, even if a better one has come since; None: it had none."""
    kept = finished.teacher_of(run_id)
    return _first_usable({kept: "the command had this teacher when it stopped"} if kept else {}, workspace)


def _first_usable(found: Mapping[str, str], workspace: Workspace) -> Teacher | None:
    """Return the first teacher that can be used of runs that would do, each with the reason for it."""
    for run_id, why in found.items():
        try:
            teacher = load_teacher(run_id, workspace, origin="reused")
        except UserError as error:  # for example, its files were deleted
            log.warning("teacher: run %s would do but can't be used (%s): looking for another one", run_id, error)
        else:
            log.info("teacher: run %s: %s: reused", run_id, why)
            return replace(teacher, chosen=why)
    return None


def train_teacher(job: Job, tracker: MlflowTracker) -> Teacher:
    """Train a teacher, recorded by a tracker.

    Raises:
        UserError: the loss is not finite, or the tracking store can't be used.
    """
    with tracked_by(tracker):
        trained = carry_out(job)
    return Teacher(trained.model.to(job.device), job.dataset, "trained", trained.run, trained)


def check_teacher(reference: str, workspace: Workspace) -> None:
    """Refuse a teacher named by the user before any run is opened.

    Raises:
        UserError: there is no such run, model or file, or it lacks a class of the data set, or is of other images.
    """
    if is_named_teacher(reference):
        _load_all(reference, workspace, "teacher", warn=False)  # it is loaded again, and may be warned of then


def load_teacher(
    references: str, workspace: Workspace, *, field: str = "teacher", origin: str = "named", warn: bool = True
) -> Teacher:
    """Load a finished model of all classes; several, with commas between, are an ensemble.

    An ensemble answers with the mean of its members' probabilities (paper, section 4).

    Args:
        references: RUN_ID, models:/NAME@ALIAS or the path of a file that kd wrote (.pt2), or several.
        workspace: data, device and folders of the command.
        field: the setting that named them.
        origin: how it was obtained: named or reused.
        warn: whether to warn of one that was trained on another split; what loads it again need not.

    Raises:
        UserError: there is no such run, model or file, or it lacks a class of the data set, or is of other images.
    """
    loaded = _load_all(references, workspace, field, warn=warn)
    modules = [model.module for model in loaded]
    model = (modules[0] if len(modules) == 1 else Ensemble(modules)).to(workspace.device)
    runs = [model.run_id for model in loaded if model.run_id]
    run = TrackedRun(id=",".join(runs), link=" + ".join(map(store.run_link, runs))) if runs else None
    return Teacher(model, workspace.dataset, origin, run)


@doing("loading a teacher")
def _load_all(references: str, workspace: Workspace, field: str, *, warn: bool) -> list[LoadedModel]:
    names = [name.strip() for name in references.split(",") if name.strip()]
    if not names:
        raise UserError(f"{references!r} names no model; give RUN_ID, models:/NAME@ALIAS or FILE.pt2", field=field)
    return [_fitted(_load(name, field), name, workspace.dataset, field, warn=warn) for name in names]


def _load(name: str, field: str) -> LoadedModel:
    if not is_model_file(name):
        return load_model(name, field)
    try:
        saved = load(name)
    except UserError as error:
        raise UserError(str(error), field=field) from error.__cause__
    known = {name: getattr(saved, name) for name in ("classes", "image_shape", "data_digest", "held_out_digest")}
    return LoadedModel(saved.module, "", {"kind": TaskKind.ALL, **known})


def is_model_file(name: str) -> bool:
    """Return whether a teacher is named by the path of a file."""
    return name.endswith(".pt2")


def _fitted(loaded: LoadedModel, reference: str, dataset: Dataset, field: str, *, warn: bool) -> LoadedModel:
    facts = loaded.metadata
    if facts["kind"] != TaskKind.ALL:
        raise UserError(f"{reference}: a {facts['role']} of some classes; name a run of all classes", field=field)
    module = fitted(loaded.module, reference, facts["classes"], facts["image_shape"], dataset, field, say=warn)
    if warn:
        warn_of_split(reference, facts["data_digest"], facts["held_out_digest"], facts["image_shape"], dataset)
    return replace(loaded, module=module)
