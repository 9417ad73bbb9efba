"""The one error that a user's mistake raises, and the codes with which kd exits."""

import signal

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM


class UserError(Exception):
    """Bad input, told in one line: what was wrong, with the value, and what to do. The command line exits with 2.

    Args:
        message: the line. With a field it begins with the field's value.
        field: the setting that was wrong, such as ``groups``. The command line puts its flag in front of the message; a
            notebook, which has no flags, does not see it.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
