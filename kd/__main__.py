"""``python -m kd`` is ``kd``."""

import atexit
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from kd.machine.signals import end_at_signals


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``kd``, end in one line at a signal from the first import on, and exit without taking the interpreter apart.

    After an import of torch and MLflow that takes seconds, in which the answer is there and the prompt is not.
    """
    end_at_signals()
    from kd.cli import main as command_line  # noqa: PLC0415 - Python answers Ctrl-C with a traceback until now

    code = 0
    try:
        command_line(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    atexit._run_exitfuncs()  # noqa: SLF001 - what Python itself does first when it exits
    with suppress(OSError):  # whoever read it is gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
