"""The time limit of a study: when the last trial may begin, for all commands and workers alike."""

import logging
import math
import time

import optuna

from kd.search.attributes import UNTIL, study_attribute

log = logging.getLogger("kd")


def set_time_limit(study: optuna.Study, seconds: float) -> None:
    """Let no trial begin after so many seconds, in any process; 0: there is no limit."""
    study.set_user_attr(UNTIL, time.time() + seconds if seconds else None)


class TimeLimit:
    """The limit as one process sees it: a clock that is set back does not put it off."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._until: float | None = None
        self._ends = math.inf
        """The same by a clock that nobody sets."""
        self._told = False

    def is_up(self) -> bool:
        """Return whether no further trial may begin, in any process."""
        until = study_attribute(self._study, UNTIL)
        if until != self._until:
            self._until = until
            self._ends = math.inf if until is None else time.monotonic() + until - time.time()
        return time.monotonic() >= self._ends or (until is not None and time.time() >= until)

    def is_reached(self) -> bool:
        """Return the same, and say so once."""
        reached = self.is_up()
        if reached and not self._told:
            self._told = True
            log.info("time is up: no trial is begun any more")
        return reached
