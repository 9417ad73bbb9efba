"""Metrics of the machine while a run is open: MLflow's own monitors, told to the tracking store as everything else is."""

import logging
import time
from contextlib import suppress

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from kd.tracking.outbox.delivery import Point
from kd.tracking.outbox.outbox import Outbox

log = logging.getLogger("kd")


class MachineMetrics(SystemMetricsMonitor):
    """Measures the machine every few seconds, in a thread of its own, and tells an outbox."""

    def __init__(self, run_id: str, outbox: Outbox, *, resumed: bool) -> None:
        """Take the run; one that was resumed goes on with the number of its last measurement."""
        super().__init__(run_id, resume_logging=resumed)  # type: ignore[no-untyped-call] # MLflow's own, as below
        self._outbox = outbox

    def monitor(self) -> None:
        """Measure until the end; what can't be told ends it, since another thread tells of that."""
        with suppress(Exception):
            while True:
                self.collect_metrics()  # type: ignore[no-untyped-call]
                if self._shutdown_event.wait(self.sampling_interval):
                    return
                self.publish_metrics(self.aggregate_metrics())  # type: ignore[no-untyped-call]

    def publish_metrics(self, metrics: dict[str, float]) -> None:
        """Tell what was measured."""
        prefix = self._metrics_prefix + (f"{self.node_id}/" if self.node_id else "")
        now = int(time.time() * 1000)
        points = [Point(f"{prefix}{name}", value, now, self._logging_step).record() for name, value in metrics.items()]
        self._outbox.post({"do": "batch", "run": self._run_id, "metrics": points})
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Measure no more."""
        self._shutdown_event.set()
        if self._process is not None:
            self._process.join()
