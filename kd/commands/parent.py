"""What the commands share: the parent run, the teacher in it, its ending."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from kd.config import (
    DataConfig,
    StudentConfig,
)
from kd.distillation.targets import TeacherTargets
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.reports import note as summary
from kd.reports.changes import combination_change, distillation_changes
from kd.tracking.combination import Combination
from kd.tracking.pairs import Pair, teacher_targets
from kd.tracking.store import Run, run
from kd.tracking.teachers import check_teacher, find_teacher
from kd.tracking.workspace import Setting

log = logging.getLogger("kd")


@dataclass(frozen=True, eq=False)
class Guided:
    """A parent run under way, with the teacher that guides what is trained in it."""

    setting: Setting
    parent: Run
    teacher: Teacher
    targets: TeacherTargets


@contextmanager
def parent_run(command: str, config: DataConfig, setting: Setting) -> Iterator[Run]:
    """Open a command's parent run, with its whole configuration."""
    dataset = setting.dataset
    tags = {**setting.tags, "kd.role": "parent"}
    with run(f"{command} {dataset.name}", output_dir=setting.output_dir, tags=tags) as parent:
        parent.log_params(config.params())
        parent.log_settings(config.model_dump())
        parent.log_dataset(dataset.name, dataset.digest, {"role": "parent"})
        yield parent


@contextmanager
def guided_by_teacher(command: str, config: StudentConfig, setting: Setting) -> Iterator[Guided]:
    """Open a command's parent run, and find or train its teacher in it."""
    check_teacher(config, setting)
    with parent_run(command, config, setting) as parent:
        found = find_teacher(config, setting)
        parent.log_tags({"kd.teacher": found.run_id})
        # Epoch e sees view e mod views: with fewer epochs than views nothing would see the rest.
        seen = config.model_copy(update={"views": min(config.views, config.epochs)})
        yield Guided(setting, parent, found, teacher_targets(seen, setting, found))


def replicates(config: StudentConfig) -> Iterator[tuple[StudentConfig, str]]:
    """Yield the configuration of each seed, and what its runs' names end with."""
    for seed in range(config.seed, config.seed + config.seeds):
        yield config.model_copy(update={"seed": seed}), f" seed {seed}" if config.seeds > 1 else ""


def check_top_n(top_n: int, setting: Setting) -> None:
    """Refuse more classes of the generalist's ranking than there are."""
    if top_n > setting.dataset.num_classes:
        raise UserError(f"--top-n {top_n}: there are only {setting.dataset.num_classes} classes")


def report(guided: Guided, pairs: Sequence[Pair], combinations: Sequence[Combination]) -> None:
    """Write the note, metrics and figures of a parent run under way."""
    finish(guided.setting, guided.parent, guided.teacher, pairs, combinations)


def finish(setting: Setting, parent: Run, guide: Teacher, pairs: Sequence[Pair], combinations: Sequence[Combination]) -> None:
    """Write the parent's note, metrics and figures."""
    from kd.reports.summary_figures import summary_figures  # noqa: PLC0415 - matplotlib is a slow import

    distilled = distillation_changes(guide, pairs)
    combined = combination_change(combinations) if combinations else None
    parent.log_note(summary.note(setting, guide, pairs, combinations=combinations, distilled=distilled, combined=combined))
    labels = guide.task.test.labels
    metrics = {"generalist_test_accuracy": (guide.test_logits.argmax(dim=1) == labels).double().mean().item()}
    for change in distilled:
        metrics |= change.metrics("control", "")
    if combined is not None:
        metrics |= combined.metrics("generalist", "")
    parent.log_metrics(metrics)
    changes = [*distilled, *([combined] if combined is not None else [])]
    for name, figure in summary_figures(setting, guide, pairs, combinations, changes).items():
        parent.log_figure(figure, name)
    # A command's run answers for the model that it was run for: --teacher RUN_ID takes it.
    parent.log_tags({"kd.model_run": combinations[0].run_id if combinations else pairs[0].distilled.run_id})
    log.info("done: run %s of experiment %s; `mlflow ui` shows it", parent.id, parent.experiment_id)
