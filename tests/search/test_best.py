"""The best trial as a configuration: ``best.yaml``, and groups in the form of ``--groups``."""

from pathlib import Path

import optuna
import yaml
from optuna.distributions import BaseDistribution, FloatDistribution

from kd.config import SpecialistConfig, TuneConfig
from kd.search.best import groups_text, write_best
from kd.search.storage import opened
from kd.search.study import open_study

ALPHA: dict[str, BaseDistribution] = {"alpha": FloatDistribution(0, 1)}


def test_the_best_of_each_study_is_kept_in_one_folder(url: str, tmp_path: Path) -> None:
    config, kept = TuneConfig.parse({}), {}
    with opened(url) as storage:
        for name, alpha in (("first/one", 0.1), ("second", 0.2), ("first/one", 0.3)):
            study = open_study(storage, name, {}, {}, pareto=False)
            study.add_trial(optuna.create_trial(value=alpha, params={"alpha": alpha}, distributions=ALPHA))
            assert write_best(config, study, "auto", tmp_path) == tmp_path / "best.yaml"
            files = tmp_path.glob("best*.yaml")
            kept = {path.name: SpecialistConfig.parse(yaml.safe_load(path.read_text())).alpha for path in files}
            assert kept["best.yaml"] == alpha
    assert kept == {"best.yaml": 0.3, "best-second.yaml": 0.2}


def test_groups_are_told_by_number_or_by_name_where_numbers_are_names() -> None:
    assert groups_text([(0, 2), (1, 2)], ["cat", "dog", "ship", "truck"]) == "0,2;1,2"
    assert groups_text([(0, 2)], ["1", "2", "3", "4"]) == "1,3"
