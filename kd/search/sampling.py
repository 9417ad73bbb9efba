"""How Optuna chooses the values of trials, and which trials it ends early."""

import os

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import TPESampler

from kd.config import TuneConfig
from kd.search.experimental import experimental
from kd.search.state import all_trials

STARTUP_TRIALS = 5


def create_sampler(config: TuneConfig, study: optuna.Study, *, worker: int, leads: bool) -> TPESampler:
    """Return a sampler with another seed for each worker and each time it starts, or all would try the same.

    It is TPE as Optuna 5 has it by default, with Optuna 4 too: it looks at all parameters at once where there is one objective,
    and keeps away from the points that other workers are trying.

    Args:
        config: the command's.
        study: the one to sample for.
        worker: the worker's number among those of its command.
        leads: whether that command leads the study: then the seed depends on the configuration alone.
    """
    entropy = [config.seed, worker, len(all_trials(study)), *([] if leads else [os.getpid()])]
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    with experimental():
        return TPESampler(seed=seed, multivariate=not config.second_objective(), constant_liar=True)


def create_pruner(config: TuneConfig) -> BasePruner:
    """Return the pruner that ``--pruner`` names."""
    warmup_epochs = max(1, config.epochs // 4)
    pruners: dict[str, BasePruner] = {
        "median": MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=warmup_epochs),
        "halving": SuccessiveHalvingPruner(min_resource=warmup_epochs),
        "hyperband": HyperbandPruner(min_resource=warmup_epochs, max_resource=config.epochs),
        "none": NopPruner(),
    }
    return pruners["none" if config.second_objective() else config.pruner]
