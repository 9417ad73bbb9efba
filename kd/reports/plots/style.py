"""The style that all figures share: palette, sizes, and text that fits.

Figures are built without pyplot, so there is no global state, no backend to choose, and nothing to close.
"""

import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import cycle
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

Array = npt.NDArray[Any]

DPI = 120
# Okabe and Ito's palette, which stays apart under every common colour blindness; markers differ as well.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
GREY, LIGHT, INK = "#7F7F7F", "#DDDDDD", "#222222"
# A role looks the same in every figure.
ROLE_LOOKS = {
    "teacher": (VERMILLION, "D"),
    "generalist": (VERMILLION, "D"),
    "student": (BLUE, "o"),
    "specialist": (BLUE, "o"),
    "control": (GREY, "s"),
}
OTHER_LOOKS = ((GREEN, "^"), (PURPLE, "v"), (ORANGE, "P"), (SKY, "X"))

MARGIN_INCHES, SQUARE_MARGIN_INCHES = 0.08, 0.2
MAX_NAME_LENGTH = 18
RGB = 3
POINTS_PER_INCH = 72
TITLE_LETTERS_PER_INCH = 9.5


def new_figure(width: float, height: float, title: str, *, square_axes: bool = False) -> Figure:
    """Make an empty figure, in inches, under a title that is wrapped to its width.

    ``square_axes`` is for matrices: the layout misjudges axes of a fixed aspect by some pixels, and a wider margin keeps
    their labels whole.
    """
    margin = SQUARE_MARGIN_INCHES if square_axes else MARGIN_INCHES
    engine = ConstrainedLayoutEngine(w_pad=margin, h_pad=margin, compress=square_axes)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=engine)
    lines = textwrap.wrap(plain(title), max(20, int(width * TITLE_LETTERS_PER_INCH)))
    figure.suptitle("\n".join(lines), fontsize=12, fontweight="bold", color=INK)
    return figure


def looks(systems: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return each system's colour and marker: those of the role that its name starts with, others where these are taken."""
    chosen: dict[str, tuple[str, str]] = {}
    others = cycle(OTHER_LOOKS)
    for system in systems:
        own = next((look for role, look in ROLE_LOOKS.items() if system.startswith(role)), None)
        chosen[system] = next(others) if own is None or own in chosen.values() else own
    return chosen


def tidy(axes: Axes, *, grid: Literal["x", "y", "both"] = "y") -> None:
    """Take two spines away, and leave a grid behind the data in one direction only."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=grid, color=LIGHT, linewidth=0.8)
    axes.tick_params(colors=INK)


def plain(text: str) -> str:
    """Make text safe to draw: on one line, no part of it read as a formula, no letter that the font lacks."""
    letters = (letter if ord(letter) in _letters_of_font() else "?" for letter in " ".join(text.split()))
    return "".join(letters).replace("$", r"\$")


def class_names(classes: Sequence[str], longest: int = MAX_NAME_LENGTH) -> list[str]:
    """Shorten names in their middle, so that they stay different; a name that the font lacks becomes its number."""
    return [_class_name(number, " ".join(name.split()), longest) for number, name in enumerate(classes)]


def font_size(count: int, inches: float, largest: float = 10.0, smallest: float = 5.0) -> float:
    """Return the font size at which ``count`` lines of text fit beside an axis of this length."""
    return float(np.clip(0.95 * POINTS_PER_INCH * inches / count, smallest, largest))


def thinned(count: int, most: int = 100) -> list[int]:
    """Return the positions whose ticks are labelled: all, or every k-th so that there are ``most`` or fewer."""
    return list(range(0, count, -(-count // most)))


def show_image(axes: Axes, image: Array) -> None:
    """Show one image (C, H, W) uint8 with its own pixels visible; anything but three channels is shown as grey."""
    if image.shape[0] == RGB:
        axes.imshow(image.transpose(1, 2, 0), interpolation="nearest")
    else:
        axes.imshow(image[0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _class_name(number: int, name: str, longest: int) -> str:
    if not name or any(ord(letter) not in _letters_of_font() for letter in name):
        return f"class {number}"
    if len(name) > longest:
        head = (longest - 1) // 2
        name = f"{name[:head].rstrip()}…{name[len(name) - (longest - 1 - head) :].lstrip()}"
    return name.replace("$", r"\$")


@cache
def _letters_of_font() -> frozenset[int]:
    path = font_manager.findfont(font_manager.FontProperties())
    return frozenset(font_manager.get_font(path).get_charmap())
