"""Names made of a user's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_logged_model_name, _validate_metric_name

from kd.machine.names import MAX_FILE_NAME_BYTES, cut, file_name, logged_model_name, metric_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("control of student seed 1", "control-of-student-seed-1"),
        ("specialist 0 cat-dog+3", "specialist-0-cat-dog+3"),
        ("a/b\\c: d", "a-b-c-d"),
        ("../../etc", "-..-etc"),
        (".hidden", "hidden"),
        ("été\n\x1b[31m", "été-x1b[31m"),
        ("", "unnamed"),
        ("猫" * 100, "猫" * 40),
    ],
)
def test_a_file_is_named_readably(text: str, name: str) -> None:
    assert file_name(text) == name


@given(st.text(max_size=300))
def test_any_text_gives_a_name_that_a_file_system_takes(text: str) -> None:
    name = file_name(text)
    assert 0 < len(name.encode()) <= MAX_FILE_NAME_BYTES
    assert not set(name) & set('/\\:*?"<>|%#\0 \n\t')
    assert not name.startswith(".")


@given(st.text(max_size=300))
def test_any_text_gives_a_name_that_mlflow_takes_for_a_metric(text: str) -> None:
    name = f"{metric_name(text)}_test_accuracy"
    _validate_metric_name(name)  # type: ignore[no-untyped-call] # MLflow's own
    assert metric_name("student") == "student"


def test_long_text_is_cut_and_says_so() -> None:
    assert cut("abcdefgh", 8) == "abcdefgh"
    assert cut("abcdefghi", 8) == "abcde..."


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("control of specialist 0 cat-dog", "control-of-specialist-0-cat-dog"),
        ("l'été 2.5", "l-été-2-5"),
        ("...", "unnamed"),
        ("été", "été"),
    ],
)
def test_a_logged_model_is_named_readably(text: str, name: str) -> None:
    assert logged_model_name(text) == name


@given(st.text(max_size=300))
def test_any_text_gives_a_name_that_mlflow_takes_for_a_model(text: str) -> None:
    _validate_logged_model_name(logged_model_name(text))
