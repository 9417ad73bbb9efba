"""``python -m kd`` is ``kd``."""

from kd.cli import main

if __name__ == "__main__":
    main()
