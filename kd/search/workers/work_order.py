"""What a worker is told when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from kd.search.attributes import PARENT_RUN, SHARED
from kd.search.session import Session
from kd.search.shared import Shared
from kd.tracking.ready import tracking_uri


@dataclass(frozen=True)
class WorkOrder:
    """The study to run trials of, and the worker's place among others."""

    config: Mapping[str, Any]
    """The command's, with the run of the study's teacher and the study's name."""
    groups: Mapping[str, list[int]]
    parent_run: str
    """The study's."""
    number: int
    """The worker's, among those of its command."""
    leads: bool
    """Whether its command leads the study."""
    threads: int
    tracking_uri: str


def work_order(session: Session, number: int, *, leads: bool) -> WorkOrder:
    """Return the order of a worker, once the leader has found what all trials share."""
    shared = Shared(**session.study.user_attrs[SHARED])
    return WorkOrder(
        config={**session.config.model_dump(), "teacher": shared.teacher},
        groups=shared.groups,
        parent_run=session.study.user_attrs[PARENT_RUN],
        number=number,
        leads=leads,
        threads=threads_per_worker(session.config.workers),
        tracking_uri=tracking_uri(),
    )


def threads_per_worker(workers: int) -> int:
    """Return the threads of each of so many workers: its share of those that this process may have."""
    return max(1, torch.get_num_threads() // workers)
