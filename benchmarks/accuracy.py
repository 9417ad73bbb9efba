"""Accuracy against the seconds of training: the generalist, and a student with and without distillation.

``python benchmarks/accuracy.py --figure FILE --seeds 3 --data folder --data-root DIR``, and any other flag of ``kd student``
that says what is trained, on what and how.
Each seed has a generalist of its own. The lines of the figure are accuracy on val after each epoch. Test is scored once for
each training, with the weights of the epoch that is best on val. What the teacher's targets take counts as distillation's.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from click import ClickException
from common import machine, show, spread, write_json
from matplotlib.figure import Figure
from torch import nn

from kd.cli import parse
from kd.config import StudentConfig
from kd.data.load import load_dataset
from kd.distillation.defaults import AUTO_TEACHER
from kd.distillation.job import Job, create_trainer, fit_job
from kd.distillation.plan import distillation_jobs
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.evaluation.predict import predict
from kd.evaluation.scores import score
from kd.flags import error_line
from kd.from_config import distillation, teacher_job, teacher_targets
from kd.machine.device import resolve_device
from kd.machine.memory import keep_freed_memory
from kd.reports.plots.style import INK, looks, new_figure, tidy
from kd.tracking.workspace import Workspace
from kd.training.fit import FitState

SYSTEMS = ("generalist", "student", "control")
SHORT = (
    *("--depth", "1", "--width", "4", "--epochs", "2", "--views", "1"),
    *("--teacher-depth", "1", "--teacher-width", "4", "--teacher-epochs", "2"),
)


@dataclass
class Curve:
    """How one training went."""

    seconds: list[float] = field(default_factory=list)
    """From its start to the end of each epoch, scoring not counted."""
    val_accuracy: list[float] = field(default_factory=list)
    test_accuracy: float = 0.0
    """Of the weights of the best epoch on val."""


def main() -> None:
    """Measure, draw, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--figure", type=Path, help="file for the figure, a PNG")
    parser.add_argument("--short", action="store_true", help="a quick pass that shows that it runs; its figures mean nothing")
    arguments, flags = parser.parse_known_args()
    keep_freed_memory()
    config = configured([*(SHORT if arguments.short else ()), *flags])
    runs: dict[str, list[Curve]] = {system: [] for system in SYSTEMS}
    for seed in range(config.seed, config.seed + config.seeds):
        for system, curve in train_all(config.model_copy(update={"seed": seed})).items():
            runs[system].append(curve)
    teacher = config.teacher_config()
    nets = {"generalist": (teacher.depth, teacher.width)}
    rows = [
        [
            system,
            str(nets.get(system, (config.depth, config.width))),
            str(len(curves[0].seconds)),
            spread([curve.seconds[-1] for curve in curves]),
            spread([100 * max(curve.val_accuracy) for curve in curves]),
            spread([100 * curve.test_accuracy for curve in curves]),
        ]
        for system, curves in runs.items()
    ]
    head = ["net", "(blocks per stage, width)", "epochs", "seconds", "best val accuracy (%)", "test accuracy (%)"]
    show(f"Accuracy on {config.data}: median (smallest to largest) of {config.seeds} seeds from {config.seed}", head, rows)
    if arguments.figure:
        draw(runs, config).savefig(arguments.figure)
    figures = {
        "test_accuracy": {system: [curve.test_accuracy for curve in curves] for system, curves in runs.items()},
        "seconds": {system: [curve.seconds for curve in curves] for system, curves in runs.items()},
        "val_accuracy": {system: [curve.val_accuracy for curve in curves] for system, curves in runs.items()},
        "settings": config.model_dump(),
    }
    write_json(arguments.json, dict(figures))


def configured(flags: Sequence[str]) -> StudentConfig:
    """Return the configuration of flags of ``kd student``."""
    try:
        config = cast("StudentConfig", parse("student", flags))
    except UserError as error:
        raise SystemExit(f"{sys.argv[0]}: {error_line(error)}") from None
    except ClickException as error:
        raise SystemExit(f"{sys.argv[0]}: {error}") from None
    if config.teacher != AUTO_TEACHER or config.use != "best":
        raise SystemExit("--teacher, --use: not taken, since each seed has a generalist of its own, whose best epoch counts")
    return config


def train_all(config: StudentConfig) -> dict[str, Curve]:
    """Train a generalist, a student that it guides, and the student's control, of one seed."""
    dataset = load_dataset(
        config.data, config.data_root, image_px=config.image_px, val_fraction=config.val_fraction, seed=config.data_seed
    )
    device = resolve_device(config.device)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace("benchmark", dataset, device, Path(folder), tags={})
        curve, teacher = generalist(config, workspace)
        started = time.perf_counter()
        targets = teacher_targets(config, workspace, teacher)
        filling = time.perf_counter() - started
        hard, soft = distillation_jobs(distillation(config, workspace), teacher, targets, teacher.task, label="student")
        return {"generalist": curve, "student": train(soft, filling)[0], "control": train(hard)[0]}


def generalist(config: StudentConfig, workspace: Workspace) -> tuple[Curve, Teacher]:
    """Train the generalist, and return it as a teacher."""
    curve, model = train(teacher_job(config.teacher_config(), workspace))
    return curve, Teacher(model, workspace.dataset)


def train(job: Job, before: float = 0.0) -> tuple[Curve, nn.Module]:
    """Train a job, ``before`` seconds after its beginning, and return how it went, and its best net on val."""
    trainer, _ = create_trainer(job)
    curve = Curve()
    seconds = before
    for epoch in fit_job(job, trainer, FitState()):
        seconds += epoch.train.seconds
        curve.seconds.append(seconds)
        curve.val_accuracy.append(epoch.val.accuracy)
    curve.test_accuracy = score(predict(trainer.model, job.task.test), job.task.test.labels).accuracy
    return curve, trainer.model


def draw(runs: dict[str, list[Curve]], config: StudentConfig) -> Figure:
    """Draw accuracy on val against seconds, a line a training, and at its end that on test."""
    seeds = f"n = {config.seeds} {'seed' if config.seeds == 1 else 'seeds'}"
    figure = new_figure(7.5, 4.5, f"Accuracy on {config.data} against seconds of training, {seeds}")
    axes = figure.subplots()
    for system, (colour, marker) in looks(runs).items():
        for number, curve in enumerate(runs[system]):
            label = f"{system}, val" if number == 0 else None
            axes.plot(curve.seconds, [100 * value for value in curve.val_accuracy], color=colour, linewidth=1.2, label=label)
        ends = [curve.seconds[-1] for curve in runs[system]]
        axes.scatter(
            ends,
            [100 * curve.test_accuracy for curve in runs[system]],
            color=colour,
            marker=marker,
            edgecolors="white",
            zorder=3,
            label=f"{system}, test (best epoch on val)",
        )
    axes.set_xlabel(f"seconds of training ({machine()})", fontsize=8, color=INK)
    axes.set_ylabel("accuracy (%)")
    axes.set_xlim(left=0)
    axes.legend(fontsize=8, frameon=False)
    tidy(axes, grid="both")
    return figure


if __name__ == "__main__":
    main()
