"""The project's own results: the page is what the records say, and each record is one of an experiment that there is."""

from pathlib import Path

from kd.lab.names import NAMES
from kd.lab.page import results_page
from kd.lab.record import Record


def test_the_page_of_results_is_rendered_from_the_records(root: Path) -> None:
    records = [Record.read(path) for path in sorted((root / "results").glob("*.json"))]
    assert records
    assert {record.experiment for record in records} <= {*NAMES}
    page = (root / "RESULTS.md").read_text(encoding="utf-8")
    assert page == results_page(records, "results"), "RESULTS.md is out of date: kd results"
