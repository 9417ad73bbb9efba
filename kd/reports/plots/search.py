"""The figures of a search: its course, its settings beside the accuracy, what they matter, and how large the nets are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from kd.evaluation.intervals import Interval
from kd.reports.plots.style import BLUE, GREY, INK, LIGHT, VERMILLION, Array, new_figure, plain, tidy

PANEL_INCHES, MAX_PANELS_PER_ROW = 3.3, 4
FAR_BELOW, LEAST_RANGE = 4.0, 0.02
"""An accuracy is drawn at the edge if it is below the best by more than so many times as the median is, and by two points."""
STATE_LOOKS = {"complete": (BLUE, ""), "pruned": (LIGHT, ""), "failed": (VERMILLION, "///")}
BEST = {"marker": "*", "markersize": 15, "color": VERMILLION, "markeredgecolor": "white", "linestyle": "none", "zorder": 5}
MAX_LABELLED = 25
FEW_DECADES, MAX_LOG_TICKS = 2.0, 5
EDGE_SHARE = 0.12
"""Room below the triangles at the lower edge, of the range above it: their number stands there."""


@dataclass(frozen=True)
class Setting:
    """A setting that was searched, and its value in each complete trial."""

    name: str
    values: Sequence[float | str]
    is_log: bool = False
    """Whether it was searched on a log scale."""


def search_history(  # noqa: PLR0913 - complete trials, others, and how sure the best is
    numbers: Sequence[int],
    accuracies: Sequence[float],
    title: str,
    *,
    best: int,
    others: Mapping[str, Sequence[int]],
    interval: Interval | None = None,
    images: str = "val images",
) -> Figure:
    """Draw the accuracy of complete trials by number, the best so far, and where others ended.

    Args:
        numbers: of the complete trials, ascending.
        accuracies: theirs on val.
        title: of the figure.
        best: the place of the winner, which may tie with others.
        others: numbers of the trials that have no accuracy, by how they ended.
        interval: of the best one.
        images: what the interval's n counts.
    """
    figure = new_figure(9, 4.4, title)
    axes = figure.subplots()
    if interval is not None:
        label = f"95 % interval of the best, n = {interval.n:,} {images}"
        axes.axhspan(100 * interval.low, 100 * interval.high, color=LIGHT, alpha=0.6, zorder=0, label=label)
    axes.step(numbers, 100 * np.maximum.accumulate(accuracies), where="post", color=BLUE, label="best so far")
    _dots(axes, np.asarray(numbers, dtype=np.float64), accuracies)
    axes.plot(numbers[best], 100 * accuracies[best], label=f"best: trial {numbers[best]}", **_best())
    for (state, which), colour in zip(others.items(), (GREY, VERMILLION), strict=False):
        if which:
            ticks = axes.get_xaxis_transform()
            axes.plot(which, np.full(len(which), 0.015), "|", color=colour, transform=ticks, label=f"{state}: {len(which)}")
    axes.set_xlabel("trial")
    axes.set_ylabel("val accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def searched_settings(settings: Sequence[Setting], accuracies: Sequence[float], title: str, *, best: int) -> Figure:
    """Draw the accuracy of complete trials by each setting; ``best`` is the place of the winner."""
    columns = min(MAX_PANELS_PER_ROW, len(settings))
    rows = -(-len(settings) // columns)
    figure = new_figure(max(6.5, PANEL_INCHES * columns), 0.8 + 3.3 * rows, title)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for number, axes in enumerate(panels.flat):
        if number >= len(settings):
            axes.remove()
            continue
        setting = settings[number]
        x = _placed(axes, setting)
        _dots(axes, x, accuracies)
        axes.plot(x[best], 100 * accuracies[best], **_best())
        axes.set_xlabel(plain(setting.name))
        if number % columns == 0:
            axes.set_ylabel("val accuracy (%)")
        tidy(axes)
    figure.supxlabel(f"a dot per complete trial, n = {len(accuracies)}; star: the winner", fontsize=9, color=INK)
    return figure


def two_settings(first: Setting, second: Setting, accuracies: Sequence[float], title: str, *, best: int) -> Figure:
    """Draw where in two settings the trials were, coloured by accuracy; ``best`` is the place of the winner."""
    figure = new_figure(7, 5.2, title)
    axes = figure.subplots()
    x, y = _placed(axes, first), _placed(axes, second, side="y")
    shown = 100 * np.asarray(accuracies)
    order = np.argsort(shown, kind="stable")  # the better ones on top
    floor = 100 * _floor(accuracies)
    dots = axes.scatter(x[order], y[order], c=shown[order], cmap="viridis", vmin=floor, s=55, edgecolor=INK, linewidth=0.5)
    axes.plot(x[best], y[best], "o", markersize=15, markerfacecolor="none", markeredgecolor=VERMILLION, markeredgewidth=2)
    axes.set_xlabel(plain(first.name))
    axes.set_ylabel(plain(second.name))
    tidy(axes, grid="both")
    bar = figure.colorbar(dots, ax=axes, extend="min" if floor > shown.min() else "neither")
    bar.set_label("val accuracy (%)")
    figure.supxlabel(f"a dot per complete trial, n = {len(shown)}; ring: the winner", fontsize=9, color=INK)
    return figure


def importances(shares: Mapping[str, float], title: str, *, best: int, trials: int) -> Figure:
    """Draw by how much settings tell the best trials from all; shares sum to 1."""
    figure = new_figure(8, 1.7 + 0.42 * len(shares), title)
    axes = figure.subplots()
    names = sorted(shares, key=lambda name: -shares[name])
    values = [100 * shares[name] for name in names]
    bars = axes.barh(range(len(names)), values, color=BLUE, height=0.6)
    axes.bar_label(bars, [f"{value:.0f} %" for value in values], padding=4, fontsize=9.5, color=INK)
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 110)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel(f"share (%) of what tells the best {best} trials from all {trials} (PED-ANOVA)")
    tidy(axes, grid="x")
    return figure


def accuracy_and_cost(  # noqa: PLR0913 - trials, and what their cost is
    numbers: Sequence[int],
    accuracies: Sequence[float],
    amounts: Sequence[float],
    on_front: Sequence[bool],
    title: str,
    *,
    axis: str = "parameters",
    lesser: str = "smaller",
) -> Figure:
    """Draw the accuracy of complete trials by what they cost, and the front: those that none beats in both.

    Args:
        numbers: of the complete trials.
        accuracies: theirs on val.
        amounts: what each costs, by default its number of parameters.
        on_front: whether each is on the front.
        title: of the figure.
        axis: label of the costs' axis, with the unit.
        lesser: what a trial of less cost is.
    """
    figure = new_figure(8.5, 5, title)
    axes = figure.subplots()
    sizes, front = np.asarray(amounts, dtype=np.float64), np.asarray(on_front, dtype=np.bool_)
    axes.set_xscale("log")
    _log_ticks(axes, "x", sizes)
    _dots(axes, sizes[~front], np.asarray(accuracies)[~front], of=accuracies, colour=GREY, label="beaten by one of the front")
    order = np.flatnonzero(front)[np.argsort(sizes[front], kind="stable")]
    best = 100 * np.asarray(accuracies)[order]
    label = f"front: none is both more accurate and {lesser}"
    axes.step(sizes[order], best, where="post", color=BLUE, marker="o", markersize=7, label=label)
    equal: dict[tuple[float, float], list[int]] = {}
    for place, y in zip(order, best, strict=True):
        equal.setdefault((sizes[place], y), []).append(numbers[place])
    for point, which in equal.items():
        label = f"{min(which)}" + (f" (+{len(which) - 1})" if len(which) > 1 else "")
        axes.annotate(label, point, (0, 7), textcoords="offset points", ha="center", fontsize=8.5, color=INK)
    axes.set_xlabel(axis)
    axes.set_ylabel("val accuracy (%)")
    axes.margins(y=0.08)
    tidy(axes, grid="both")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def timeline(
    numbers: Sequence[int], begun: Sequence[float], ended: Sequence[float], states: Sequence[str], title: str
) -> Figure:
    """Draw when each trial ran, in seconds since the first one began, and how it ended."""
    unit, scale = ("minutes", 60.0) if max(ended, default=0.0) > 300 else ("seconds", 1.0)  # noqa: PLR2004 - five minutes
    figure = new_figure(9, float(np.clip(1.8 + 0.16 * len(numbers), 3.2, 9)), title)
    axes = figure.subplots()
    starts = np.asarray(begun) / scale
    widths = np.asarray(ended) / scale - starts
    for state, (colour, hatch) in STATE_LOOKS.items():
        rows = [row for row, ending in enumerate(states) if ending == state]
        if rows:
            axes.barh(
                rows, widths[rows], left=starts[rows], height=0.8, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.3
            )
    step = -(-len(numbers) // MAX_LABELLED)
    axes.set_yticks(range(0, len(numbers), step), [str(number) for number in numbers[::step]], fontsize=8.5)
    axes.set_ylim(len(numbers) - 0.4, -0.6)
    axes.set_ylabel("trial")
    axes.set_xlabel(f"{unit} since the first trial began")
    tidy(axes, grid="x")
    patches = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=INK, linewidth=0.3, label=f"{state}: {states.count(state)}")
        for state, (colour, hatch) in STATE_LOOKS.items()
        if state in states
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=9)
    return figure


def _best() -> dict[str, Any]:
    return dict(BEST)


def _floor(accuracies: Sequence[float] | Array) -> float:
    """Return the accuracy below which trials are drawn at the edge: a few bad ones would flatten all others."""
    best, middle = float(np.max(accuracies)), float(np.median(accuracies))
    return max(float(np.min(accuracies)), best - max(FAR_BELOW * (best - middle), LEAST_RANGE))


def _dots(  # noqa: PLR0913 - how they look
    axes: Axes,
    x: Array,
    accuracies: Sequence[float] | Array,
    *,
    of: Sequence[float] | None = None,
    colour: str = BLUE,
    label: str | None = None,
) -> None:
    """Draw a dot per trial; those far below all others are triangles at the lower edge, and are counted."""
    values = np.asarray(accuracies, dtype=np.float64)
    every = accuracies if of is None else of
    floor, top = _floor(every), float(np.max(every))
    low = values < floor
    axes.plot(x[~low], 100 * values[~low], "o", color=colour, alpha=0.75, markeredgecolor="none", zorder=3, label=label)
    if low.any():
        axes.plot(x[low], np.full(low.sum(), 100 * floor), "v", color=colour, markerfacecolor="white", zorder=3)
        text = f"triangles: {low.sum()} below {100 * floor:.1f} %"
        axes.text(0.02, 0.03, text, transform=axes.transAxes, fontsize=8.5, color=INK)
        axes.set_ylim(bottom=100 * (floor - EDGE_SHARE * (top - floor)))


def _placed(axes: Axes, setting: Setting, side: str = "x") -> Array:
    """Return where the values of a setting lie on an axis, which is scaled and labelled for them."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    if any(isinstance(value, str) for value in setting.values):
        names = sorted({str(value) for value in setting.values})
        axis.set_ticks(range(len(names)), [plain(name) for name in names])
        (axes.set_xlim if side == "x" else axes.set_ylim)(-0.5, len(names) - 0.5)
        return np.array([names.index(str(value)) for value in setting.values], dtype=np.float64)
    values = np.array([float(value) for value in setting.values])
    if setting.is_log:
        (axes.set_xscale if side == "x" else axes.set_yscale)("log")
        _log_ticks(axes, side, values)
    elif np.equal(values, np.round(values)).all():
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return values


def _log_ticks(axes: Axes, side: str, values: Array) -> None:
    """Label a log scale in plain numbers, at as many as a scale of this range has room for."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    decades = np.log10(values.max() / values.min()) if len(values) and values.min() > 0 else 1.0
    locator = LogLocator(subs=(1.0, 2.0, 5.0)) if decades < FEW_DECADES else LogLocator(numticks=MAX_LOG_TICKS)
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())
