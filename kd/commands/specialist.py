"""``kd specialist``: one specialist per class group, guided by the generalist, and combined with it."""

from collections.abc import Mapping
from typing import TypeVar

from torch import nn

from kd.commands.answer import Answer
from kd.commands.parent import Guided, finish, guided_by_teacher, replicates
from kd.commands.plan import plan_specialists
from kd.config import SpecialistConfig, SpecialistOptions
from kd.distillation.combination import Combination, CombinationJob, as_member
from kd.distillation.results import Trained
from kd.distillation.specialise import specialise_group, start_of_specialists
from kd.distillation.tracker import carry_out_combination
from kd.from_config import check_group_settings, distillation, groups_of, prepare, specialist_kind
from kd.specialists.clustering import Group, covariance
from kd.specialists.confusion import confusion

SpecialistT = TypeVar("SpecialistT", bound=SpecialistOptions)


def specialist(config: SpecialistConfig) -> Answer:
    """Train one specialist per class group, guided by the generalist, and combine them with it."""
    workspace = prepare("specialist", config)
    check_group_settings(config, workspace)
    with guided_by_teacher("specialist", config, workspace) as guided:
        return finish(guided.parent, workspace, guided.teacher, *train_specialists(guided), guided.config)


def train_specialists(guided: Guided[SpecialistT]) -> tuple[list[Trained], list[Combination]]:
    """Train the specialists of every seed, and combine those of each with the generalist."""
    config = guided.config
    groups = _groups(guided)
    guided.schedule.expect(plan_specialists(config, guided.workspace, groups))
    how = distillation(config, guided.workspace)
    first, kind = next(iter(groups.values())), specialist_kind(config)
    start = start_of_specialists(how, guided.teacher, first, kind) if config.init == "generalist" else None
    specialists: list[Trained] = []
    combinations: list[Combination] = []
    for replicate, suffix in replicates(config):
        trained = _train_groups(replicate, guided, groups, suffix, start)
        specialists += trained
        job = CombinationJob(
            f"combined{suffix}",
            guided.teacher,
            [as_member(one) for one in trained],
            config.dustbin_correction,
            config.top_n,
            guided.workspace.device,
            replicate.seed,
        )
        combinations.append(carry_out_combination(job))
    return specialists, combinations


def _train_groups(
    replicate: SpecialistOptions,
    guided: Guided[SpecialistT],
    groups: Mapping[int, Group],
    suffix: str,
    start: nn.Module | None,
) -> list[Trained]:
    """Train one specialist per group, with the seed of one replicate."""
    how = distillation(replicate, guided.workspace)
    return [
        specialise_group(
            how,
            guided.teacher,
            guided.targets,
            group,
            specialist_kind(replicate),
            replicate.own_fraction,
            number=number,
            suffix=suffix,
            start=start,
        )
        for number, group in groups.items()
    ]


def _groups(guided: Guided[SpecialistT]) -> dict[int, Group]:
    """Return the groups to train, by number, and draw how alike the generalist takes their classes to be."""
    from kd.reports import plots  # noqa: PLC0415 - matplotlib is a slow import

    config, dataset = guided.config, guided.workspace.dataset
    predictions = guided.teacher.val_logits.softmax(dim=1)
    groups, chosen = groups_of(config, guided.workspace, guided.teacher)
    guided.parent.log_tags({"kd.groups": ";".join(",".join(map(str, group)) for group in groups)})
    if config.group_by == "confusion":
        likeness, measure = confusion(predictions, dataset.val.labels), "mean probability of the wrong one of two classes"
    else:
        likeness, measure = covariance(predictions), "covariance of predicted probabilities"
    title = f"Groups of classes of {dataset.name}: the generalist on val, n = {len(dataset.val):,}"
    figure = plots.class_groups(likeness.numpy(), groups, dataset.classes, title, measure=measure)
    guided.parent.log_figure(figure, "3_groups")
    return chosen
