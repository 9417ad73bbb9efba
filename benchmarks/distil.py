"""The cost of a distilled epoch, with cached targets and with a live teacher, beside a plain one.

Random images of CIFAR's shape, or those of ``--data``, batches of 128; students on all classes. The three are measured in
turn, after the filling, which is done once. ``python benchmarks/distil.py``
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import (
    AUGMENTATION,
    RANDOM,
    Net,
    alternate,
    classes_of,
    create_net_for,
    epoch_seconds,
    parse,
    show,
    spread,
    training_images,
    write_json,
)

from kd.data.dataset import Split
from kd.distillation.objectives import hard_objective, soft_objective
from kd.distillation.target_cache import targets_from_file
from kd.distillation.targets import CachedTargets, LiveTargets
from kd.distillation.task import Task
from kd.specialists.kind import TaskKind

PAIRS: dict[str, tuple[Net, Net]] = {
    "(3, 16) <- (3, 32)": ((3, 16), (3, 32)),
    "(1, 16) <- (3, 32)": ((1, 16), (3, 32)),
    "mobilenet_v3_small <- (3, 32)": ("torchvision:mobilenet_v3_small", (3, 32)),
}
VIEWS = 2


def task_of(split: Split) -> Task:
    """Return the task of a student on all classes."""
    classes = classes_of(split)
    names = tuple(map(str, range(classes)))
    return Task(
        kind=TaskKind.ALL, group=tuple(range(classes)), num_classes=classes, classes=names, train=split, val=split, test=split
    )


def filled(teacher: torch.nn.Module, split: Split) -> tuple[CachedTargets, float]:
    """Return a teacher's cached logits, and the seconds per view that they took."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        targets = targets_from_file(
            teacher,
            split,
            AUGMENTATION,
            views=VIEWS,
            data_digest="random",
            split_name="train",
            root=Path(folder),
            device="cpu",
        )
        return targets, (time.perf_counter() - started) / VIEWS


def main() -> None:
    """Measure, and print the table."""
    arguments = parse(__doc__, data=RANDOM)
    images, rounds = (256, 1) if arguments.short else (1280, 5)
    split = training_images(arguments, images)
    task = task_of(split)
    rows: list[list[str]] = []
    figures: dict[str, dict[str, float]] = {"cached_over_plain": {}, "live_over_cached": {}, "filling_seconds_a_view": {}}
    for name, (student, teacher_net) in PAIRS.items():
        teacher = create_net_for(split, teacher_net).eval()
        cached, filling = filled(teacher, split)
        taken = alternate(
            {
                "plain": epoch_seconds(student, split, hard_objective(), views=VIEWS),
                "cached": epoch_seconds(student, split, soft_objective(task, cached, temperature=4, alpha=0.9), views=VIEWS),
                "live": epoch_seconds(student, split, soft_objective(task, LiveTargets(teacher), temperature=4, alpha=0.9)),
            },
            rounds,
        )
        cached_over_plain = [a / b for a, b in zip(taken["cached"], taken["plain"], strict=True)]
        live_over_cached = [a / b for a, b in zip(taken["live"], taken["cached"], strict=True)]
        figures["cached_over_plain"][name] = statistics.median(cached_over_plain)
        figures["live_over_cached"][name] = statistics.median(live_over_cached)
        figures["filling_seconds_a_view"][name] = filling
        seconds = [spread(taken[kind]) for kind in ("plain", "cached", "live")]
        rows.append([name, *seconds, f"{filling:.3g}", spread(cached_over_plain), spread(live_over_cached)])
    head = ["student <- teacher", "plain", "cached", "live", "filling, a view (once)", "cached / plain", "live / cached"]
    show(f"Seconds an epoch of {len(split):,} images: median (smallest to largest) of {rounds}", head, rows)
    write_json(arguments.json, dict(figures))


if __name__ == "__main__":
    main()
