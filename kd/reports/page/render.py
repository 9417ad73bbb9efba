"""The HTML of a report: no script, no network, pictures inside."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

import kd
from kd.evaluation.intervals import Interval, format_interval, wilson_interval
from kd.reports.page.contents import ClassRow, Contents, System

FIGURES: Mapping[str, str] = {
    "changes": "paired differences in test accuracy with their 95 % intervals, around zero",
    "comparison": "test accuracy of all systems with 95 % intervals and numbers of parameters",
    "groups": "how often the generalist takes classes for one another, and the groups that follow from it",
    "differences": "paired differences in test accuracy with their 95 % intervals, around zero",
    "final_comparison": "the winner of the search beside the configured and the paper's values, over seeds",
    "history": "accuracy on val of each trial, and of the best so far",
    "accuracy_and_size": "accuracy on val against the number of parameters, per trial",
    "accuracy_and_latency": "accuracy on val against the milliseconds of one image, per trial",
    "accuracy_and_file_size": "accuracy on val against the size of the file in kB, per trial",
    "settings": "the settings of all trials, and the accuracy on val that each reached",
    "temperature_and_alpha": "accuracy on val by temperature and alpha",
    "importance": "how much each setting decides the accuracy on val",
    "timeline": "when each trial ran, and how it ended",
    "mended_and_broken": "test images that are mended and broken, with both answers",
    "relative_gain_by_cover": "relative gain in accuracy by the number of specialists that cover the true class",
    "training_curves": "loss, and accuracy on val, per epoch; the chosen epoch is marked",
    "per_class_accuracy": "test accuracy per class",
    "confusion_matrix": "which class was taken for which on test",
    "dark_knowledge": "the teacher's soft targets of some images",
    "reliability_diagram": "confidence against accuracy on test: the calibration",
}
"""What each figure shows, for those who can't see it."""
COSTS: Mapping[str, tuple[str, str]] = {
    "Parameters": ("parameters", "{:,.0f}"),
    "Multiply-adds": ("multiply_adds", "{:,.0f}"),
    "ms, batch 1": ("latency_ms_batch_1", "{:.2f}"),
    "ms, batch 32": ("latency_ms_batch_32", "{:.2f}"),
    "File, bytes": ("file_bytes", "{:,.0f}"),
    "Training, s": ("train_seconds", "{:.1f}"),
}
"""Columns of what a system costs: the metric, and how it is written."""
SIDES = "mended_and_broken"
"""How the name of the picture of images that changed sides ends."""
MAX_NUMBERS = 12
"""Numbers of images that are named."""


@dataclass(frozen=True)
class Sides:
    """The test images on which a system and the one that it is compared with differ."""

    name: str
    beside: str
    mended: Sequence[int]
    broken: Sequence[int]
    picture: bytes | None = None
    """Some of them; None: no picture of them is known."""


def page(reports: Sequence[Contents]) -> str:
    """Return the HTML of one run, or of several, which the first table compares."""
    title = reports[0].title if len(reports) == 1 else f"{len(reports)} runs side by side"
    return _environment().get_template("report.html.j2").render(title=title, reports=reports, version=kd.__version__)


def sides(systems: Sequence[System]) -> list[Sides]:
    """Return the images that each system mends and breaks, beside its control or, where it is combined, the generalist."""
    by_name = {system.name: system for system in systems}
    generalist = next((system for system in systems if system.role == "teacher"), None)
    found = []
    for system in systems:
        beside = generalist if system.role == "combined" else by_name.get(f"control of {system.name}")
        if beside is None or system.right is None or beside.right is None:
            continue
        pairs = [(image, right, beside.right[image]) for image, right in system.right.items() if image in beside.right]
        mended = [image for image, after, before in pairs if after and not before]
        broken = [image for image, after, before in pairs if before and not after]
        picture = next((content for name, content in (system.figures or {}).items() if name.endswith(SIDES)), None)
        found.append(Sides(system.name, beside.name, mended, broken, picture))
    return found


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("kd.reports.page", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "markdown": _without_links,
        "kind": _kind,
        "accuracy": _accuracy,
        "of_class": lambda row: _interval(_of_class(row)),
        "cost": _cost,
        "few": _few,
    }
    environment.globals |= {"costs": _columns, "shown": _picture, "sides": sides, "SIDES": SIDES}
    return environment


def _without_links(markdown: str) -> Markup:
    """Return Markdown as HTML, without its links, which lead to pages of the tracker's UI; HTML in it is text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    for rule in ("link_open", "link_close"):
        parser.add_render_rule(rule, lambda *_: "")
    return Markup(parser.render(markdown))  # noqa: S704 - it has escaped what is not its own


def _kind(verdict: str) -> str:
    """Return gain or loss, where a verdict says so of its first difference; empty: it does not."""
    found = re.search(r": (gain|loss|null result|no interval)\b", verdict)
    return found.group(1) if found else ""


def _picture(name: str, content: bytes, whose: str) -> Markup:
    told = name.partition("_")[2] if name[:1].isdigit() else name
    words = FIGURES.get(told, told.replace("_", " "))
    encoded = base64.b64encode(content).decode()
    return Markup('<figure><img alt="{}: {}" src="data:image/png;base64,{}"><figcaption>{}</figcaption></figure>').format(
        whose, words, encoded, words[0].upper() + words[1:]
    )


def _columns(report: Contents) -> list[str]:
    """Return the heads of the costs that some system has."""
    return [head for head, (name, _) in COSTS.items() if any(system.cost(name) is not None for system in report.listed)]


def _cost(system: System, head: str) -> str:
    name, form = COSTS[head]
    value = system.cost(name)
    return "" if value is None else form.format(value)


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else format_interval(interval, signed=False)


def _accuracy(system: System) -> str:
    """Return a system's test accuracy, with its interval where the number of images is known."""
    share = system.metrics.get("test/accuracy", system.metrics.get("test/own_accuracy"))
    if system.accuracy is not None or share is None:
        return _interval(system.accuracy)
    return f"{100 * share:.1f} %"


def _of_class(row: ClassRow) -> Interval:
    return wilson_interval(row.right, row.images)


def _few(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:MAX_NUMBERS]))
    return f"{shown}, ..." if len(numbers) > MAX_NUMBERS else shown
