"""The number of cached views per image that is enough: a student's accuracy on val by number, beside a live teacher's.

``python benchmarks/views.py --data folder --data-root DIR --teacher RUN_ID``: the runs are those of the tracking store in
use; without a teacher one is trained first. Each student sees the same number of images, in two processes of one thread. A
student of no more epochs than views would see just what a live teacher's sees, and is refused.
"""

import contextlib
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from common import parse, show, spread, write_json

from kd.commands.teacher import teacher
from kd.config import StudentConfig, TeacherConfig
from kd.data.dataset import Dataset, Split
from kd.distillation.objectives import soft_objective
from kd.distillation.target_cache import targets_from_file
from kd.distillation.targets import CachedTargets, LiveTargets
from kd.distillation.task import whole_task
from kd.distillation.teacher import Teacher
from kd.evaluation.predict import predict
from kd.evaluation.scores import score
from kd.from_config import prepare
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet
from kd.tracking.teachers import load_teacher
from kd.tracking.workspace import Workspace
from kd.training.loop import Trainer
from kd.training.recipe import Recipe

LIVE = 0
SHORT = {"epochs": 2, "width": 4, "depth": 1}


@dataclass(frozen=True)
class Study:
    """The setting that all students share."""

    config: StudentConfig
    images: int
    """Images of the training split, at most."""


def val_accuracy(study: Study, views: int, seed: int) -> float:
    """Train a student whose epoch e sees view e mod ``views``, and return its accuracy on val after the last epoch."""
    config = study.config
    torch.set_num_threads(1)
    workspace = prepare("views", config)
    dataset = workspace.dataset
    guide = load_teacher(config.teacher, workspace)
    split = some_images(study, dataset)
    targets = LiveTargets(guide.model) if views == LIVE else cached(study, workspace, guide, split)
    torch.manual_seed(seed)
    net = ResNet(dataset.num_classes, dataset.image_shape[0], config.depth, config.width)
    trainer = Trainer(
        Classifier(net, dataset.mean, dataset.std),
        split,
        soft_objective(whole_task(dataset), targets, temperature=config.temperature, alpha=config.alpha),
        Recipe(config.epochs, config.batch_size, config.lr, config.weight_decay, seed, views),
        dataset.augmentation(config.data_seed),
    )
    for _ in trainer.epochs():
        pass
    return score(predict(trainer.model, dataset.val), dataset.val.labels).accuracy


def some_images(study: Study, dataset: Dataset) -> Split:
    """Return the training images of all students: the same ones, drawn at random."""
    rows = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))
    return dataset.train.select(rows[: study.images])


def cached(study: Study, workspace: Workspace, guide: Teacher, split: Split) -> CachedTargets:
    """Return the teacher's logits for most views: all are of one file, and a student of fewer looks at the first ones."""
    return targets_from_file(
        guide.model,
        split,
        workspace.dataset.augmentation(study.config.data_seed),
        views=study.config.views,
        data_digest=workspace.dataset.digest,
        split_name="train",
        root=workspace.output_dir / "targets",
        device=workspace.device,
    )


def measure(study: Study, views: tuple[int, ...], seeds: int) -> dict[int, list[float]]:
    """Return the accuracies of all students, by their number of views; the seeds are the same for each."""
    workspace = prepare("views", study.config)
    guide = load_teacher(study.config.teacher, workspace)
    cached(study, workspace, guide, some_images(study, workspace.dataset))
    tasks = [(study, number, seed) for seed in range(seeds) for number in views]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        accuracies = list(pool.map(val_accuracy, *zip(*tasks, strict=True)))
    taken: dict[int, list[float]] = {number: [] for number in views}
    for (_, number, _), accuracy in zip(tasks, accuracies, strict=True):
        taken[number].append(accuracy)
    return taken


def main() -> None:
    """Measure, and print the table."""
    arguments = parse(
        __doc__,
        data="digits",
        teacher=("RUN_ID or models:/NAME@ALIAS", ""),
        images=("training images of each student, at most", "10000"),
        views=("numbers of cached views, beside a live teacher's", "1,2,4,8,16"),
        epochs=("epochs of each student", "32"),
        seeds=("students of each number of views", "3"),
    )
    views, seeds = (
        ([1], 1) if arguments.short else ([int(number) for number in arguments.views.split(",")], int(arguments.seeds))
    )
    recipe = SHORT if arguments.short else {"epochs": int(arguments.epochs), "batch_size": 128, "lr": 0.2}
    if recipe["epochs"] <= max(views):
        raise SystemExit(f"--epochs {recipe['epochs']}: give more than {max(views)}, the most views")
    data = {"data": arguments.data, "data_root": str(arguments.data_root.resolve())}
    file = arguments.json and arguments.json.resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder if arguments.short else "."):
        guide = (
            arguments.teacher or teacher(TeacherConfig.parse({**data, **(SHORT if arguments.short else {})})).record["run_id"]
        )
        study = Study(StudentConfig.parse({**data, **recipe, "teacher": guide, "views": max(views)}), int(arguments.images))
        print_table(study, measure(study, (*views, LIVE), seeds), file)


def print_table(study: Study, taken: dict[int, list[float]], file: Path | None) -> None:
    """Print the table, and write the figures to a file, if one is named."""
    rows = [
        [
            str(number) if number else "live",
            spread(accuracies),
            spread([one - live for one, live in zip(accuracies, taken[LIVE], strict=True)]),
        ]
        for number, accuracies in taken.items()
    ]
    head = ["views", "accuracy on val", "less a live teacher's"]
    show(
        f"Students of {study.config.epochs} epochs on {study.config.data}: median (smallest to largest) of {len(taken[LIVE])}",
        head,
        rows,
    )
    write_json(file, {"val_accuracy": {str(number): accuracies for number, accuracies in taken.items()}})


if __name__ == "__main__":
    main()
