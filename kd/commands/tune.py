"""``kd tune``: the search for the best configuration."""

from kd.config import TuneConfig
from kd.search.workers.fork_server import fork_server


def tune(config: TuneConfig) -> None:
    """Search for the configuration with the best accuracy on val."""
    with fork_server():  # it loads libraries on one core, the import below loads the same ones on another
        from kd.search.command import search  # noqa: PLC0415 - not before

        search(config)
