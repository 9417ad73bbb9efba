"""What of the gain of soft targets is dark knowledge: controls that take the rest of it away, piece by piece."""

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from kd.data.dataset import Split
from kd.distillation.targets import CachedTargets
from kd.errors import UserError
from kd.lab.experiment import Contrast, Experiment, Measured, correct
from kd.lab.setup import Setup

TEACHER, HARD, SOFT = "teacher", "student, hard targets", "student, soft targets"
SMOOTHED = "student, labels smoothed as strongly"
WITHIN, AMONG = "student, soft targets shuffled within each class", "student, soft targets shuffled among all images"


def run(setup: Setup, seed: int) -> Measured:
    """Distil a teacher whose targets are true, shuffled, or the same for all images of a class, with one loss and alpha.

    - Smoothed labels: each label has the mean probability that the teacher gives the labels at T, and all other classes share
      the rest evenly. Nothing of the teacher is left but its confidence.
    - Shuffled within each class: each image has the targets of another one of its class. What is left is how alike classes are.
    - Shuffled among all: each image has the targets of another one, mostly of another class. Nothing right is left, and the
      student has to learn from the hard targets' share of the loss.
    """
    if setup.settings.views == 0:
        raise UserError("0: this experiment shuffles cached targets, and there are none; give 1 or more", field="views")
    images = replace(setup.transfer, unlabelled=None)
    teacher = setup.teacher(seed)
    known = cast("CachedTargets", setup.targets(teacher, images))  # of one view or more
    logits, train, temperature = all_logits(known, images.train), images.train, setup.settings.temperature
    altered = {
        SMOOTHED: ("the same for each image of a class", smoothed(logits, train.labels, temperature)),
        WITHIN: ("shuffled within each class", logits[:, shuffled_within(train.labels, seed)]),
        AMONG: ("shuffled among all images", logits[:, torch.randperm(len(train), generator=_generator(seed))]),
    }
    students = {
        HARD: setup.hard(seed, HARD, images=images),
        SOFT: setup.soft(teacher, seed, SOFT, images=images, targets=known),
    }
    for name, (how, changed) in altered.items():
        targets = CachedTargets(changed, train.index)
        students[name] = setup.soft(teacher, seed, name, images=images, targets=targets, altered=how)
    return Measured(
        correct={TEACHER: correct(teacher), **{name: correct(student) for name, student in students.items()}},
        contrasts=(
            Contrast(SOFT, HARD, "gain"),
            Contrast(SOFT, SMOOTHED, "gain"),
            Contrast(SOFT, WITHIN),
            Contrast(SOFT, AMONG, "gain"),
            Contrast(WITHIN, SMOOTHED),
            Contrast(SMOOTHED, HARD),
        ),
        parameters={TEACHER: teacher.parameters, **{name: student.parameters for name, student in students.items()}},
        figures={"mean probability of the label at T": label_probability(logits, train.labels, temperature)},
    )


def all_logits(targets: CachedTargets, split: Split) -> Tensor:
    """Return a teacher's logits for each image of a split in each view, (K, N, C)."""
    return torch.stack([targets.lookup(split.index, view) for view in range(targets.views)])


def label_probability(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """Return the mean probability at T of the label: of logits (K, N, C) and labels (N,)."""
    probabilities = (logits / temperature).softmax(dim=2)  # (K, N, C)
    return float(probabilities.gather(2, labels.expand(len(logits), -1)[:, :, None]).double().mean())


def smoothed(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return logits (K, N, C) whose softmax at T gives each label the mean probability of all, and the rest to all others."""
    own, classes = label_probability(logits, labels, temperature), logits.shape[2]
    odds = own * (classes - 1) / (1 - own)
    changed = torch.zeros_like(logits)
    return changed.scatter_(2, labels.expand(len(logits), -1)[:, :, None], temperature * math.log(odds))


def shuffled_within(labels: Tensor, seed: int) -> Tensor:
    """Return rows (N,) in another order, in which each place has a row of the class that it had."""
    order, generator = torch.arange(len(labels)), _generator(seed)
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero()[:, 0]
        order[rows] = rows[torch.randperm(len(rows), generator=generator)]
    return order


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


EXPERIMENT = Experiment(
    title="Controls: what of the gain is dark knowledge",
    section="section 1",
    claim="The relative probabilities of wrong answers say how the teacher generalises: soft targets do better than what is "
    "left of them without these.",
    tried="Students of one loss and alpha. Their soft targets are the teacher's own; or the same for all images of a class, "
    "with the label's mean probability at T for the label and the rest shared evenly; or those of another image, of "
    "the same class or of any.",
    run=run,
)
