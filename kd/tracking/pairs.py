"""A net distilled from a teacher, and its control: the same net, seed, views and recipe on hard targets only."""

from dataclasses import dataclass, replace

from torch import nn

from kd.config import SpecialistConfig, StudentConfig
from kd.distillation.job import Job
from kd.distillation.objectives import hard_objective, soft_objective
from kd.distillation.results import Trained
from kd.distillation.target_cache import cached_targets, weights_digest
from kd.distillation.targets import LiveTargets, TeacherTargets
from kd.distillation.task import Task
from kd.distillation.teacher import Teacher
from kd.machine.memory import give_back_freed_memory
from kd.nets.registry import create_specialist_model
from kd.specialists.kind import TaskKind
from kd.tracking.training import train
from kd.tracking.workspace import Setting
from kd.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Pair:
    """A distilled net and, unless it was turned off, its control."""

    label: str
    """What it is, whatever its seed."""
    distilled: Trained
    control: Trained | None


def teacher_targets(config: StudentConfig, setting: Setting, teacher: Teacher) -> TeacherTargets:
    """Return the teacher's logits for the training images: kept for ``config.views`` views, or live where that is 0."""
    if config.views == 0:
        return LiveTargets(teacher.model)
    targets = cached_targets(
        teacher.model,
        setting.dataset.train,
        setting.dataset.augmentation(config.data_seed),
        views=config.views,
        data_digest=setting.dataset.digest,
        split_name="train",
        root=setting.output_dir / "targets",
        device=setting.device,
        progress=True,
    )
    give_back_freed_memory()
    return targets


def distil(  # noqa: PLR0913 - what is learned, from whom, and what it is called
    config: StudentConfig,
    setting: Setting,
    task: Task,
    teacher: Teacher,
    targets: TeacherTargets,
    *,
    label: str,
    suffix: str = "",
    start: nn.Module | None = None,
) -> Pair:
    """Train the control, then the distilled net, each in a child run.

    Args are those of :func:`distillation_jobs`.

    Raises:
        UserError: a loss became not finite.
    """
    hard, soft = distillation_jobs(config, setting, task, teacher, targets, label=label, suffix=suffix, start=start)
    logits = teacher.test_on(task)
    control = train(hard, logits) if config.control else None
    return Pair(label, train(soft, logits, control), control)


def specialist_kind(config: SpecialistConfig) -> TaskKind:
    """Return what the specialists of a configuration tell apart."""
    if config.specialist_kind == "full":
        return TaskKind.FULL
    return TaskKind.DUSTBIN if config.dustbin else TaskKind.OWN


def distillation_jobs(  # noqa: PLR0913 - as above
    config: StudentConfig,
    setting: Setting,
    task: Task,
    teacher: Teacher,
    targets: TeacherTargets,
    *,
    label: str,
    suffix: str = "",
    start: nn.Module | None = None,
) -> tuple[Job, Job]:
    """Return the trainings of the control and of the distilled net, alike but for the soft targets.

    Args:
        config: the student's or specialist's part of it.
        setting: the command's.
        task: what is learned.
        teacher: who guides.
        targets: its logits on the training images.
        label: what the net is; its first word is its role.
        suffix: what the runs' names end with.
        start: a net whose weights both start from where the nets match; None: weights drawn by the seed.
    """
    params = {
        "data": config.data,
        **{field: getattr(config, field) for field in ("depth", "width", "epochs", "batch_size", "lr", "weight_decay")},
        **{field: getattr(config, field) for field in ("views", "seed", "data_seed", "use")},
    }
    hard = Job(
        name=f"control of {label}{suffix}",
        role="control",
        task=task,
        dataset=setting.dataset,
        create_net=create_specialist_model,
        depth=config.depth,
        width=config.width,
        recipe=Recipe(
            epochs=config.epochs,
            batch_size=config.batch_size,
            lr=config.lr,
            weight_decay=config.weight_decay,
            seed=config.seed,
            views=config.views,
            compile=config.compile,
        ),
        objective=hard_objective(),
        params=params,
        facts={"start": None if start is None else weights_digest(start)},
        output_dir=setting.output_dir,
        device=setting.device,
        use=config.use,
        resume=config.resume,
        augmentation=setting.dataset.augmentation(config.data_seed),
        tags={**setting.tags, "kd.teacher": teacher.run_id},
        start=start,
    )
    soft = replace(
        hard,
        name=f"{label}{suffix}",
        role=label.split(maxsplit=1)[0],
        objective=soft_objective(task, targets, temperature=config.temperature, alpha=config.alpha),
        params={**params, "temperature": config.temperature, "alpha": config.alpha},
        facts={
            **hard.facts,
            "temperature": config.temperature,
            "alpha": config.alpha,
            "teacher": weights_digest(teacher.model),
        },
        temperature=config.temperature,
    )
    return hard, soft
