"""Curves over epochs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kd.reports.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, Array, new_figure, tidy

FEW_EPOCHS = 40
OWN = "val_own_accuracy"
LOSSES = ("train_loss", "val_loss", "train_soft_loss", "train_hard_loss")
BAD_START = 3.0
"""A first loss so many times as large as all others is left out of the axis, and told."""
MIN_EPOCHS_TO_JUDGE = 3


def training_curves(
    epochs: Sequence[dict[str, float]],
    title: str,
    *,
    best_epoch: int | None = None,
    train_images: int | None = None,
    val_images: int | None = None,
) -> Figure:
    """Draw loss, accuracy and learning rate by epoch.

    Each epoch has ``epoch`` and any of ``train_loss``, ``val_loss``, ``train_soft_loss``, ``train_hard_loss`` (nats),
    ``train_accuracy``, ``val_accuracy``, ``val_own_accuracy`` (fractions) and ``learning_rate``; by ``val_own_accuracy`` a
    specialist's epoch is chosen. ``best_epoch`` is the one whose weights are used.

    Raises:
        ValueError: there is no epoch.
    """
    if not epochs:
        msg = "training_curves needs at least one epoch"
        raise ValueError(msg)
    figure = new_figure(13, 4.2, title)
    loss, accuracy, rate = figure.subplots(1, 3)
    train, val = _with_n("train", train_images), _with_n("val", val_images)

    for key, look in {
        "train_loss": (train, BLUE, "-"),
        "train_soft_loss": ("train, soft term", GREEN, "--"),
        "train_hard_loss": ("train, hard term", ORANGE, ":"),
        "val_loss": (val, VERMILLION, "-"),
    }.items():
        _line(loss, epochs, key, look)
    loss.set_ylabel("loss (nats)")
    _leave_out_a_bad_start(loss, epochs)

    _line(accuracy, epochs, "train_accuracy", (train, BLUE, "-"))
    _line(accuracy, epochs, "val_accuracy", (val, VERMILLION, "-"))
    _line(accuracy, epochs, OWN, ("val, own classes alone", PURPLE, "-"))
    accuracy.set_ylabel("accuracy (%)")
    accuracy.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")

    _line(rate, epochs, "learning_rate", ("learning rate", INK, "-"))
    rate.set_ylabel("learning rate")
    rate.set_ylim(bottom=0)

    for axes, heading in ((loss, "Loss"), (accuracy, "Accuracy"), (rate, "Learning rate")):
        axes.set_title(heading, fontsize=11)
        axes.set_xlabel(f"epoch ({len(epochs)} in all)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        tidy(axes)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=GREY, linewidth=1, linestyle="--", zorder=1)
    if best_epoch is not None:
        _mark_best(accuracy, epochs, best_epoch)
    for axes in (loss, accuracy):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8.5, frameon=True, framealpha=0.85, edgecolor="none")
    return figure


def _line(axes: Axes, epochs: Sequence[dict[str, float]], key: str, look: tuple[str, str, str]) -> None:
    label, colour, style = look
    values = _column(epochs, key)
    if np.isfinite(values).any():
        marker = "o" if len(epochs) <= FEW_EPOCHS else ""
        axes.plot(_column(epochs, "epoch"), values, style, color=colour, label=label, marker=marker, markersize=3)


def _leave_out_a_bad_start(axes: Axes, epochs: Sequence[dict[str, float]]) -> None:
    """End the axis above the losses of all epochs but the first, where the first one's would flatten the others."""
    losses = np.stack([_column(epochs, key) for key in LOSSES])
    losses = np.where(np.isfinite(losses), losses, 0)
    if losses.shape[1] < MIN_EPOCHS_TO_JUDGE:
        return
    first, others = losses[:, 0].max(), losses[:, 1:].max()
    if first > BAD_START * others > 0:
        axes.set_ylim(0, 1.1 * others)
        axes.text(0.02, 0.98, f"epoch 1: {first:.3g}", transform=axes.transAxes, va="top", fontsize=8.5, color=INK)


def _column(epochs: Sequence[dict[str, float]], key: str) -> Array:
    return np.array([epoch.get(key, np.nan) for epoch in epochs], dtype=np.float64)


def _mark_best(axes: Axes, epochs: Sequence[dict[str, float]], best_epoch: int) -> None:
    for epoch in epochs:
        by = OWN if OWN in epoch else "val_accuracy"
        if epoch["epoch"] == best_epoch and by in epoch:
            best = epoch[by]
            axes.plot(best_epoch, best, "*", color=VERMILLION, markersize=13, markeredgecolor="white", zorder=5)
            axes.set_title(f"Accuracy: val {100 * best:.1f} % at the chosen epoch {best_epoch}", fontsize=11)


def _with_n(name: str, images: int | None) -> str:
    return name if images is None else f"{name} (n = {images:,} images)"
