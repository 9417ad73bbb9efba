"""Section 3: a student learns a class that it never saw from what soft targets of other images say of it."""

from kd.lab.experiment import Contrast, Experiment, Measured
from kd.lab.record import PART
from kd.lab.setup import Setup
from kd.lab.unseen_classes import HARD, HARD_VAL, SOFT, SOFT_TEST, SOFT_VAL, TEST, VAL, check_classes, train_on_classes

LEFT_OUT = 3
"""The paper's class; where there are too few, the last one is left out."""

BIAS_VAL, BIAS_TEST = f"{VAL}, raised by", f"{TEST}, raised by"


def run(setup: Setup, seed: int) -> Measured:
    """Leave a class out of the transfer set, train with hard and with soft targets, and raise the class's bias."""
    check_classes(setup)
    missing = min(LEFT_OUT, setup.dataset.num_classes - 1)
    seen = [label for label in range(setup.dataset.num_classes) if label != missing]
    found = train_on_classes(setup, seed, seen, [missing])
    of_class = setup.dataset.test.labels == missing
    pairs = ((SOFT, HARD), (SOFT_VAL, SOFT), (SOFT_VAL, HARD_VAL))
    return Measured(
        correct={**found.correct, **{on_class(system): right[of_class] for system, right in found.correct.items()}},
        contrasts=(
            *(Contrast(after, before, "gain") for after, before in pairs),
            *(Contrast(on_class(after), on_class(before), "gain") for after, before in pairs),
        ),
        parameters=found.parameters,
        figures={BIAS_VAL: found.bias_on_val, BIAS_TEST: found.bias_on_test},
        on_test=frozenset({SOFT_TEST, on_class(SOFT_TEST)}),
    )


def on_class(system: str) -> str:
    """Return the name of a system's row on the images of the class that was left out."""
    return f"{system}{PART}the missing class alone"


EXPERIMENT = Experiment(
    title="A class that the student never saw",
    section="section 3",
    claim="Without a 3 in the transfer set the student makes 206 errors, 133 of them on the 1,010 threes; with the bias of the "
    "3 raised by 3.5, a number that was chosen on test, it makes 109, 14 of them on threes.",
    tried="The teacher sees all classes; students see all but one, in as many steps as on all images, and have the weights "
    "of the last epoch. Then one number is added to that class's bias: the one that makes the fewest errors on val "
    "and, as in the paper, on test.",
    run=run,
    published_on="MNIST",
    published={
        SOFT: "206 of 10,000",
        on_class(SOFT): "133 of 1,010",
        SOFT_TEST: "109 of 10,000",
        on_class(SOFT_TEST): "14 of 1,010",
        BIAS_TEST: "3.5",
    },
)
