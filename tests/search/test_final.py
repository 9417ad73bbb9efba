"""What the winner is compared with on test."""

from kd.config import TuneConfig
from kd.search.final import systems
from kd.search.space import PAPER


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
