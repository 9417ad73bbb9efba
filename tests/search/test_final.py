"""What the winner is compared with on test."""

from kd.config import TuneConfig
from kd.search.final import systems
from kd.search.size import fitting_config
from kd.search.space import PAPER, Axis


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
