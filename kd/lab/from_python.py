"""An experiment of the paper from Python."""

import operator
from collections.abc import Iterable
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
    seeds: Iterable[int] = (0, 1, 2),
    device: str = "auto",
    **settings: object,
) -> Record:
    """Carry out an experiment of the paper; inside ``with kd.track(...)`` each training has an MLflow run.

    Args:
        name: one of ``kd.lab.NAMES``.
        dataset: the images; None: the embedded digits.
        seeds: the seeds of its replicates, one or more, which differ.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        settings: fields of :class:`~kd.lab.settings.Settings`, such as ``epochs`` and ``temperature``.

    Returns:
        What came out: systems, paired differences with intervals, and verdicts. ``write(folder)`` writes it as JSON.

    Raises:
        UserError: no such experiment or setting, a value out of bounds, no seed or one twice, or the experiment does not fit
            the images.
    """
    if name not in NAMES:
        raise UserError(f"{name!r} is no experiment; give one of {', '.join(NAMES)}", field="name")
    unknown = settings.keys() - {field.name for field in fields(Settings)}
    if unknown:
        known = ", ".join(field.name for field in fields(Settings))
        raise UserError(f"{min(unknown)}: no setting of an experiment; they are {known}", field="settings")
    own, chosen = Settings(**settings), _checked(seeds)  # type: ignore[arg-type] # Settings checks them
    return carry_out_experiment(name, Setup(dataset or load_dataset("digits"), resolve_device(device), own), chosen)


def _checked(seeds: Iterable[int]) -> list[int]:
    try:
        found = [operator.index(seed) for seed in seeds]
    except TypeError:
        raise UserError(f"{seeds!r}: expected whole numbers, such as range(5)", field="seeds") from None
    if not found:
        raise UserError("no seeds; give one or more", field="seeds")
    if len(set(found)) < len(found) or min(found) < 0:
        raise UserError(f"{found}: expected seeds that differ, 0 or more: each is a replicate of its own", field="seeds")
    return found
