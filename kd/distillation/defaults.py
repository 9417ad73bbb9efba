"""Defaults of a distillation, for the library and the command line alike; known without torch."""

from typing import Final

from kd.specialists.kind import Correction, GroupBy

TEMPERATURE: Final = 4.0
"""T of the soft targets."""
MAX_TEMPERATURE: Final = 1e6
"""Its square is a factor of the loss, which has to stay a number."""
ALPHA: Final = 0.9
"""Weight of the soft term."""
SPECIALIST_TEMPERATURE: Final = 2.0
SPECIALIST_ALPHA: Final = 0.5
"""Of specialists. On val of CIFAR-100 (JPEG), with 20 groups of six epochs each, an alpha of 0.5 is 1.3 points better than 0.9,
and T = 2 no worse than 4; on val of a fifth of the digits neither is worse."""
VIEWS: Final = 4
"""Augmented views per image: on CIFAR-10 one costs 3.5 points, two to eight can't be told from a live teacher
(``benchmarks/views.py``)."""
OWN_FRACTION: Final = 0.5
"""Share of a specialist's epoch from its own classes (paper, section 5.2)."""
WARM_START: Final = True
"""Whether specialists start from the generalist's weights, where the nets match, as the paper has it. On CIFAR-100 (JPEG), with
20 groups of six epochs each, the combination gains 1.1 points on val so, and loses 3 from random weights."""
CORRECTION: Final[Correction] = "fit"
"""How the shift of the dustbin's logit is found."""
GROUP_BY: Final[GroupBy] = "confusion"
"""How groups of classes are found."""
TOP_N: Final = 1
"""Classes of the generalist's ranking that call their specialists (Eq. 5)."""
TOP: Final = 3
"""Classes that are told of an image."""

AUTO_TEACHER: Final = "auto"
"""In place of a teacher's name: a finished one, or one that is trained now."""
NEW_TEACHER: Final = "new"
"""In place of a teacher's name: one that is trained now."""


def is_named_teacher(teacher: str) -> bool:
    """Return whether a text names a teacher, in place of asking for one that is found or trained."""
    return teacher not in {AUTO_TEACHER, NEW_TEACHER}
