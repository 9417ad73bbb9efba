"""Section 2.1: at a high temperature distillation matches logits."""

import torch
from torch import Tensor

from kd.lab.experiment import Contrast, Experiment, Measured, correct
from kd.lab.setup import Setup
from kd.losses.choice import SoftLoss
from kd.losses.soft_targets import soft_loss

TEMPERATURES = (1.0, 4.0, 20.0, 100.0)

HARD, MATCHED = "student, hard targets", "student, logits matched"


def run(setup: Setup, seed: int) -> Measured:
    """Compare gradients on logits of val, and students that learn from soft targets at several temperatures or match logits."""
    teacher = setup.teacher(seed)
    targets = setup.targets(teacher)
    hard = setup.hard(seed, HARD)
    students = {
        at(temperature): setup.soft(teacher, seed, at(temperature), temperature=temperature, targets=targets)
        for temperature in TEMPERATURES
    }
    students[MATCHED] = setup.soft(teacher, seed, MATCHED, loss=SoftLoss("mse"), targets=targets)
    answers = {name: student.test_logits.argmax(dim=1) for name, student in students.items()}
    highest = at(max(TEMPERATURES))
    return Measured(
        correct={
            "teacher": correct(teacher),
            HARD: correct(hard),
            **{name: correct(student) for name, student in students.items()},
        },
        contrasts=(
            *(Contrast(at(temperature), MATCHED) for temperature in TEMPERATURES),
            Contrast(highest, HARD, "gain"),
            Contrast(MATCHED, HARD, "gain"),
        ),
        parameters={
            "teacher": teacher.parameters,
            HARD: hard.parameters,
            **{name: student.parameters for name, student in students.items()},
        },
        figures={
            **{
                distance_at(temperature): gradient_distance(hard.val_logits, teacher.val_logits, temperature)
                for temperature in TEMPERATURES
            },
            **{
                f"{name}: test images named as by the one that matches logits, %": float(
                    100 * (answers[name] == answers[MATCHED]).double().mean()
                )
                for name in map(at, TEMPERATURES)
            },
        },
    )


def at(temperature: float) -> str:
    """Return the name of a student of soft targets."""
    return f"student, T = {temperature:g}"


def distance_at(temperature: float) -> str:
    """Return the name of the figure of :func:`gradient_distance`."""
    return f"relative distance of the gradient at T = {temperature:g} from that of logit matching"


def gradient_distance(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """Return how far the gradient of ``T^2 KL`` is from its limit ``(v - z) / C``, as a share of the length of the limit.

    Args:
        student: logits v, (N, C).
        teacher: logits z, (N, C). The mean of each row is taken from both first: the limit is that of logits of mean zero.
        temperature: T > 0.
    """
    v, z = (logits.double() - logits.double().mean(dim=1, keepdim=True) for logits in (student, teacher))
    with torch.enable_grad():
        v.requires_grad_()
        (gradient,) = torch.autograd.grad(soft_loss(v, z, temperature).sum(), v)
    limit = (v.detach() - z) / v.shape[1]
    return float((gradient - limit).norm() / limit.norm())


EXPERIMENT = Experiment(
    title="High temperatures and logit matching",
    section="section 2.1",
    claim="Where T is high against the logits, and these have a mean of zero, the gradient of the soft targets' loss tends to "
    "(v - z) / (C T^2): distillation is then the matching of logits.",
    tried="Students at several temperatures, and one that matches logits. The distance is between the gradients of T^2 KL "
    "and of logit matching, at the logits that the student on hard targets has for val.",
    run=run,
    published={distance_at(max(TEMPERATURES)): "0 in the limit"},
)
