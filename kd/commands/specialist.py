"""``kd specialist``: one specialist for each class group, guided by the generalist, and combined with it."""

from kd.commands.parent import Guided, check_top_n, guided_by_teacher, log, replicates, report
from kd.config import (
    SpecialistConfig,
    StudentConfig,
)
from kd.distillation.task import specialist_task
from kd.specialists.clustering import Group, covariance
from kd.specialists.groups import check_groups, choose_groups, describe_group, resolve_groups
from kd.specialists.kind import TaskKind
from kd.tracking.combination import Combination, CombineOptions, Member, combine_specialists
from kd.tracking.pairs import Pair, distil, specialist_kind
from kd.tracking.workspace import Setting, prepare


def specialist(config: SpecialistConfig) -> None:
    """Train one specialist for each class group, guided by the generalist, and combine them with it."""
    setting = prepare("specialist", config)
    check_group_settings(config, setting)
    with guided_by_teacher("specialist", config, setting) as guided:
        report(guided, *train_specialists(config, guided))


def train_specialists(config: SpecialistConfig, guided: Guided) -> tuple[list[Pair], list[Combination]]:
    """Train the specialists of every seed, and combine those of each with the generalist."""
    groups = _groups(config, guided)
    pairs: list[Pair] = []
    combinations: list[Combination] = []
    for replicate, suffix in replicates(config):
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
    if kind == TaskKind.ALL:
        raise ValueError(f"{trained.name} is no specialist")
    return Member(trained.name, trained.run_id, trained.model, trained.task.group, kind, trained.task.own_fraction)


def _groups(config: SpecialistConfig, guided: Guided) -> dict[int, Group]:
    """Return the groups to train, by number, and draw how the generalist confuses their classes."""
    from kd.reports import plots  # noqa: PLC0415 - matplotlib is a slow import

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


def check_group_settings(config: SpecialistConfig, setting: Setting) -> None:
    """Refuse bad groups before any run is opened, as far as they can be known without a teacher."""
    check_top_n(config.top_n, setting)
    check_groups(config.groups, config.group, setting.dataset.name, setting.dataset.classes)
