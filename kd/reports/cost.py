"""What a model costs, in words and numbers that are the same wherever they stand: parameters, latency, size of its file."""

from collections.abc import Sequence
from typing import Any

from kd.distillation.combination import Combination
from kd.distillation.results import TrackedRun, Trained
from kd.evaluation.latency import Latency


def file_bytes(run: TrackedRun | None) -> int | None:
    """Return the size of the file of a run's model; None: there is none on this machine."""
    file = run.model_file if run is not None else None
    return file.stat().st_size if file is not None and file.is_file() else None


def size_text(size_bytes: int) -> str:
    """Return a size in kB, of 1,000 bytes."""
    return f"{size_bytes / 1000:,.0f} kB"


def cost_text(system: Trained | Combination, size_bytes: int | None = None) -> str:
    """Return what a model costs in one line: ``5,678 parameters, 135 kB, 0.51 ms [0.50, 0.61] for 1 image, ...``."""
    size = [] if size_bytes is None else [size_text(size_bytes)]
    return ", ".join([f"{system.parameters:,} parameters", *size, *latency_texts(system.latencies)])


def latency_texts(latencies: Sequence[Latency]) -> list[str]:
    """Return the times of batches, with the middle half of the passes, and where they were measured."""
    times = [f"{one} for {one.batch} image{'s' * (one.batch > 1)}" for one in latencies]
    places = dict.fromkeys(one.place for one in latencies)
    return [*times[:-1], *(f"{last} ({', '.join(places)})" for last in times[-1:])]


def latency_record(latencies: Sequence[Latency]) -> list[dict[str, Any]]:
    """Return the same for a script."""
    return [
        {"batch": one.batch, "ms": one.median_ms, "low_ms": one.low_ms, "high_ms": one.high_ms, "place": one.place}
        for one in latencies
    ]
