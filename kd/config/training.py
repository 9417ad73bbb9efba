"""What every training has, and the generalist's: ``kd teacher``."""

from typing import Any, TypeVar

from pydantic import Field, create_model

from kd.config.base import Config
from kd.config.fields import TEACHER_PREFIX, Depth, Seed, Switch, Width
from kd.config.images import DataConfig
from kd.config.nets import NetAndRecipe
from kd.nets.names import LARGE
from kd.tracking.run_settings import CHECKPOINT_MINUTES
from kd.training.recipe import Recipe, SelectBy, Use

ConfigT = TypeVar("ConfigT", bound="Config")


class TrainingConfig(DataConfig):
    """What every training has beside its net and recipe."""

    seed: Seed = Field(Recipe.seed, description="seed of initial weights and of the order of images")
    use: Use = Field(Recipe.use, description="weights to use: of the best epoch on val, or of the last epoch")
    select_by: SelectBy = Field(
        Recipe.select_by,
        description="what the best epoch on val is chosen by: accuracy, balanced_accuracy (each class counts the same), or nll "
        "(cross-entropy)",
    )
    resume: Switch[bool] = Field(
        default=True, description="resume from the checkpoint of a stopped run of the same configuration"
    )
    export: Switch[bool] = Field(
        default=True,
        description="keep trained models as programs; --no-export keeps weights alone, of nets that can't be exported",
    )
    checkpoint_minutes: Switch[float] = Field(
        CHECKPOINT_MINUTES,
        gt=0,
        le=1e6,
        description="minutes after which a training is saved within an epoch, beside its end",
    )
    # No switch: its rounding is in the weights, and so it is in their fingerprint.
    compile: bool = Field(Recipe.compile, description="train with torch.compile; on a CPU it costs more time than it saves")


class TeacherConfig(NetAndRecipe, TrainingConfig):
    """Train the generalist on all classes: ``kd teacher``."""

    depth: Depth = LARGE["depth"]
    width: Width = LARGE["width"]


def with_teacher_fields(config: type[ConfigT]) -> type[ConfigT]:
    """Give a configuration the teacher's net and recipe too: each field of it with ``teacher_`` in front."""
    fields: dict[str, Any] = {}
    for name in NetAndRecipe.model_fields:
        field = TeacherConfig.model_fields[name]
        described = Field(field.default, description=f"teacher: {field.description}")
        fields[f"{TEACHER_PREFIX}{name}"] = (field.rebuild_annotation(), described)
    return create_model(config.__name__, __base__=config, __module__=config.__module__, __doc__=config.__doc__, **fields)
