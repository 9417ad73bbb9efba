"""The project's own results: the page is what the records say, and each record is one of an experiment that there is."""

from pathlib import Path

import pytest

from kd.lab.experiment import experiment
from kd.lab.names import NAMES, ExperimentName
from kd.lab.page import results_page
from kd.lab.record import Record


def test_the_page_of_results_is_rendered_from_the_records(root: Path) -> None:
    records = [Record.read(path) for path in sorted((root / "results").glob("*.json"))]
    assert records
    assert {record.experiment for record in records} <= {*NAMES}
    page = (root / "RESULTS.md").read_text(encoding="utf-8")
    assert page == results_page(records, "results"), "RESULTS.md is out of date: kd results"


@pytest.mark.parametrize("name", NAMES)
def test_the_records_tell_of_the_paper_and_of_what_is_trained_as_the_experiments_do(root: Path, name: ExperimentName) -> None:
    own = experiment(name)
    for path in (root / "results").glob(f"{name}-*.json"):
        record = Record.read(path)
        told = (record.title, record.section, record.claim, record.tried, record.published_on)
        assert told == (own.title, own.section, own.claim, own.tried, own.published_on), path.name
        published = {row.system: row.published for row in record.rows} | {one.name: one.published for one in record.figures}
        assert published == {system: own.published.get(system, "") for system in published}, path.name
