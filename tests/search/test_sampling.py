"""Which pruner is created, and when it begins."""

from kd.config import TuneConfig
from kd.search.sampling import create_pruner


def test_pruners_begin_after_a_quarter_of_the_epochs() -> None:
    assert create_pruner(TuneConfig.parse({"epochs": "40"}))._n_warmup_steps == 10  # type: ignore[attr-defined]
    names = [type(create_pruner(TuneConfig.parse({"pruner": name}))).__name__ for name in ("halving", "hyperband", "none")]
    assert names == ["SuccessiveHalvingPruner", "HyperbandPruner", "NopPruner"]
    assert type(create_pruner(TuneConfig.parse({"pareto": "true"}))).__name__ == "NopPruner"
