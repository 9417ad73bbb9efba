"""``kd tune``: one Optuna study, worked on by any number of workers and machines, in one tree of MLflow runs."""

from kd.config import TuneConfig
from kd.machine.activity import doing
from kd.machine.signals import sleep
from kd.search.attributes import PARENT_RUN, study_attribute
from kd.search.follower import follow
from kd.search.leader import lead
from kd.search.lease import Lease
from kd.search.outcome import Outcome
from kd.search.session import POLL_SECONDS, Session, open_session
from kd.search.shared import check_named_teacher, read_shared
from kd.search.state import all_trials, count_left
from kd.search.time_limit import TimeLimit
from kd.tracking.earlier import has_finished


def search(config: TuneConfig) -> Outcome | None:
    """Search, then train the winner again and score it on test: as the study's leader, or beside it, which returns None.

    Raises:
        UserError: bad input, or the study is one of something else.
    """
    with open_session(config) as session:
        check_named_teacher(session)
        lease = Lease(session.study)
        while not _acquired(session, lease):
            follow(session, lease)
            if not lease.is_free() or _is_ended(session):
                return None
            sleep(POLL_SECONDS)
        with lease:
            return lead(session)


@doing("waiting for what the trials of the study share, from the command that leads it")
def _acquired(session: Session, lease: Lease) -> bool:
    """Return whether this command leads the study; False: another one does, and the study can be joined."""
    while not lease.acquire():
        if read_shared(session.study) is not None and not _has_finished_run(session):  # else a new run is just opened
            return False
        sleep(POLL_SECONDS)
    return True


def _is_ended(session: Session) -> bool:
    """Return whether the command that led the study came to its end, and left nothing to begin."""
    left = count_left(all_trials(session.study), session.config.trials)
    return (left <= 0 or TimeLimit(session.study).is_up()) and _has_finished_run(session)


def _has_finished_run(session: Session) -> bool:
    run_id = study_attribute(session.study, PARENT_RUN)
    return bool(run_id) and has_finished(run_id)
