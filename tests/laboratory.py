"""The laboratory with nets and trainings so small that it is done in seconds, and notes of what is trained in it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from kd.data.dataset import Dataset
from kd.distillation.combination import Combination, CombinationJob, combine_job
from kd.distillation.job import Job, train_job
from kd.distillation.results import Trained
from kd.distillation.tracker import tracked_by
from kd.lab.experiment import carry_out_experiment
from kd.lab.names import ExperimentName
from kd.lab.record import Record
from kd.lab.settings import Settings
from kd.lab.setup import Setup

TINY = Settings(
    width=12, teacher_width=16, depth=1, teacher_depth=1, epochs=2, teacher_epochs=2, batch_size=16, lr=0.1, teacher_lr=0.1
)


@dataclass
class Notes:
    """Carries out jobs without a tracker, and notes them: a :class:`~kd.distillation.tracker.Tracker`."""

    exports: bool = False
    jobs: list[Job] = field(default_factory=list)
    trained: list[Trained] = field(default_factory=list)
    combined: list[Combination] = field(default_factory=list)

    def train(self, job: Job, control: Trained | None) -> Trained:
        """Carry out a training."""
        self.jobs.append(job)
        self.trained.append(train_job(job, control))
        return self.trained[-1]

    def combine(self, job: CombinationJob) -> Combination:
        """Carry out a combination."""
        self.combined.append(combine_job(job))
        return self.combined[-1]

    def job(self, name: str) -> Job:
        """Return the job of a name."""
        [found] = [job for job in self.jobs if job.name == name]
        return found

    def of(self, name: str) -> Trained:
        """Return the trained net of a name."""
        [found] = [trained for trained in self.trained if trained.name == name]
        return found


@dataclass(frozen=True)
class Done:
    """An experiment that was carried out with seed 0."""

    record: Record
    notes: Notes

    def errors(self, system: str) -> int:
        """Return the test errors of a system."""
        [row] = [row for row in self.record.rows if row.system == system]
        return row.errors[0]

    def figure(self, name: str) -> float:
        """Return a figure."""
        [found] = [figure for figure in self.record.figures if figure.name == name]
        return found.value.mean


@pytest.fixture(scope="session")
def tiny_setup(tiny_digits: Dataset) -> Setup:
    """Return some digits and tiny nets."""
    return Setup(tiny_digits, torch.device("cpu"), TINY)


@pytest.fixture(scope="session")
def carried_out(tiny_setup: Setup) -> Callable[[ExperimentName], Done]:
    """Return what carries out an experiment, once for all tests."""
    known: dict[ExperimentName, Done] = {}

    def carry_out(name: ExperimentName) -> Done:
        if name not in known:
            notes = Notes()
            with tracked_by(notes):
                known[name] = Done(carry_out_experiment(name, tiny_setup, [0]), notes)
        return known[name]

    return carry_out
