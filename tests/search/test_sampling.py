"""How trials are sampled, and from when on they are pruned."""

import optuna

from kd.config import TuneConfig
from kd.search.sampling import create_pruner, create_sampler


def test_the_sampler_is_of_one_kind_with_every_optuna() -> None:
    study = optuna.create_study()
    plain, pareto = (
        create_sampler(TuneConfig.parse({"pareto": pareto}), study, worker=0, leads=True) for pareto in ("false", "true")
    )
    assert (plain._multivariate, plain._constant_liar) == (True, True)
    assert (pareto._multivariate, pareto._constant_liar) == (False, True)


def test_pruners_begin_after_a_quarter_of_the_epochs() -> None:
    assert create_pruner(TuneConfig.parse({"epochs": "40"}))._n_warmup_steps == 10  # type: ignore[attr-defined]
    names = [type(create_pruner(TuneConfig.parse({"pruner": name}))).__name__ for name in ("halving", "hyperband", "none")]
    assert names == ["SuccessiveHalvingPruner", "HyperbandPruner", "NopPruner"]
    assert type(create_pruner(TuneConfig.parse({"pareto": "true"}))).__name__ == "NopPruner"
