"""Systems and differences beside each other, each with its interval."""

import textwrap
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kd.evaluation.intervals import Interval, format_interval, share_interval, unit_scale, verdict
from kd.reports.plots.style import BLUE, GREEN, GREY, INK, LIGHT, ROLE_LOOKS, VERMILLION, Array, new_figure, plain, tidy

MAX_LABEL_LENGTH = 46
MAX_LABEL_LINES, ROW_INCHES, HIGH_ROW_INCHES = 3, 0.45, 0.62
"""Lines of a difference's label at most, and the height of its row where all labels have two lines at most, and where not."""
VERDICT_LOOKS = {
    "gain": (BLUE, BLUE, "o"),
    "loss": (VERMILLION, VERMILLION, "D"),
    "null result": (GREY, "white", "s"),
    "no interval": (GREY, "white", "x"),
}
COMBINED_LOOK = (GREEN, "^")
OTHER_LOOK = (BLUE, "o")
VERDICT_NAMES = {"null result": "null result (the interval holds zero)"}
SEED_OFFSET = 0.24
MILLION, THOUSAND = 1_000_000, 1_000


def comparison(
    names: Sequence[str],
    accuracies: Sequence[Interval],
    parameters: Sequence[int],
    title: str,
    *,
    n: str = "",
) -> Figure:
    """Draw the test accuracy of systems with their 95 % intervals and parameter counts, in the order given.

    A dashed line carries the first system down the figure. ``n`` names what the intervals are over, such as
    "n = 10,000 test images" or "n = 5 seeds".
    """
    figure = new_figure(10, 1.7 + 0.5 * len(names), title)
    axes = figure.subplots()
    shown = _columns(accuracies, 100)
    axes.axvline(shown[0][0], color=GREY, linestyle="--", linewidth=1, zorder=1)
    _points(axes, shown, [_look(name) for name in names])
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, -0.5), min(right, 100.5))
    texts = [f"{accuracy:.1f} %   {_millions(count)}" for accuracy, count in zip(shown[0], parameters, strict=True)]
    _rows(axes, [_in_lines(name) for name in names], texts)
    axes.set_xlabel(f"test accuracy (%), 95 % interval{f', {n}' if n else ''}; dashed: {_shortened(names[0])}")
    return figure


def comparison_over_seeds(
    names: Sequence[str], accuracies: Sequence[Sequence[float]], parameters: Sequence[int], title: str
) -> Figure:
    """Draw the test accuracy of systems that were each trained with the same seeds: a point per seed, the mean, its interval.

    The intervals are Student's t over seeds; a single seed has none. A dashed line carries the first system's mean down the
    figure.
    """
    figure = new_figure(11, 1.9 + 0.62 * len(names), title)
    axes = figure.subplots()
    intervals = [share_interval(values) for values in accuracies]
    shown = _columns(intervals, 100)
    axes.axvline(shown[0][0], color=GREY, linestyle="--", linewidth=1, zorder=1)
    _points(axes, shown, [_look(name) for name in names])
    for row, values in enumerate(accuracies if len(accuracies[0]) > 1 else []):
        axes.plot(100 * np.asarray(values), np.full(len(values), row + SEED_OFFSET), "|", color=INK, markersize=9)
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, -0.5), min(right, 100.5))
    sizes = [_millions(count) for count in parameters]
    shown_names = [_in_lines(name) for name in names]
    _rows(axes, shown_names, [f"{_percent(interval)}   {size}" for interval, size in zip(intervals, sizes, strict=True)])
    seeds = len(accuracies[0])
    spread = f"mean and 95 % interval; lines below: each of n = {seeds} seeds" if seeds > 1 else "one seed, so no interval"
    axes.set_xlabel(f"test accuracy (%): {spread}; dashed: the first")
    return figure


def interval_forest(  # noqa: PLR0913 - what is drawn, and how it is told
    labels: Sequence[str],
    differences: Sequence[Interval],
    title: str,
    unit: str = "% points",
    *,
    over: str = "",
    verdicts: Sequence[str] = (),
) -> Figure:
    """Draw paired differences with their 95 % intervals around zero; an interval that holds zero is a null result.

    A unit that starts with "%" shows fractions in percent, any other shows the values as they are. ``over`` names what n
    counts, such as "seeds". ``verdicts`` are those that count all comparisons of a table; without them each interval gives its
    own.
    """
    shown_labels = [_in_lines(label, MAX_LABEL_LINES) for label in labels]
    is_high = any(label.count("\n") == MAX_LABEL_LINES - 1 for label in shown_labels)
    figure = new_figure(10.5, 1.7 + (HIGH_ROW_INCHES if is_high else ROW_INCHES) * len(labels), title)
    axes = figure.subplots()
    shown = _columns(differences, unit_scale(unit))
    axes.axvline(0, color=INK, linewidth=1.2, zorder=1)
    alone = [verdict(difference) for difference in differences]
    told = [*verdicts] or alone
    _points(axes, shown, [VERDICT_LOOKS[one] for one in told])
    _rows(axes, shown_labels, [_in_words(difference, unit, one) for difference, one in zip(differences, told, strict=True)])
    edge = 1.08 * max(np.nanmax(np.abs(shown)), 1e-9)
    axes.set_xlim(-edge, edge)
    counted = "; verdicts count all comparisons" if told != alone else ""
    axes.set_xlabel(f"difference ({unit}), 95 % interval{f' over n {over}' if over else ''}{counted}")
    return figure


def relative_gain_by_cover(cover: Sequence[int], gains: Sequence[Interval], title: str) -> Figure:
    """Draw the relative gain in accuracy by the number of specialists that cover the true class.

    It is Table 4 of Hinton et al. (2015). Each gain is a fraction of the generalist's accuracy on the n images of that
    cover, NaN where it could not be measured.
    """
    figure = new_figure(float(np.clip(1.1 * len(gains) + 2.5, 6.5, 13)), 4.8, title)
    axes = figure.subplots()
    means, lows, highs = _columns(gains, 100)
    verdicts = [verdict(gain) for gain in gains]
    for place, (mean, bottom, top, words) in enumerate(zip(means, lows, highs, verdicts, strict=True)):
        if np.isfinite(mean):
            outline, fill, _ = VERDICT_LOOKS[words]
            axes.bar(place, mean, width=0.65, facecolor=fill, edgecolor=outline, linewidth=1.2)
            edge = np.nanmin([mean, bottom]) if mean < 0 else np.nanmax([mean, top])
            _note_beyond(axes, place, float(edge), f"{mean:+z.1f} %", below=mean < 0)
    axes.vlines(np.arange(len(gains)), lows, highs, INK, linewidth=1.4)
    axes.axhline(0, color=INK, linewidth=1)
    ticks = [f"{count}\nn = {gain.n:,}" for count, gain in zip(cover, gains, strict=True)]
    axes.set_xticks(range(len(gains)), ticks, fontsize=9)
    axes.set_xlim(-0.6, len(gains) - 0.4)
    axes.margins(y=0.12)
    axes.set_xlabel("specialists that cover the true class (lines: 95 % intervals)")
    axes.set_ylabel("relative gain in accuracy (%)")
    tidy(axes)
    patches = [
        Patch(facecolor=fill, edgecolor=outline, label=VERDICT_NAMES.get(words, words))
        for words, (outline, fill, _) in VERDICT_LOOKS.items()
        if words in {drawn for drawn, mean in zip(verdicts, means, strict=True) if np.isfinite(mean)}
    ]
    if patches:
        figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    return figure


def _look(system: str) -> tuple[str, str, str]:
    """Return outline, fill and marker of a system: those of its role, alike for all its seeds."""
    role = next((look for role, look in ROLE_LOOKS.items() if system.startswith(role)), OTHER_LOOK)
    colour, marker = COMBINED_LOOK if system.startswith("generalist +") else role
    return colour, colour, marker


def _columns(intervals: Sequence[Interval], scale: float) -> Array:
    """Return means, lower and upper bounds, (3, k), in the unit that they are shown in."""
    return scale * np.array([(interval.mean, interval.low, interval.high) for interval in intervals], dtype=np.float64).T


def _note_beyond(axes: Axes, x: float, y: float, text: str, *, below: bool) -> None:
    away = (0, -4) if below else (0, 4)
    side: Literal["top", "bottom"] = "top" if below else "bottom"
    axes.annotate(text, (x, y), away, textcoords="offset points", ha="center", va=side, fontsize=9)


def _points(axes: Axes, values: Array, looks: Sequence[tuple[str, str, str]]) -> None:
    for row, (mean, low, high, (edge, fill, marker)) in enumerate(zip(*values, looks, strict=True)):
        if np.isfinite(low) and np.isfinite(high):
            axes.hlines(row, low, high, edge, linewidth=2.2)
        axes.plot(mean, row, marker, markersize=8, markeredgecolor=edge, markerfacecolor=fill, zorder=3)


def _rows(axes: Axes, labels: Sequence[str], texts: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize=10)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    for row, text in enumerate(texts):
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9.5, color=INK)
    axes.hlines(range(len(labels)), 0, 1, LIGHT, linewidth=0.6, transform=axes.get_yaxis_transform(), zorder=0)
    tidy(axes, grid="x")


def _in_lines(label: str, lines: int = 2) -> str:
    """Return a label on one line where it fits, else on as many as it may have: what differs may stand at its end."""
    return "\n".join(textwrap.wrap(plain(label), MAX_LABEL_LENGTH, max_lines=lines, placeholder="…", break_long_words=True))


def _shortened(label: str) -> str:
    return plain(label if len(label) <= MAX_LABEL_LENGTH else f"{label[: MAX_LABEL_LENGTH - 1].rstrip()}…")


def _percent(interval: Interval) -> str:
    text, _, _ = format_interval(interval, signed=False).rpartition(", n = ")  # the axis has n
    return text.removesuffix(" (no interval)")


def _in_words(interval: Interval, unit: str, told: str) -> str:
    scale = unit_scale(unit)
    shown = Interval(scale * interval.mean, scale * interval.low, scale * interval.high, interval.n)
    text = format_interval(shown, unit="")  # the axis has the unit
    return f"{text}: {told}" if interval.is_known else text


def _millions(parameters: int) -> str:
    if parameters >= MILLION:
        return f"{parameters / MILLION:.2f} M parameters"
    return f"{parameters / THOUSAND:.1f} k parameters" if parameters >= THOUSAND else f"{parameters} parameters"
