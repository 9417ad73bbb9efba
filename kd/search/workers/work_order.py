"""What a worker is told when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from kd.errors import UserError
from kd.machine.output import Verbosity, verbosity
from kd.search.attributes import PARENT_RUN, study_attribute
from kd.search.session import Session
from kd.search.shared import Shared, read_shared
from kd.search.space import Axis
from kd.tracking.ready import tracking_uri


@dataclass(frozen=True)
class WorkOrder:
    """The study to run trials of, and the worker's place among others."""

    config: Mapping[str, Any]
    """The command's, with the run of the study's teacher and the study's name."""
    space: tuple[Axis, ...]
    shared: Shared
    parent_run: str
    """The study's."""
    number: int
    """The worker's, among those of its command."""
    leads: bool
    """Whether its command leads the study."""
    threads: int
    tracking_uri: str
    verbosity: Verbosity


def work_order(session: Session, number: int, *, leads: bool) -> WorkOrder:
    """Return the order of a worker, once the leader has found what all trials share."""
    shared, parent_run = read_shared(session.study), study_attribute(session.study, PARENT_RUN)
    if shared is None or parent_run is None:
        raise UserError(f"{session.study.study_name}: the study has lost what its trials share; give another name")
    return WorkOrder(
        config={**session.config.model_dump(), "teacher": shared.teacher},
        space=session.space,
        shared=shared,
        parent_run=parent_run,
        number=number,
        leads=leads,
        threads=threads_per_worker(session.config.workers),
        tracking_uri=tracking_uri(),
        verbosity=verbosity(),
    )


def threads_per_worker(workers: int) -> int:
    """Return the threads of each of so many workers: its share of those that this process may have."""
    return max(1, torch.get_num_threads() // workers)
