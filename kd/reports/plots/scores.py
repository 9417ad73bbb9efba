"""Scores of one model or of a few on the same images: confusion, calibration, accuracy by class."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from kd.evaluation.intervals import wilson_interval
from kd.reports.plots.style import (
    GREY,
    INK,
    LIGHT,
    SKY,
    VERMILLION,
    Array,
    class_names,
    font_size,
    looks,
    new_figure,
    plain,
    thinned,
    tidy,
)

MAX_CLASSES_WITH_COUNTS = 12
MAX_CLASSES_WITH_CELLS = 25
TOP_CONFUSIONS = 15
MAX_LETTERS_PER_CELL = 3
BINS = 15
BAR_WIDTH = 92 / BINS
DARK_PERCENT = 30
LETTERS_PER_ROW = 100
CLASSES_PER_ROW = 34
MAX_CLASSES_IN_ORDER = 20


def confusion_matrix(labels: Array, predictions: Array, classes: Sequence[str], title: str) -> Figure:
    """Draw how often each true class (row) is given each answer (column), in percent of the row.

    labels and predictions are (n,) class indices. Up to 12 classes show percent and count in each cell, up to 25
    percent alone; beyond that a list of the most frequent confusions stands beside the matrix.
    """
    count = len(classes)
    counts = np.zeros((count, count), dtype=np.int64)
    np.add.at(counts, (labels, predictions), 1)
    totals = counts.sum(axis=1)
    percent = np.full(counts.shape, np.nan)
    np.divide(100 * counts, totals[:, None], out=percent, where=totals[:, None] > 0)

    many = count > MAX_CLASSES_WITH_CELLS
    side = float(np.clip(0.68 * count, 5.5, 9.5))
    figure = new_figure(side + (6.0 if many else 2.0), side + 1.2, title, square_axes=True)
    if many:
        axes, beside = figure.subplots(1, 2, width_ratios=[side, 3.0])
        _top_confusions(beside, counts, percent, classes)
    else:
        axes = figure.subplots()
    _matrix(figure, axes, percent, totals, classes)
    if not many:
        _cell_text(axes, percent, counts)
    accuracy = 100 * np.trace(counts) / max(1, counts.sum())
    axes.set_title(f"accuracy {accuracy:.1f} %, n = {counts.sum():,} images", fontsize=10)
    return figure


def _matrix(figure: Figure, axes: Axes, percent: Array, totals: Array, classes: Sequence[str]) -> None:
    # The square root brings out the few percent off the diagonal, for which the figure is read.
    image = axes.imshow(percent, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
    axes.set_facecolor(LIGHT)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 1, 5, 10, 25, 50, 75, 100], fraction=0.046, pad=0.02)
    bar.set_label("% of the true class (square-root scale)")
    names, shown = class_names(classes), thinned(len(classes))
    one_size = len(set(totals.tolist())) == 1
    rows = [names[k] if one_size else f"{names[k]} ({totals[k]:,})" for k in shown]
    size = font_size(len(shown), 9.0 if len(classes) > MAX_CLASSES_WITH_CELLS else 0.6 * len(shown))
    turned = max(len(names[k]) for k in shown) > MAX_LETTERS_PER_CELL
    axes.set_xticks(shown, [names[k] for k in shown], rotation=90 if turned else 0, fontsize=size)
    axes.set_yticks(shown, rows, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel(f"true class (n = {totals[0]:,} images each)" if one_size else "true class (n images)")


def _cell_text(axes: Axes, percent: Array, counts: Array) -> None:
    with_counts = len(counts) <= MAX_CLASSES_WITH_COUNTS
    size = float(np.clip(40 / len(counts), 8, 13)) if with_counts else 7.5
    for row, column in zip(*np.nonzero(counts), strict=True):
        share, n = percent[row, column], counts[row, column]
        text = f"{share:.1f}\n({n:,})" if with_counts else f"{share:.0f}"
        colour = "white" if share > DARK_PERCENT else INK
        cell = axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
        cell.set_in_layout(False)  # it lies inside the axes, and hundreds of them are slow to measure


def _top_confusions(axes: Axes, counts: Array, percent: Array, classes: Sequence[str]) -> None:
    wrong = np.where(np.isnan(percent), 0, percent)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:TOP_CONFUSIONS]
    pairs = [divmod(int(cell), len(classes)) for cell in order if wrong.flat[cell] > 0]
    axes.set_title("Most frequent confusions", fontsize=11)
    if not pairs:
        axes.text(0.5, 0.5, "no image is misclassified", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    names = class_names(classes)
    rows = range(len(pairs))
    shares = [float(wrong[pair]) for pair in pairs]
    axes.barh(rows, shares, color=VERMILLION, height=0.65)
    for row, share, pair in zip(rows, shares, pairs, strict=True):
        axes.text(share, row, f" {share:.0f} % (n = {counts[pair]:,})", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(rows, [f"{names[true]} → {names[answer]}" for true, answer in pairs], fontsize=9)
    axes.set_ylim(TOP_CONFUSIONS - 0.5, -0.5)
    axes.set_xlim(0, 1.45 * max(shares))
    axes.set_xlabel("% of the true class")
    tidy(axes, grid="x")


def reliability_diagram(confidence: Array, correct: Array, title: str) -> Figure:
    """Draw accuracy against confidence in 15 equal bins, and the number of images in each bin.

    The expected calibration error (ECE; Guo et al. 2017, Eq. 3) is written on the figure.

    Args:
        confidence: probability of the predicted class, (n,).
        correct: whether that class is right, (n,).
        title: title of the figure.

    Raises:
        ValueError: n is 0.
    """
    if len(confidence) == 0:
        msg = "reliability_diagram needs at least one image"
        raise ValueError(msg)
    bins = np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * BINS).astype(int) - 1, 0, BINS - 1)
    sizes = np.bincount(bins, minlength=BINS)
    filled = np.flatnonzero(sizes)
    right = np.bincount(bins, weights=correct, minlength=BINS)[filled]
    accuracy = 100 * right / sizes[filled]
    mean_confidence = 100 * np.bincount(bins, weights=confidence, minlength=BINS)[filled] / sizes[filled]
    error = float(np.abs(accuracy - mean_confidence) @ sizes[filled] / len(confidence))

    figure = new_figure(6.5, 7.6, title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _reliability_bars(above, (filled + 0.5) * 100 / BINS, accuracy, mean_confidence)
    _accuracy_intervals(above, (filled + 0.5) * 100 / BINS, right, sizes[filled])
    above.set_title(
        f"ECE = {error:.1f} %, accuracy {100 * np.mean(correct):.1f} %, "
        f"mean confidence {100 * np.mean(confidence):.1f} %, n = {len(confidence):,} images",
        fontsize=9.5,
    )
    below.bar((filled + 0.5) * 100 / BINS, sizes[filled], width=BAR_WIDTH, color=GREY)
    below.set_yscale("log")
    below.set_ylim(0.7, 2 * sizes.max())
    below.yaxis.set_major_formatter("{x:,.0f}")
    below.set_ylabel("images (log)")
    below.set_xlabel(f"confidence (%), {BINS} bins")
    tidy(below)
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _reliability_bars(axes: Axes, centres: Array, accuracy: Array, mean_confidence: Array) -> None:
    axes.bar(centres, accuracy, width=BAR_WIDTH, color=SKY, label="accuracy")
    axes.bar(
        centres,
        mean_confidence - accuracy,
        BAR_WIDTH,
        accuracy,
        facecolor="none",
        edgecolor=VERMILLION,
        hatch="////",
        label="gap to the mean confidence (ECE)",
    )
    axes.plot([0, 100], [0, 100], "--", color=INK, linewidth=1, label="perfectly calibrated")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 101)
    axes.set_ylabel("accuracy (%)")
    tidy(axes)


def _accuracy_intervals(axes: Axes, centres: Array, right: Array, sizes: Array) -> None:
    intervals = [wilson_interval(round(k), int(n)) for k, n in zip(right, sizes, strict=True)]
    bounds = 100 * np.array([(interval.low, interval.high) for interval in intervals])
    axes.vlines(centres, bounds[:, 0], bounds[:, 1], color=INK, linewidth=1.5, label="95 % interval of the accuracy")


def per_class_accuracy(accuracies: Mapping[str, Array], counts: Array, classes: Sequence[str], title: str) -> Figure:
    """Draw the accuracy of each system on each class, with Wilson's 95 % interval.

    A class without images is left empty. More than 20 classes are ordered by the first system's accuracy.

    Args:
        accuracies: accuracy per class by name of system, (K,) fractions.
        counts: images per class, (K,).
        classes: the K names.
        title: title of the figure.
    """
    counts = np.asarray(counts)
    first = next(iter(accuracies))
    order = np.arange(len(classes))
    if len(classes) > MAX_CLASSES_IN_ORDER:
        order = np.argsort(np.nan_to_num(accuracies[first], nan=np.inf), kind="stable")
    rows = [order[start : start + CLASSES_PER_ROW] for start in range(0, len(order), CLASSES_PER_ROW)]
    names = _names_with_n(classes, counts)
    longest = max(len(name) for name in names)
    turned = longest * len(rows[0]) > LETTERS_PER_ROW
    width = float(np.clip(0.9 * len(classes), 7, 13))
    figure = new_figure(width, 1.5 + (2.6 + (0.085 * longest if turned else 0)) * len(rows), title)
    every = figure.subplots(len(rows), 1, squeeze=False, sharey=True)[:, 0]
    for axes, members in zip(every, rows, strict=True):
        for place, (system, (colour, marker)) in enumerate(looks(accuracies).items()):
            x = np.arange(len(members)) + 0.7 * ((place + 0.5) / len(accuracies) - 0.5)
            means, errors = _wilson_errors(np.asarray(accuracies[system])[members], counts[members])
            label = plain(system)
            axes.errorbar(x, means, errors, fmt=marker, color=colour, markersize=5, elinewidth=1.4, label=label)
        axes.set_xticks(range(len(members)), [names[k] for k in members], rotation=90 if turned else 0, fontsize=9)
        axes.set_xlim(-0.6, len(rows[0]) - 0.4)
        axes.vlines(np.arange(len(members) - 1) + 0.5, 0, 1, LIGHT, linewidth=0.8, transform=axes.get_xaxis_transform())
        axes.set_ylabel("accuracy (%)")
        tidy(axes)
    sizes = f"n = {counts[0]:,} images each" if len(set(counts.tolist())) == 1 else f"n = {counts.sum():,} images"
    ordered = "; in the order of the first system's accuracy" if len(classes) > MAX_CLASSES_IN_ORDER else ""
    every[-1].set_xlabel(f"true class ({sizes}; lines: 95 % intervals{ordered})")
    handles = every[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(accuracies), frameon=False)
    return figure


def _wilson_errors(accuracy: Array, counts: Array) -> tuple[Array, Array]:
    """Return the accuracy per class in percent (K,) and the distances to its bounds (2, K); NaN without images."""
    means, errors = np.full(len(counts), np.nan), np.full((2, len(counts)), np.nan)
    for k in np.flatnonzero((counts > 0) & np.isfinite(accuracy)):
        interval = wilson_interval(round(accuracy[k] * counts[k]), int(counts[k]))
        means[k] = 100 * interval.mean
        errors[:, k] = 100 * max(0.0, interval.mean - interval.low), 100 * max(0.0, interval.high - interval.mean)
    return means, errors


def _names_with_n(classes: Sequence[str], counts: Array) -> list[str]:
    names = class_names(classes)
    if len(set(counts.tolist())) == 1:
        return names
    return [f"{name} ({n:,})" for name, n in zip(names, counts, strict=True)]
