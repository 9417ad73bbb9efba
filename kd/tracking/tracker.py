"""The tracker that carries out the library's jobs in MLflow runs."""

from dataclasses import dataclass

from kd.distillation.combination import Combination, CombinationJob
from kd.distillation.job import Job
from kd.distillation.results import Trained
from kd.tracking.combination import combine_in_run
from kd.tracking.run_settings import RunSettings
from kd.tracking.training import train_in_run


@dataclass(frozen=True)
class MlflowTracker:
    """Carries out each job in a run of its own, below the run that is open; a :class:`~kd.distillation.tracker.Tracker`."""

    settings: RunSettings

    @property
    def exports(self) -> bool:
        """Whether it keeps trained models as programs."""
        return self.settings.export

    def train(self, job: Job, control: Trained | None) -> Trained:
        """Carry out a training in a run.

        Raises:
            UserError: the loss is not finite, or the tracking store can't be used.
        """
        return train_in_run(job, self.settings, control)

    def combine(self, job: CombinationJob) -> Combination:
        """Carry out a combination in a run.

        Raises:
            UserError: the tracking store can't be used.
        """
        return combine_in_run(job, self.settings)
