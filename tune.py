"""The search from the root of the repository: ``python tune.py --trials 40 --workers 2`` is ``kd tune ...``."""

import sys

from kd.__main__ import main

if __name__ == "__main__":
    main(["tune", *sys.argv[1:]])
