"""Figures of test images with the nets' answers."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from kd.reports.plots.style import (
    BLUE,
    INK,
    VERMILLION,
    Array,
    class_names,
    looks,
    new_figure,
    show_image,
    tidy,
)

MAX_BARS = 10
MIN_AXIS_START, MAX_AXIS_START = 1e-4, 1e-2
TILES_PER_ROW = 8
MAX_TILES = 16
HEADING = 0.14
MAX_NAME_LENGTH = 16
MAX_NAME_LENGTH_ON_TILE = 12


def dark_knowledge(  # noqa: PLR0913, PLR0917 - the columns of the figure
    images: Array,
    labels: Array,
    systems: Mapping[str, Array],
    classes: Sequence[str],
    temperature: float,
    title: str,
) -> Figure:
    """Draw images beside the soft targets of a generalist and of other systems, such as its student, at one temperature.

    Each image has its classes from the generalist's most probable one down; beyond ten, the rest is summed into one line. The
    axis is logarithmic, since the small probabilities are what is taught (Hinton et al. 2015, section 2).

    Args:
        images: (n, C, H, W) uint8.
        labels: (n,).
        systems: (n, K) probabilities at the temperature by system, the generalist's first.
        classes: the K names.
        temperature: T of the probabilities.
        title: title of the figure.

    Raises:
        ValueError: n is 0.
    """
    if len(images) == 0:
        msg = "dark_knowledge needs at least one image"
        raise ValueError(msg)
    names = class_names(classes, MAX_NAME_LENGTH)
    bars = min(len(classes), MAX_BARS) + (len(classes) > MAX_BARS)
    columns = min(2, len(images))
    rows = -(-len(images) // columns)
    height = max(1.7, 0.075 * bars * (len(systems) + 1) + 0.4)
    figure = new_figure(6.8 * columns, 1.1 + rows * height, title)
    grid = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1, 2.2] * columns).reshape(-1, 2)
    smallest = min(float(p.min()) for p in systems.values())
    least = 10.0 ** np.floor(np.log10(np.clip(smallest, MIN_AXIS_START, MAX_AXIS_START)))
    for image, (picture, axes) in enumerate(grid):
        if image >= len(images):
            picture.set_axis_off()
            axes.set_axis_off()
            continue
        show_image(picture, images[image])
        picture.set_title(f"true: {names[labels[image]]}", fontsize=9)
        _mark_wrong(picture, [name for name, p in systems.items() if p[image].argmax() != labels[image]], len(systems))
        _soft_targets(axes, int(labels[image]), {name: p[image] for name, p in systems.items()}, names)
        _percent_axis(axes, least)
        if image >= len(images) - columns:
            axes.set_xlabel(f"probability at T = {temperature:g} (log scale)")
    figure.legend(
        *grid[0, 1].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(systems),
        frameon=False,
        title=f"images: n = {len(images)}; classes in the generalist's order, the true one in bold",
    )
    return figure


def _mark_wrong(picture: Axes, wrong: Sequence[str], systems: int) -> None:
    """Name below an image the systems whose answer to it is wrong."""
    if wrong:
        words = "all wrong" if len(wrong) == systems else f"wrong: {', '.join(name.split(' (')[0] for name in wrong)}"
        picture.set_xlabel(words, fontsize=8, color=VERMILLION)


def _soft_targets(axes: Axes, label: int, systems: Mapping[str, Array], names: Sequence[str]) -> None:
    order = np.argsort(-next(iter(systems.values())), kind="stable")
    shown, rest = order[:MAX_BARS], order[MAX_BARS:]
    if label in rest:  # the true class is always shown
        shown = np.append(shown[:-1], label)
        rest = np.setdiff1d(order, shown)
    lines = [names[k] for k in shown] + ([f"{len(rest)} others, summed"] if len(rest) else [])
    height = 0.8 / len(systems)
    colours = looks(systems)
    for place, (system, p) in enumerate(systems.items()):
        values = np.append(p[shown], [p[rest].sum()] if len(rest) else [])
        offset = (place - (len(systems) - 1) / 2) * height
        drawn = axes.barh(np.arange(len(values)) + offset, values, height, color=colours[system][0], label=system)
        if len(rest):
            drawn.patches[-1].set_alpha(0.4)  # a sum is not a single soft target
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks(range(len(lines)), lines, fontsize=8.5)
    axes.get_yticklabels()[list(shown).index(label)].set_fontweight("bold")
    tidy(axes, grid="x")


def _percent_axis(axes: Axes, least: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(least, 1)
    decades = np.arange(round(np.log10(least)), 1)
    axes.set_xticks(10.0**decades, [f"{100 * 10.0**decade:g} %" for decade in decades], fontsize=9)
    axes.xaxis.set_minor_locator(NullLocator())


def mended_and_broken(  # noqa: PLR0913, PLR0917 - the columns of the figure
    images: Array,
    labels: Array,
    before: Array,
    after: Array,
    classes: Sequence[str],
    title: str,
    *,
    systems: tuple[str, str] = ("before", "after"),
    most: int = MAX_TILES,
) -> Figure:
    """Show images that a system mended, which the one before it has wrong, and images that it broke.

    Args:
        images: (n, C, H, W) uint8, all of the split.
        labels: (n,).
        before: the classes that the generalist or the control predicted, (n,).
        after: those of the combination, or of the net that was distilled, (n,).
        classes: names of the classes.
        title: title of the figure.
        systems: names of the two.
        most: images of each kind that are shown at most, spread evenly over the split.
    """
    kinds = [
        ("mended", np.flatnonzero((before != labels) & (after == labels))),
        ("broken", np.flatnonzero((before == labels) & (after != labels))),
    ]
    counts = [min(len(rows), most) for _, rows in kinds]
    lines = [-(-count // TILES_PER_ROW) for count in counts]
    ratios = [ratio for line in lines for ratio in (HEADING, *[1.0] * line)]
    figure = new_figure(12, 0.6 + 1.85 * sum(ratios), title)
    grid = figure.add_gridspec(len(ratios), TILES_PER_ROW, height_ratios=ratios)
    names = class_names(classes, MAX_NAME_LENGTH_ON_TILE)
    top = 0
    for (kind, rows), count, line in zip(kinds, counts, lines, strict=True):
        shown = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
        some = f", {count} of them shown" if count < len(rows) else ""
        heading = figure.add_subplot(grid[top, :])
        heading.set_axis_off()
        text = f"{kind}: {len(rows):,} of n = {len(labels):,} images{some}" if count else f"no image was {kind}"
        heading.text(0, 0, text if count else f"{text} (n = {len(labels):,} images)", fontsize=11, color=INK)
        for tile, row in enumerate(shown):
            axes = figure.add_subplot(grid[top + 1 + tile // TILES_PER_ROW, tile % TILES_PER_ROW])
            show_image(axes, images[row])
            answers = (f"{name}: {names[of[row]]}" for name, of in zip(systems, (before, after), strict=True))
            _before_and_after(axes, *answers, mended=kind == "mended")
        top += 1 + line
    return figure


def _before_and_after(axes: Axes, before: str, after: str, *, mended: bool) -> None:
    right, wrong = (BLUE, "bold"), (VERMILLION, "normal")
    (above, above_weight), (below, below_weight) = (wrong, right) if mended else (right, wrong)
    axes.set_title(before, fontsize=8, pad=3, color=above, fontweight=above_weight)
    axes.set_xlabel(after, fontsize=8, labelpad=3, color=below, fontweight=below_weight)
