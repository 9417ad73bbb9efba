"""Records of experiments as Markdown, tables and differences to draw."""

import re
from collections.abc import Sequence

from kd.evaluation.intervals import Interval, format_interval
from kd.lab.names import NAMES
from kd.lab.record import Record, Row
from kd.machine.text import printable
from kd.reports.note import table
from kd.reports.tables import Columns

HEAD = """# Results

The experiments of Hinton, Vinyals and Dean (2015), carried out again by `kd paper`, at the scale of each row's data. This page
is made from the records in `{folder}/` by `kd results`. All systems of a table were trained with the same seeds; an accuracy is
a mean over seeds with its 95 % interval (Student's t, cut at 0 and 100 %), or over test images where there is one seed
(Wilson's). A difference is paired; its verdict counts all comparisons of its table (Holm), so that it may be a null result
though its interval leaves out zero; p counts them too. All that was chosen, such as epochs and biases, was chosen on validation
images, unless a row says otherwise.
"""
MINUTE = 60


def results_page(records: Sequence[Record], folder: str) -> str:
    """Return the page of all records, by experiment and data, and of the experiments that were not run."""
    order: dict[str, int] = {name: place for place, name in enumerate(NAMES)}
    ranked = sorted(records, key=lambda record: (order.get(record.experiment, len(order)), record.data))
    missing = [name for name in NAMES if name not in {record.experiment for record in records}]
    parts = [
        HEAD.format(folder=folder),
        _overview(ranked),
        *(f"## {_heading(record)}\n\n{record_text(record)}" for record in ranked),
    ]
    if missing:
        parts.append(f"## Not run\n\n{', '.join(f'`{name}`' for name in missing)}")
    return "\n".join(parts).rstrip() + "\n"


def _overview(records: Sequence[Record]) -> str:
    """Return a row for each difference of a record that tells something, or else for its first."""
    rows = [
        [
            f"[{record.title}](#{_anchor(_heading(record))})",
            printable(record.data),
            one.compared,
            format_interval(one.points, "% points"),
            one.verdict,
            "nothing" if one.expected is None else f"a {one.expected}",
        ]
        for record in records
        for one in record.told or record.differences[:1]
    ]
    return table(["Experiment", "Data", "Compared", "Difference in accuracy", "Verdict", "The paper claims"], rows) + "\n"


def _heading(record: Record) -> str:
    return f"{record.title}: {printable(record.data)}"


def _anchor(heading: str) -> str:
    """Return the name under which GitHub's pages link to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def note_text(record: Record) -> str:
    """Return the note of an experiment's run: what came out in its first lines, then the tables."""
    return f"**{record.title}, {printable(record.data)}**: {record.conclusion[0].in_words}\n\n{record_text(record)}"


def record_text(record: Record) -> str:
    """Return a record in Markdown."""
    parts = [
        f"The paper ({record.section}): {record.claim}",
        *([f"Trained here: {record.tried}"] if record.tried else []),
        "\n".join(["Came out:", "", *(f"- {one.in_words}" for one in record.conclusion)]),
        _systems(record),
        _differences(record),
        *([_figures(record)] if record.figures else []),
        _how(record),
    ]
    return "\n\n".join(parts) + "\n"


def tables(record: Record) -> dict[str, Columns]:
    """Return the systems, and the differences, as tables for the tracker."""
    rows, differences = record.rows, record.differences
    return {
        "1_systems": {
            "system": [row.system for row in rows],
            "accuracy": [row.accuracy.mean for row in rows],
            "low": [row.accuracy.low for row in rows],
            "high": [row.accuracy.high for row in rows],
            "errors": [_errors(row) for row in rows],
            "images": [row.images for row in rows],
            "paper": [row.published for row in rows],
        },
        "2_differences": {
            "after": [one.after for one in differences],
            "before": [one.before for one in differences],
            "points": [100 * one.points.mean for one in differences],
            "low": [100 * one.points.low for one in differences],
            "high": [100 * one.points.high for one in differences],
            "verdict": [one.verdict for one in differences],
        },
    }


def _systems(record: Record) -> str:
    rows = [
        [_named(row), _share(row.accuracy), _errors(row), _count(row.parameters), row.published or "not reported"]
        for row in record.rows
    ]
    return table(["System", "Test accuracy", "Errors per seed", "Parameters", _paper(record)], rows)


def _differences(record: Record) -> str:
    rows = [
        [
            one.compared,
            format_interval(one.points, "% points"),
            "" if one.adjusted_p is None else f"{one.adjusted_p:.3g}",
            one.verdict,
            "nothing" if one.expected is None else f"a {one.expected}: {one.of_claim}",
        ]
        for one in record.differences
    ]
    return table(["Difference", f"95 % interval over {record.differences[0].over}", "p", "Verdict", "The paper claims"], rows)


def _figures(record: Record) -> str:
    rows = [[one.name, _number(one.value), one.published] for one in record.figures]
    return table(["Also", "Mean, 95 % interval", _paper(record)], rows)


def _number(value: Interval) -> str:
    """Return a figure as text: an interval of no width is none, and its number may be a whole one."""
    is_same = value.n > 1 and value.low == value.high
    return f"{value.mean:,.10g}, the same in all n = {value.n}" if is_same else format_interval(value, "", signed=False)


def _paper(record: Record) -> str:
    """Return the head of the paper's own results, which are of other images."""
    return f"The paper, on {record.published_on}" if record.published_on else "The paper"


def _how(record: Record) -> str:
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in record.settings.items())
    took = (
        f"{record.seconds / MINUTE:.1f} min for {len(record.seeds)} seeds"
        if len(record.seeds) > 1
        else f"{record.seconds:.0f} s"
    )
    command = f"`{record.command}`" if record.command else "called from Python"
    return f"{command}; seeds {', '.join(map(str, record.seeds))}; {settings}; {took}; {record.machine}; kd {record.kd}."


def _named(row: Row) -> str:
    return f"{row.system} (chosen on test: no result)" if row.chosen_on_test else row.system


def _errors(row: Row) -> str:
    return f"{', '.join(map(str, row.errors))} of {row.images:,}"


def _share(accuracy: Interval) -> str:
    return format_interval(accuracy, signed=False)


def _count(parameters: int | None) -> str:
    return "" if parameters is None else f"{parameters:,}"
