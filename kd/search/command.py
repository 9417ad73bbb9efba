"""``kd tune``: one Optuna study, worked on by any number of workers and machines, in one tree of MLflow runs."""

from kd.config import TuneConfig
from kd.machine.activity import doing
from kd.machine.signals import sleep
from kd.search.follower import follow
from kd.search.leader import lead
from kd.search.lease import Lease
from kd.search.outcome import Outcome
from kd.search.session import POLL_SECONDS, Session, open_session
from kd.search.shared import check_named_teacher, read_shared


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
            if not lease.is_free():
                return None
            sleep(POLL_SECONDS)
        with lease:
            return lead(session)


@doing("waiting for what the trials of the study share, from the command that leads it")
def _acquired(session: Session, lease: Lease) -> bool:
    """Return whether this command leads the study; False: another one does, and the study can be joined."""
    while not lease.acquire():
        if read_shared(session.study) is not None:
            return False
        sleep(POLL_SECONDS)
    return True
