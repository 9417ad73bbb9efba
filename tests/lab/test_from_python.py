"""An experiment from Python: its settings, what is refused, and its record on disk."""

from pathlib import Path

import pytest

import kd
from kd.data.dataset import Dataset
from kd.errors import UserError
from kd.lab.record import Record


def test_an_experiment_is_one_call_and_its_record_is_read_back_as_it_was(tiny_digits: Dataset, tmp_path: Path) -> None:
    record = kd.lab.run("soft-targets", tiny_digits, seeds=[3], width=4, teacher_width=4, epochs=1, teacher_epochs=1)
    assert record.seeds == (3,)
    assert record.settings["teacher_width"] == 4
    assert [row.images for row in record.rows] == [40, 40, 40]
    path = record.write(tmp_path / "results")
    assert path.name == "soft-targets-digits.json"
    assert Record.read(path) == record


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"name": "soft-target"}, "'soft-target' is no experiment; give one of soft-targets, temperature, "),
        ({"depht": 2}, "depht: no setting of an experiment; they are net, width, "),
        ({"seeds": []}, "no seeds; give one or more"),
        ({"temperature": 0.0}, "0.0: expected a temperature above 0"),
    ],
)
def test_what_can_not_be_run_is_refused_in_one_line(arguments: dict[str, object], line: str, tiny_digits: Dataset) -> None:
    with pytest.raises(UserError) as caught:
        kd.lab.run(**{"name": "soft-targets", "dataset": tiny_digits, **arguments})  # type: ignore[arg-type] # wrong on purpose
    assert str(caught.value).startswith(line)
