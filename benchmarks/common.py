"""What the benchmarks share: nets and images, the machine's name, medians, tables, and JSON."""

import argparse
import json
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from kd.data.dataset import Split
from kd.data.load import load_dataset
from kd.data.views import Augmentation
from kd.errors import UserError
from kd.machine.memory import keep_freed_memory
from kd.nets.classifier import Classifier
from kd.nets.registry import net_spec
from kd.nets.resnet import ResNet
from kd.training.loop import Objective, Trainer
from kd.training.recipe import Recipe

CLASSES = 10
IMAGE_SHAPE = (3, 32, 32)
RANDOM = "random"
AUGMENTATION = Augmentation(shift_px=4, flip=True, seed=0)
Net = tuple[int, int] | str
"""Blocks per stage and width of kd's own net, or the name of another one, whose stem is made fit for small images."""


def parse(description: str | None, *, data: str = "", **more: tuple[str, str]) -> argparse.Namespace:
    """Return the arguments that all benchmarks take, with memory set as the commands set it.

    Args:
        description: description of the benchmark.
        data: the data set that it takes unless another is named; empty: it takes none.
        more: flags of the benchmark, each with its help and default.
    """
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--short", action="store_true", help="a quick pass that shows that it runs; its figures mean nothing")
    if data:
        parser.add_argument("--data", default=data, help="data set")
        parser.add_argument("--data-root", default="data", type=Path, help="folder of its files")
    for name, (text, default) in more.items():
        parser.add_argument(f"--{name}", default=default, help=text)
    return parser.parse_args()


def synthetic_split(images: int) -> Split:
    """Return random images of CIFAR's shape: their contents cost no time."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, *IMAGE_SHAPE), dtype=torch.uint8, generator=generator)
    return Split(pixels, torch.arange(images) % CLASSES, torch.arange(images))


def training_images(arguments: argparse.Namespace, images: int) -> Split:
    """Return ``images`` training images of the data set asked for, from all its classes, or fewer where it has fewer."""
    if arguments.data == RANDOM:
        return synthetic_split(images)
    try:
        train = load_dataset(arguments.data, arguments.data_root).train
    except UserError as error:
        raise SystemExit(str(error)) from error
    count = min(images, len(train))
    return train.select(torch.arange(count) * len(train) // count)  # spread, since a folder's images lie class by class


def classes_of(split: Split) -> int:
    """Return how many classes a split has."""
    return int(split.labels.max()) + 1


def create_net(net: Net, classes: int = CLASSES, channels: int = IMAGE_SHAPE[0]) -> Classifier:
    """Return a classifier of a net."""
    torch.manual_seed(0)
    if isinstance(net, str):
        made = net_spec(net, {"small_stem": True}).create(classes, channels)
    else:
        made = ResNet(classes, channels, *net)
    return Classifier(made, [0.5] * channels, [0.25] * channels)


def create_net_for(split: Split, net: Net) -> Classifier:
    """Return a classifier for the images and the classes of a split."""
    return create_net(net, classes_of(split), split.images.shape[1])


def create_trainer(net: Classifier, split: Split, objective: Objective, *, views: int = 0) -> Trainer:
    """Return the trainer of a net, for any number of epochs."""
    recipe = Recipe(epochs=10_000, batch_size=128, lr=1e-3, weight_decay=5e-4, seed=0, views=views)
    return Trainer(net, split, objective, recipe, AUGMENTATION)


def epoch_seconds(net: Net, split: Split, objective: Objective, *, views: int = 0) -> Callable[[], float]:
    """Return a function that trains a net for one more epoch, and returns the seconds that it took."""
    epochs = create_trainer(create_net_for(split, net), split, objective, views=views).epochs()
    return lambda: next(epochs).seconds


def alternate(measured: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure all in turn, round after round, and return the values of each; the first round warms up and is left out."""
    taken: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(rounds + 1):
        for name, measure in measured.items():
            value = measure()
            if number:
                taken[name].append(value)
    return taken


def spread(values: Sequence[float]) -> str:
    """Return the median of some values, with the smallest and the largest, as text."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def machine() -> str:
    """Name the machine."""
    models = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    name = models[0] if models else platform.processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print(f"{title}; {machine()}\n")
    for cells in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(cells)} |")


def write_json(path: Path | None, figures: dict[str, object]) -> None:
    """Write the figures to a file, if one is named."""
    if path is not None:
        path.write_text(json.dumps({"machine": machine(), **figures}, indent=2) + "\n", encoding="utf-8")
