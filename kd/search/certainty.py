"""How sure it is which trial is the best: its interval over val images, its ties, and the trials inside that interval."""

import math
from dataclasses import dataclass

import optuna
import torch
from optuna.trial import FrozenTrial

from kd.config import TuneConfig
from kd.evaluation.intervals import Interval, format_interval, score_interval
from kd.search.best import accuracy, amount, ranked_trials
from kd.search.candidate import Guide
from kd.search.costs import Cost, cost_of


@dataclass(frozen=True)
class ValImages:
    """Over which val images each trial's accuracy is."""

    in_effect: float
    """How many images have the same variance: all, unless groups of different sizes weigh the same."""
    groups: tuple[int, ...] = ()
    """How many are in each group, where the accuracy is a mean over groups."""

    def text(self) -> str:
        """Return what the number of images counts, to stand behind it."""
        if round(self.in_effect) >= sum(self.groups):
            return "val images"
        return f"in effect: {sum(self.groups):,} val images in {len(self.groups)} groups that weigh the same"


@dataclass(frozen=True)
class Certainty:
    """The best trial among the complete ones, and what speaks against its being the best."""

    best: FrozenTrial
    interval: Interval
    """Its accuracy on val with Wilson's interval."""
    images: ValImages
    ties: tuple[FrozenTrial, ...]
    """Others of the same accuracy."""
    inside: int
    """Others whose accuracy is inside the interval, ties among them."""
    others: int
    """All others that are complete."""
    cost: Cost
    """By which ties are broken."""


def scored_images(config: TuneConfig, guide: Guide) -> ValImages:
    """Return over which val images a trial's accuracy is: for specialists a mean over groups, which weigh the same.

    A mean over G groups of n_1, ..., n_G images has the variance of one over G^2 / (1/n_1 + ... + 1/n_G) images.
    """
    labels = guide.workspace.dataset.val.labels
    if config.objective != "specialist":
        return ValImages(len(labels))
    counts = [int(torch.isin(labels, torch.tensor(group, device=labels.device)).sum()) for group in guide.groups.values()]
    return ValImages(len(counts) ** 2 / sum(1 / max(1, count) for count in counts), tuple(counts))


def certainty(study: optuna.Study, images: ValImages) -> Certainty | None:
    """Return how sure the best trial is; None where none is complete.

    Args:
        study: as it stands.
        images: over which val images each accuracy is.
    """
    complete = ranked_trials(study)
    if not complete:
        return None
    best, *others = complete
    interval = score_interval(accuracy(best), images.in_effect)
    return Certainty(
        best=best,
        interval=interval,
        images=images,
        ties=tuple(trial for trial in others if accuracy(trial) == accuracy(best)),
        inside=sum(accuracy(trial) >= interval.low for trial in others),
        others=len(others),
        cost=cost_of(study),
    )


def certainty_text(sure: Certainty) -> str:
    """Return in a sentence or two what the best trial is, and how sure that is."""
    text = f"trial {sure.best.number}: val accuracy {format_interval(sure.interval, signed=False)} {sure.images.text()}"
    if sure.ties:
        count = len(sure.ties)
        text += f"; {count} trial{'' if count == 1 else 's'} tie{'s' if count == 1 else ''} with it: {_taken(sure)}"
    if not sure.inside:
        return text
    inside = f"{sure.inside} of {sure.others} other complete trials {'is' if sure.inside == 1 else 'are'} inside that interval"
    return f"{text}. {inside}: their order may be chance; more val images (--val-fraction) tell more"


def _taken(sure: Certainty) -> str:
    """Return why one trial of equals is taken."""
    least = amount(sure.best)
    alike = [trial for trial in sure.ties if amount(trial) == least or math.isinf(least)]
    if len(alike) == len(sure.ties):
        return "the oldest is taken"
    return f"the oldest of the {sure.cost.least} is taken" if alike else f"the {sure.cost.least} is taken"
