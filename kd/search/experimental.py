"""What Optuna calls experimental and the search uses all the same; its tests hold it to what it is used for."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import ExperimentalWarning


@contextmanager
def experimental() -> Iterator[None]:
    """Leave out Optuna's warnings that a part is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
