"""What distillation and images without labels changed, each in words, metrics and figures of its own."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import kd
from kd.commands.advice import distillation_advice
from kd.config import StudentConfig
from kd.data.dataset import Dataset
from kd.distillation.as_teacher import teacher_of
from kd.distillation.results import Trained
from kd.distillation.teacher import Teacher
from kd.reports.changes import Change, distillation_changes, verdict_line
from kd.reports.note import note
from kd.reports.summary_figures import summary_figures
from kd.tracking.metrics import change_metrics


@pytest.fixture(scope="module")
def teacher(tiny_digits: Dataset) -> Teacher:
    trained = kd.train("resnet", tiny_digits, kd.Recipe(epochs=1, batch_size=32), depth=1, width=1)
    return teacher_of(trained, None)


@pytest.fixture(scope="module")
def students(teacher: Teacher) -> list[Trained]:
    """Return students of two seeds, each with its control and the same without images that have no labels."""
    images = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    return [
        kd.distil(teacher, "resnet", None, kd.Recipe(epochs=1, batch_size=32, seed=seed), unlabelled=images, views=1, width=1)
        for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def changes(teacher: Teacher, students: list[Trained]) -> list[Change]:
    return distillation_changes(teacher, students)


def test_a_student_is_compared_with_its_control_and_with_itself_without_unlabelled_images(
    changes: list[Change], students: list[Trained]
) -> None:
    assert [(change.label, change.beside, change.over) for change in changes] == [
        ("student", "control", "seeds"),
        ("student", "without unlabelled", "seeds"),
    ]
    for change, others in zip(
        changes, ([one.control for one in students], [one.without_unlabelled for one in students]), strict=True
    ):
        compared = kd.compare(students, [other for other in others if other is not None])
        assert (change.difference, change.before) == (compared.difference, compared.before)


def test_the_verdicts_of_several_nets_count_all_of_them(teacher: Teacher, students: list[Trained]) -> None:
    """By hand: McNemar's p for 7, 6 and 0 mended images is 2 / 2^7, 2 / 2^6 and 1; Holm's are 3 and 2 times that, and 1."""
    base = students[0]
    labels = base.task.test.labels
    right = F.one_hot(labels, base.dataset.num_classes).float()

    def net(name: str, mended: int) -> Trained:
        before = right.clone()
        before[:mended] = before[:mended].roll(1, dims=1)
        control = replace(base, test_logits=before, control=None, without_unlabelled=None)
        return replace(base, name=name, label=name, test_logits=right, control=control, without_unlabelled=None)

    changes = distillation_changes(teacher, [net("a", 7), net("b", 6), net("c", 0)])
    assert [change.p_text for change in changes] == ["0.0469", "0.0625", "1"]
    assert [change.verdict for change in changes] == ["gain", "null result", "null result"]
    assert str(changes[1]).endswith(": null result (p = 0.0625 among all comparisons)")
    assert str(changes[0]).endswith(": gain")
    (axes,) = summary_figures(teacher, [net("a", 7)], [], changes)["1_changes"].axes
    assert [text.get_text().rpartition(": ")[2] for text in axes.texts] == [change.verdict for change in changes]
    alone = distillation_changes(teacher, [net("b", 6)])
    assert [change.verdict for change in alone] == ["gain"]


def test_each_comparison_has_its_line_and_its_metrics(changes: list[Change]) -> None:
    lines = [verdict_line(change) for change in changes]
    assert lines[0].startswith("student: ")
    assert lines[0].endswith(" of the control)")
    assert lines[1].startswith("student, by images without labels: ")
    assert lines[1].endswith(" without them)")
    metrics = change_metrics(changes)
    assert metrics["student/minus_control"] == changes[0].difference.mean
    assert metrics["student/minus_without_unlabelled"] == changes[1].difference.mean
    assert metrics["student/without_unlabelled_test_accuracy"] == changes[1].before.mean
    assert not [name for name in metrics if name.startswith("student_2")]


def test_the_note_has_a_table_for_each_and_all_nets(changes: list[Change], teacher: Teacher, students: list[Trained]) -> None:
    written = note("student on digits", "", teacher, students, combinations=[], distillation=changes, combined=None)
    digest = students[0].dataset.unlabelled_digest
    assert written.count(f"from 30 images without labels too, by soft targets alone; digest `{digest}`.") == 1
    by_control, by_unlabelled = written.split("## What distillation changed")[1].split("## What images without labels changed")
    assert "| control | distilled |" in by_control
    assert "| without them | with them |" in by_unlabelled
    models = written.split("## Models")[1]
    for name in ("control of student", "student without unlabelled", "student"):
        assert models.count(f"| {name} |") == 2


def test_the_figures_show_all_of_them(changes: list[Change], teacher: Teacher, students: list[Trained]) -> None:
    figures = summary_figures(teacher, students, [], changes)
    labels = [label.get_text() for label in figures["1_changes"].axes[0].get_yticklabels()]
    assert any("student - without unlabelled" in label for label in labels)
    shown = " ".join(
        text.get_text() for axes in figures["2_comparison"].axes for text in (*axes.texts, *axes.get_yticklabels())
    )
    legend = figures["2_comparison"].legends
    shown += " ".join(text.get_text() for one in legend for text in one.get_texts())
    assert "student without unlabelled" in shown


def test_advice_on_distillation_is_of_the_control(changes: list[Change]) -> None:
    assert distillation_advice(changes[1:], StudentConfig()) == ""
