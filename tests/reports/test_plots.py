"""kd.plots: what the figures say, and that all of it can be read."""

import io
from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from sklearn.datasets import load_digits

from kd.evaluation.intervals import Interval, wilson_interval
from kd.reports import plots
from kd.reports.plots.style import BLUE, GREY, VERMILLION, class_names, looks, plain, thinned

NAN = float("nan")
C10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ODD = (
    "Blackburnian Yellow-rumped Warbler of the northern woods",
    "Blackburnian Yellow-rumped Warbler of the northern lakes",
    "costs $5 or $6",
    "a_b^c \\frac{",
    "猫の写真",
    "Geai bleu à tête noire",
    "line\nbreak",
)
C100 = tuple(f"{'sweet_' * (k % 2)}pepper_{k}" for k in range(100))


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return real images (n, 1, 8, 8) uint8 and their labels."""
    data = load_digits()
    return (data.images[:n, None] * 15.9).astype(np.uint8), data.target[:n]


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def guesses(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and predictions (n,) that are right about four times in five."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return labels, np.where(rng.random(n) < 0.8, labels, rng.integers(0, classes, n))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def tick_labels(axes: Axes, side: str = "x") -> list[str]:
    return [label.get_text() for label in (axes.get_xticklabels() if side == "x" else axes.get_yticklabels())]


def xs(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xdata(), dtype=np.float64)


def ys(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata(), dtype=np.float64)


def matrix_of(axes: Axes) -> np.ma.MaskedArray[Any, Any]:
    return np.ma.asarray(axes.images[0].get_array())


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def rectangles(axes: Axes, gid: str) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_gid() == gid]


def bars(axes: Axes) -> list[BarContainer]:
    return [container for container in axes.containers if isinstance(container, BarContainer)]


def assert_readable(figure: Figure) -> None:
    """Assert that no text is cut off at the edge, and that titles, legends and neighbouring ticks do not overlap."""
    figure.draw_without_rendering()
    page = figure.bbox.padded(-3)  # pixels of margin
    ticks = {id(axis): drawn_ticks(axis) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if axes.axison}
    for text in [*free_texts(figure), *(label for labels in ticks.values() for label in labels)]:
        box = text.get_window_extent()
        inside = page.x0 <= box.x0 and page.y0 <= box.y0 and box.x1 <= page.x1 and box.y1 <= page.y1
        assert inside, (text.get_text(), box, page)
    for labels in ticks.values():
        boxes = [label.get_window_extent() for label in labels]
        assert not any(overlap(a, b) for a, b in pairwise(boxes)), [label.get_text() for label in labels]
    blocks = [block.get_window_extent() for block in (*figure.texts, *figure.legends)]
    panels = [axes.get_window_extent() for axes in figure.axes if axes.axison]
    assert not any(overlap(a, b) for a, b in combinations([*blocks, *panels], 2))


def drawn_ticks(axis: Axis) -> list[Text]:
    """Return the tick labels within the axis; matplotlib keeps others that it does not draw."""
    along = 0 if axis is axis.axes.xaxis else 1
    low, high = sorted(axis.get_view_interval())
    return [
        label
        for label in axis.get_majorticklabels()
        if label.get_text() and label.get_visible() and low <= label.get_position()[along] <= high
    ]


def free_texts(figure: Figure) -> list[Text]:
    """Return all other text: titles, axis labels, legends, notes."""
    found = [*figure.texts, *(text for legend in figure.findobj(Legend) for text in legend.get_texts())]
    for axes in figure.axes:
        found += axes.texts
        if axes.axison:
            found += [axes.title, axes.xaxis.label, axes.yaxis.label]
    return [text for text in found if text.get_text()]


def overlap(a: Bbox, b: Bbox) -> bool:
    wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return bool(wide > 1.5 and high > 1.5)


# Text that every figure shares


def test_long_names_are_shortened_in_the_middle_and_stay_apart() -> None:
    names = class_names(ODD)
    assert names[0] == "Blackbur…ern woods"
    assert len(set(names)) == len(ODD)
    assert all(len(name.replace("\\$", "$")) <= 18 for name in names)


def test_names_are_drawn_as_written_and_never_as_a_formula() -> None:
    names = class_names(ODD)
    assert names[2] == r"costs \$5 or \$6"  # an escaped dollar is drawn as a dollar
    assert names[4] == "class 4"  # the font has no such letters
    assert names[6] == "line break"
    assert plain("loss in $ of 猫\non\ttest") == r"loss in \$ of ? on test"


@pytest.mark.parametrize(("count", "labelled"), [(2, 2), (100, 100), (101, 51), (1000, 100)])
def test_at_most_a_hundred_ticks_are_labelled(count: int, labelled: int) -> None:
    assert len(thinned(count)) == labelled


def test_a_role_looks_the_same_in_any_order_and_no_two_systems_look_alike() -> None:
    one = looks(["teacher", "student", "control"])
    other = looks(["control of it", "teacher", "student 1", "student 2", "naive", "x", "y"])
    assert one["control"] == other["control of it"]
    assert one["teacher"] == other["teacher"]
    assert one["student"] == other["student 1"]
    assert len(set(other.values())) == 7


# Training curves


def history(n: int, *, soft: bool) -> list[dict[str, float]]:
    rows = []
    for number in range(1, n + 1):
        row = {"epoch": number, "train_loss": 2.0 / number, "val_loss": 2.1 / number, "learning_rate": 0.1 / number}
        row |= {"train_accuracy": 1 - 0.5 / number, "val_accuracy": 1 - 0.6 / number}
        if soft:
            row |= {"train_soft_loss": 1.5 / number, "train_hard_loss": 1.0 / number}
        rows.append(row)
    return rows


def test_training_curves_draw_every_series_that_is_there() -> None:
    figure = plots.training_curves(history(5, soft=True), "student", best_epoch=4, train_images=1293, val_images=144)
    loss, accuracy, rate = figure.axes
    drawn = {str(line.get_label()): ys(line) for line in loss.lines if not str(line.get_label()).startswith("_")}
    assert set(drawn) == {"train (n = 1,293 images)", "val (n = 144 images)", "train, soft term", "train, hard term"}
    np.testing.assert_allclose(drawn["train, soft term"], [1.5, 0.75, 0.5, 0.375, 0.3])
    np.testing.assert_allclose(ys(rate.lines[0]), [0.1, 0.05, 0.1 / 3, 0.025, 0.02])
    assert accuracy.get_ylabel() == "accuracy (%)"
    assert accuracy.yaxis.get_major_formatter()(0.85, None) == "85"


def test_training_curves_mark_the_chosen_epoch() -> None:
    _, accuracy, _ = plots.training_curves(history(5, soft=False), "x", best_epoch=4).axes
    star = next(line for line in accuracy.lines if line.get_marker() == "*")
    assert (xs(star)[0], ys(star)[0]) == (4, pytest.approx(0.85))
    assert accuracy.get_title() == "Accuracy: val 85.0 % at the chosen epoch 4"


def test_training_curves_of_a_specialist_show_the_accuracy_by_which_its_epoch_is_chosen() -> None:
    epochs = [{**epoch, "val_own_accuracy": 0.1 * epoch["epoch"]} for epoch in history(5, soft=True)]
    _, accuracy, _ = plots.training_curves(epochs, "x", best_epoch=5).axes
    star = next(line for line in accuracy.lines if line.get_marker() == "*")
    assert (xs(star)[0], ys(star)[0]) == (5, pytest.approx(0.5))
    assert "val, own classes alone" in [line.get_label() for line in accuracy.lines]


def test_training_curves_without_soft_terms_have_no_such_lines() -> None:
    loss = plots.training_curves(history(3, soft=False), "control").axes[0]
    assert legend_of(loss) == ["train", "val"]


@pytest.mark.parametrize("epochs", [history(30, soft=True), history(200, soft=False), [{"epoch": 1, "train_loss": 2.0}]])
def test_training_curves_of_any_length(epochs: list[dict[str, float]]) -> None:
    figure = plots.training_curves(epochs, "a title that goes on and on " * 6)
    assert figure.axes[0].get_xlabel() == f"epoch ({len(epochs)} in all)"
    assert figure.get_suptitle().count("\n") == 1
    assert_readable(figure)


@pytest.mark.parametrize(("first", "top"), [(3.1, 1.1), (2.9, None)])
def test_a_first_loss_far_above_all_others_does_not_flatten_them(first: float, top: float | None) -> None:
    epochs = [{"epoch": number, "train_loss": loss, "val_loss": 0.5} for number, loss in enumerate([first, 1.0, 0.9], start=1)]
    loss = plots.training_curves(epochs, "x").axes[0]
    if top is None:
        assert loss.get_ylim()[1] > first
    else:
        assert loss.get_ylim()[1] == pytest.approx(top)
        assert [text.get_text() for text in loss.texts] == ["epoch 1: 3.1"]


def test_training_curves_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one epoch"):
        plots.training_curves([], "x")


def test_a_long_label_of_a_difference_is_whole_on_two_lines() -> None:
    label = "specialist 0 airplane-automobile-ship-truck+3 - control of the same net"
    figure = plots.interval_forest([label, "student - control"], [Interval(0.01, -0.01, 0.03, 99)] * 2, "x")
    shown = tick_labels(figure.axes[0], "y")
    assert shown[0].replace("\n", " ") == label
    assert shown[0].count("\n") == 1
    assert_readable(figure)


# Confusion


def test_confusion_matrix_is_in_percent_of_its_rows() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    predictions = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0])
    axes = plots.confusion_matrix(labels, predictions, ("cat", "dog", "fox"), "x").axes[0]
    cells = {text.get_position()[::-1]: text.get_text() for text in axes.texts}  # by (row, column)
    assert cells == {(0, 0): "75.0\n(3)", (0, 1): "25.0\n(1)", (1, 1): "60.0\n(3)", (1, 0): "40.0\n(2)"}
    assert tick_labels(axes) == ["cat", "dog", "fox"]
    assert tick_labels(axes, "y") == ["cat (4)", "dog (5)", "fox (0)"]
    assert axes.get_title() == "accuracy 66.7 %, n = 9 images"
    matrix = matrix_of(axes)
    np.testing.assert_allclose(matrix[:2], [[75, 25, 0], [40, 60, 0]])
    assert np.ma.getmaskarray(matrix)[2].all()  # a class without images has no percentages


def test_confusion_matrix_of_equal_classes_says_n_once() -> None:
    axes = plots.confusion_matrix(*guesses(40, 4), C10[:4], "x").axes[0]
    assert tick_labels(axes, "y") == list(C10[:4])
    assert axes.get_ylabel() == "true class (n = 10 images each)"


@pytest.mark.parametrize(("classes", "text"), [(12, "100.0\n(2)"), (13, "100")])
def test_cells_have_counts_where_they_fit(classes: int, text: str) -> None:
    labels = np.repeat(np.arange(classes), 2)
    axes = plots.confusion_matrix(labels, labels, [str(k) for k in range(classes)], "x").axes[0]
    assert [cell.get_text() for cell in axes.texts] == [text] * classes


def test_many_classes_have_a_list_of_confusions_in_place_of_cells() -> None:
    labels = np.repeat(np.arange(100), 10)
    predictions = labels.copy()
    predictions[:4] = 7  # four images of class 0
    predictions[990:993] = 5  # three of class 99
    figure = plots.confusion_matrix(labels, predictions, C100, "x")
    matrix, beside = figure.axes[:2]
    assert not matrix.texts
    assert tick_labels(beside, "y") == ["pepper_0 → sweet_pepper_7", "sweet_pepper_99 → sweet_pepper_5"]
    assert [bar.get_width() for bar in bars(beside)[0]] == [40, 30]
    assert [text.get_text().strip() for text in beside.texts] == ["40 % (n = 4)", "30 % (n = 3)"]
    assert tick_labels(matrix, "y") == list(C100)
    assert_readable(figure)


def test_many_classes_without_a_confusion_say_so() -> None:
    labels = np.arange(30)
    figure = plots.confusion_matrix(labels, labels, [str(k) for k in labels], "x")
    assert "no image is misclassified" in texts(figure)


# Calibration


def test_reliability_diagram_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.35, 0.35])
    correct = np.array([True, True, True, False, True, False])
    # bins of one fifteenth: 0.35 falls in (5/15, 6/15], 0.95 in (14/15, 1]; the gaps are 0.15 (n = 2) and 0.20 (n = 4)
    figure = plots.reliability_diagram(confidence, correct, "x")
    above, below = figure.axes
    accuracy, gap = bars(above)
    assert [bar.get_height() for bar in accuracy] == pytest.approx([50, 75])
    assert [bar.get_x() + bar.get_width() / 2 for bar in accuracy] == pytest.approx([5.5 * 100 / 15, 14.5 * 100 / 15])
    assert [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in gap] == [
        pytest.approx((50, 35)),
        pytest.approx((75, 95)),
    ]
    assert [bar.get_height() for bar in bars(below)[0]] == [2, 4]
    ece = 100 * (2 * 0.15 + 4 * 0.20) / 6
    assert above.get_title() == f"ECE = {ece:.1f} %, accuracy 66.7 %, mean confidence 75.0 %, n = 6 images"
    assert_readable(figure)


def test_reliability_edges_fall_in_the_bin_below_and_zero_in_the_first() -> None:
    figure = plots.reliability_diagram(np.array([0.0, 0.2, 1.0]), np.array([False, False, True]), "x")
    centres = [bar.get_x() + bar.get_width() / 2 for bar in bars(figure.axes[1])[0]]
    assert centres == pytest.approx([0.5 * 100 / 15, 2.5 * 100 / 15, 14.5 * 100 / 15])


def test_reliability_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        plots.reliability_diagram(np.array([]), np.array([], dtype=bool), "x")


# Accuracy by class


def errorbars(axes: Axes) -> dict[str, ErrorbarContainer]:
    return {str(drawn.get_label()): drawn for drawn in axes.containers if isinstance(drawn, ErrorbarContainer)}


def test_per_class_accuracy_has_wilson_intervals() -> None:
    accuracies = {"teacher": np.array([0.9, 1.0]), "student": np.array([0.5, NAN]), "control": np.array([0.4, 0.0])}
    figure = plots.per_class_accuracy(accuracies, np.array([10, 20]), ("cat", "dog"), "x")
    (axes,) = figure.axes
    drawn = errorbars(axes)
    assert list(drawn) == ["teacher", "student", "control"]
    dots, _, (lines,) = drawn["teacher"].lines
    np.testing.assert_allclose(ys(dots), [90, 100])
    for segment, interval in zip(lines.get_segments(), [wilson_interval(9, 10), wilson_interval(20, 20)], strict=True):
        np.testing.assert_allclose(segment[:, 1], [100 * interval.low, 100 * interval.high])
    np.testing.assert_allclose(ys(drawn["student"].lines[0]), [50, NAN])
    columns = [xs(line.lines[0])[0] for line in drawn.values()]
    assert columns == sorted(columns)
    assert columns[1] == 0  # the dots of a class stand around its tick
    assert tick_labels(axes) == ["cat (10)", "dog (20)"]
    assert "n = 30 images" in axes.get_xlabel()


def test_a_class_without_images_has_no_dot() -> None:
    axes = plots.per_class_accuracy({"student": np.array([0.5, 0.0])}, np.array([4, 0]), ("cat", "dog"), "x").axes[0]
    np.testing.assert_allclose(ys(errorbars(axes)["student"].lines[0]), [50, NAN])
    assert tick_labels(axes) == ["cat (4)", "dog (0)"]


def test_many_classes_go_from_the_worst_to_the_best_over_several_rows() -> None:
    accuracy = np.random.default_rng(0).integers(0, 51, 100) / 50
    figure = plots.per_class_accuracy({"student": accuracy}, np.full(100, 50), C100, "x")
    drawn = np.concatenate([ys(errorbars(axes)["student"].lines[0]) for axes in figure.axes])
    assert len(figure.axes) == 3
    np.testing.assert_allclose(drawn, np.sort(100 * accuracy))
    assert sorted(label for axes in figure.axes for label in tick_labels(axes)) == sorted(C100)
    assert "n = 50 images each" in figure.axes[-1].get_xlabel()
    assert_readable(figure)


# Dark knowledge


def soft(n: int, classes: int, seed: int) -> np.ndarray:
    return softmax(np.random.default_rng(seed).normal(0, 2, (n, classes)))


def test_dark_knowledge_sets_who_learned_beside_the_teacher() -> None:
    images, _ = digits(1)
    teacher, student = np.array([[0.2, 0.5, 0.3]]), np.array([[0.1, 0.3, 0.6]])
    figure = plots.dark_knowledge(
        images, np.array([2]), {"teacher": teacher, "specialist": student}, ("cat", "dog", "fox"), 4.0, "x"
    )
    picture, axes = figure.axes
    np.testing.assert_array_equal(picture.images[0].get_array(), images[0, 0])
    assert picture.images[0].get_interpolation() == "nearest"
    assert picture.get_title() == "true: fox"
    assert picture.get_xlabel() == "wrong: teacher"
    assert tick_labels(axes, "y") == ["dog", "fox", "cat"]  # in the teacher's order
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["normal", "bold", "normal"]
    widths = {drawn.get_label(): [bar.get_width() for bar in drawn] for drawn in bars(axes)}
    assert widths == {"teacher": [0.5, 0.3, 0.2], "specialist": [0.3, 0.6, 0.1]}
    assert "T = 4" in axes.get_xlabel()
    assert tick_labels(axes) == ["1 %", "10 %", "100 %"]


def test_dark_knowledge_of_many_classes_sums_the_rest_and_shows_the_true_one() -> None:
    images, _ = digits(2)
    teacher, student, control = (soft(2, 100, seed) for seed in range(3))
    order = np.argsort(-teacher[0])
    labels = np.array([order[60], 0])  # the teacher thinks little of it
    systems = {"teacher": teacher, "student": student, "control (hard targets)": control}
    figure = plots.dark_knowledge(images, labels, systems, C100, 2.5, "x")
    axes = figure.axes[1]
    names = class_names(C100, 16)
    shown = [*order[:9], order[60]]
    assert tick_labels(axes, "y") == [*(names[k] for k in shown), "90 others, summed"]
    drawn = {container.get_label(): [bar.get_width() for bar in container] for container in bars(axes)}
    assert set(drawn) == {"teacher", "student", "control (hard targets)"}
    np.testing.assert_allclose(drawn["student"], [*student[0, shown], 1 - student[0, shown].sum()])
    assert sum(drawn["control (hard targets)"]) == pytest.approx(1)
    assert_readable(figure)


def test_dark_knowledge_of_probabilities_of_zero() -> None:
    images, _ = digits(3)
    certain = np.eye(7)[:3]
    figure = plots.dark_knowledge(images, np.arange(3), {"teacher": certain, "student": certain}, ODD, 1.0, "x")
    assert tick_labels(figure.axes[1]) == ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"]
    assert not figure.axes[-1].axison  # three images leave one place empty
    assert_readable(figure)


def test_dark_knowledge_of_nothing_is_refused() -> None:
    images, labels = digits(0)
    with pytest.raises(ValueError, match="at least one image"):
        plots.dark_knowledge(images, labels, {"teacher": soft(0, 3, 0)}, C10[:3], 4.0, "x")


# Mended and broken


def test_mended_and_broken_tell_them_apart() -> None:
    images, _ = digits(6)
    labels = np.array([0, 1, 2, 0, 1, 2])
    before = np.array([1, 1, 2, 2, 0, 0])  # wrong, right, right, wrong, wrong, wrong
    after = np.array([0, 1, 1, 0, 2, 1])  # mended, same, broken, mended, still wrong, still wrong
    figure = plots.mended_and_broken(images, labels, before, after, ("cat", "dog", "fox"), "x")
    assert {"mended: 2 of n = 6 images", "broken: 1 of n = 6 images"} <= set(texts(figure))
    tiles = [axes for axes in figure.axes if axes.images]
    said = [(axes.get_title(), axes.get_xlabel()) for axes in tiles]
    assert said == [
        ("before: dog", "after: cat"),
        ("before: fox", "after: cat"),
        ("before: fox", "after: dog"),
    ]
    for axes, row in zip(tiles, [0, 3, 2], strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[row, 0])
    assert [axes.title.get_color() for axes in tiles] == [VERMILLION, VERMILLION, BLUE]
    assert_readable(figure)


def test_no_image_mended_or_broken_is_said() -> None:
    images, labels = digits(5)
    figure = plots.mended_and_broken(images, labels, labels, labels, C10, "x")
    assert {"no image was mended (n = 5 images)", "no image was broken (n = 5 images)"} <= set(texts(figure))
    assert not any(axes.images for axes in figure.axes)
    assert_readable(figure)


def test_of_many_broken_images_some_are_shown_from_all_over_the_split() -> None:
    images, _ = digits(100)
    labels = np.arange(100) % 7
    figure = plots.mended_and_broken(images, labels, labels, (labels + 1) % 7, ODD, "x")
    assert "broken: 100 of n = 100 images, 16 of them shown" in texts(figure)
    tiles = [axes for axes in figure.axes if axes.images]
    assert len(tiles) == 16
    np.testing.assert_array_equal(tiles[0].images[0].get_array(), images[0, 0])
    np.testing.assert_array_equal(tiles[-1].images[0].get_array(), images[99, 0])
    assert_readable(figure)


def test_few_images_may_be_asked_for_and_the_two_systems_named() -> None:
    images, labels = digits(12)
    figure = plots.mended_and_broken(
        images, labels, (labels + 1) % 10, labels, C10, "x", systems=("control", "distilled"), most=3
    )
    assert "mended: 12 of n = 12 images, 3 of them shown" in texts(figure)
    tiles = [axes for axes in figure.axes if axes.images]
    assert len(tiles) == 3
    assert (tiles[0].get_title(), tiles[0].get_xlabel()) == (
        f"control: {C10[(labels[0] + 1) % 10]}",
        f"distilled: {C10[labels[0]]}",
    )
    assert_readable(figure)


def test_colour_images_keep_their_channels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 5), dtype=np.uint8)
    figure = plots.mended_and_broken(images, np.array([0]), np.array([1]), np.array([0]), ("cat", "dog"), "x")
    (tile,) = [axes for axes in figure.axes if axes.images]
    np.testing.assert_array_equal(matrix_of(tile)[2, 3], images[0, :, 2, 3])


# Groups


def outlines(axes: Axes) -> list[tuple[float, float, float]]:
    return [(patch.get_x(), patch.get_y(), patch.get_width()) for patch in rectangles(axes, "group")]


def test_likeness_is_ordered_and_outlined_by_group() -> None:
    covariance = np.array([[9.0, 1, 4, 2], [1, 9, 3, 5], [4, 3, 9, 6], [2, 5, 6, 9]]) * 1e-3
    figure = plots.class_groups(covariance, [(1, 3), (0, 2)], C10[:4], "x", measure="covariance", images=5000)
    axes = figure.axes[0]
    order = [1, 3, 0, 2]
    assert tick_labels(axes) == tick_labels(axes, "y") == [C10[k] for k in order]
    drawn = matrix_of(axes)
    assert np.ma.getmaskarray(drawn).diagonal().all()  # the variances would drown the rest
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(drawn.data[off], 1e3 * covariance[np.ix_(order, order)][off])
    assert list(axes.images[0].get_clim()) == pytest.approx([0, 6])
    assert axes.images[0].get_cmap().name == "Oranges"
    assert outlines(axes) == [(-0.5, -0.5, 2), (1.5, 1.5, 2)]
    assert figure.axes[1].get_ylabel() == r"covariance ($\times\,10^{-3}$)"
    assert "2 groups, n = 5,000 images" in axes.get_xlabel()
    assert_readable(figure)


def test_overlapping_groups_mark_every_member_in_the_strip() -> None:
    groups = [(2, 3), (0, 3), (0, 2)]  # the third has no class of its own; class 1 is in none
    axes = plots.class_groups(np.cov(soft(50, 4, 0).T), groups, C10[:4], "x", measure="covariance").axes[0]
    low, high = axes.images[0].get_clim()
    assert low == -high < 0  # as some of it is negative
    assert axes.images[0].get_cmap().name == "PuOr_r"
    assert tick_labels(axes) == [C10[k] for k in (2, 3, 0, 1)]
    assert outlines(axes) == [(-0.5, -0.5, 2), (1.5, 1.5, 1)]
    marks = rectangles(axes, "member")
    columns = sorted({patch.get_x() for patch in marks})
    assert columns[0] > 3.5  # right of the matrix
    members = [sorted(int(patch.get_y() + 0.5) for patch in marks if patch.get_x() == column) for column in columns]
    assert members == [[0, 1], [1, 2], [0, 2]]


def test_likeness_without_any_spread() -> None:
    figure = plots.class_groups(np.zeros((3, 3)), [(0, 1, 2)], C10[:3], "x", measure="covariance")
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    assert "(1 group;" in figure.axes[0].get_xlabel()
    assert_readable(figure)


# Systems and differences


def test_comparison_shows_accuracy_interval_and_parameters() -> None:
    names = ["generalist", "student", "control"]
    accuracies = [Interval(0.9, 0.88, 0.92, 5), Interval(0.85, NAN, NAN, 1), Interval(0.8, 0.78, 0.82, 5)]
    figure = plots.comparison(names, accuracies, [2_500_000, 17_300, 812], "x", n="n = 5 seeds")
    (axes,) = figure.axes
    points = [(xs(line)[0], ys(line)[0]) for line in axes.lines if len(xs(line)) == 1]
    assert points == [(90, 0), (85, 1), (80, 2)]
    assert tick_labels(axes, "y") == names
    assert [text.get_text() for text in axes.texts] == [
        "90.0 %   2.50 M parameters",
        "85.0 %   17.3 k parameters",
        "80.0 %   812 parameters",
    ]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first system is on top
    assert "n = 5 seeds" in axes.get_xlabel()
    lines = [segment for drawn in axes.collections if isinstance(drawn, LineCollection) for segment in drawn.get_segments()]
    assert [[88, 0], [92, 0]] in [line.tolist() for line in lines]
    assert_readable(figure)


def test_systems_of_a_role_look_alike_whatever_their_seed() -> None:
    names = ["generalist", "student seed 0", "student seed 1", "control of student seed 0", "generalist + specialists seed 0"]
    axes = plots.comparison(names, [Interval(0.9, 0.88, 0.92, 5)] * 5, [5] * 5, "x").axes[0]
    drawn = [(line.get_markerfacecolor(), line.get_marker()) for line in axes.lines if len(xs(line)) == 1]
    assert drawn[1] == drawn[2]
    assert len(set(drawn)) == 4


def test_comparison_never_runs_past_a_hundred_percent() -> None:
    axes = plots.comparison(["a"], [Interval(0.999, 0.99, 1.0, 5)], [5], "x").axes[0]
    assert axes.get_xlim()[1] <= 100.5


def test_forest_tells_gains_losses_and_nulls_apart() -> None:
    labels = ["student - control", "worse", "nothing", "one seed"]
    differences = [
        Interval(0.02, 0.01, 0.03, 5),
        Interval(-0.01, -0.015, -0.005, 5),
        Interval(0.001, -0.002, 0.004, 5),
        Interval(0.03, NAN, NAN, 1),
    ]
    figure = plots.interval_forest(labels, differences, "x", over="seeds")
    (axes,) = figure.axes
    marks = [line for line in axes.lines if len(xs(line)) == 1]
    assert [xs(mark)[0] for mark in marks] == pytest.approx([2, -1, 0.1, 3])
    assert [(mark.get_markeredgecolor(), mark.get_markerfacecolor()) for mark in marks] == [
        (BLUE, BLUE),
        (VERMILLION, VERMILLION),
        (GREY, "white"),
        (GREY, "white"),
    ]
    assert [text.get_text() for text in axes.texts] == [
        "+2.0 [1.0, 3.0], n = 5: gain",
        "-1.0 [-1.5, -0.5], n = 5: loss",
        "+0.1 [-0.2, 0.4], n = 5: null result",
        "+3.00 (no interval), n = 1",
    ]
    assert axes.get_xlabel() == "difference (% points), 95 % interval over n seeds"
    low, high = axes.get_xlim()
    assert low == -high  # zero is in the middle
    assert_readable(figure)


def test_forest_shows_the_verdicts_that_count_all_comparisons() -> None:
    differences = [Interval(0.53, 0.28, 0.79, 3), Interval(0.77, 0.63, 0.91, 3)]
    figure = plots.interval_forest(["a", "b"], differences, "x", over="seeds", verdicts=["null result", "gain"])
    (axes,) = figure.axes
    marks = [line.get_markerfacecolor() for line in axes.lines if len(xs(line)) == 1]
    assert marks == ["white", BLUE]
    assert [text.get_text().rpartition(": ")[2] for text in axes.texts] == ["null result", "gain"]
    assert axes.get_xlabel() == "difference (% points), 95 % interval over n seeds; verdicts count all comparisons"
    same = plots.interval_forest(["a", "b"], differences, "x", over="seeds", verdicts=["gain", "gain"])
    assert "count" not in same.axes[0].get_xlabel()


def test_a_label_that_needs_three_lines_is_whole_and_leaves_the_others_readable() -> None:
    label = "generalist distilled from the one with specialists against generalist trained on, its own soft targets"
    figure = plots.interval_forest([label] * 4, [Interval(0.01, -0.01, 0.03, 99)] * 4, "x")
    assert [shown.replace("\n", " ") for shown in tick_labels(figure.axes[0], "y")] == [label] * 4
    assert_readable(figure)


def test_forest_of_another_unit_shows_values_as_they_are() -> None:
    figure = plots.interval_forest(["a very long description " * 5], [Interval(-0.5, -0.7, -0.3, 3)], "x", "nats")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["-0.5 [-0.7, -0.3], n = 3: loss"]
    assert axes.get_xlabel() == "difference (nats), 95 % interval"
    assert_readable(figure)


def test_relative_gain_by_cover() -> None:
    gains = [
        Interval(0.0, 0.0, 0.0, 4000),
        Interval(0.034, 0.011, 0.057, 5000),
        Interval(-0.015, -0.025, -0.005, 1000),
        Interval(NAN, NAN, NAN, 0),
    ]
    figure = plots.relative_gain_by_cover([0, 1, 2, 3], gains, "x")
    (axes,) = figure.axes
    drawn = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for container in bars(axes) for bar in container]
    assert drawn == [pytest.approx(bar) for bar in [(0, 0), (1, 3.4), (2, -1.5)]]
    assert tick_labels(axes) == ["0\nn = 4,000", "1\nn = 5,000", "2\nn = 1,000", "3\nn = 0"]
    assert [text.get_text() for text in axes.texts] == ["+0.0 %", "+3.4 %", "-1.5 %"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "gain",
        "loss",
        "null result (the interval holds zero)",
    ]
    assert_readable(figure)


def test_relative_gain_that_nothing_could_measure() -> None:
    figure = plots.relative_gain_by_cover([1], [Interval(NAN, NAN, NAN, 0)], "x")
    assert not figure.legends
    assert_readable(figure)


# All of them


def groups_of(classes: int) -> list[tuple[int, ...]]:
    return [tuple(range(start, classes, 2)) for start in range(2)]


def confusion(classes: tuple[str, ...], title: str) -> Figure:
    return plots.confusion_matrix(*guesses(451, len(classes)), classes, title)


def by_class(classes: tuple[str, ...], title: str) -> Figure:
    n = np.arange(len(classes)) * 3
    return plots.per_class_accuracy({name: np.full(len(n), 0.75) for name in ("teacher", "student")}, n, classes, title)


def soft_targets(classes: tuple[str, ...], title: str) -> Figure:
    images, _ = digits(2)
    p = soft(2, len(classes), 0)
    systems = {"teacher": p, "student": p[::-1], "control (hard targets)": p}
    return plots.dark_knowledge(images, np.array([0, 1]), systems, classes, 4.0, title)


def clusters(classes: tuple[str, ...], title: str) -> Figure:
    k = len(classes)
    return plots.class_groups(np.cov(soft(80, k, 0).T), groups_of(k), classes, title, measure="covariance", images=80)


TWO = ("even", "odd")


@pytest.mark.parametrize(
    ("draw", "classes"),
    [
        pytest.param(draw, classes, id=f"{draw.__name__}-{len(classes)}")
        for draw, classes in [
            (confusion, TWO),
            (confusion, C10),
            (confusion, ODD),
            (by_class, C10),
            (by_class, ODD),
            (soft_targets, C10),
            (clusters, C10),
            (clusters, C100),
        ]
    ],
)
def test_readable_for_any_classes(draw: Callable[..., Figure], classes: tuple[str, ...]) -> None:
    assert_readable(draw(classes, "Student (width 16, depth 1) of a generalist on cifar10, test split: $10"))


def test_a_figure_saves_as_png_of_its_own_size() -> None:
    figure = clusters(ODD, "猫 costs $5")
    assert_readable(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    width, height = (int.from_bytes(file.getvalue()[start : start + 4], "big") for start in (16, 20))
    assert (width, height) == (int(figure.get_figwidth() * 120), int(figure.get_figheight() * 120))


# Searches


def course_of(count: int, bad: int = 0) -> Figure:
    accuracies = [0.1] * bad + [0.9 + 0.001 * (number % 50) for number in range(count - bad)]
    others = {"pruned": [count, count + 2], "failed": [count + 1]}
    interval = Interval(0.95, 0.93, 0.97, 500)
    return plots.search_history(range(count), accuracies, "x", best=count - 1, others=others, interval=interval)


def texts_of_legend(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_the_course_of_a_search_shows_the_best_so_far_and_how_others_ended() -> None:
    figure = plots.search_history([0, 2, 3], [0.5, 0.8, 0.8], "x", best=2, others={"pruned": [1], "failed": []})
    (axes,) = figure.axes
    best = next(line for line in axes.lines if line.get_label() == "best so far")
    assert ys(best).tolist() == [50, 80, 80]
    star = next(line for line in axes.lines if line.get_marker() == "*")
    assert (xs(star)[0], ys(star)[0]) == (3, 80)  # of ties the one that is taken
    assert texts_of_legend(figure) == ["best so far", "best: trial 3", "pruned: 1"]
    assert_readable(figure)


def test_a_few_bad_trials_do_not_flatten_the_others() -> None:
    figure = course_of(40, bad=3)
    (axes,) = figure.axes
    assert axes.get_ylim()[0] > 80
    assert any("triangles: 3 below" in text for text in texts(figure))
    assert_readable(figure)


def test_the_settings_of_a_search_are_on_the_scale_on_which_they_were_searched() -> None:
    settings = [
        plots.Setting("lr", [0.01, 0.1, 0.5], is_log=True),
        plots.Setting("width", [4, 8, 16]),
        plots.Setting("init", ["random", "generalist", "random"]),
    ]
    figure = plots.searched_settings(settings, [0.5, 0.9, 0.7], "x", best=1)
    lr, width, init = figure.axes
    assert (lr.get_xscale(), width.get_xscale()) == ("log", "linear")
    assert tick_labels(init) == ["generalist", "random"]
    stars = [(xs(line)[0], ys(line)[0]) for axes in figure.axes for line in axes.lines if line.get_marker() == "*"]
    assert stars == [(0.1, 90), (8, 90), (0, 90)]
    assert "n = 3" in " ".join(texts(figure))
    assert_readable(figure)


def test_the_front_goes_from_the_smallest_net_to_the_most_accurate_one() -> None:
    figure = plots.accuracy_and_cost(
        [0, 3, 5, 7], [0.9, 0.7, 0.8, 0.6], [9000, 1000, 4000, 2000], [True, True, True, False], "x"
    )
    (axes,) = figure.axes
    front = next(line for line in axes.lines if str(line.get_label()).startswith("front"))
    assert (xs(front).tolist(), ys(front).tolist()) == ([1000, 4000, 9000], [70, 80, 90])
    assert [text.get_text() for text in axes.texts] == ["3", "5", "0"]
    assert_readable(figure)


def test_equal_trials_of_the_front_have_one_label() -> None:
    figure = plots.accuracy_and_cost([4, 2, 3], [0.9, 0.7, 0.7], [9000, 1000, 1000], [True, True, True], "x")
    assert [text.get_text() for text in figure.axes[0].texts] == ["2 (+1)", "4"]


def test_importances_are_shares_from_the_largest_on() -> None:
    figure = plots.importances({"alpha": 0.25, "lr": 0.7, "width": 0.05}, "x", best=5, trials=40)
    (axes,) = figure.axes
    assert tick_labels(axes, "y") == ["lr", "alpha", "width"]
    assert [text.get_text() for text in axes.texts] == ["70 %", "25 %", "5 %"]
    assert "best 5 trials from all 40" in axes.get_xlabel()
    assert_readable(figure)


def test_the_timeline_has_a_bar_per_trial_by_how_it_ended() -> None:
    figure = plots.timeline([0, 1, 2], [0, 0, 60], [60, 30, 600], ["complete", "pruned", "complete"], "x")
    (axes,) = figure.axes
    drawn = sorted((patch.get_y() + 0.4, patch.get_x(), patch.get_width()) for bar in bars(axes) for patch in bar.patches)
    assert np.allclose(drawn, [(0, 0, 1), (1, 0, 0.5), (2, 1, 9)])
    assert "minutes" in axes.get_xlabel()
    assert texts_of_legend(figure) == ["complete: 2", "pruned: 1"]
    assert_readable(figure)


def test_a_comparison_over_seeds_shows_each_seed_beside_mean_and_interval() -> None:
    names = ["winner: T=9.96 alpha=0.428 width=8 depth=1 lr=0.0123", "winner on hard targets"]
    figure = plots.comparison_over_seeds(names, [[0.8, 0.9, 1.0], [0.7, 0.7, 0.7]], [19_074, 812], "x")
    (axes,) = figure.axes
    seeds = [xs(line).tolist() for line in axes.lines if line.get_marker() == "|"]
    assert seeds == [pytest.approx([80, 90, 100]), pytest.approx([70, 70, 70])]
    told = [text.get_text() for text in axes.texts]
    assert told == ["90.0 % [65.2, 100.0]   19.1 k parameters", "70.0 % [70.0, 70.0]   812 parameters"]  # t of 2 is 4.303
    assert "each of n = 3 seeds" in axes.get_xlabel()
    assert_readable(figure)
    alone = plots.comparison_over_seeds(["a"], [[0.5]], [5], "x")
    assert "one seed, so no interval" in alone.axes[0].get_xlabel()
    assert [text.get_text() for text in alone.axes[0].texts] == ["50.0 %   5 parameters"]
    assert_readable(alone)


@pytest.mark.parametrize("count", [2, 11, 400])
def test_figures_of_a_search_are_readable_for_any_number_of_trials(count: int) -> None:
    rng = np.random.default_rng(count)
    accuracies = rng.uniform(0.1, 0.99, count).tolist()
    wide = plots.Setting("temperature", np.exp(rng.uniform(0, 3, count)).tolist(), is_log=True)
    fine = plots.Setting("weight decay", np.exp(rng.uniform(-16, -2, count)).tolist(), is_log=True)
    sizes = rng.integers(1000, 10**7, count).tolist()
    front = [size == min(sizes) for size in sizes]
    title = f"Val accuracy by trial: mein-büro-student-98c80243, {count} complete trials"
    assert_readable(course_of(count))
    assert_readable(plots.searched_settings([wide, fine] * 3, accuracies, title, best=0))
    assert_readable(plots.two_settings(wide, fine, accuracies, title, best=1))
    assert_readable(plots.accuracy_and_cost(range(count), accuracies, sizes, front, title))
    begun, ended = [3.0 * number for number in range(count)], [3.0 * number + 2 for number in range(count)]
    assert_readable(plots.timeline(range(count), begun, ended, ["complete"] * count, title))
