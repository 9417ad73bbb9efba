"""What a report reads back of runs: of many specialists, and of tables that are not as they were written."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from kd.reports.page.contents import ClassRow
from kd.tracking.recorded import MAX_PICTURED, read_run

CLASSES = "tables/3_per_class.json"
ANSWERS = "tables/1_predictions.json"


@pytest.fixture
def client(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    return mlflow.MlflowClient()


def a_run(client: mlflow.MlflowClient, name: str, tags: dict[str, str]) -> str:
    return str(client.create_run("0", run_name=name, tags=tags).info.run_id)


def a_table(columns: list[str], *rows: list[object]) -> str:
    return json.dumps({"columns": columns, "data": rows})


def test_of_more_systems_than_are_pictured_those_on_all_classes_are(client: mlflow.MlflowClient) -> None:
    parent = a_run(client, "many", {"kd.role": "parent"})
    below = [("generalist", "teacher", "all"), *((f"specialist {n}", "specialist", f"{n},9") for n in range(MAX_PICTURED))]
    for name, role, group in [*below, ("combined", "combined", "all")]:
        run = a_run(client, name, {"kd.role": role, "kd.group": group, "mlflow.parentRunId": parent})
        client.log_text(run, a_table(["class", "images", "right"], ["a", 2, 1]), CLASSES)
        client.log_text(run, a_table(["image", "right"], [7, "yes"], [9, "no"]), ANSWERS)
    systems = {system.name: system for system in read_run(parent).systems}
    assert len(systems) == MAX_PICTURED + 2
    assert systems["combined"].right == systems["generalist"].right == {7: True, 9: False}
    assert sum(bool(system.classes) for system in systems.values()) == MAX_PICTURED


@pytest.mark.parametrize(
    "damaged",
    ['{"columns": ["cl', "[1, 2]", "3", '{"columns": ["class"], "data": [["a"]]}', '{"columns": 1, "data": []}', "[" * 10**5],
)
def test_a_report_is_made_without_a_damaged_table(client: mlflow.MlflowClient, damaged: str) -> None:
    run = a_run(client, "student", {"kd.group": "all"})
    client.log_text(run, damaged, CLASSES)
    client.log_text(run, a_table(["image", "right"], [7, "yes"]), ANSWERS)
    [system] = read_run(run).systems
    assert system.classes == []
    assert system.right == {7: True}


def test_rows_without_numbers_are_left_out(client: mlflow.MlflowClient) -> None:
    run = a_run(client, "student", {"kd.group": "all"})
    client.log_text(run, a_table(["class", "images", "right"], ["a", None, 1], ["b", 4, 3]), CLASSES)
    [system] = read_run(run).systems
    assert system.classes == [ClassRow("b", 4, 3)]
