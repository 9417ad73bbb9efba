"""The growth of cost with images, classes, width, trials and workers, and where it stops being linear.

Each line has the cost of one unit, which is the same at every size for as long as the cost is linear. Random images of CIFAR's
shape; trials that train nothing, in a study on sqlite. ``python benchmarks/scale.py``
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from statistics import median

import optuna
import torch
from common import (
    IMAGE_SHAPE,
    alternate,
    create_net,
    create_trainer,
    epoch_seconds,
    parse,
    show,
    spread,
    synthetic_split,
    write_json,
)

from kd.config import TuneConfig
from kd.distillation.objectives import hard_objective
from kd.evaluation.predict import EVAL_BATCH_SIZE
from kd.nets.cost import count_multiply_adds
from kd.search.sampling import create_pruner
from kd.search.space import parse_space
from kd.search.storage import opened
from kd.specialists.eq5 import combine

NET: tuple[int, int] = (1, 16)
BENT = 0.25
"""Where a unit's cost differs by more than this share from that at the smallest size, the cost is no longer linear."""
GROUP_SIZE = 5
START_SECONDS = 300.0
"""Time after which processes that wait for others to be ready give up."""
LAST_TRIALS = 20
"""Number of last trials whose cost stands for a study of a size."""
TO_GFLOP = 6e-9
"""GFLOP of a step per multiply-add of a forward pass: two operations each, and a backward pass costs two forward ones."""


@dataclass(frozen=True)
class Sizes:
    """The sizes at which each axis is measured."""

    rounds: int
    images: Sequence[int]
    classes: Sequence[int]
    widths: Sequence[int]
    trials: Sequence[int]
    workers: Sequence[int]
    epoch: int
    """Images per epoch where something else grows."""


FULL = Sizes(3, (512, 2048, 8192, 32768), (10, 50, 100, 200), (8, 16, 32, 64), (50, 100, 200, 400), (1, 2), 1280)
SHORT = Sizes(1, (64, 128), (10, 20), (4, 8), (4, 8), (1, 2), 64)


@dataclass(frozen=True)
class Axis:
    """Something that grows, the unit of cost, and the seconds per unit at each size, one per measurement."""

    name: str
    unit: str
    costs: Mapping[int, list[float]]

    def bend(self) -> int | None:
        """Return the first size at which a unit costs another time than at the smallest size; None: there is none."""
        first = median(next(iter(self.costs.values())))
        return next((size for size, costs in self.costs.items() if abs(median(costs) / first - 1) > BENT), None)


def per_unit(measured: Mapping[int, Callable[[], float]], units: Callable[[int], float], rounds: int) -> dict[int, list[float]]:
    """Measure all sizes in turn, and return the cost of a unit at each."""
    taken = alternate({str(size): measure for size, measure in measured.items()}, rounds)
    return {size: [seconds / units(size) for seconds in taken[str(size)]] for size in measured}


def images_axis(sizes: Sizes) -> Axis:
    """Train on more and more images."""
    epochs = {size: epoch_seconds(NET, synthetic_split(size), hard_objective()) for size in sizes.images}
    return Axis("images, training", "image", per_unit(epochs, float, sizes.rounds))


def classes_axis(sizes: Sizes) -> Axis:
    """Train to tell more and more classes apart."""
    split = synthetic_split(sizes.epoch)

    def epoch(classes: int) -> Callable[[], float]:
        epochs = create_trainer(create_net(NET, classes), split, hard_objective()).epochs()
        return lambda: next(epochs).seconds

    measured = {size: epoch(size) for size in sizes.classes}
    return Axis("classes, training", "image", per_unit(measured, lambda _: len(split), sizes.rounds))


def combination_axis(sizes: Sizes) -> Axis:
    """Solve Eq. 5 for more and more classes, each in one specialist's group of five, each image calling one."""
    measured = {size: solving(size) for size in sizes.classes}
    return Axis("classes, Eq. 5", "image and class", per_unit(measured, lambda size: EVAL_BATCH_SIZE * size, sizes.rounds))


def solving(classes: int) -> Callable[[], float]:
    """Return a function that solves Eq. 5 for a batch of random answers, and returns the seconds that it took."""
    generator = torch.Generator().manual_seed(0)
    specialists = classes // GROUP_SIZE
    member = torch.zeros(specialists, classes, dtype=torch.bool)
    for number, row in enumerate(member):
        row[number * GROUP_SIZE : (number + 1) * GROUP_SIZE] = True
    generalist = torch.randn(EVAL_BATCH_SIZE, classes, generator=generator).softmax(dim=1)  # (B, C)
    own = torch.randn(EVAL_BATCH_SIZE, specialists, GROUP_SIZE + 1, generator=generator).softmax(dim=2)
    inside = torch.zeros(EVAL_BATCH_SIZE, specialists, classes)  # (B, M, C)
    inside[:, member] = own[:, :, :-1].reshape(EVAL_BATCH_SIZE, -1)
    active = member.T[generalist.argmax(dim=1)]  # (B, M)

    def measure() -> float:
        started = time.perf_counter()
        combine(generalist, inside, own[:, :, -1], member, active)
        return time.perf_counter() - started

    return measure


def width_axis(sizes: Sizes) -> Axis:
    """Train wider and wider nets."""
    split = synthetic_split(sizes.epoch)
    nets = {width: (NET[0], width) for width in sizes.widths}
    gflop = {width: TO_GFLOP * count_multiply_adds(create_net(net), IMAGE_SHAPE) for width, net in nets.items()}
    epochs = {width: epoch_seconds(net, split, hard_objective()) for width, net in nets.items()}
    return Axis("width, training", "GFLOP", per_unit(epochs, lambda width: len(split) * gflop[width], sizes.rounds))


def trials_axis(sizes: Sizes) -> Axis:
    """Run more and more trials that train nothing: what Optuna and its storage take."""
    config = TuneConfig()
    space = parse_space(config)
    taken: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        for axis in space:
            axis.suggest(trial)
        accuracy = trial.number * 0.618 % 1
        trial.report(accuracy, config.epochs - 1)
        if trial.should_prune():
            raise optuna.TrialPruned
        return accuracy

    with tempfile.TemporaryDirectory() as folder, opened(f"sqlite:///{folder}/optuna.db") as storage:
        sampler = optuna.samplers.TPESampler(seed=0)
        study = optuna.create_study(storage=storage, direction="maximize", sampler=sampler, pruner=create_pruner(config))
        for _ in range(max(sizes.trials)):
            started = time.perf_counter()
            study.optimize(objective, n_trials=1)
            taken.append(time.perf_counter() - started)
    return Axis("trials", "trial", {size: taken[max(0, size - LAST_TRIALS) : size] for size in sizes.trials})


def workers_axis(sizes: Sizes) -> Axis:
    """Train in more and more processes at once, each of one thread."""
    context = multiprocessing.get_context("spawn")
    costs = {}
    for workers in sizes.workers:
        barrier, results = context.Barrier(workers, timeout=START_SECONDS), []
        for _ in range(workers):
            result, sender = context.Pipe(duplex=False)
            work = (sizes.epoch, sizes.rounds, barrier, sender)
            context.Process(target=train_beside_others, args=work, daemon=True).start()
            sender.close()  # so that a process that dies is the end of its pipe
            results.append(result)
        costs[workers] = [seconds / sizes.epoch for result in results for seconds in result.recv()]
    return Axis("workers, training", "image of a worker", costs)


def train_beside_others(images: int, rounds: int, barrier: "Barrier", result: Connection) -> None:
    """Train in a process of its own, together with the others, and send the seconds of each epoch."""
    torch.set_num_threads(1)
    epoch = epoch_seconds(NET, synthetic_split(images), hard_objective())
    epoch()
    barrier.wait()
    result.send([epoch() for _ in range(rounds)])


def main() -> None:
    """Measure, and print the table."""
    arguments = parse(__doc__)
    sizes = SHORT if arguments.short else FULL
    axes = [measure(sizes) for measure in (images_axis, classes_axis, combination_axis, width_axis, trials_axis, workers_axis)]
    rows = [
        [axis.name, f"{size:,}", axis.unit, spread([1000 * cost for cost in costs])]
        for axis in axes
        for size, costs in axis.costs.items()
    ]
    show("Cost of a unit: median (smallest to largest)", ["what grows", "size", "unit", "ms per unit"], rows)
    print()
    for axis in axes:
        bend, last = axis.bend(), max(axis.costs)
        print(f"{axis.name}: " + (f"linear to {last:,}" if bend is None else f"no longer linear at {bend:,}"))
    figures = {
        "milliseconds_a_unit": {
            axis.name: {str(size): 1000 * median(costs) for size, costs in axis.costs.items()} for axis in axes
        },
        "no_longer_linear_at": {axis.name: axis.bend() for axis in axes},
    }
    write_json(arguments.json, dict(figures))


if __name__ == "__main__":
    main()
