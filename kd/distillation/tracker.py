"""The one place where tracking plugs in: a tracker carries out trainings and combinations inside its ``with`` block."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from kd.distillation.combination import Combination, CombinationJob, combine_job
from kd.distillation.job import Job, train_job
from kd.distillation.results import Trained


class Tracker(Protocol):
    """Carries out the same jobs as :func:`~kd.distillation.job.train_job`, and records them."""

    @property
    def exports(self) -> bool:
        """Whether it keeps trained models as programs."""

    def train(self, job: Job, control: Trained | None) -> Trained:
        """Carry out a training."""

    def combine(self, job: CombinationJob) -> Combination:
        """Carry out a combination."""


_tracker: ContextVar[Tracker | None] = ContextVar("tracker", default=None)


@contextmanager
def tracked_by(tracker: Tracker) -> Iterator[None]:
    """Have a tracker carry out all jobs that are given inside the ``with`` block."""
    token = _tracker.set(tracker)
    try:
        yield
    finally:
        _tracker.reset(token)


def is_exported() -> bool:
    """Return whether a tracker carries out what is asked for now and exports models, to keep them."""
    tracker = _tracker.get()
    return tracker is not None and tracker.exports


def carry_out(job: Job, control: Trained | None = None) -> Trained:
    """Carry out a training, by the tracker where there is one.

    Raises:
        UserError: the loss is not finite, or the tracker can't keep its record.
    """
    tracker = _tracker.get()
    return train_job(job, control) if tracker is None else tracker.train(job, control)


def carry_out_combination(job: CombinationJob) -> Combination:
    """Carry out a combination, by the tracker where there is one.

    Raises:
        UserError: the tracker can't keep its record.
    """
    tracker = _tracker.get()
    return combine_job(job) if tracker is None else tracker.combine(job)
