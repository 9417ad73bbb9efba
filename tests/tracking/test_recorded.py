"""What a report reads back of runs: of many specialists, and of tables that are not as they were written."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from PIL import Image

from kd.reports.page.contents import ClassRow
from kd.tracking.recorded import MAX_PICTURED, named_runs, read_run

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


def test_a_specialist_is_right_by_its_best_answer_among_its_own_classes(client: mlflow.MlflowClient) -> None:
    run = a_run(client, "specialist 0", {"kd.role": "specialist", "kd.group": "0,6"})
    client.log_metric(run, "test/accuracy_with_dustbin", 0.5)
    columns = ["image", "class", "predicted", "right", "second"]
    answers = [
        [0, "0", "0", "yes", "6"],
        [1, "0", "dustbin", "no", "0"],
        [2, "6", "dustbin", "no", "0"],
        [3, "6", "0", "no", "6"],
        [4, "dustbin", "dustbin", "yes", "0"],
    ]
    client.log_text(run, a_table(columns, *answers), ANSWERS)
    assert read_run(run).systems[0].right == {0: True, 1: True, 2: False, 3: False}


def test_images_of_a_specialist_on_all_classes_are_not_taken_for_those_of_its_verdict(client: mlflow.MlflowClient) -> None:
    run = a_run(client, "specialist 0", {"kd.role": "specialist", "kd.group": "0,6"})
    for name in ("test/accuracy", "test/own_accuracy"):
        client.log_metric(run, name, 0.5)
    client.log_text(run, a_table(["image", "right"], [7, "yes"]), ANSWERS)
    assert read_run(run).systems[0].right is None


@pytest.mark.parametrize(("digest", "names"), [("1", ["generalist", "combined"]), ("2", ["combined"])])
def test_a_generalist_that_was_reused_stands_beside_what_was_made_of_it(
    client: mlflow.MlflowClient, digest: str, names: list[str]
) -> None:
    teacher = a_run(client, "generalist", {"kd.role": "teacher", "kd.group": "all", "kd.data_digest": "1"})
    parent = a_run(client, "specialist", {"kd.teacher": teacher, "kd.data_digest": digest})
    a_run(client, "combined", {"kd.role": "combined", "kd.group": "all", "mlflow.parentRunId": parent})
    assert [system.name for system in read_run(parent).systems] == names


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


def test_a_name_that_has_commas_is_one_run(client: mlflow.MlflowClient) -> None:
    for name in ("specialist 0, dustbin", "a", "b", "b, c"):
        a_run(client, name, {})
    named = {
        "specialist 0, dustbin": ["specialist 0, dustbin"],
        "a,b": ["a", "b"],
        "a, specialist 0, dustbin,b": ["a", "specialist 0, dustbin", "b"],
        "b, c": ["b, c"],
        "b\nc": ["b", "c"],
        "absent, too,a": ["absent", "too", "a"],
        " ,a,, ": ["a"],
    }
    assert {text: named_runs(text) for text in named} == named
    short = a_run(client, "x", {})[:8]
    assert named_runs(f"{short},a") == [short, "a"]


@pytest.mark.parametrize(("status", "state"), [("RUNNING", "has not ended"), ("FAILED", "failed: why"), ("FINISHED", "")])
def test_how_a_run_ended_is_told_unless_it_ends_just_now(client: mlflow.MlflowClient, status: str, state: str) -> None:
    run = a_run(client, "student", {"kd.group": "all", **({"kd.reason": "why"} if status == "FAILED" else {})})
    client.update_run(run, status)
    assert (read_run(run).state, read_run(run, ends=True).state) == (state, "")
    assert read_run(run).systems[0].state == state


@pytest.mark.parametrize(
    ("note", "verdict", "rest"),
    [
        ("**gain of [student](#/x)**\n\nmore", "gain of student", "more"),
        ("The model: [student](#/x).\n\nmore", "", "The model: [student](#/x).\n\nmore"),  # nothing was compared
    ],
)
def test_the_first_words_of_a_note_are_a_verdict_where_they_are_one(
    client: mlflow.MlflowClient, note: str, verdict: str, rest: str
) -> None:
    run = a_run(client, "student", {"kd.group": "all", "mlflow.note.content": note})
    assert (read_run(run).verdict, read_run(run).note) == (verdict, rest)


def test_a_report_is_made_without_a_picture_that_is_none(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    run = a_run(client, "student", {"kd.group": "all"})
    good, bad = tmp_path / "1_good.png", tmp_path / "2_bad.png"
    Image.new("L", (2, 2)).save(good)
    bad.write_bytes(good.read_bytes()[:-9])
    for path in (good, bad):
        client.log_artifact(run, str(path), "figures")
    assert (read_run(run).systems[0].figures or {}).keys() == {"1_good"}
