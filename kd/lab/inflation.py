"""The weights of each epoch of a training, kept to be scored on test once it has ended: what choosing on test pretends.

An epoch that is the best of many on test is better there than on other images. No code that chooses anything can import this
module: a contract in ``pyproject.toml`` lets in the one experiment that shows how much better.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from kd.distillation.combination import Combination, CombinationJob, combine_job
from kd.distillation.job import Job, create_trainer, fit_job, score_job, show_epoch
from kd.distillation.results import Trained
from kd.evaluation.predict import predict
from kd.evaluation.scores import Scores
from kd.machine.progress import Progress
from kd.training.fit import FitState


class EpochKeeper:
    """Carries out trainings, in memory, and keeps the weights of each epoch: a :class:`~kd.distillation.tracker.Tracker`.

    Neither the trainings nor what comes of their epochs is tracked.
    """

    exports = False

    def __init__(self) -> None:
        """Begin with no training."""
        self._weights: dict[str, list[Mapping[str, Tensor]]] = {}

    def train(self, job: Job, control: Trained | None) -> Trained:
        """Carry out a training as :func:`~kd.distillation.job.train_job` does.

        Raises:
            UserError: the loss is not finite.
        """
        trainer, _ = create_trainer(job)
        state: FitState[Scores] = FitState()
        kept = self._weights[job.name] = []
        with Progress(job.name, job.recipe.epochs) as progress:
            for epoch in fit_job(job, trainer, state):
                kept.append({name: weight.detach().cpu().clone() for name, weight in trainer.model.state_dict().items()})
                show_epoch(progress, epoch)
        return score_job(job, trainer.model, state, control)

    def combine(self, job: CombinationJob) -> Combination:
        """Carry out a combination."""
        return combine_job(job)

    def correct(self, trained: Trained) -> Tensor:
        """Return whether the weights of each epoch are right on each test image, (epochs, n) bool; the net keeps its own."""
        model, test = trained.model, trained.task.test
        own = {name: weight.clone() for name, weight in model.state_dict().items()}
        right = []
        for weights in self._weights[trained.name]:
            model.load_state_dict(weights)
            right.append(predict(model, test).argmax(dim=1) == test.labels)
        model.load_state_dict(own)
        return torch.stack(right)


def best_on_test(right: Tensor) -> int:
    """Return the number from 0, the first of equals, of the epoch that is right on most test images: of (epochs, n) bool."""
    return int(right.sum(dim=1).argmax())
