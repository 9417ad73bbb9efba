"""Section 5: specialists of confusable classes beside a generalist, against other ways to spend as much."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from torch import nn

from kd.data.batches import count_batches
from kd.data.dataset import Dataset
from kd.distillation.as_teacher import as_teacher
from kd.distillation.combination import Combination, CombinationJob, as_member
from kd.distillation.defaults import CORRECTION, OWN_FRACTION, TOP_N
from kd.distillation.plan import Distillation, targets_seen
from kd.distillation.results import Trained
from kd.distillation.specialise import find_groups, specialise_group
from kd.distillation.targets import TeacherTargets
from kd.distillation.teacher import Ensemble, Teacher
from kd.distillation.tracker import carry_out_combination
from kd.errors import UserError
from kd.lab.experiment import Contrast, Experiment, Measured, correct
from kd.lab.seeds import derived_seed
from kd.lab.setup import Setup
from kd.lab.unseen_classes import check_classes
from kd.nets.registry import NetSpec
from kd.specialists.clustering import MIN_GROUP_SIZE, check_auto
from kd.specialists.kind import TaskKind
from kd.training.recipe import Recipe

EPOCH_SHARE = 1 / 3
"""The specialists' epochs as a share of those of students: they start from the generalist."""
MAX_MEMBERS = 10
"""Generalists of an ensemble at most, whatever the number of specialists is."""
MAX_TEMPERATURE = 2.0
"""The specialists' temperature at most. The dustbin stands for many classes: its soft target is ``T log n`` above theirs for n
alike ones, which at T = 20 is more than any correction of its logit takes back."""
MIN_IMAGES = 30
"""Images with fewer of which a row of Table 4 says nothing."""

GENERALIST, DUSTBIN, FULL = "generalist", "with specialists", "with specialists of a full softmax"
TRAINED_ON, GUIDED_ON = "generalist trained on, hard targets", "generalist trained on, its own soft targets"
ENSEMBLE, BACK = "ensemble of generalists", "generalist distilled from the one with specialists"
COVERED, COVERED_WITH = "generalist: accuracy on covered classes, %", "with specialists: accuracy on covered classes, %"
TABLE_4 = ("0", "+3.4", "+7.4", "+8.8", "+10.5", "+11.1", "+11.3", "+12.8", "+13.6", "+16.6", "+14.1")
"""The paper's relative gains where as many specialists cover the class; the last is of 10 or more."""


def run(setup: Setup, seed: int) -> Measured:
    """Train a generalist, specialists that start from it, and what could have been trained at the same cost.

    - The generalist trained on: from its own weights, on all classes, in as many steps as all specialists of a kind together,
      with hard targets, and with its own soft targets beside them, as the specialists have.
    - An ensemble with further generalists, one for each specialist and so as many parameters; of ten nets at most, which has
      fewer where there are more than nine specialists.
    - The generalist distilled from itself with specialists: from its own weights, in as many steps again. It differs from the
      one that is trained on with its own soft targets in whose targets these are, and has a single net's parameters.
    """
    check_classes(setup)
    check_groups(setup)
    generalist = setup.teacher(seed, GENERALIST)
    images, net = replace(setup.transfer, unlabelled=None), setup.teacher_net()
    recipe = setup.recipe(seed, epochs=max(1, round(EPOCH_SHARE * setup.settings.epochs)))
    temperature = min(setup.settings.temperature, MAX_TEMPERATURE)
    how = Distillation(net, recipe, setup.device, temperature, setup.settings.alpha, control=False)
    guide = setup.on(generalist, images)
    targets = targets_seen(guide, how)
    specialists = {kind: _specialists(setup, how, guide, targets, kind) for kind in (TaskKind.DUSTBIN, TaskKind.FULL)}
    with_dustbin, with_full = (_combined(setup, guide, nets) for nets in specialists.values())
    alike: _Alike = {
        "images": images,
        "net": net,
        "recipe": recipe,
        "start": generalist.model,
        "epoch_images": sum(epoch_images(one) for one in specialists[TaskKind.DUSTBIN]),
    }
    trained_on = setup.hard(seed, TRAINED_ON, **alike)
    guided_on = setup.soft(generalist, seed, GUIDED_ON, temperature=temperature, targets=targets, **alike)
    combined = as_teacher(with_dustbin, images, setup.device)
    back = setup.soft(combined, seed, BACK, temperature=temperature, **alike)
    others = _others(setup, seed, len(specialists[TaskKind.DUSTBIN]))
    ensemble = Teacher(Ensemble([generalist.model, *(other.model for other in others)]).eval(), images, "trained")
    spent = {
        DUSTBIN: specialists[TaskKind.DUSTBIN],
        FULL: specialists[TaskKind.FULL],
        TRAINED_ON: [trained_on],
        GUIDED_ON: [guided_on],
        BACK: [back],
        ENSEMBLE: [other.trained for other in others if other.trained],
    }
    return Measured(
        correct={
            GENERALIST: correct(generalist),
            DUSTBIN: with_dustbin.after,
            FULL: with_full.after,
            TRAINED_ON: correct(trained_on),
            GUIDED_ON: correct(guided_on),
            ENSEMBLE: correct(ensemble),
            BACK: correct(back),
        },
        contrasts=(
            Contrast(DUSTBIN, GENERALIST, "gain"),
            *(Contrast(DUSTBIN, control) for control in (TRAINED_ON, GUIDED_ON, ENSEMBLE)),
            Contrast(FULL, GENERALIST),
            Contrast(FULL, DUSTBIN),
            Contrast(BACK, GENERALIST),
            Contrast(BACK, GUIDED_ON),
        ),
        parameters={
            GENERALIST: generalist.parameters,
            DUSTBIN: with_dustbin.parameters,
            FULL: with_full.parameters,
            TRAINED_ON: trained_on.parameters,
            GUIDED_ON: guided_on.parameters,
            ENSEMBLE: ensemble.parameters,
            BACK: back.parameters,
        },
        figures={
            COVERED: 100 * with_dustbin.test.generalist_conditional_accuracy,
            COVERED_WITH: 100 * with_dustbin.test.combined_conditional_accuracy,
            **_table_4(with_dustbin),
            **{f"{name}: steps": float(sum(map(steps, nets))) for name, nets in spent.items()},
            **{f"{name}: seconds of training": sum(one.seconds for one in nets) for name, nets in spent.items()},
        },
    )


def check_groups(setup: Setup) -> None:
    """Refuse a number of groups that the classes can't be shared out to.

    Raises:
        UserError: there are too few classes for so many groups, or one group would have all of them.
    """
    asked, classes = setup.settings.groups, setup.dataset.num_classes
    try:
        check_auto(asked or None, None, classes)
    except UserError:
        most = max(2, classes // MIN_GROUP_SIZE)
        wanted = "2" if most == 2 else f"2 to {most}"  # noqa: PLR2004 - the least
        raise UserError(f"{asked}: {classes} classes make {wanted} groups; give as many, or 0", field="groups") from None


class _Alike(TypedDict):
    """What the trainings have in common that start from the generalist and are on all classes."""

    images: Dataset
    net: NetSpec
    recipe: Recipe
    start: nn.Module
    epoch_images: int


def _specialists(
    setup: Setup, how: Distillation, generalist: Teacher, targets: TeacherTargets, kind: TaskKind
) -> list[Trained]:
    """Train a specialist of each group of classes that the generalist confuses, from its weights."""
    seed = how.recipe.seed
    groups = find_groups(generalist, count=setup.settings.groups or None, seed=seed, device=str(setup.device))
    return [
        specialise_group(
            how,
            generalist,
            targets,
            group,
            kind,
            OWN_FRACTION,
            number=number,
            suffix=f", {kind} seed {seed}",
            start=generalist.model,
        )
        for number, group in enumerate(groups)
    ]


def _combined(setup: Setup, generalist: Teacher, specialists: Sequence[Trained]) -> Combination:
    """Combine generalist and specialists by Eq. 5."""
    seed, kind = specialists[0].recipe.seed, specialists[0].task.kind
    members = [as_member(one) for one in specialists]
    name = f"combined, {kind} seed {seed}"
    return carry_out_combination(CombinationJob(name, generalist, members, CORRECTION, TOP_N, setup.device, seed))


def _others(setup: Setup, seed: int, count: int) -> list[Teacher]:
    """Train further generalists, which differ in their seeds alone."""
    numbers = range(1, min(count + 1, MAX_MEMBERS))
    return [setup.teacher(derived_seed(seed, number), f"{GENERALIST} {number + 1}") for number in numbers]


def _table_4(combination: Combination) -> dict[str, float]:
    """Return the relative gain in accuracy, in percent, by the number of specialists that cover the class."""
    rows = [row for row in combination.table if row.gain.n >= MIN_IMAGES and math.isfinite(row.gain.mean)]
    return {gain_where(row.cover): 100 * row.gain.mean for row in rows}


def gain_where(cover: int) -> str:
    """Return the name of a row of Table 4."""
    return f"relative gain where {cover} specialist{'s cover' if cover != 1 else ' covers'} the class, %"


def epoch_images(trained: Trained) -> int:
    """Return the number of images that an epoch of a training had."""
    rows = trained.task.epoch_rows(trained.recipe.seed)
    return len(trained.task.train) if rows is None else len(rows(0))


def steps(trained: Trained) -> int:
    """Return the number of steps that a training had."""
    return trained.recipe.epochs * count_batches(epoch_images(trained), trained.recipe.batch_size)


EXPERIMENT = Experiment(
    title="Specialists beside a generalist",
    section="section 5, Tables 3 and 4",
    claim="61 specialists take a generalist of 15,000 classes from 25.0 % to 26.1 %, and from 43.1 % to 45.9 % on the classes "
    "that they cover; the more specialists cover a class, the more is gained.",
    tried="Specialists start from the generalist's weights, one for each group of classes, with a third of the students' "
    "epochs, at T = 2 or below. In as many steps as all specialists of a kind have together, the generalist is "
    "trained on, and distilled from the one with specialists. The ensemble has one generalist more than there are "
    "specialists, but ten at most.",
    run=run,
    published_on="JFT",
    published={
        GENERALIST: "25.0 %",
        DUSTBIN: "26.1 %",
        COVERED: "43.1",
        COVERED_WITH: "45.9",
        **{gain_where(cover): gain for cover, gain in enumerate(TABLE_4)},
    },
)
