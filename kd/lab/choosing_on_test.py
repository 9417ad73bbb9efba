"""Not in the paper: what is gained on paper where the best epoch is chosen on test, as many published numbers are."""

from kd.distillation.tracker import tracked_by
from kd.lab.experiment import Contrast, Experiment, Measured, correct
from kd.lab.inflation import EpochKeeper, best_on_test
from kd.lab.setup import Setup

NETS = HARD, SOFT = "hard targets", "soft targets"
WAYS = LAST, VAL, TEST = "last epoch", "best epoch on val", "best epoch on test"


def run(setup: Setup, seed: int) -> Measured:
    """Train one student with hard and one with soft targets, and use of each training the epoch that each way chooses."""
    teacher = setup.teacher(seed)
    keeper = EpochKeeper()
    with tracked_by(keeper):
        trained = {HARD: setup.hard(seed, HARD), SOFT: setup.soft(teacher, seed, SOFT)}
    right, epochs = {"teacher": correct(teacher)}, {}
    for net, one in trained.items():
        by_epoch = keeper.correct(one)
        chosen = {LAST: len(by_epoch) - 1, VAL: one.chosen_epoch - 1, TEST: best_on_test(by_epoch)}
        right.update({system(net, way): by_epoch[number] for way, number in chosen.items()})
        epochs.update({f"{system(net, way)}: its number": float(number + 1) for way, number in chosen.items()})
    return Measured(
        correct=right,
        contrasts=(
            *(Contrast(system(net, TEST), system(net, VAL)) for net in NETS),
            *(Contrast(system(net, VAL), system(net, LAST)) for net in NETS),
            *(Contrast(system(SOFT, way), system(HARD, way)) for way in WAYS),
        ),
        parameters={"teacher": teacher.parameters, **{system(net, VAL): one.parameters for net, one in trained.items()}},
        figures=epochs,
        on_test=frozenset(system(net, TEST) for net in NETS),
    )


def system(net: str, way: str) -> str:
    """Return the name of a net whose epoch was chosen in some way."""
    return f"{net}, {way}"


EXPERIMENT = Experiment(
    title="What choosing on test pretends",
    section="no section",
    claim="The paper says nothing of it, and set a bias on test (section 3). The best of many epochs on test is better "
    "there than on other images.",
    tried="One training with hard and one with soft targets. Of each the weights of three epochs are scored: the last one, "
    "the best on val, and the best on test.",
    run=run,
)
