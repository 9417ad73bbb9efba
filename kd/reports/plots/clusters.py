"""How alike the generalist takes classes to be, from which the groups of classes come."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kd.reports.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Array,
    class_names,
    font_size,
    new_figure,
    thinned,
)

CLIPPED_PERCENTILE = 99
GROUP_COLOURS = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY)
MAX_STRIP = 0.4  # of the matrix's width
MAX_NUMBERS = 25


def class_groups(  # noqa: PLR0913 - what is drawn, and what is told of it
    likeness: Array,
    groups: Sequence[Sequence[int]],
    classes: Sequence[str],
    title: str,
    *,
    measure: str,
    images: int | None = None,
) -> Figure:
    """Draw how alike classes are, (C, C), ordered by group: by ``measure``, such as a covariance, which may be negative.

    Groups are outlined. A class of several groups stands with its first one, and the strip to the right marks it in each; a
    class of no group stands last. The colours are scaled to what lies off the diagonal.
    """
    first = _first_group(groups, len(classes))
    order = np.argsort(first, kind="stable")
    ordered = np.asarray(likeness, dtype=np.float64)[np.ix_(order, order)]
    np.fill_diagonal(ordered, np.nan)  # a class and itself: far larger than all else, and of no matter for the groups
    is_signed = bool((ordered < 0).any())
    side = float(np.clip(0.5 * len(classes), 5.5, 9.5))
    step = min(max(1.0, len(classes) / 40), MAX_STRIP * len(classes) / max(1, len(groups)))
    wide = 1 + step * len(groups) / len(classes)
    figure = new_figure(side * wide + 2, side + 1.4, title, square_axes=True)
    axes = figure.subplots()
    limit, power = _limit(ordered)
    colours = colormaps["PuOr_r" if is_signed else "Oranges"].with_extremes(bad=GREY)
    least, ends = (-limit, "both") if is_signed else (0.0, "max")
    image = axes.imshow(ordered * 10.0**-power, cmap=colours, vmin=least, vmax=limit, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, extend=ends, fraction=0.035, pad=0.02)
    bar.set_label(rf"{measure} ($\times\,10^{{{power}}}$)")
    _outline(axes, first[order], len(groups))
    _membership(axes, groups, order, step)

    names, shown = class_names(classes), thinned(len(classes))
    ticks, size = [names[order[k]] for k in shown], font_size(len(shown), side)
    axes.set_xticks(shown, ticks, rotation=90, fontsize=size)
    axes.set_yticks(shown, ticks, fontsize=size)
    plural = "group" if len(groups) == 1 else "groups"
    counted = "" if images is None else f", n = {images:,} images"
    axes.set_xlabel(f"predicted class, ordered by group ({len(groups)} {plural}{counted}; grey: the class itself)")
    axes.spines[:].set_visible(False)
    return figure


def _first_group(groups: Sequence[Sequence[int]], count: int) -> Array:
    """Return each class's first group (C,), and the number of groups for a class of none, which sorts it last."""
    first = np.full(count, len(groups))
    for group in reversed(range(len(groups))):
        first[list(groups[group])] = group
    return first


def _limit(matrix: Array) -> tuple[float, int]:
    """Return where the colours end and the power of ten to show it in: 1.7 and -4 stand for 0.00017."""
    limit = float(np.nanpercentile(np.abs(matrix), CLIPPED_PERCENTILE))
    if not limit > 0:
        return 1.0, 0
    power = int(np.floor(np.log10(limit)))
    return limit / 10.0**power, power


def _outline(axes: Axes, first: Array, count: int) -> None:
    for group in range(count):
        members = np.flatnonzero(first == group)
        if len(members):
            corner, size = members[0] - 0.5, len(members)
            axes.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor=INK, linewidth=1.8, gid="group"))


def _membership(axes: Axes, groups: Sequence[Sequence[int]], order: Array, step: float) -> None:
    count = len(order)
    place = {int(label): row for row, label in enumerate(order)}
    for group, members in enumerate(groups):
        left = count + 0.3 * step + group * step
        axes.axvspan(left, left + 0.8 * step, 0, 1, color=LIGHT, zorder=0)
        colour = GROUP_COLOURS[group % len(GROUP_COLOURS)]
        for label in members:
            corner = (left, place[label] - 0.5)
            axes.add_patch(Rectangle(corner, 0.8 * step, 1, facecolor=colour, edgecolor="none", gid="member"))
    for group in thinned(len(groups), MAX_NUMBERS):
        axes.text(count + (group + 0.7) * step, -0.8, str(group), ha="center", va="bottom", fontsize=8)
    axes.text(count - 0.5, -0.8, "group", ha="right", va="bottom", fontsize=9)
    axes.set_xlim(-0.5, count + step * (len(groups) + 0.3))
    axes.set_ylim(count - 0.5, -0.5)
