"""One frozen configuration per command: the only place of a default, a bound and a field's description.

The command line's flags (:mod:`kd.cli`), MLproject's parameters (:mod:`kd.mlproject`) and MLflow's params are made
from these fields, and a test fails where they part.

    base           what every configuration can do
    fields         kinds of fields that many have
    images         which images, split how; what every command that computes has
    nets           a net and its recipe
    training       what every training has; ``kd teacher``
    students       ``kd student``
    specialists    ``kd specialist``, ``kd combine``, ``kd pipeline``
    search         ``kd tune``
    laboratory     ``kd paper``, ``kd results``
    models         ``kd predict``, ``kd export``
    upkeep         ``kd runs``, ``kd report``, ``kd targets``, ``kd doctor``
    settings_file  the file that ``--config`` names
"""

from kd.config.base import MAX_TOLD, Config, shown
from kd.config.fields import (
    MAX_SEEDS,
    SWITCH,
    TEACHER_PREFIX,
    Alpha,
    BatchSize,
    Count,
    Depth,
    Fraction,
    Rate,
    Seed,
    Share,
    Switch,
    T,
    Temperature,
    Width,
)
from kd.config.images import DataConfig, ImagesConfig, OutputConfig
from kd.config.laboratory import PaperConfig, ResultsConfig
from kd.config.models import ExportConfig, NamedModelConfig, PredictConfig
from kd.config.nets import NET_SETTINGS, SIZES, NetAndRecipe, NetArgs, NetName, net_name
from kd.config.search import DEFAULT_SPACE, MAX_STUDY_NAME, MAX_WORKERS, PARAMETERS, SecondObjective, TuneConfig
from kd.config.settings_file import MAX_SETTINGS_BYTES, load_settings
from kd.config.specialists import CombinationOptions, CombineConfig, PipelineConfig, SpecialistConfig, SpecialistOptions
from kd.config.students import OF_GIVEN_TEACHER, LossName, StudentConfig, Weight, numbers
from kd.config.training import ConfigT, TeacherConfig, TrainingConfig, with_teacher_fields
from kd.config.upkeep import DoctorConfig, ReportConfig, RunsConfig, TargetsConfig

__all__ = [
    "DEFAULT_SPACE",
    "MAX_SEEDS",
    "MAX_SETTINGS_BYTES",
    "MAX_STUDY_NAME",
    "MAX_TOLD",
    "MAX_WORKERS",
    "NET_SETTINGS",
    "OF_GIVEN_TEACHER",
    "PARAMETERS",
    "SIZES",
    "SWITCH",
    "TEACHER_PREFIX",
    "Alpha",
    "BatchSize",
    "CombinationOptions",
    "CombineConfig",
    "Config",
    "ConfigT",
    "Count",
    "DataConfig",
    "Depth",
    "DoctorConfig",
    "ExportConfig",
    "Fraction",
    "ImagesConfig",
    "LossName",
    "NamedModelConfig",
    "NetAndRecipe",
    "NetArgs",
    "NetName",
    "OutputConfig",
    "PaperConfig",
    "PipelineConfig",
    "PredictConfig",
    "Rate",
    "ReportConfig",
    "ResultsConfig",
    "RunsConfig",
    "SecondObjective",
    "Seed",
    "Share",
    "SpecialistConfig",
    "SpecialistOptions",
    "StudentConfig",
    "Switch",
    "T",
    "TargetsConfig",
    "TeacherConfig",
    "Temperature",
    "TrainingConfig",
    "TuneConfig",
    "Weight",
    "Width",
    "load_settings",
    "net_name",
    "numbers",
    "shown",
    "with_teacher_fields",
]
