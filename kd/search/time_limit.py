"""The time limit of a study: when the last trial may begin, for all commands and workers alike."""

import logging
import time

import optuna

from kd.search.attributes import UNTIL, study_attribute

log = logging.getLogger("kd")


def set_time_limit(study: optuna.Study, seconds: float) -> None:
    """Let no trial begin after so many seconds, in any process; 0: there is no limit."""
    study.set_user_attr(UNTIL, time.time() + seconds if seconds else None)


def is_time_up(study: optuna.Study) -> bool:
    """Return whether no further trial may begin, in any process."""
    until = study_attribute(study, UNTIL)
    return until is not None and time.time() >= until


class TimeLimit:
    """The limit as one command sees it, which says so once when it is reached."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._told = False

    def is_reached(self) -> bool:
        """Return whether no further trial may begin."""
        reached = is_time_up(self._study)
        if reached and not self._told:
            self._told = True
            log.info("time is up: no trial is begun any more")
        return reached
