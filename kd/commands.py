"""What a user asks for: the commands, composed of the other modules."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from kd import summary
from kd.changes import combination_change, distillation_changes
from kd.combination import Combination, CombineOptions, Member, combine_specialists
from kd.config import (
    CombineConfig,
    DataConfig,
    PipelineConfig,
    SpecialistConfig,
    StudentConfig,
    TeacherConfig,
)
from kd.distil import Pair, distil, specialist_kind, teacher_targets
from kd.errors import UserError
from kd.groups import Group, check_groups, choose_groups, covariance, describe_group, resolve_groups
from kd.members import load_members
from kd.setting import Setting, prepare
from kd.targets import TeacherTargets
from kd.tasks import specialist_task, whole_task
from kd.teachers import Teacher, check_teacher, find_teacher, load_teacher, teacher_job
from kd.tracked_training import Trained, train
from kd.tracking import Run, run

log = logging.getLogger("kd")


@dataclass(frozen=True, eq=False)
class Guided:
    """A parent run under way, with the teacher that guides what is trained in it."""

    setting: Setting
    parent: Run
    teacher: Teacher
    targets: TeacherTargets


def teacher(config: TeacherConfig) -> Trained:
    """Train the generalist on all classes."""
    return train(teacher_job(config, prepare("teacher", config)))


def student(config: StudentConfig) -> None:
    """Distil the generalist into one small net on all classes."""
    with _guided("student", config, prepare("student", config)) as guided:
        _report(guided, _students(config, guided), [])


def specialist(config: SpecialistConfig) -> None:
    """Train one specialist for each class group, guided by the generalist, and combine them with it."""
    setting = prepare("specialist", config)
    _check_groups(config, setting)
    with _guided("specialist", config, setting) as guided:
        _report(guided, *_specialists(config, guided))


def pipeline(config: PipelineConfig) -> None:
    """Train generalist, student and specialists, and compare them."""
    setting = prepare("pipeline", config)
    _check_groups(config, setting)
    with _guided("pipeline", config, setting) as guided:
        students = _students(config, guided)
        specialists, combinations = _specialists(config, guided)
        _report(guided, [*students, *specialists], combinations)


def combine(config: CombineConfig) -> Combination:
    """Combine a finished generalist and finished specialists."""
    setting = prepare("combine", config)
    members = load_members(config.specialists, setting)
    guide = load_teacher(config.generalist, "--generalist", setting)
    _check_top_n(config.top_n, setting)
    with _parent("combine", config, setting) as parent:
        options = CombineOptions(config.dustbin_correction, config.top_n, config.register_as)
        combination = combine_specialists(setting, guide, members, options, name="combined", seed=config.data_seed)
        _finish(setting, parent, guide, [], [combination])
    return combination


@contextmanager
def _parent(command: str, config: DataConfig, setting: Setting) -> Iterator[Run]:
    """Open a command's parent run, with its whole configuration."""
    dataset = setting.dataset
    tags = {**setting.tags, "kd.role": "parent"}
    with run(f"{command} {dataset.name}", output_dir=setting.output_dir, tags=tags) as parent:
        parent.log_params(config.params())
        parent.log_settings(config.model_dump())
        parent.log_dataset(dataset.name, dataset.digest, {"role": "parent"})
        yield parent


@contextmanager
def _guided(command: str, config: StudentConfig, setting: Setting) -> Iterator[Guided]:
    """Open a command's parent run, and find or train its teacher in it."""
    check_teacher(config, setting)
    with _parent(command, config, setting) as parent:
        found = find_teacher(config, setting)
        parent.log_tags({"kd.teacher": found.run_id})
        # Epoch e sees view e mod views: with fewer epochs than views nothing would see the rest.
        seen = config.model_copy(update={"views": min(config.views, config.epochs)})
        yield Guided(setting, parent, found, teacher_targets(seen, setting, found))


def _replicates(config: StudentConfig) -> Iterator[tuple[StudentConfig, str]]:
    """Yield the configuration of each seed, and what its runs' names end with."""
    for seed in range(config.seed, config.seed + config.seeds):
        yield config.model_copy(update={"seed": seed}), f" seed {seed}" if config.seeds > 1 else ""


def _students(config: StudentConfig, guided: Guided) -> list[Pair]:
    task = whole_task(guided.setting.dataset)
    return [
        distil(replicate, guided.setting, task, guided.teacher, guided.targets, label="student", suffix=suffix)
        for replicate, suffix in _replicates(config)
    ]


def _specialists(config: SpecialistConfig, guided: Guided) -> tuple[list[Pair], list[Combination]]:
    """Train the specialists of every seed, and combine those of each with the generalist."""
    groups = _groups(config, guided)
    pairs: list[Pair] = []
    combinations: list[Combination] = []
    for replicate, suffix in _replicates(config):
        trained = [
            _specialist(config, replicate, guided, number=number, group=group, suffix=suffix)
            for number, group in groups.items()
        ]
        pairs += trained
        members = [_member(pair) for pair in trained]
        options = CombineOptions(config.dustbin_correction, config.top_n, config.register_as)
        combinations.append(
            combine_specialists(guided.setting, guided.teacher, members, options, name=f"combined{suffix}", seed=replicate.seed)
        )
    return pairs, combinations


def _specialist(  # noqa: PLR0913 - which specialist, of which seed
    config: SpecialistConfig, replicate: StudentConfig, guided: Guided, *, number: int, group: Group, suffix: str
) -> Pair:
    dataset = guided.setting.dataset
    return distil(
        replicate,
        guided.setting,
        specialist_task(dataset, group, specialist_kind(config), config.own_fraction),
        guided.teacher,
        guided.targets,
        label=f"specialist {number} {describe_group(group, dataset.classes)}",
        suffix=suffix,
        start=guided.teacher.model if config.init == "generalist" else None,
    )


def _member(pair: Pair) -> Member:
    trained = pair.distilled
    kind = trained.task.kind
    if kind == "all":
        raise ValueError(f"{trained.name} is no specialist")
    return Member(trained.name, trained.run_id, trained.model, trained.task.group, kind, trained.task.own_fraction)


def _groups(config: SpecialistConfig, guided: Guided) -> dict[int, Group]:
    """Return the groups to train, by number, and draw how the generalist confuses their classes."""
    from kd import plots  # noqa: PLC0415 - matplotlib is a slow import

    dataset = guided.setting.dataset
    predictions = guided.teacher.val_logits.softmax(dim=1)
    groups = resolve_groups(config.groups, dataset.name, dataset.classes, lambda: predictions, seed=config.data_seed)
    chosen = choose_groups(groups, config.group)
    for number, group in enumerate(groups):
        log.info("group %d: %s", number, ", ".join(dataset.classes[label] for label in group))
    guided.parent.log_tags({"kd.groups": ";".join(",".join(map(str, group)) for group in groups)})
    title = f"Covariance of the generalist's predictions on {dataset.name}, val, n = {len(dataset.val):,}"
    figure = plots.covariance_clusters(covariance(predictions).numpy(), groups, dataset.classes, title)
    guided.parent.log_figure(figure, "covariance_clusters")
    return chosen


def _check_groups(config: SpecialistConfig, setting: Setting) -> None:
    """Refuse bad groups before any run is opened, as far as they can be known without a teacher."""
    _check_top_n(config.top_n, setting)
    check_groups(config.groups, config.group, setting.dataset.name, setting.dataset.classes)


def _check_top_n(top_n: int, setting: Setting) -> None:
    if top_n > setting.dataset.num_classes:
        raise UserError(f"--top-n {top_n}: there are only {setting.dataset.num_classes} classes")


def _report(guided: Guided, pairs: Sequence[Pair], combinations: Sequence[Combination]) -> None:
    _finish(guided.setting, guided.parent, guided.teacher, pairs, combinations)


def _finish(setting: Setting, parent: Run, guide: Teacher, pairs: Sequence[Pair], combinations: Sequence[Combination]) -> None:
    """Write the parent's note, metrics and figures."""
    from kd.summary_figures import summary_figures  # noqa: PLC0415 - matplotlib is a slow import

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
