"""An experiment of the paper from Python."""

from collections.abc import Sequence
from dataclasses import fields

from kd.data.dataset import Dataset
from kd.data.load import load_dataset
from kd.errors import UserError
from kd.lab.experiment import carry_out_experiment
from kd.lab.names import NAMES, ExperimentName
from kd.lab.record import Record
from kd.lab.settings import Settings
from kd.lab.setup import Setup
from kd.machine.device import resolve_device


def run(
    name: ExperimentName,
    dataset: Dataset | None = None,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "auto",
    **settings: object,
) -> Record:
    """Carry out an experiment of the paper; inside ``with kd.track(...)`` each training has an MLflow run.

    Args:
        name: one of ``kd.lab.NAMES``.
        dataset: the images; None: the embedded digits.
        seeds: the seeds of its replicates, one or more.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        settings: fields of :class:`~kd.lab.settings.Settings`, such as ``epochs`` and ``temperature``.

    Returns:
        What came out: systems, paired differences with intervals, and verdicts. ``write(folder)`` writes it as JSON.

    Raises:
        UserError: no such experiment or setting, no seed, or the experiment does not fit the images.
    """
    if name not in NAMES:
        raise UserError(f"{name!r} is no experiment; give one of {', '.join(NAMES)}", field="name")
    unknown = settings.keys() - {field.name for field in fields(Settings)}
    if unknown:
        known = ", ".join(field.name for field in fields(Settings))
        raise UserError(f"{min(unknown)}: no setting of an experiment; they are {known}", field="settings")
    if not seeds:
        raise UserError("no seeds; give one or more", field="seeds")
    own = Settings(**settings)  # type: ignore[arg-type] # checked where they are used
    return carry_out_experiment(name, Setup(dataset or load_dataset("digits"), resolve_device(device), own), list(seeds))
