"""The ending of a command: its answer, where the model and the run are, and what to try next; for people and scripts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kd.evaluation.intervals import Interval

COLOURS = {"gain": "green", "loss": "red", "null result": "yellow"}


@dataclass(frozen=True)
class Answer:
    """What a command found."""

    lines: Sequence[tuple[str, str]] = ()
    """For a person, each with its colour."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """For a script: what ``--json`` writes."""
    code: int = 0
    """The exit code."""
    is_report: bool = False
    """Whether its lines are what the command was asked for, and so are written to standard output."""


class Place(Protocol):
    """A run, as far as an answer names it."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def experiment_id(self) -> str:
        """The experiment that it stands in."""

    @property
    def way_to_see(self) -> str:
        """How to see it."""


def place_lines(run: Place, model: Path | None, view: str, report: Path | None = None) -> list[tuple[str, str]]:
    """Return where model, report and run are, and how to see them: the run's page, and a view by its name and address."""
    lines = [f"{what}: {path}" for what, path in (("model", model), ("report", report)) if path is not None]
    return [(line, "") for line in [*lines, f"run: {run.id}", f"to see it: {run.way_to_see}", view]]


def place_record(run: Place) -> dict[str, Any]:
    """Return the same for a script."""
    return {"run_id": run.id, "experiment_id": run.experiment_id, "to_see": run.way_to_see}


def bounds_record(interval: Interval) -> list[float] | None:
    """Return the bounds of an interval for a script; None: there are none."""
    return [interval.low, interval.high] if math.isfinite(interval.low) and math.isfinite(interval.high) else None


def no_change() -> dict[str, Any]:
    """Return what a script reads where nothing was compared."""
    return dict.fromkeys(("verdict", "difference", "interval", "n"))
