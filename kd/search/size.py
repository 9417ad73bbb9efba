"""The size of candidates: the parameters of a configuration's nets, and what ``--max-parameters`` leaves of the space."""

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from kd.config import TuneConfig
from kd.data.dataset import Dataset
from kd.errors import UserError
from kd.from_config import net, specialist_kind
from kd.nets.cost import count_parameters_of
from kd.search.space import Axis, Value
from kd.specialists.groups import least_sizes
from kd.specialists.kind import TaskKind

_OF_KINDS = ("dustbin", "specialist_kind")
"""Fields that decide on the number of a specialist's logits."""


def candidate_parameters(config: TuneConfig, group_sizes: Sequence[int], dataset: Dataset) -> int:
    """Return how many parameters the nets of one seed have: the student's, or those of all specialists together.

    Nothing is allocated, whatever the size.

    Args:
        config: net, width and depth, and the kind of specialists.
        group_sizes: how many classes each specialist's group has.
        dataset: the images.
    """
    if config.objective == "student":
        logits = [dataset.num_classes]
    else:
        more = {TaskKind.DUSTBIN: 1, TaskKind.OWN: 0}
        kind = specialist_kind(config)
        logits = [dataset.num_classes if kind == TaskKind.FULL else size + more[kind] for size in group_sizes]
    create, channels = net(config, dataset).create, dataset.image_shape[0]
    return sum(times * count_parameters_of(partial(create, classes, channels)) for classes, times in Counter(logits).items())


def fitting_space(space: Sequence[Axis], config: TuneConfig, dataset: Dataset) -> tuple[Axis, ...]:
    """Return the space without the widths at which no candidate can have as few parameters as ``--max-parameters`` says.

    Where other settings of the size are searched, or groups are to be found, some candidates of what is left may still be
    too large; they are known once they are drawn.

    Raises:
        UserError: the smallest candidate is larger.
    """
    limit = config.max_parameters
    if not limit:
        return tuple(space)
    axes = {axis.name: axis for axis in space}
    sizes = [] if config.objective == "student" else least_sizes(config.groups, config.group, config.data, dataset.classes)

    def least(width: int) -> int:
        return min(candidate_parameters(other, sizes, dataset) for other in _smallest(config, axes, width))

    widths = axes["width"].whole_values() if "width" in axes else [config.width]
    fitting = bisect_right(widths, limit, key=least)
    if not fitting:
        what = "the smallest student" if config.objective == "student" else "the smallest specialists together"
        size = f"of width {widths[0]}, would have {least(widths[0]):,} parameters"
        raise UserError(f"{limit:,}: {what} of this search, {size}; allow as many", field="max_parameters")
    if fitting == len(widths):
        return tuple(space)
    return tuple(axis.up_to(widths[fitting - 1]) if axis.name == "width" else axis for axis in space)


def fitting_config(config: TuneConfig, space: Sequence[Axis]) -> TuneConfig:
    """Return a configuration, no wider than what ``--max-parameters`` and ``--max-latency`` leave of the space."""
    widths = next((axis.whole_values() for axis in space if axis.name == "width"), [config.width])
    too_wide = (config.max_parameters or config.max_latency) and config.width > widths[-1]
    return config.model_copy(update={"width": widths[-1]}) if too_wide else config


def _smallest(config: TuneConfig, axes: dict[str, Axis], width: int) -> Iterator[TuneConfig]:
    """Yield the configurations of a width among which the smallest one is."""
    depth = axes["depth"].whole_values()[0] if "depth" in axes else config.depth
    choices: list[tuple[Value, ...]] = [axes[name].choices if name in axes else (getattr(config, name),) for name in _OF_KINDS]
    for values in itertools.product(*choices):
        yield config.model_copy(update={"width": width, "depth": depth, **dict(zip(_OF_KINDS, values, strict=True))})
