"""``kd tune``: one Optuna study, worked on by any number of workers and machines, in one tree of MLflow runs."""

from kd.config import TuneConfig
from kd.machine.signals import sleep
from kd.search.follower import follow
from kd.search.leader import lead
from kd.search.lease import Lease
from kd.search.outcome import Outcome
from kd.search.session import POLL_SECONDS, open_session
from kd.search.shared import check_named_teacher, read_shared


def search(config: TuneConfig) -> Outcome | None:
    """Search, then train the winner again and score it on test: as the study's leader, or beside it, which returns None.

    Raises:
        UserError: bad input, or the study is one of something else.
    """
    with open_session(config) as session:
        check_named_teacher(session)
        lease = Lease(session.study)
        while not lease.acquire():
            if read_shared(session.study) is not None:
                follow(session, lease)
                if not lease.is_free():
                    return None
            sleep(POLL_SECONDS)
        with lease:
            return lead(session)
