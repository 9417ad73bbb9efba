"""What this process knows of runs, so that it need not ask a store that may be away."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlflow.entities import Run as Entity

from kd.tracking.earlier import find_run
from kd.tracking.outbox.delivery import FILES_OF
from kd.tracking.outbox.outbox import is_store_away


@dataclass
class Known:
    """What this process knows of a run, so that it need not ask a store that may be away."""

    experiment_id: str = ""
    name: str = ""
    files_of: str = ""
    is_new: bool = False
    """Whether this process opened it, so that it has no params and metrics but these."""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    """What was resumed and reused in it, a line each."""


RUNS: dict[str, Known] = {}
"""By the ids of runs."""


def known_of(run_id: str) -> Known:
    """Return what is known of a run, be it nothing."""
    return RUNS.setdefault(run_id, Known())


def looked_up(run_id: str) -> Known:
    """Return what is known of a run; the store is asked where nothing is."""
    known = known_of(run_id)
    if not known.experiment_id:
        note_known(known, find_run(run_id))
    return known


def note_known(known: Known, run: Entity) -> None:
    """Note what the store says of a run."""
    known.experiment_id, known.name = str(run.info.experiment_id), str(run.info.run_name)
    known.files_of = run.data.tags.get(FILES_OF, "")
    known.params, known.metrics = dict(run.data.params), dict(run.data.metrics)


def run_name(run_id: str) -> str:
    """Return the name of a run."""
    return known_of(run_id).name or looked_up(run_id).name


def run_metrics(run_id: str) -> dict[str, float]:
    """Return the last value of each metric of a run."""
    known = known_of(run_id)
    return dict(known.metrics if _is_all_known(known) else find_run(run_id).data.metrics)


def _is_all_known(known: Known) -> bool:
    """Return whether this process knows the params and metrics of a run: it made it, or saw it when the store was there."""
    return known.is_new or (bool(known.experiment_id) and is_store_away())


def run_params(run_ids: Sequence[str]) -> dict[str, str]:
    """Return the params of runs; where several differ in one, all their values, with commas between."""
    values: dict[str, list[str]] = {}
    for run_id in run_ids:
        known = known_of(run_id)
        for name, value in (known.params if _is_all_known(known) else find_run(run_id).data.params).items():
            values.setdefault(name, []).append(value)
    return {name: ",".join(dict.fromkeys(texts)) for name, texts in values.items()}
