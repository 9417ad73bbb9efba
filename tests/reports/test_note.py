"""The note of a run: what stands in a column can be compared, and a long note is shortened between its rows."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kd
from kd.data.dataset import Dataset
from kd.distillation.as_teacher import teacher_of
from kd.reports.changes import combination_change, distillation_changes
from kd.reports.note import GAP, REST_TEXT, note, shortened, spaced, table

RECIPE = kd.Recipe(epochs=1, batch_size=32)


@pytest.fixture(scope="module")
def written(tiny_digits: Dataset) -> str:
    teacher = kd.train("resnet", tiny_digits, RECIPE, depth=1, width=2)
    specialists = [
        kd.specialise(teacher, [[0, 1]], "resnet", tiny_digits, RECIPE, kind=kind, width=2)[0] for kind in ("dustbin", "full")
    ]
    combination = kd.combine(teacher, specialists[:1])
    return note(
        "pipeline on digits",
        "[all systems](#/page)",
        teacher_of(teacher, None),
        specialists,
        combinations=[combination],
        distillation=distillation_changes(teacher_of(teacher, None), specialists),
        combined=combination_change([combination]),
    )


def test_a_bar_in_a_name_divides_no_cell() -> None:
    assert table(["a|b", "c"], [["1", "x|y|z"]]) == "| a\\|b | c |\n| --- | --- |\n| 1 | x\\|y\\|z |"


def rows(written: str) -> list[list[str]]:
    """Return the cells of the table of models, its head first."""
    lines = written.split("## Models\n\n")[1].split("\n")[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| ---")]
    if "balanced" in cells[0]:  # so few images are of classes of different sizes
        for row in cells:
            del row[2]
    return cells


def test_only_nets_that_tell_all_classes_apart_have_an_accuracy_over_all_classes(written: str) -> None:
    head, *cells = rows(written)
    assert head[:2] == ["model", "all classes"]
    assert "over all classes (40 images)" in written
    controls = [False, False], [True, True]  # each beside its net: one with a dustbin, one that tells all classes apart
    assert [bool(row[1]) for row in cells] == [True, *controls[0], *controls[1], True]


def test_balanced_accuracies_have_a_column_where_classes_of_few_images_do_worse(tiny_digits: Dataset) -> None:
    test = tiny_digits.test
    few = test.labels == test.labels[0]
    uneven = dataclasses.replace(tiny_digits, test=test.select(~few | (few.cumsum(0) == 1)))
    right = torch.nn.functional.one_hot(uneven.test.labels, 10).float()
    wrong = right.clone()
    wrong[0] = wrong[0].roll(1)  # the only image of its class

    def written(logits: torch.Tensor) -> str:
        teacher = dataclasses.replace(kd.train("resnet", uneven, RECIPE, depth=1, width=1), test_logits=logits)
        guide = teacher_of(teacher, None)
        return note("x", "", guide, [teacher], combinations=[], distillation=[], combined=None)

    models = written(wrong).split("## Models")[1]
    assert "| model | all classes | balanced | own classes |" in models
    assert " | 90.0 % | " in models
    assert "each class counts the same" in models
    assert "balanced" not in written(right)


def test_accuracies_among_own_classes_have_their_number_of_images(written: str, tiny_digits: Dataset) -> None:
    _, *cells = rows(written)
    own = int((tiny_digits.test.labels < 2).sum())
    assert [row[3] for row in cells] == ["", *4 * [str(own)], ""]
    assert [bool(row[2]) for row in cells] == [False, *4 * [True], False]


def test_the_lines_that_the_ui_shows_folded_are_the_verdict_the_model_and_where_all_is_side_by_side(written: str) -> None:
    verdict, model, views = written.split("\n\n")[:3]
    assert verdict.startswith("**combined: ")
    assert verdict.endswith("of the generalist)**")
    assert model == "The model of this run: combined."
    assert views == "Side by side: [all systems](#/page)."


paragraphs = st.one_of(
    st.text("ab ", min_size=1, max_size=60),
    st.integers(1, 30).map(lambda count: table(["head", "x"], [[f"row {number}", "y"] for number in range(count)])),
)


@given(st.lists(paragraphs, min_size=1, max_size=8), st.integers(len(REST_TEXT) + 10, 600))
def test_a_shortened_note_keeps_whole_rows_up_to_the_limit(parts: list[str], limit: int) -> None:
    whole = "\n\n".join(parts)
    short = shortened(whole, limit)
    if len(whole) <= limit:
        assert short == whole
    else:
        *kept, last = short.split("\n")
        assert len(short) <= limit
        assert last == REST_TEXT
        lines, all_lines = ([line for line in text if line] for text in (kept, whole.split("\n")))
        assert lines == all_lines[: len(lines)]


def test_a_table_is_cut_after_as_many_rows_as_fit() -> None:
    whole = table(["a", "b"], [["1", "2"], ["3", "4"], ["5", "6"]]) + "\n\n" + "x" * 200
    two_rows = "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"
    assert shortened(whole, len(two_rows) + 2 + len(REST_TEXT)) == f"{two_rows}\n\n{REST_TEXT}"
    assert shortened(whole, len(two_rows) + 1 + len(REST_TEXT)) == f"{two_rows[:-10]}\n\n{REST_TEXT}"


def test_columns_are_kept_apart_where_no_cell_has_a_border() -> None:
    text = "a | b\n\n" + table(["x", "y", "z"], [["1", "", "3"]])
    assert spaced(text) == f"a | b\n\n| x{GAP} | y{GAP} | z |\n| --- | --- | --- |\n| 1{GAP} | {GAP} | 3 |"
