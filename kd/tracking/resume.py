"""What a command that is resumed finds of its own: the runs that stopped, and the finished ones whose results are reused."""

from collections.abc import Iterator
from contextlib import contextmanager

from kd.tracking.earlier import FINGERPRINT, Earlier, earlier_child, stopped_run
from kd.tracking.ready import is_made
from kd.tracking.run_settings import RunSettings
from kd.tracking.store import open_run


@contextmanager
def earlier_run(fingerprint: str, settings: RunSettings) -> Iterator[Earlier | None]:
    """Find the run that did the same and stopped, or, below a run that was resumed, that is finished.

    It is held until the end of the ``with`` block, so that no other command resumes it.

    Args:
        fingerprint: digest of all that decides the run's result.
        settings: settings of the command's runs.

    Yields:
        The run; None: there is none.
    """
    above = open_run()
    if not settings.resume or not is_made() or (above is not None and not settings.in_resumed):
        yield None
    elif above is not None:
        yield earlier_child(above, fingerprint)
    else:
        with stopped_run(FINGERPRINT, fingerprint, settings.output_dir / "checkpoints") as stopped:
            yield None if stopped is None else Earlier(stopped, is_finished=False)
