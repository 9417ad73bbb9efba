"""A reloaded teacher on a GPU: the same answers as on the CPU, students distilled from it, a combination, a search's trial.

On a machine without a GPU everything runs on the CPU. The trial needs pydantic and MLflow.
``python benchmarks/gpu.py [--parts reload,distil,combine,trial]``
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from common import parse, show, write_json

import kd
from kd.distillation.as_teacher import as_teacher
from kd.distillation.results import Trained
from kd.distillation.saved import SavedModel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GROUPS = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))


def reload(model: SavedModel, teacher: Trained) -> str:
    """Return how the answers of the reloaded teacher on the device differ from those of the trained one on the CPU."""
    images = teacher.dataset.test.images
    wanted = kd.predict(teacher.model.cpu().eval(), teacher.dataset.test)
    found = model.logits(images.to(DEVICE)).cpu()
    same = (found.argmax(dim=1) == wanted.argmax(dim=1)).double().mean()
    return f"largest difference of logits {(found - wanted).abs().max():.2g}, equal answers {100 * same:.1f} %"


def distil(model: SavedModel, teacher: Trained, recipe: kd.Recipe, views: int) -> str:
    """Return the accuracy of a student of the reloaded teacher."""
    student = kd.distil(model, "resnet", teacher.dataset, recipe, depth=1, width=8, views=views, control=False, device=DEVICE)
    return f"accuracy on test {100 * student.test.accuracy:.1f} %"


def combine(model: SavedModel, teacher: Trained, recipe: kd.Recipe) -> str:
    """Return the accuracy of the reloaded teacher combined with two specialists, and of the combination when it is reloaded."""
    specialists = kd.specialise(
        model, GROUPS, "resnet", teacher.dataset, recipe, depth=1, width=8, control=False, device=DEVICE
    )
    combination = kd.combine(model, specialists, device=DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        again = kd.load(kd.save(combination, Path(folder) / "combined.pt2"))
    again.module.to(DEVICE)
    test = teacher.dataset.test
    accuracy = (again.logits(test.images.to(DEVICE)).argmax(dim=1).cpu() == test.labels).double().mean()
    return f"accuracy on test {100 * combination.test.combined.accuracy:.1f} %, reloaded {100 * accuracy:.1f} %"


def trial(model: SavedModel, teacher: Trained, recipe: kd.Recipe) -> str:
    """Return what the objective of a search gives for one trial with the reloaded teacher."""
    from kd.config import TuneConfig  # noqa: PLC0415 - of pydantic, which a machine for computing may lack
    from kd.search.candidate import Candidate, Guide  # noqa: PLC0415 - the same
    from kd.tracking.workspace import Workspace  # noqa: PLC0415 - of MLflow

    config = TuneConfig(objective="student", epochs=recipe.epochs, depth=1, width=8, views=min(4, recipe.epochs), device=DEVICE)
    guide = as_teacher(model, teacher.dataset, torch.device(DEVICE))
    targets = kd.cached_targets(guide, views=config.views, device=DEVICE)
    workspace = Workspace("tune", teacher.dataset, torch.device(DEVICE), Path(), {})
    *_, last = Candidate(config, Guide(workspace, guide, targets, {})).epochs()
    return f"accuracy on val {100 * last['val/accuracy']:.1f} %"


def main() -> None:
    """Run the parts, and print the table."""
    arguments = parse(__doc__, parts=("parts to run, with commas between", "reload,distil,combine,trial"))
    digits = kd.load_dataset("digits")
    recipe = kd.Recipe(epochs=1 if arguments.short else 10)
    teacher = kd.train("resnet", digits, recipe, depth=1, width=8 if arguments.short else 32, device=DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        model = kd.load(kd.save(teacher, Path(folder) / "teacher.pt2"))
    model.module.to(DEVICE)
    parts: dict[str, Sequence[tuple[str, Callable[[], str]]]] = {
        "reload": [("reload", lambda: reload(model, teacher))],
        "distil": [
            ("distil, cached targets", lambda: distil(model, teacher, recipe, views=4)),
            ("distil, live teacher", lambda: distil(model, teacher, recipe, views=0)),
        ],
        "combine": [("combine", lambda: combine(model, teacher, recipe))],
        "trial": [("trial", lambda: trial(model, teacher, recipe))],
    }
    rows = []
    for part in arguments.parts.split(","):
        for name, act in parts[part]:
            started = time.perf_counter()
            told = act()
            rows.append([name, DEVICE, f"{time.perf_counter() - started:.1f}", told])
    show("A reloaded teacher", ["part", "device", "seconds", "what came out"], rows)
    write_json(arguments.json, {"device": DEVICE, "teacher": teacher.test.accuracy, "rows": rows})


if __name__ == "__main__":
    main()
