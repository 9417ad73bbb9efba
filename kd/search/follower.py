"""A follower: a command that joins a study which another command leads, on this machine or elsewhere."""

import logging
from functools import partial

from kd.machine.activity import doing
from kd.machine.signals import sleep
from kd.search.attributes import PARENT_RUN, study_attribute
from kd.search.lease import Lease
from kd.search.repair import Repair
from kd.search.session import POLL_SECONDS, Session
from kd.search.shared import check_named_teacher
from kd.search.state import all_trials, count_left
from kd.search.time_limit import TimeLimit
from kd.search.workers.pool import WorkerPool
from kd.search.workers.work_order import work_order

log = logging.getLogger("kd")


def follow(session: Session, lease: Lease) -> None:
    """Have workers run trials of the study, until nothing is left to begin or the leader is gone.

    Raises:
        UserError: the teacher named is not the study's, or a worker met bad input.
    """
    log.info("study %s is led by another command: joining it", session.study.study_name)
    check_named_teacher(session)
    with WorkerPool(session.config.workers, partial(work_order, session, leads=False)) as pool:
        if _run_trials(session, lease, pool):
            log.info("nothing left to begin; the leading command ends the study")
        else:
            log.info("the leading command is gone: this one takes its place")


@doing("running trials")
def _run_trials(session: Session, lease: Lease, pool: WorkerPool) -> bool:
    """Keep the workers at work, and return whether that came to its end: not if the leader is gone."""
    study = session.study
    repair = Repair(study, study_attribute(study, PARENT_RUN))
    limit = TimeLimit(study)
    while not limit.is_reached() or pool.alive():
        if lease.is_free():
            return False
        if pool.reap():
            repair.fail_lost()  # the leader retries them
        left = count_left(all_trials(study), session.config.trials)
        if left <= 0 and not pool.alive():
            return True
        if not limit.is_reached():
            pool.start(left)
        sleep(POLL_SECONDS)
    return True
