"""The one error that a user's mistake raises, and the codes with which kd exits."""

import signal

EXIT_BAD_INPUT = 2
EXIT_TERMINATED = 128 + signal.SIGTERM


class UserError(Exception):
    """Bad input, told in one line: what was wrong, with the value, and what to do. The command line exits with 2."""
