"""Section 3: a small net trained with soft targets makes far fewer errors than the same net on hard targets."""

from kd.lab.experiment import Contrast, Experiment, Measured, correct
from kd.lab.setup import Setup

TEACHER, HARD, SOFT = "teacher", "student, hard targets", "student, soft targets"


def run(setup: Setup, seed: int) -> Measured:
    """Train a teacher, a student on hard targets, and the same student on the teacher's soft targets."""
    teacher = setup.teacher(seed)
    hard, soft = setup.hard(seed, HARD), setup.soft(teacher, seed, SOFT)
    return Measured(
        correct={TEACHER: correct(teacher), HARD: correct(hard), SOFT: correct(soft)},
        contrasts=(Contrast(SOFT, HARD, "gain"), Contrast(TEACHER, HARD, "gain"), Contrast(SOFT, TEACHER)),
        parameters={TEACHER: teacher.parameters, HARD: hard.parameters, SOFT: soft.parameters},
    )


EXPERIMENT = Experiment(
    title="Soft targets against hard targets",
    section="section 3",
    claim="A student makes 146 test errors on hard targets, and 74 with soft targets at T = 20; its teacher makes 67.",
    tried="One teacher, and one student twice with the same seed: on hard targets alone, and on the teacher's soft targets "
    "beside them.",
    run=run,
    published_on="MNIST",
    published={TEACHER: "67 of 10,000", HARD: "146 of 10,000", SOFT: "74 of 10,000"},
)
