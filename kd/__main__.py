"""``python -m kd`` is ``kd``."""

from collections.abc import Sequence

from kd.machine.signals import end_at_signals


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``kd``, and end in one line at a signal from the first import on."""
    end_at_signals()
    from kd.cli import main as command_line  # noqa: PLC0415 - Python answers Ctrl-C with a traceback until now

    command_line(arguments)


if __name__ == "__main__":
    main()
