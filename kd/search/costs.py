"""The costs of candidates in words: parameters, latency of one image, size of the file, and what is too much of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import optuna

from kd.config import TuneConfig
from kd.reports.cost import size_text
from kd.search.attributes import IDENTITY, LATENCY, PARAMETERS, SIZE, study_attribute


@dataclass(frozen=True)
class Cost:
    """One of the costs of a candidate, the less the better."""

    attribute: str
    """Of a trial: its amount."""
    metric: str
    """Of a trial's run: the same."""
    figure: str
    """Name of the figure that shows it against accuracy."""
    axis: str
    """Label of its axis there."""
    column: str
    """Head of its column in tables."""
    least: str
    """The trial that has the least of it."""
    lesser: str
    """A trial that has less of it."""
    text: Callable[[float], str]
    """An amount as it stands in a table or line."""
    scale: float = 1.0
    """By what an amount is divided in the figure."""


COSTS: Final[Mapping[str, Cost]] = {
    "parameters": Cost(
        PARAMETERS,
        "cost/parameters",
        "accuracy_and_size",
        "parameters",
        "parameters",
        "smallest",
        "smaller",
        lambda amount: f"{amount:,.0f}",
    ),
    "latency": Cost(
        LATENCY,
        "cost/latency_ms_batch_1",
        "accuracy_and_latency",
        "latency of one image (milliseconds)",
        "latency of one image",
        "fastest",
        "faster",
        lambda amount: f"{amount:.3g} ms",
    ),
    "size": Cost(
        SIZE,
        "cost/file_bytes",
        "accuracy_and_file_size",
        "size of the model's file (kB, of 1,000 bytes)",
        "size of the file",
        "smallest",
        "smaller",
        lambda amount: size_text(round(amount)),
        scale=1000.0,
    ),
}


def names_of(config: TuneConfig) -> list[str]:
    """Return the names of the costs that a search knows of each candidate: parameters, and those that it asks about."""
    latency = ["latency"] if config.needs_latency() else []
    return ["parameters", *latency, *(["size"] if config.second_objective() == "size" else [])]


def cost_of(study: optuna.Study) -> Cost:
    """Return the cost that a study holds against accuracy; parameters where it goes by accuracy alone."""
    direction = (study_attribute(study, IDENTITY) or {}).get("direction", "")
    return COSTS.get(direction.rpartition("minimize ")[2], COSTS["parameters"])


def excess(config: TuneConfig, costs: Mapping[str, float]) -> str:
    """Return what is too much of a candidate, by ``--max-parameters`` and ``--max-latency``; empty: nothing is."""
    parameters, latency = costs.get("parameters", 0), costs.get("latency", 0.0)
    if 0 < config.max_parameters < parameters:
        return f"{parameters:,} parameters are more than --max-parameters {config.max_parameters:,}"
    if 0 < config.max_latency < latency:
        return f"{latency:.3g} ms for one image are more than --max-latency {config.max_latency:g}"
    return ""


def bounds_text(config: TuneConfig) -> str:
    """Return what ``--max-parameters`` and ``--max-latency`` leave out: ``larger than `--max-parameters 9999```."""
    large = [f"larger than `--max-parameters {config.max_parameters}`"] if config.max_parameters else []
    slow = [f"slower than `--max-latency {config.max_latency:g}`"] if config.max_latency else []
    return " or ".join([*large, *slow])
