"""Teachers in the tracking store: named by the user, reused by fingerprint, or trained as a child run."""

import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kd.data.dataset import Dataset
from kd.distillation.as_teacher import fitted_model
from kd.distillation.fits import fitted, warn_of_split
from kd.distillation.job import Job
from kd.distillation.loading import is_kds_file, load_any, model_file
from kd.distillation.pretrained import PROGRAM, About
from kd.distillation.results import TrackedRun
from kd.distillation.teacher import Ensemble, Teacher
from kd.distillation.tracker import carry_out, tracked_by
from kd.errors import UserError
from kd.machine.activity import doing
from kd.machine.paths import user_path
from kd.nets.names import LARGEST, NET_ARGS, NET_NAMES, STATE_DICTS
from kd.nets.registry import NetSpec, net_spec
from kd.nets.resized import PX
from kd.nets.small_stem import SMALL_STEM
from kd.specialists.kind import TaskKind
from kd.tracking import finished, store
from kd.tracking.fetch import fetch_file, fetch_model
from kd.tracking.models import LoadedModel, is_kds, read_fetched, told_of
from kd.tracking.others import REGISTRY, RUNS, file_of_model, is_model_file
from kd.tracking.tracker import MlflowTracker
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")

_OF_LIBRARIES = re.compile(r"(torchvision|timm):\w+", re.ASCII)
NOTHING = About()
"""Nothing is known of a model but what it says itself."""


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
            store.say_reuse(f"teacher: run {run_id}: {why}: reused")
            return replace(teacher, chosen=why)
    return None


def train_teacher(job: Job, tracker: MlflowTracker) -> Teacher:
    """Train a teacher, recorded by a tracker.

    Raises:
        UserError: the loss is not finite, or the tracking store can't be used.
    """
    with tracked_by(tracker):
        trained = carry_out(job)
    return Teacher(trained.model.to(job.device), job.dataset, "trained", trained.run, trained, net=trained.net)


def load_teacher(  # noqa: PLR0913 - a teacher, and what is known of it
    references: str,
    workspace: Workspace,
    *,
    field: str = "teacher",
    origin: str = "named",
    warn: bool = True,
    about: About = NOTHING,
) -> Teacher:
    """Load a finished model of all classes; several, with commas between, are an ensemble.

    An ensemble answers with the mean of its members' probabilities (paper, section 4).

    Args:
        references: RUN_ID, models:/NAME@ALIAS, runs:/RUN_ID/PATH or the path of a file, or several.
        workspace: data, device and folders of the command.
        field: the setting that named them.
        origin: how it was obtained: named or reused.
        warn: whether to warn of one that was trained on another split; what loads it again need not.
        about: what is known of a model of others.

    Raises:
        UserError: there is no such run, model or file, or it lacks a class of the data set, or is of other images.
    """
    loaded = _load_all(references, workspace, field, about, warn=warn)
    modules = [model.module for model in loaded]
    model = (modules[0] if len(modules) == 1 else Ensemble(modules)).to(workspace.device)
    runs = [model.run_id for model in loaded if model.run_id]
    run = TrackedRun(id=",".join(runs), link=" + ".join(map(store.run_link, runs))) if runs else None
    net = net_of_facts(loaded[0].metadata) if len(loaded) == 1 else None
    return Teacher(model, workspace.dataset, origin, run, net=net)


def net_of_facts(facts: Mapping[str, Any]) -> NetSpec | None:
    """Return the net that the facts beside a model name; None: they name none that can be created from its name alone.

    Whoever wrote the model wrote them, so that no function is imported by a name in them.
    """
    name = str(facts.get("net"))
    if name not in NET_NAMES and (NET_ARGS in facts or not _OF_LIBRARIES.fullmatch(name)):
        return None
    sizes = LARGEST if name in NET_NAMES else {}
    if any(not isinstance(facts.get(size), int) or facts[size] > most for size, most in sizes.items()):
        return None
    try:
        return net_spec(name, {setting: facts[setting] for setting in (*sizes, SMALL_STEM, PX) if setting in facts})
    except UserError:  # its library is not installed, or is of another version
        return None


@doing("loading a teacher")
def _load_all(references: str, workspace: Workspace, field: str, about: About, *, warn: bool) -> list[LoadedModel]:
    names = [name.strip() for name in references.split(",") if name.strip()]
    if not names:
        raise UserError(f"{references!r} names no model; give RUN_ID, models:/NAME@ALIAS or FILE.pt2", field=field)
    with told_of(field):
        return [_load(name, workspace.dataset, field, about, warn=warn, alone=len(names) == 1) for name in names]


def _load(name: str, dataset: Dataset, field: str, about: About, *, warn: bool, alone: bool) -> LoadedModel:  # noqa: PLR0913 - a model, and what it is wanted for
    """Load a model and fit it to a data set; what is said of one that is not alone is said of those that need it."""
    with tempfile.TemporaryDirectory() as folder:
        if is_model_file(name):
            return _from_file(model_file(user_path(name, field)), name, "", dataset, about, warn=warn, alone=alone)
        if name.startswith(RUNS):
            path, run_id = fetch_file(name, Path(folder))
            return _from_file(file_of_model(path, name), name, run_id, dataset, about, warn=warn, alone=alone)
        fetched = fetch_model(name, Path(folder))
        if name.startswith(REGISTRY) and not is_kds(fetched):
            return _from_file(file_of_model(fetched.folder, name), name, fetched.run_id, dataset, about, warn=warn, alone=alone)
        loaded = read_fetched(fetched, name)
    said = about.net or about.classes or about.mean or about.std or about.px not in {0, loaded.metadata["image_shape"][1]}
    if alone and said:
        raise UserError(
            f"{name}: kd trained it, with its net, its classes, their normalisation and a height of "
            f"{loaded.metadata['image_shape'][1]} px; leave out what is said of them"
        )
    return _fitted(loaded, name, dataset, field, warn=warn)


def _is_state_dict(path: Path) -> bool:
    """Return whether a file holds weights alone, by its name."""
    return path.suffix.lower() in STATE_DICTS


def _from_file(  # noqa: PLR0913 - a file, and what it is wanted for
    path: Path, name: str, run_id: str, dataset: Dataset, about: About, *, warn: bool, alone: bool
) -> LoadedModel:
    if not alone and not _is_state_dict(path):
        about = NOTHING if path.suffix.lower() == PROGRAM and is_kds_file(path) else replace(about, net=None)
    saved = load_any(path, about, dataset.image_shape, dataset.num_classes)
    module = fitted_model(saved, name, dataset, None, say=warn)
    return LoadedModel(module, run_id, {})


def _fitted(loaded: LoadedModel, reference: str, dataset: Dataset, field: str, *, warn: bool) -> LoadedModel:
    facts = loaded.metadata
    if facts["kind"] != TaskKind.ALL:
        raise UserError(f"{reference}: a {facts['role']} of some classes; name a run of all classes", field=field)
    module = fitted(loaded.module, reference, facts["classes"], facts["image_shape"], dataset, field, say=warn)
    if warn:
        warn_of_split(reference, facts["data_digest"], facts["held_out_digest"], facts["image_shape"], dataset)
    return replace(loaded, module=module)
