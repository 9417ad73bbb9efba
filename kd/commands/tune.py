"""``kd tune``: the search for the best configuration."""

from kd.config import TuneConfig
from kd.search.command import search


def tune(config: TuneConfig) -> None:
    """Search for the configuration with the best accuracy on val."""
    search(config)
