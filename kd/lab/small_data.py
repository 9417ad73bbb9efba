"""Section 6: soft targets let a net learn from a few images what hard targets make it learn by heart."""

from torch import Tensor

from kd.distillation.results import Trained
from kd.evaluation.predict import predict
from kd.lab.experiment import Contrast, Experiment, Measured, correct
from kd.lab.setup import Setup
from kd.lab.transfer_set import share_of

PERCENT = (3, 10, 30)

ALL = "all images, hard targets"


def run(setup: Setup, seed: int) -> Measured:
    """Train on all images with hard targets, and on shares of them with hard and with soft targets.

    The soft targets are those of a teacher of all images. Each training has as many steps. With hard targets the best epoch on
    val is used, which is early stopping; with soft targets the last one.
    """
    steps = len(setup.dataset.train)
    teacher = setup.teacher(seed)
    nets = {ALL: setup.hard(seed, ALL)}
    for percent in PERCENT:
        images = share_of(setup.transfer, percent / 100, seed)
        nets[hard(percent)] = setup.hard(seed, hard(percent), images=images, epoch_images=steps)
        nets[soft(percent)] = setup.soft(
            teacher, seed, soft(percent), images=images, recipe=setup.recipe(seed, use="last"), epoch_images=steps
        )
    return Measured(
        correct={"teacher": correct(teacher), **{name: correct(net) for name, net in nets.items()}},
        contrasts=(
            *(Contrast(soft(percent), hard(percent), "gain") for percent in PERCENT),
            *(Contrast(soft(percent), ALL) for percent in PERCENT),
        ),
        parameters={"teacher": teacher.parameters, **{name: net.parameters for name, net in nets.items()}},
        figures={on_train(name): float(100 * right_on_train(net).double().mean()) for name, net in nets.items()},
    )


def hard(percent: int) -> str:
    """Return the name of the net that learns from some images and hard targets, with early stopping."""
    return f"{percent} % of the images, hard targets, early stopping"


def soft(percent: int) -> str:
    """Return the name of the net that learns from some images and soft targets, to the end."""
    return f"{percent} % of the images, soft targets"


def on_train(system: str) -> str:
    """Return the name of a net's accuracy on the images that it learned from."""
    return f"{system}: accuracy on its training images, %"


def right_on_train(net: Trained) -> Tensor:
    """Return whether a net is right on each image that it learned from, (n,) bool."""
    return predict(net.model, net.task.train).argmax(dim=1) == net.task.train.labels


EXPERIMENT = Experiment(
    title="Soft targets as regularisers",
    section="section 6",
    claim="With hard targets and early stopping 3 % of the data give 44.5 % of test frames where all of it gives 58.9 %; with "
    "soft targets, and no early stopping, they give 57.0 %.",
    tried="The teacher sees all images, and all students have as many steps. With hard targets the best epoch on val is "
    "used, which is early stopping; with soft targets the last one.",
    run=run,
    published_on="speech",
    published={
        ALL: "58.9 % of frames",
        hard(3): "44.5 % of frames",
        soft(3): "57.0 % of frames",
        on_train(ALL): "63.4",
        on_train(hard(3)): "67.3",
        on_train(soft(3)): "65.4",
    },
)
