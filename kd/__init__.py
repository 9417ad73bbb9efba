"""kd: knowledge distillation with specialists, after Hinton, Vinyals and Dean (2015), tracked in MLflow."""

from typing import TYPE_CHECKING

from kd.machine.lazy import loader

if TYPE_CHECKING:
    from kd import lab, losses, nets
    from kd.data.dataset import Dataset, Split
    from kd.data.load import load_dataset
    from kd.distillation.comparison import compare
    from kd.distillation.distil import cached_targets, distil, train
    from kd.distillation.loading import load
    from kd.distillation.saved import save
    from kd.distillation.specialise import combine, find_groups, specialise
    from kd.distillation.teacher import Teacher
    from kd.errors import UserError
    from kd.evaluation.predict import predict
    from kd.evaluation.scores import score
    from kd.machine.output import show_progress
    from kd.nets.classifier import Classifier
    from kd.tracking.track import track
    from kd.training.fit import fit
    from kd.training.loop import Trainer
    from kd.training.recipe import Recipe

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "Dataset",
    "Recipe",
    "Split",
    "Teacher",
    "Trainer",
    "UserError",
    "cached_targets",
    "combine",
    "compare",
    "distil",
    "find_groups",
    "fit",
    "lab",
    "load",
    "load_dataset",
    "losses",
    "nets",
    "predict",
    "save",
    "score",
    "show_progress",
    "specialise",
    "track",
    "train",
]

# Loaded when first used: `kd --help` must not wait for torch, nor a notebook for MLflow.
__getattr__ = loader(
    __name__,
    {
        "Classifier": "kd.nets.classifier",
        "Dataset": "kd.data.dataset",
        "Recipe": "kd.training.recipe",
        "Split": "kd.data.dataset",
        "Teacher": "kd.distillation.teacher",
        "Trainer": "kd.training.loop",
        "UserError": "kd.errors",
        "cached_targets": "kd.distillation.distil",
        "combine": "kd.distillation.specialise",
        "compare": "kd.distillation.comparison",
        "distil": "kd.distillation.distil",
        "find_groups": "kd.distillation.specialise",
        "fit": "kd.training.fit",
        "lab": "kd.lab",
        "load": "kd.distillation.loading",
        "load_dataset": "kd.data.load",
        "losses": "kd.losses",
        "nets": "kd.nets",
        "predict": "kd.evaluation.predict",
        "save": "kd.distillation.saved",
        "score": "kd.evaluation.scores",
        "show_progress": "kd.machine.output",
        "specialise": "kd.distillation.specialise",
        "track": "kd.tracking.track",
        "train": "kd.distillation.distil",
    },
)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
