"""What a study found: its best trial, and how the winner compares on test with what it was compared with."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from kd.config import TuneConfig
from kd.evaluation.comparisons import Comparison, compare_values, corrected
from kd.search.attributes import FINAL, study_attribute
from kd.search.best import BEST_FILE, command_name
from kd.search.certainty import ValImages, certainty, certainty_text
from kd.search.space import Axis, is_width_asked_for
from kd.tracking.store import Run
from kd.tracking.views import TRIALS

EDGE = 0.02
"""Share of an axis by which a value at its edge may be away from its end."""


@dataclass(frozen=True)
class Outcome:
    """What a study found."""

    run: Run
    view: str
    """The address of the view of all trials."""
    study: str
    trial: int
    """The number of the best trial."""
    val_accuracy: float
    certainty: str
    """How sure it is that it is the best: its interval on val, its ties, and the trials inside that interval."""
    best_file: Path
    command: str
    """The command that trains the winner and keeps its model."""
    tests: Mapping[str, Sequence[float]]
    """The accuracies on test of each system that was compared, one per seed, the winner first; empty: none were."""
    at_edge: str
    """What to try where the winner stands at the edge of what was searched; empty: it does not."""

    def differences(self) -> dict[str, Comparison]:
        """Return how much better the winner is than each other system."""
        return differences(self.tests)

    def told(self) -> list[tuple[str, str]]:
        """Return each difference in words, with the verdict."""
        return [(difference_text(name, found), found.verdict) for name, found in self.differences().items()]


def tests_of(config: TuneConfig, study: optuna.Study, number: int) -> Mapping[str, Sequence[float]]:
    """Return the accuracies on test of each system that a trial was compared with as the winner; empty: it was not."""
    kept = study_attribute(study, FINAL) or {}
    return kept.get("test", {}) if kept.get("of", {}).get("trial") == number and config.final_seeds else {}


def differences(tests: Mapping[str, Sequence[float]]) -> dict[str, Comparison]:
    """Return how much better the first of some systems, the winner, is than each other one; each verdict counts all of them."""
    names = [*tests]
    found = [compare_values(tests[name], tests[names[0]]) for name in names[1:]]
    return dict(zip(names[1:], corrected(found), strict=True))


def difference_text(name: str, found: Comparison) -> str:
    """Return a difference between the winner and another system in words."""
    return f"{found} (against {name})"


def outcome(config: TuneConfig, study: optuna.Study, space: Sequence[Axis], parent: Run, images: ValImages) -> Outcome | None:
    """Return what a study found, each accuracy over these val images; None: no trial completed."""
    sure = certainty(study, images)
    if sure is None:
        return None
    best = sure.best
    asked = {"width"} if config.max_parameters or config.max_latency or is_width_asked_for(config) else set()
    return Outcome(
        run=parent,
        view=parent.view_address(TRIALS),
        study=study.study_name,
        trial=best.number,
        val_accuracy=best.values[0],
        certainty=certainty_text(sure),
        best_file=parent.output_dir.absolute() / BEST_FILE,
        command=f"kd {command_name(config)} --config {BEST_FILE}",
        tests=tests_of(config, study, best.number),
        at_edge=next(filter(None, (edge_advice(axis, best.params.get(axis.name), asked) for axis in space)), ""),
    )


def edge_advice(axis: Axis, value: object, asked: Collection[str] = ()) -> str:
    """Return what to try where a value stands at the end of its axis, and the field allows more beyond.

    Nothing larger is to be tried of the fields whose largest value was asked for.
    """
    if axis.kind == "cat" or not isinstance(value, int | float) or axis.name in _BOUNDED:
        return ""
    low, high, at = (math.log(one) if axis.kind in {"log", "intlog"} else one for one in (axis.low, axis.high, value))
    if high - at <= EDGE * (high - low) and axis.name not in asked:
        return f"{axis.name} {value:.3g} is the largest that was searched: try --search {axis.name}={axis.kind}:... beyond it"
    if at - low <= EDGE * (high - low) and axis.low > _LEAST.get(axis.name, 0):
        return f"{axis.name} {value:.3g} is the smallest that was searched: try --search {axis.name}={axis.kind}:... below it"
    return ""


_BOUNDED = {"alpha", "own_fraction"}
"""Fields whose whole range is searched: nothing lies beyond."""
_LEAST = {"temperature": 1.0, "width": 4, "depth": 1, "epochs": 1, "batch_size": 2, "top_n": 1}
"""Values below which nobody goes on searching."""
