"""The kinds of tasks and of dustbin corrections: words shared by nets, tasks and settings, known without torch."""

from enum import StrEnum
from typing import Literal


class TaskKind(StrEnum):
    """The classes that a net tells apart; a specialist is of any kind but ``ALL``."""

    ALL = "all"
    """Every class of the data set: a generalist, a student."""
    DUSTBIN = "dustbin"
    """A group's classes, and one more for everything else (paper, section 5.2)."""
    OWN = "own"
    """A group's classes, on their own images alone."""
    FULL = "full"
    """Every class, on images enriched with the group's (paper, section 6.1)."""


Correction = Literal["paper", "none", "fit"]
"""Shift of the dustbin's logit: the log of the oversampling (paper), none, or one number fitted on val."""

GroupBy = Literal["confusion", "covariance"]
"""What groups are found by: how much probability classes take from one another's images, or the covariance of predictions."""
