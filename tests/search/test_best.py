"""The best trial as a configuration: ``best.yaml``."""

import os
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.distributions import BaseDistribution, FloatDistribution

from kd.config import SpecialistConfig, TuneConfig
from kd.errors import UserError
from kd.search.attributes import PARAMETERS
from kd.search.best import check_place, ranked_trials, write_best
from kd.search.storage import opened
from kd.search.study import open_study
from kd.specialists.groups import groups_text, parse_groups

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


def test_what_is_no_file_has_the_name_of_the_best_in_no_output_folder(tmp_path: Path) -> None:
    check_place(tmp_path)
    (tmp_path / "best.yaml").touch()
    check_place(tmp_path)
    (tmp_path / "best.yaml").unlink()
    os.mkfifo(tmp_path / "best.yaml")
    with pytest.raises(UserError, match=r"best\.yaml: not a file, so none can be written there"):
        check_place(tmp_path)


def test_of_equal_trials_the_smaller_then_the_older_is_better(url: str) -> None:
    assert url
    study = optuna.create_study(direction="maximize")
    third = (0.1 + 0.2) / 0.9  # as a mean is rounded: not 1 / 3
    assert third != 1 / 3
    for accuracy, size in ((0.2, 10), (1 / 3, 500), (third, 400), (1 / 3, 400), (1 / 3, None)):
        known = {} if size is None else {PARAMETERS: size}
        study.add_trial(optuna.create_trial(value=accuracy, params={"alpha": 0.5}, distributions=ALPHA, user_attrs=known))
    assert [trial.number for trial in ranked_trials(study)] == [2, 3, 1, 4, 0]


def test_groups_of_classes_with_odd_names_come_back_from_the_file(url: str, tmp_path: Path) -> None:
    classes = ["1", "2", "3", 'a, "b"; c', "\u202ecafe\u0301\n", " 2"]
    groups = [(0, 1), (1, 3, 5), (2, 4)]
    with opened(url) as storage:
        study = open_study(storage, "odd", {}, {}, pareto=False)
        study.add_trial(optuna.create_trial(value=0.5, params={"alpha": 0.5}, distributions=ALPHA))
        config = TuneConfig.parse({"objective": "specialist"})
        path = write_best(config, study, groups_text(groups, classes), tmp_path)
    assert path is not None
    read = SpecialistConfig.parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert parse_groups(read.groups, classes) == tuple(groups)
