"""What reaches the terminal: lines in which nothing acts on it and nothing is secret, whoever writes them."""

import logging
import sys
import threading
import traceback
import warnings

from kd.machine.secrets import masked
from kd.machine.text import printable


def shown(text: object) -> str:
    """Return text as one line that may be shown: secrets are masked, what acts on a terminal or ends a line is escaped."""
    return printable(masked(str(text)))


def shown_traceback(error: BaseException) -> str:
    """Return an error with its traceback, line by line as :func:`shown`."""
    lines = masked("".join(traceback.format_exception(error))).splitlines()
    return "\n".join(map(printable, lines))


def guard_terminal() -> None:
    """Have log records, warnings and errors of threads shown as :func:`shown`, those of libraries too.

    Filters would not do: one on a logger does not see the records of the loggers below it.
    """
    logging.setLogRecordFactory(_ShownRecord)
    warnings.formatwarning = _one_line_warning
    threading.excepthook = _show_thread_error


class _ShownRecord(logging.LogRecord):
    """A log record whose text may be shown."""

    def getMessage(self) -> str:  # noqa: N802 - logging's own name
        return shown(super().getMessage())

    @property
    def exc_text(self) -> str | None:
        """Return the traceback that a formatter adds; it keeps its own here, which is left aside."""
        error = self.exc_info[1] if self.exc_info else None
        return None if error is None else shown_traceback(error)

    @exc_text.setter
    def exc_text(self, text: str | None) -> None:
        pass


def _one_line_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,  # noqa: ARG001 - the signature of warnings.formatwarning
    lineno: int,  # noqa: ARG001 - the same
    line: str | None = None,  # noqa: ARG001 - the same
) -> str:
    return f"{category.__name__}: {shown(message)}\n"


def _show_thread_error(failed: threading.ExceptHookArgs) -> None:
    """Tell in one line that a thread failed: those of libraries, since kd's own threads handle what can happen."""
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        name = failed.thread.name if failed.thread else "a thread"
        sys.stderr.write(f"{shown(name)} failed: {type(failed.exc_value).__name__}: {shown(failed.exc_value)}\n")
