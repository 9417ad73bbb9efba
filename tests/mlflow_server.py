"""A real MLflow server on this machine's own address."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 180


@contextmanager
def served(store: str, log: Path, port: int = 0) -> Iterator[str]:
    """Serve MLflow's UI of a store on this machine's own address, which is returned; what it says goes into a file.

    Artifacts that it is sent lie beside that file.
    """
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    command = ["-m", "mlflow", "server", "--backend-store-uri", store, "--port", f"{port}", "--workers", "1"]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as said:
        server = subprocess.Popen(  # a group of its own, as it starts others
            [sys.executable, *command], stdout=said, stderr=subprocess.STDOUT, env=env, start_new_session=True, cwd=log.parent
        )
        try:
            _wait_for(address, server, log)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


def free_port() -> int:
    """Return the number of a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310 - a server of this machine
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(log.read_text(errors="replace"))
