"""The parts that commands share: the parent run, the teacher in it, and its ending."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from kd.commands.answer import Answer
from kd.commands.found import comparison_answer
from kd.commands.plan import plan, plan_line
from kd.config import DataConfig, StudentConfig
from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.distillation.targets import TeacherTargets
from kd.distillation.teacher import Teacher
from kd.distillation.tracker import tracked_by
from kd.from_config import (
    check_nets,
    check_teacher,
    fingerprint_of,
    finished_teacher,
    log_images,
    log_teacher_params,
    run_details,
    run_settings,
    settings_fingerprint_of,
    teacher_targets,
    train_teacher,
    with_generalists_net,
)
from kd.machine.schedule import Schedule, scheduled
from kd.tracking.command_fingerprint import COMMAND_FINGERPRINT, SETTINGS_FINGERPRINT
from kd.tracking.earlier import last_stopped, stopped_run
from kd.tracking.earlier_seeds import GENERALISTS_NET
from kd.tracking.finished import TEACHER
from kd.tracking.ready import is_made
from kd.tracking.recorded import TYPED
from kd.tracking.store import Run, run, say_reuse
from kd.tracking.summary import summarise
from kd.tracking.tracker import MlflowTracker
from kd.tracking.workspace import Workspace
from kd.typed import typed

log = logging.getLogger("kd")

StudentT = TypeVar("StudentT", bound=StudentConfig)


@dataclass(frozen=True, eq=False)
class Guided(Generic[StudentT]):
    """A parent run under way, with the teacher that guides what is trained in it."""

    config: StudentT
    """The command's, with the net that it trains."""
    workspace: Workspace
    parent: Run
    teacher: Teacher
    targets: TeacherTargets
    schedule: Schedule
    """The trainings of the command."""


@contextmanager
def parent_run(command: str, config: DataConfig, workspace: Workspace, models: str = "", *, label: str = "") -> Iterator[Run]:
    """Open a command's parent run, with its whole configuration; trainings in it have runs below it.

    The newest run of the same command that stopped before its end is resumed.

    Args:
        command: its name.
        config: its configuration.
        workspace: its data.
        models: digest of the models that it names; empty: it names none.
        label: what its run is called; empty: as the command.
    """
    dataset, fingerprint = workspace.dataset, fingerprint_of(config, workspace, models)
    settings = settings_fingerprint_of(config, workspace)
    tags = {**workspace.tags, "kd.role": "parent", COMMAND_FINGERPRINT: fingerprint, SETTINGS_FINGERPRINT: settings}
    name, details = f"{label or command} {dataset.name}", run_details(config)
    with (
        _stopped(fingerprint, settings, workspace) as stopped,
        run(name, details, output_dir=workspace.output_dir, tags=tags, again=stopped) as parent,
    ):
        if parent.is_resumed:
            say_reuse(f"resuming run {parent.id} of this command, which stopped; --fresh begins anew")
        parent.log_params(config.params())
        parent.log_settings(config.recorded())
        parent.log_tags({TYPED: typed(command, config)})
        log_images(parent, config, dataset)
        with tracked_by(MlflowTracker(run_settings(config, workspace, parent))):
            yield parent


@contextmanager
def _stopped(fingerprint: str, settings: str, workspace: Workspace) -> Iterator[str | None]:
    """Find the run of a command that stopped, unless it is to begin anew."""
    if not workspace.resume or not is_made():
        yield None
        return
    with stopped_run(COMMAND_FINGERPRINT, fingerprint, workspace.output_dir / "checkpoints") as stopped:
        if stopped is None:
            _say_changed(settings, workspace)
        yield stopped


def _say_changed(settings: str, workspace: Workspace) -> None:
    """Say that a run of the same settings stopped, which can't be resumed since something else has changed."""
    found = last_stopped(SETTINGS_FINGERPRINT, settings)
    if found is not None:
        stopped, digest = found
        same = digest == workspace.dataset.digest
        what = "the images without labels, a named model, the code of a net or loss, or kd has" if same else "the images have"
        log.warning("run %s of this command stopped, but %s changed since: it stays, and a new one begins", stopped, what)


@contextmanager
def guided_by_teacher(command: str, config: StudentT, workspace: Workspace) -> Iterator[Guided[StudentT]]:
    """Open a command's parent run, and find or train its teacher in it."""
    named = check_teacher(config, workspace)
    check_nets(config, workspace)
    with parent_run(command, config, workspace, named) as parent:
        found = finished_teacher(config, workspace, parent)
        chosen = with_generalists_net(config, workspace, found)
        if chosen is not config:
            parent.log_params(chosen.params())
            parent.log_tags({GENERALISTS_NET: "true"})
            config = chosen
        planned = plan(config, workspace, with_teacher=found is None)
        log.info("%s", plan_line(config, workspace, len(planned), with_teacher=found is None))
        with scheduled(Schedule(planned)) as schedule:
            teacher = found or train_teacher(config, workspace, parent)
            parent.log_tags({TEACHER: teacher.run_id, "kd.teacher_digest": teacher.digest})
            log_teacher_params(parent, config, teacher)
            yield Guided(config, workspace, parent, teacher, teacher_targets(config, workspace, teacher), schedule)


def replicates(config: StudentT) -> Iterator[tuple[StudentT, str]]:
    """Yield the configuration of each seed, and the end of its runs' names."""
    for seed in range(config.seed, config.seed + config.seeds):
        yield config.model_copy(update={"seed": seed}), f" seed {seed}" if config.seeds > 1 else ""


def finish(  # noqa: PLR0913, PLR0917 - the run, and all that came out of it
    parent: Run,
    workspace: Workspace,
    teacher: Teacher,
    distilled: Sequence[Trained],
    combinations: Sequence[Combination],
    config: StudentConfig | None = None,
) -> Answer:
    """Write the parent's note, metrics and figures, and return what came out."""
    changes = summarise(parent, f"{workspace.command} on {workspace.dataset.name}", teacher, distilled, combinations)
    return comparison_answer(parent, changes, distilled, combinations, config)
