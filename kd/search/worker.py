"""One worker of a search, a process of its own: it runs trials until there is none left to begin, or its parent is gone."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time

import numpy as np
import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import TPESampler

from kd.config import TuneConfig
from kd.errors import EXIT_BAD_INPUT, EXIT_TERMINATED, UserError
from kd.jobs import prepare, teacher_targets
from kd.machine.progress import log_to_terminal
from kd.machine.signals import ask_to_stop, check_stop, note_signals
from kd.search.candidates import Guide
from kd.search.objective import Surplus, TrialRunner
from kd.search.order import Order
from kd.search.space import parse_space
from kd.search.storage import opened
from kd.search.trials import all_trials, finished, is_time_up, under_way
from kd.tracking.teachers import load_teacher

log = logging.getLogger("kd")

STARTUP_TRIALS = 5
PARENT_SECONDS = 1.0
STOP_SECONDS = 60.0


def work(order: Order) -> None:
    """Run what the order says in this process, and exit: 0 when nothing is left, 1 or 2 after an error, 143 when stopped."""
    os.environ["MLFLOW_TRACKING_URI"] = order.tracking_uri
    os.environ.pop("MLFLOW_RUN_ID", None)  # a worker's first run would take it for its own
    if not log.handlers:
        log_to_terminal()
    try:
        note_signals()
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # see kd.search.nursery
        threading.Thread(target=_stop_without_parent, daemon=True).start()
        _run_trials(order)
    except UserError as error:
        log.error("kd: a worker gives up: %s", error)  # noqa: TRY400 - a user's mistake needs no traceback
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(EXIT_TERMINATED)


def _stop_without_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # Workers forked off later hold the pipe by which this one learns of its parent's end.
    while parent.is_alive() and os.getppid() == parent.pid:
        parent.join(PARENT_SECONDS)
    ask_to_stop()
    time.sleep(STOP_SECONDS)
    os._exit(EXIT_TERMINATED)  # nobody else would end a worker that hangs


def _run_trials(order: Order) -> None:
    torch.set_num_threads(order.threads)
    config = TuneConfig.parse(dict(order.config))
    setting = prepare("tune", config)
    teacher = load_teacher(config.teacher, "--teacher", setting)
    groups = {int(number): tuple(group) for number, group in order.groups.items()}
    guide = Guide(setting, teacher, teacher_targets(config, setting, teacher), groups)
    with opened(config.storage) as storage:
        study = optuna.load_study(study_name=config.study_name, storage=storage, pruner=create_pruner(config))
        study.sampler = TPESampler(seed=_sampler_seed(order, config, study))
        runner = TrialRunner(config, guide, parse_space(config), order.parent_run, study)
        while True:
            check_stop()
            trials = all_trials(study)
            if finished(trials) + under_way(trials) >= config.trials or is_time_up(study):
                return
            run_one(study, runner)


def run_one(study: optuna.Study, runner: TrialRunner) -> None:
    """Run one trial; whatever is wrong with its configuration fails that trial alone."""
    try:
        study.optimize(runner, n_trials=1, catch=(UserError, Surplus, RuntimeError))
    except (ValueError, UpdateFinishedTrialError):
        if not runner.lost:
            raise
        log.warning("a trial was failed while it ran, since its heartbeats were missed: it is tried again")


def create_pruner(config: TuneConfig) -> BasePruner:
    """Return the pruner that ``--pruner`` names."""
    warmup_epochs = max(1, config.epochs // 4)
    pruners: dict[str, BasePruner] = {
        "median": MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=warmup_epochs),
        "halving": SuccessiveHalvingPruner(min_resource=warmup_epochs),
        "hyperband": HyperbandPruner(min_resource=warmup_epochs, max_resource=config.epochs),
        "none": NopPruner(),
    }
    return pruners["none" if config.pareto else config.pruner]


def _sampler_seed(order: Order, config: TuneConfig, study: optuna.Study) -> int:
    """Return another seed for each worker and each time it starts, or all would try the same."""
    entropy = [config.seed, order.number, len(all_trials(study)), *([] if order.leads else [os.getpid()])]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
