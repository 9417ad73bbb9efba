"""One worker, a process of its own: it runs trials until there is none left to begin, or the command is gone."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError

from kd.config import TuneConfig
from kd.errors import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_TERMINATED, UserError
from kd.flags import error_line
from kd.from_config import prepare
from kd.machine.failure import failure_line
from kd.machine.output import log_to_terminal, said_already, set_verbosity
from kd.machine.signals import ask_to_stop, check_stop, note_signals
from kd.machine.terminal import guard_terminal
from kd.search.sampling import create_pruner, create_sampler
from kd.search.shared import load_guide
from kd.search.state import all_trials, count_left
from kd.search.storage import opened
from kd.search.study import load_study
from kd.search.time_limit import TimeLimit
from kd.search.trial import Surplus, TrialRunner
from kd.search.workers.fork_server import let_through
from kd.search.workers.turn import Turn
from kd.search.workers.work_order import WorkOrder

log = logging.getLogger("kd")

STOP_SECONDS = 60.0
"""How long a worker whose command is gone may take to close its trial."""


def work(order: WorkOrder) -> None:
    """Run trials as ordered, and exit: 0 when nothing is left, 1 or 2 after an error, 143 when stopped."""
    os.environ["MLFLOW_TRACKING_URI"] = order.tracking_uri
    os.environ.pop("MLFLOW_RUN_ID", None)  # a worker's first run would take it for its own
    guard_terminal()
    if not log.handlers:
        log_to_terminal()
    set_verbosity(order.verbosity)
    try:
        note_signals()
        let_through(signal.SIGTERM)
        threading.Thread(target=_stop_with_the_command, daemon=True).start()
        _run_trials(order)
    except UserError as error:
        log.error("kd: a worker gives up: %s", error_line(error))  # noqa: TRY400 - a user's mistake needs no traceback
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(EXIT_TERMINATED)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person sees one line
        log.error("kd: a worker failed: %s", failure_line(error))  # noqa: TRY400 - the line says where the traceback is
        sys.exit(EXIT_FAILED)


def _stop_with_the_command() -> None:
    """Stop this worker once its command is gone, whatever ended that."""
    command = multiprocessing.parent_process()
    if command is not None:
        command.join()
        ask_to_stop()
        time.sleep(STOP_SECONDS)
        os._exit(EXIT_TERMINATED)  # nobody else would end a worker that hangs


def _run_trials(order: WorkOrder) -> None:
    torch.set_num_threads(order.threads)
    config = TuneConfig.parse(dict(order.config))
    with said_already():
        workspace = prepare("tune", config)
    guide = load_guide(config, workspace, order.shared)
    with opened(config.storage) as storage:
        study = load_study(storage, config.study_name, create_pruner(config))
        study.sampler = create_sampler(config, study, worker=order.number, leads=order.leads)
        limit = TimeLimit(study)
        turn = Turn(storage.engine.url)
        runner = TrialRunner(config, guide, order.space, order.parent_run, study, begun=turn.end)
        while count_left(all_trials(study), config.trials) > 0 and not limit.is_up():
            check_stop()
            turn.wait()
            try:
                run_one(study, runner)
            finally:
                turn.end()


def run_one(study: optuna.Study, runner: TrialRunner) -> None:
    """Run one trial; whatever is wrong with its configuration fails that trial alone."""
    try:
        study.optimize(runner, n_trials=1, catch=(UserError, Surplus, RuntimeError))
    except (ValueError, UpdateFinishedTrialError):
        if not runner.lost:
            raise
        log.warning("a trial was failed while it ran, since its heartbeats were missed: it is tried again")
