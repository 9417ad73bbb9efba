"""Section 3: the fewer units a student has, the lower the temperature that suits it."""

from kd.errors import UserError
from kd.lab.experiment import Contrast, Experiment, Measured, correct
from kd.lab.setup import Setup

TEMPERATURES = (1.0, 2.5, 4.0, 8.0, 20.0)
LOW, HIGH = 4.0, 20.0
"""The temperatures that are compared: one of the paper's best for narrow nets, and that for wide ones."""
SHARES = (0.0375, 0.125, 0.375, 1.0)
"""Widths as shares of the student's: the paper's 30, 100, 300 and 800 units."""


def run(setup: Setup, seed: int) -> Measured:
    """Distil one teacher into students of several widths, each at several temperatures."""
    widths = sorted({max(1, round(share * setup.settings.width)) for share in SHARES})
    if len(widths) == 1:
        raise UserError(f"{widths[0]}: this experiment compares students of several widths; give 2 or more", field="width")
    teacher = setup.teacher(seed)
    targets = setup.targets(teacher)
    right, parameters = {"teacher": correct(teacher)}, {"teacher": teacher.parameters}
    for width in widths:
        for temperature in TEMPERATURES:
            name = system(width, temperature)
            student = setup.soft(teacher, seed, name, net=setup.net(width=width), temperature=temperature, targets=targets)
            right[name], parameters[name] = correct(student), student.parameters
    narrow, *_, wide = widths
    return Measured(
        correct=right,
        contrasts=(
            Contrast(system(narrow, LOW), system(narrow, HIGH), "gain"),
            *(Contrast(system(width, LOW), system(width, HIGH)) for width in widths[1:-1]),
            Contrast(system(wide, LOW), system(wide, HIGH)),
        ),
        parameters=parameters,
    )


def system(width: int, temperature: float) -> str:
    """Return the name of a student."""
    return f"width {width}, T = {temperature:g}"


EXPERIMENT = Experiment(
    title="Temperature against width",
    section="section 3",
    claim="With 300 or more units per layer all temperatures above 8 do alike; with 30 units T from 2.5 to 4 does far better.",
    tried="One teacher, and students of several widths, each at five temperatures. T = 4 is compared with T = 20.",
    run=run,
    published_on="MNIST",
)
