"""The one error that a user's mistake raises, and the codes with which kd exits."""

import signal

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM


class UserError(Exception):
    """Bad input, told in one line: what was wrong, with the value, and what to do. The command line exits with 2."""

    def __init__(self, message: str, field: str | None = None) -> None:
        """Take the line, and the setting that is wrong, by its name in the configuration: the command line shows its flag."""
        super().__init__(message)
        self.field = field
