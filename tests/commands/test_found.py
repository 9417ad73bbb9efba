"""The answers of commands: lines for a person, a record for a script."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import kd
from kd.commands.found import balanced_lines, comparison_answer, training_answer
from kd.config import StudentConfig
from kd.data.dataset import Dataset
from kd.distillation.results import TrackedRun, Trained
from kd.distillation.teacher import Teacher
from kd.evaluation.intervals import wilson_interval
from kd.reports.changes import distillation_changes
from kd.tracking.store import Run

PARENT = cast(
    "Run",
    SimpleNamespace(
        id="1" * 32,
        experiment_id="7",
        way_to_see="http://h/#/run",
        view_address=lambda _view: "http://h/#/view",
        report_file=Path("/reports/p.html"),
    ),
)
PLACES = ["report: /reports/p.html", f"run: {'1' * 32}", "to see it: http://h/#/run", "all systems: http://h/#/view"]


def tracked(trained: Trained, name: str) -> Trained:
    run = TrackedRun("1" * 32, "", Path(f"/models/{name}.pt2"), "7", "http://h/#/run", "http://h/#/view")
    return dataclasses.replace(trained, run=run)


@pytest.fixture(scope="module")
def teacher(tiny_digits: Dataset) -> Trained:
    return tracked(kd.train("resnet", tiny_digits, kd.Recipe(epochs=1), depth=1, width=1), "teacher")


@pytest.fixture(scope="module")
def student(teacher: Trained) -> Trained:
    trained = kd.distil(teacher, "resnet", recipe=kd.Recipe(epochs=1), depth=1, width=1)
    assert trained.control is not None
    return tracked(dataclasses.replace(trained, control=tracked(trained.control, "control")), "student")


def record_of(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - an answer
    """Return an answer's record as a script reads it: JSON has no NaN."""
    record: dict[str, Any] = json.loads(json.dumps(answer.record, allow_nan=False))
    return record


def test_a_comparison_is_told_with_its_places_and_what_to_try(teacher: Trained, student: Trained) -> None:
    guide = Teacher(teacher.model, teacher.dataset, "trained", teacher.run, teacher)
    changes = distillation_changes(guide, [student])
    answer = comparison_answer(PARENT, changes, [student], [], StudentConfig())
    balanced = balanced_lines(student)  # 40 images are of classes of different sizes
    lines = [line for line, _ in answer.lines if (line, "") not in balanced]
    compared = kd.compare(student, student.control)
    assert lines[0].startswith(f"student: {compared} (")
    assert lines[1].startswith(f"cost: {student.parameters:,} parameters, ")
    assert re.search(r" ms \[.*\] for 1 image, .* ms \[.*\] for 32 images \(cpu, 1 thread\)$", lines[1])
    assert lines[2:7] == ["model: /models/student.pt2", *PLACES]
    assert lines[7].startswith("next: ") == (compared.verdict != "gain")
    assert answer.lines[0][1] == {"gain": "green", "loss": "red", "null result": "yellow"}[compared.verdict]
    record = record_of(answer)
    assert (record["verdict"], record["n"], record["over"]) == (compared.verdict, 40, "images")
    assert record["difference"] == pytest.approx(student.test.accuracy - student.control.test.accuracy)  # type: ignore[union-attr]
    assert record["interval"] == [compared.difference.low, compared.difference.high]
    assert (record["run_id"], record["experiment_id"], record["model"]) == ("1" * 32, "7", "/models/student.pt2")
    assert record["models"] == {"control of student": "/models/control.pt2", "student": "/models/student.pt2"}
    assert len(record["changes"]) == 1
    assert (record["parameters"], record["bytes"]) == (student.parameters, None), "its file is not there"
    assert [one["batch"] for one in record["latency"]] == [1, 32]


def test_without_a_control_the_accuracy_is_told_and_nothing_was_compared(student: Trained) -> None:
    alone = dataclasses.replace(student, control=None)
    answer = comparison_answer(PARENT, [], [alone], [], StudentConfig(control=False))
    assert "images right on test; it was compared with nothing" in answer.lines[0][0]
    record = record_of(answer)
    assert (record["verdict"], record["difference"], record["changes"]) == (None, None, [])


def test_a_teacher_has_its_accuracy_with_an_interval(teacher: Trained) -> None:
    answer = training_answer(teacher)
    right = int((teacher.test_logits.argmax(dim=1) == teacher.dataset.test.labels).sum())
    interval = wilson_interval(right, 40)
    balanced = [line for line, _ in balanced_lines(teacher)]
    lines = [line for line, _ in answer.lines][1:]
    assert [line for line in lines if not line.startswith("cost: ")] == [*balanced, "model: /models/teacher.pt2", *PLACES[1:]]
    record = record_of(answer)
    assert (record["accuracy"], record["interval"], record["n"]) == (interval.mean, [interval.low, interval.high], 40)
    assert record["verdict"] is None


def test_balanced_accuracy_is_told_where_it_tells_something_else_than_accuracy(teacher: Trained) -> None:
    def told(balanced: float | None) -> list[tuple[str, str]]:
        scores = dataclasses.replace(teacher.test, accuracy=0.9, balanced_accuracy=balanced)
        return balanced_lines(dataclasses.replace(teacher, test=scores))

    line = "teacher: balanced accuracy 62.5 % on test, where each class counts the same (accuracy 90.0 %)"
    assert told(0.625) == [(line, "")]
    assert told(0.895) == told(None) == []


def test_one_seed_less_than_an_interval_needs_is_null_in_a_record(teacher: Trained, student: Trained) -> None:
    guide = Teacher(teacher.model, teacher.dataset, "trained", teacher.run, teacher)
    [change] = distillation_changes(guide, [student])
    nan = float("nan")
    unknown = dataclasses.replace(change, difference=dataclasses.replace(change.difference, low=nan, high=nan))
    assert record_of(comparison_answer(PARENT, [unknown], [student], [], None))["interval"] is None
