"""What the fork server loads, which imports this once per command. It ends with the command, even while it loads.

Without that a command which is refused or stopped at once would leave a process behind that loads for some seconds more.
"""

import ctypes
import importlib
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
"""Of ``<sys/prctl.h>``: the signal that the kernel sends to this process when its parent ends. Workers do not inherit it."""

_MODULES = ("kd.search.workers.worker", "torch._dynamo", "torch.export._trace", "sqlalchemy.orm")
"""The last three are loaded by libraries only when the first optimizer is made, a model loaded or a store opened."""

ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
for _module in _MODULES:
    with suppress(ImportError):  # other versions may lack it
        importlib.import_module(_module)
