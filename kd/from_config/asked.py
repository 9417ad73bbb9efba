"""What a configuration asks for, in a word."""

import logging

from kd.config import DataConfig, SpecialistConfig, StudentConfig, TrainingConfig, TuneConfig
from kd.data.dataset import Dataset

log = logging.getLogger("kd")
FOLDER = "folder"


def exports(config: DataConfig) -> bool:
    """Return whether a command keeps models as programs."""
    return config.export if isinstance(config, TrainingConfig) else True


def learns_unlabelled(config: DataConfig) -> bool:
    """Return whether a command trains students, which learn from images without labels too, where there are some."""
    if isinstance(config, TuneConfig):
        return config.objective == "student"
    return isinstance(config, StudentConfig) and not isinstance(config, SpecialistConfig)


def data_digest(config: DataConfig, dataset: Dataset) -> str:
    """Return the digest of all images that decide what a command finds."""
    return dataset.transfer_digest if learns_unlabelled(config) else dataset.digest
