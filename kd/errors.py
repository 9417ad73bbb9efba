"""The one error that a user's mistake raises."""


class UserError(Exception):
    """Bad input, told in one line: what was wrong, with the value, and what to do. The command line exits with 2."""
