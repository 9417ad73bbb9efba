"""The answer of a search: how the winner compares, its settings, and what to try next."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kd.commands.tune import study_answer
from kd.config import TuneConfig
from kd.search.outcome import Outcome, edge_advice
from kd.search.report import plan_line
from kd.search.space import Axis
from kd.tracking.store import Run

RUN = cast("Run", SimpleNamespace(id="1" * 32, experiment_id="0", way_to_see="http://h/#/run", report_file=Path("/p.html")))
BETTER = {"winner": [0.92, 0.90, 0.91], "configured": [0.82, 0.80, 0.81], "winner on hard targets": [0.90, 0.88, 0.89]}


def outcome(tests: Mapping[str, Sequence[float]], at_edge: str = "") -> Outcome:
    return Outcome(
        run=RUN,
        view="http://h/#/view",
        study="digits-1",
        trial=7,
        val_accuracy=0.93,
        certainty="trial 7: val accuracy 93.0 % [87.0, 96.3], n = 120",
        best_file=Path("/best.yaml"),
        command="kd student --config best.yaml",
        tests=tests,
        at_edge=at_edge,
    )


def test_the_winner_is_compared_with_each_other_system() -> None:
    answer = study_answer(outcome(BETTER))
    lines = [line for line, _ in answer.lines]
    assert lines[0].startswith("winner, trial 7: +10")
    assert lines[0].endswith("seeds: gain (against configured)")
    assert lines[2:] == [
        "trial 7: val accuracy 93.0 % [87.0, 96.3], n = 120",
        "settings: /best.yaml; kd student --config best.yaml trains the model",
        "report: /p.html",
        f"run: {'1' * 32}",
        "to see it: http://h/#/run",
        "all trials: http://h/#/view",
    ]
    record: dict[str, Any] = json.loads(json.dumps(answer.record, allow_nan=False))
    assert (record["verdict"], record["n"], record["beside"], record["trial"]) == ("gain", 3, "configured", 7)
    assert record["difference"] == pytest.approx(0.1)
    assert [change["beside"] for change in record["changes"]] == ["configured", "winner on hard targets"]


@pytest.mark.parametrize(
    ("tests", "at_edge", "told"),
    [
        (BETTER, "temperature 20 is the largest", "temperature 20 is the largest"),
        ({**BETTER, "winner on hard targets": [0.96, 0.94, 0.95]}, "", "on hard targets alone the winner is better"),
        ({**BETTER, "configured": [0.85, 0.95, 0.91]}, "", "3 seeds show large differences only"),
        ({}, "", ""),
    ],
)
def test_what_to_try_next_follows_from_what_was_found(tests: Mapping[str, Sequence[float]], at_edge: str, told: str) -> None:
    said = study_answer(outcome(tests, at_edge)).record["next"]
    assert said.startswith(told) if told else said is None


def test_without_a_comparison_the_winner_is_told_by_its_accuracy_on_val() -> None:
    answer = study_answer(outcome({}))
    assert [line for line, _ in answer.lines[:2]] == [
        "winner, trial 7: it was not compared on test",
        "trial 7: val accuracy 93.0 % [87.0, 96.3], n = 120",
    ]
    assert answer.record["verdict"] is None


@pytest.mark.parametrize(
    ("axis", "value", "told"),
    [
        (Axis("temperature", "log", 1, 20), 19.9, "temperature 19.9 is the largest that was searched"),
        (Axis("temperature", "log", 1, 20), 10.0, ""),
        (Axis("temperature", "log", 1, 20), 1.0, ""),  # nobody goes on below 1
        (Axis("temperature", "log", 3, 20), 3.0, "temperature 3 is the smallest that was searched"),
        (Axis("width", "int", 4, 32, 4), 32, "width 32 is the largest that was searched"),
        (Axis("alpha", "float", 0, 1), 1.0, ""),  # there is nothing beyond
        (Axis("use", "cat", choices=("best", "last")), "last", ""),
    ],
)
def test_a_winner_at_the_edge_of_the_search_is_told(axis: Axis, value: object, told: str) -> None:
    said = edge_advice(axis, value)
    assert said.startswith(told)
    assert bool(said) == bool(told)


def test_no_larger_net_is_advised_where_the_size_was_asked_for() -> None:
    assert edge_advice(Axis("width", "int", 4, 8, 4), 8, {"width"}) == ""
    assert edge_advice(Axis("temperature", "log", 1, 20), 20.0, {"width"}).startswith("temperature 20 is the largest")


def test_a_search_says_what_it_will_run() -> None:
    config = TuneConfig.parse({"trials": 5, "workers": 2, "seeds": 2, "groups": "a,b;c,d;e,f"})
    assert plan_line(config, "abcdef") == (
        "a teacher where none is found, then 5 trials in 2 processes, each of 6 specialists; then the winner and what it is "
        "compared with, 3 seeds each"
    )
    alone = TuneConfig.parse({"objective": "student", "trials": 5, "final_seeds": 0})
    assert plan_line(alone, "abc") == "a teacher where none is found, then 5 trials, each of 1 student"
