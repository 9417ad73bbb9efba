"""Experiments: what the paper claims, how it is tried, and what came out of it."""

import importlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from torch import Tensor

from kd.distillation.results import Trained
from kd.distillation.teacher import Teacher
from kd.evaluation.comparisons import compare_correct, corrected
from kd.evaluation.intervals import ratio_interval, t_interval
from kd.lab.names import MODULES, ExperimentName
from kd.lab.record import Difference, Figure, Record, Row, machine
from kd.lab.setup import Setup
from kd.machine.activity import doing
from kd.machine.schedule import about

log = logging.getLogger("kd")

Expected = Literal["gain", "loss"]


@dataclass(frozen=True)
class Contrast:
    """Two systems that a claim compares."""

    after: str
    before: str
    expected: Expected | None = None
    """The verdict that the paper's claim asks for; None: the paper claims nothing of these two."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What came out of one seed."""

    correct: Mapping[str, Tensor]
    """Whether each system is right on each test image that it is scored on, (n,) bool, by the system's name."""
    contrasts: Sequence[Contrast]
    """The same for each seed."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Trained parameters of the systems that are nets."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Other numbers by name, such as a bias that was chosen on val; a seed may lack one."""
    ratios: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Figures that are ratios, by name: numerator and denominator, whose means over the seeds are divided."""
    on_test: frozenset[str] = frozenset()
    """The systems of which something was chosen on test: they show what comes of it, and are no result."""


@dataclass(frozen=True)
class Experiment:
    """One experiment of the paper."""

    title: str
    section: str
    """Where the paper has it."""
    claim: str
    """What the paper says came out of it."""
    tried: str
    """What is trained here, and compared."""
    run: Callable[[Setup, int], Measured]
    """Carries it out with one seed."""
    published: Mapping[str, str] = field(default_factory=dict)
    """The paper's own result of a system or figure, by its name."""
    published_on: str = ""
    """The images, or other data, of these results; empty: there are none."""


def experiment(name: ExperimentName) -> Experiment:
    """Return an experiment by its name."""
    found: Experiment = importlib.import_module(MODULES[name]).EXPERIMENT
    return found


def correct(system: Trained | Teacher) -> Tensor:
    """Return whether a net on all classes is right on each test image, (n,) bool."""
    return system.test_logits.argmax(dim=1) == system.dataset.test.labels


def carry_out_experiment(name: ExperimentName, setup: Setup, seeds: Sequence[int], command: str = "") -> Record:
    """Carry out an experiment with each seed, and return its record.

    Args:
        name: the experiment.
        setup: images, device and settings.
        seeds: the seeds, one or more; all systems of an experiment share each of them.
        command: the command that does the same; empty: it was called from Python.

    Raises:
        UserError: the experiment does not fit the images or settings, or a loss is not finite.
    """
    own, began = experiment(name), time.monotonic()
    measured, longest = [], 0.0
    for number, seed in enumerate(seeds, 1):
        of_seed = time.monotonic()
        with doing(f"{name}: seed {seed}, {number} of {len(seeds)}", has_bar=True):
            measured.append(own.run(setup, seed))
        longest = max(longest, time.monotonic() - of_seed)  # others may be of nets that were finished before
        if number < len(seeds):
            log.info("%s: %d of %d seeds done, %s left", name, number, len(seeds), about(longest * (len(seeds) - number)))
    return Record(
        experiment=name,
        title=own.title,
        section=own.section,
        claim=own.claim,
        command=command,
        data=setup.dataset.name,
        data_digest=setup.dataset.digest,
        seeds=tuple(seeds),
        settings=asdict(setup.settings),
        rows=tuple(_row(system, measured, own) for system in measured[0].correct),
        differences=_differences(measured),
        figures=_figures(measured, own),
        machine=machine(setup.device),
        seconds=time.monotonic() - began,
        tried=own.tried,
        published_on=own.published_on,
    )


def _row(system: str, measured: Sequence[Measured], own: Experiment) -> Row:
    answers = [one.correct[system] for one in measured]
    return Row(
        system=system,
        images=len(answers[0]),
        errors=tuple(int((~answer).sum()) for answer in answers),
        parameters=measured[0].parameters.get(system),
        published=own.published.get(system, ""),
        chosen_on_test=system in measured[0].on_test,
    )


def _differences(measured: Sequence[Measured]) -> tuple[Difference, ...]:
    """Return the differences of all contrasts; where there are several, each verdict is given by all of them together."""
    contrasts = measured[0].contrasts
    found = [
        compare_correct([(one.correct[contrast.before], one.correct[contrast.after]) for one in measured])
        for contrast in contrasts
    ]
    return tuple(
        Difference(contrast.after, contrast.before, contrast.expected, one.difference, one.over, one.adjusted_p)
        for contrast, one in zip(contrasts, corrected(found), strict=True)
    )


def _figures(measured: Sequence[Measured], own: Experiment) -> tuple[Figure, ...]:
    """Return the figures over the seeds that have them, and the ratios over all."""
    names = dict.fromkeys(name for one in measured for name in one.figures)
    values = {name: t_interval([one.figures[name] for one in measured if name in one.figures]) for name in names}
    ratios = {name: ratio_interval([one.ratios[name] for one in measured]) for name in measured[0].ratios}
    return tuple(Figure(name, value, own.published.get(name, "")) for name, value in {**values, **ratios}.items())
