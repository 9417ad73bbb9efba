"""The latency of candidates: each net of a search is measured once, before any trial, and all trials take that figure.

A net takes as long whatever its weights are, so its latency is known before it is trained. It is measured as everywhere in kd
(:mod:`kd.evaluation.latency`): one image, all threads that the process may have, the median of many passes. While trials run
it could not be: the workers of one machine disturb each other's timings, and have a part of its threads each. So the command
that creates the study measures, before its workers begin, in rounds over all nets until the two quickest of each net agree; the
quickest counts, since whatever else the machine does makes a pass slower, never quicker. Where they don't agree in time, that
is told beside the figures. They are kept with the study, for all its commands and machines, so that trials are compared by
figures of one machine.
"""

import itertools
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import optuna
from optuna.storages import RDBStorage

from kd.config import TuneConfig
from kd.errors import UserError
from kd.evaluation.latency import Latency, latency
from kd.from_config import net
from kd.machine.activity import doing
from kd.machine.signals import check_stop
from kd.nets.classifier import Classifier
from kd.search.attributes import LATENCIES, study_attribute
from kd.search.space import Axis, sizes_of
from kd.search.study import load_study
from kd.tracking.params import canonical
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")

MAX_NETS = 256
"""Nets that are measured at most: at a tenth of a second each and three rounds, about a minute."""
MIN_ROUNDS = 3
IMAGES = 1
"""Images per pass."""
AGREEING = 1.1
"""How many times as long as the quickest round of a net the next one may take, on a machine that is quiet enough."""
SECONDS = 20.0
"""Time after which no further round begins."""
_SPARE = 1.2


@dataclass(frozen=True)
class Latencies:
    """What was measured of the nets of a search."""

    ms: Mapping[str, float]
    """The milliseconds that each net takes for one image, by its settings as text."""
    place: str
    """Where: ``cpu, 2 threads``."""
    unrest: float
    """How many times as long as its quickest round the next one of a net took, at most."""

    def text(self) -> str:
        """Return in a sentence or two what was measured, and how sure it is."""
        told = (
            f"Latency: the median time of one image ({self.place}), measured before the trials, the quickest round of each net."
        )
        if self.unrest <= AGREEING:
            return told
        return (
            f"{told} The machine was busy: the next round of a net took up to {self.unrest:.1f} times as long, so differences "
            "smaller than that say nothing."
        )


def find_latencies(
    storage: RDBStorage, name: str, config: TuneConfig, space: Sequence[Axis], workspace: Workspace
) -> Latencies | None:
    """Return the latencies of all nets of a search: those kept with its study, or measured now; None: it asks for none.

    Args:
        storage: the study's.
        name: the study's, which need not be there.
        config: the search.
        space: what is searched.
        workspace: images and device.

    Raises:
        UserError: too many nets are searched, or the study is none of kd's.
    """
    if not config.needs_latency():
        return None
    nets = _nets(config, space)
    if name in optuna.get_all_study_names(storage):
        kept = read_latencies(load_study(storage, name))
        if kept is not None and nets.keys() <= kept.ms.keys():
            return kept
    return _measured(nets, workspace)


def read_latencies(study: optuna.Study) -> Latencies | None:
    """Return the latencies that are kept with a study; None: there are none."""
    kept = study_attribute(study, LATENCIES)
    return None if kept is None else Latencies(**kept)


def keep_latencies(study: optuna.Study, latencies: Latencies) -> Latencies:
    """Keep latencies with a study, and return those that it has: another command may have kept its own just before."""
    kept = read_latencies(study)
    if kept is not None and latencies.ms.keys() <= kept.ms.keys():
        return kept
    study.set_user_attr(LATENCIES, asdict(latencies))
    return latencies


def candidate_latency(config: TuneConfig, groups: int, workspace: Workspace, latencies: Latencies | None) -> float:
    """Return the milliseconds of one image in a student, or in the specialists of some groups one after the other.

    A net that was not searched, as the configured one may be, is measured now.
    """
    key = _key(config)
    if latencies is None or key not in latencies.ms:
        latencies = _measured({key: config}, workspace)
    return latencies.ms[key] * _count(config, groups)


def fast_space(space: Sequence[Axis], config: TuneConfig, groups: int, latencies: Latencies | None) -> tuple[Axis, ...]:
    """Return the space without the widths above the last one at which a candidate is as fast as ``--max-latency`` says.

    Args:
        space: what is searched.
        config: the search.
        groups: how many specialists a candidate has at least.
        latencies: of the nets of the space.

    Raises:
        UserError: the fastest candidate is slower.
    """
    limit = config.max_latency
    if not limit or latencies is None:
        return tuple(space)
    nets = _nets(config, space)
    taken = {key: latencies.ms[key] * _count(config, groups) for key in nets}
    fitting = [one for key, one in nets.items() if taken[key] <= limit]
    if not fitting:
        key, least = min(taken.items(), key=lambda item: item[1])
        what = "student" if config.objective == "student" else "specialists together"
        raise UserError(
            f"{limit:g}: the fastest {what} of this search ({key}) would take {least:.3g} ms for one image "
            f"({latencies.place}); allow {_rounded_up(_SPARE * least):g}",
            field="max_latency",
        )
    widest = max(one.width for one in fitting)
    return tuple(axis.up_to(widest) if axis.name == "width" and widest < axis.whole_values()[-1] else axis for axis in space)


def _count(config: TuneConfig, groups: int) -> int:
    return 1 if config.objective == "student" else groups


def _nets(config: TuneConfig, space: Sequence[Axis]) -> dict[str, TuneConfig]:
    """Return a configuration of each net of a search, by its settings as text.

    Raises:
        UserError: they are too many to be measured.
    """
    axes = [axis for axis in space if axis.name in sizes_of(config)]
    values = [axis.whole_values() for axis in axes]
    count = math.prod(map(len, values))
    if count > MAX_NETS:
        raise UserError(
            f"{'; '.join(axis.text() for axis in axes)}: {count:,} nets, and the latency of {MAX_NETS} is measured at most; "
            "give steps, as in width=int:4:32:4",
            field="search",
        )
    return {_key(one): one for one in _configs(config, [axis.name for axis in axes], values)}


def _configs(config: TuneConfig, names: Sequence[str], values: Sequence[Sequence[object]]) -> Iterator[TuneConfig]:
    for chosen in itertools.product(*values):
        yield config.model_copy(update=dict(zip(names, chosen, strict=True)))


def _key(config: TuneConfig) -> str:
    """Return the settings of a candidate's nets that are searched, as text: ``depth 1, width 8``."""
    return ", ".join(f"{name.replace('_', ' ')} {canonical(getattr(config, name))}" for name in sizes_of(config))


def _measured(nets: Mapping[str, TuneConfig], workspace: Workspace) -> Latencies:
    """Return the latencies of nets, which have an output per class: a few more or fewer make no difference in time."""
    found: dict[str, list[Latency]] = {key: [] for key in nets}
    end, left, rounds = time.monotonic() + SECONDS, [*nets], 0
    with doing(f"measuring the latency of {len(nets)} net{'s' * (len(nets) > 1)}"):
        while left and (rounds < MIN_ROUNDS or time.monotonic() < end):
            for key in left:
                check_stop()
                found[key].append(_once(nets[key], workspace))
            rounds += 1
            left = [key for key in left if rounds < MIN_ROUNDS or _unrest(found[key]) > AGREEING]
    quickest = {key: min(one.median_ms for one in those) for key, those in found.items()}
    latencies = Latencies(quickest, next(iter(found.values()))[0].place, max(map(_unrest, found.values())))
    log.info("%s", latencies.text())
    return latencies


def _unrest(rounds: Sequence[Latency]) -> float:
    """Return how many times as long as the quickest round the next one took."""
    first, second, *_ = sorted(one.median_ms for one in rounds)
    return second / first


def _once(config: TuneConfig, workspace: Workspace) -> Latency:
    dataset = workspace.dataset
    made = net(config, dataset).create(dataset.num_classes, dataset.image_shape[0])
    model = Classifier(made, dataset.mean, dataset.std).to(workspace.device)
    return latency(model, dataset.test.images, IMAGES)


def _rounded_up(value: float) -> float:
    """Return a number of two digits that is not below a value."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit) * unit, 12)
