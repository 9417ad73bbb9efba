"""``kd tune``: the search for the best configuration."""

from kd.config import TuneConfig
from kd.machine.signals import check_stop, end_at_signals, note_signals
from kd.search.workers.fork_server import start_fork_server


def tune(config: TuneConfig) -> None:
    """Search for the configuration with the best accuracy on val."""
    check_stop()
    end_at_signals()  # nothing begins while libraries load
    start_fork_server()  # it loads them on one core, the import below loads the same ones on another
    from kd.search.command import search  # noqa: PLC0415 - not before

    note_signals()
    search(config)
