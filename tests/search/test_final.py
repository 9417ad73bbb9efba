"""What the winner is compared with on test."""

import logging
from pathlib import Path

import pytest

from kd.config import TuneConfig
from kd.search.candidate import Guide
from kd.search.final import System, _result, systems
from kd.search.size import fitting_config
from kd.search.space import PAPER, Axis
from kd.tracking import store as tracking

COSTS = {"parameters": 1234}


def test_the_winner_is_compared_with_each_different_system_once() -> None:
    config = TuneConfig.parse({"final_seeds": 4})
    winner = config.model_copy(update={"temperature": 2.0})
    compared = systems(config, winner)
    assert set(compared) == {"winner", "configured", "paper's values", "winner on hard targets"}
    assert {system.config.seeds for system in compared.values()} == {4}
    assert compared["paper's values"].config.temperature == PAPER["temperature"]
    assert compared["winner on hard targets"].config == compared["winner"].config
    assert set(systems(config, config)) == {"winner", "paper's values", "winner on hard targets"}
    papers = config.model_copy(update=dict(PAPER))
    assert set(systems(papers.model_copy(update={"control": False}), winner)) == {"winner", "configured"}


def test_the_configured_values_are_compared_no_wider_than_max_parameters_allows() -> None:
    config = TuneConfig.parse({"max_parameters": 20_000})
    compared = systems(fitting_config(config, [Axis("width", "int", 4, 8, 4)]), config.model_copy(update={"width": 4}))
    assert [system.config.width for system in compared.values()] == [4, 8, 8, 4]


@pytest.mark.usefixtures("url")
def test_a_system_that_was_compared_before_a_stop_is_not_trained_again(
    guide: Guide, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.INFO, "kd")
    settings = {"objective": "student", "epochs": 1, "width": 1, "depth": 1, "views": 0, "seeds": 2, "batch_size": 60}
    config = TuneConfig.parse(settings)
    system, other = System(config, "distilled"), System(config.model_copy(update={"alpha": 0.5}), "distilled")
    with tracking.run("study", output_dir=tmp_path, tags={}) as parent:
        first = _result("winner", system, guide, COSTS, parent)
        assert _result("winner", system, guide, COSTS, parent).link != first.link  # nothing is looked for in a new study
        run_id = str(tracking.open_run())
    with tracking.run("study", output_dir=tmp_path, tags={}, again=run_id) as parent:
        again = _result("winner", system, guide, COSTS, parent)
        assert (again.val, again.test, again.costs) == (first.val, first.test, COSTS)
        assert "final winner: finished in run" in caplog.text
        caplog.clear()
        assert _result("winner", other, guide, COSTS, parent).link != again.link
        assert "finished in run" not in caplog.text
