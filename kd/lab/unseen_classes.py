"""Students that see only some classes, and biases that are then set: what two of the paper's experiments share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kd.errors import UserError
from kd.lab.bias import best_shift, shifted
from kd.lab.experiment import correct
from kd.lab.setup import Setup
from kd.lab.transfer_set import part_of

TEACHER, HARD, SOFT = "teacher", "student, hard targets", "student, soft targets"
VAL, TEST = "bias set on val", "bias set on test, as in the paper"
HARD_VAL, SOFT_VAL, SOFT_TEST = f"{HARD}, {VAL}", f"{SOFT}, {VAL}", f"{SOFT}, {TEST}"

MIN_CLASSES = 3
"""With fewer a student would see a single class, or all; a specialist would know all of them."""


@dataclass(frozen=True, eq=False)
class Unseen:
    """What came out of students that saw some classes alone."""

    correct: dict[str, Tensor]
    """Whether each system is right on each test image, (n,) bool."""
    parameters: dict[str, int]
    bias_on_val: float
    """What was added to the biases of soft targets' student."""
    bias_on_test: float


def check_classes(setup: Setup) -> None:
    """Refuse images of too few classes.

    Raises:
        UserError: there are fewer than three.
    """
    dataset = setup.dataset
    if dataset.num_classes < MIN_CLASSES:
        raise UserError(
            f"{dataset.name} has {dataset.num_classes} classes; this experiment needs {MIN_CLASSES} or more", field="data"
        )


def train_on_classes(setup: Setup, seed: int, seen: Sequence[int], biased: Sequence[int]) -> Unseen:
    """Train students on the images of some classes, with hard and with soft targets, in as many steps as on all images.

    The weights are those of the last epoch: one that is chosen on val would be chosen by images of the other classes, too.

    Args:
        setup: images, device and settings.
        seed: seed of the trainings.
        seen: the classes in the transfer set.
        biased: the classes whose biases are raised or lowered by one number afterwards.
    """
    dataset, recipe = setup.dataset, setup.recipe(seed, use="last")
    images, steps = part_of(setup.transfer, torch.isin(dataset.train.labels, torch.tensor(seen))), len(dataset.train)
    teacher = setup.teacher(seed)
    hard = setup.hard(seed, HARD, images=images, recipe=recipe, epoch_images=steps)
    soft = setup.soft(teacher, seed, SOFT, images=images, recipe=recipe, epoch_images=steps)
    hard_on_val, soft_on_val = (best_shift(one.val_logits, dataset.val.labels, biased) for one in (hard, soft))
    soft_on_test = best_shift(soft.test_logits, dataset.test.labels, biased)

    def right(logits: Tensor, bias: float) -> Tensor:
        return shifted(logits, biased, bias).argmax(dim=1) == dataset.test.labels

    return Unseen(
        correct={
            TEACHER: correct(teacher),
            HARD: correct(hard),
            SOFT: correct(soft),
            HARD_VAL: right(hard.test_logits, hard_on_val),
            SOFT_VAL: right(soft.test_logits, soft_on_val),
            SOFT_TEST: right(soft.test_logits, soft_on_test),
        },
        parameters={TEACHER: teacher.parameters, HARD: hard.parameters, SOFT: soft.parameters},
        bias_on_val=soft_on_val,
        bias_on_test=soft_on_test,
    )
