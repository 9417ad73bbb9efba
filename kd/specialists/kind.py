"""What a net tells apart, and how the dustbin is corrected: words shared by nets, tasks and settings. Needs no torch."""

from enum import StrEnum
from typing import Literal


class TaskKind(StrEnum):
    """Which classes a net tells apart; of a specialist all but ``ALL``."""

    ALL = "all"
    """Every class of the data set: a generalist, a student."""
    DUSTBIN = "dustbin"
    """A group's classes, and one more for everything else (paper, section 5.2)."""
    OWN = "own"
    """A group's classes, on their own images alone."""
    FULL = "full"
    """Every class, on images of which the group's are enriched (paper, section 6.1)."""


Correction = Literal["paper", "none", "fit"]
"""What is added to the dustbin's logit: the log of the oversampling (paper), nothing, or one number fitted on val."""
