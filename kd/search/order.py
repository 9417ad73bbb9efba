"""What a worker of a search is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Order:
    """The trials to run, and the worker's place among others."""

    config: Mapping[str, Any]
    """The command's, its teacher a run and the study's name resolved."""
    groups: Mapping[str, list[int]]
    parent_run: str
    number: int
    """Of the worker among those of its command."""
    leads: bool
    """Whether its command is the study's leader: then its sampler's seed depends on the configuration alone."""
    threads: int
    tracking_uri: str
