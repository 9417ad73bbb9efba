"""The terms of a batch's loss."""

from typing import NamedTuple

from torch import Tensor


class LossTerms(NamedTuple):
    """A batch's loss, and the two terms of which it is the weighted mean; each a scalar, averaged over the batch."""

    total: Tensor
    soft: Tensor
    hard: Tensor
