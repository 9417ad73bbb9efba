"""What candidates cost, and by what a study weighs them against accuracy."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution

import kd
from kd.cli import parse
from kd.config import TuneConfig, load_settings
from kd.data.dataset import Dataset
from kd.errors import UserError
from kd.search.attributes import IDENTITY, LATENCY, PARAMETERS
from kd.search.best import ranked_trials
from kd.search.candidate import Guide
from kd.search.candidate_costs import Costs
from kd.search.certainty import ValImages, certainty, certainty_text
from kd.search.costs import bounds_text, excess, names_of
from kd.search.file_size import candidate_bytes
from kd.search.latency import Latencies
from kd.search.report import note, trial_line
from kd.search.space import parse_space
from kd.search.study import identity, study_name

LATENCIES = Latencies({"depth 1, width 4": 1.5}, "cpu, 2 threads", 1.0)


def config(**fields: object) -> TuneConfig:
    return TuneConfig.parse({"objective": "student", "width": 4, **fields})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ""),
        (["--pareto"], "parameters"),
        (["--pareto", "--trials", "3"], "parameters"),
        (["--pareto", "true"], "parameters"),  # as `mlflow run . -e tune -P pareto=true` has it
        (["--pareto", "false"], ""),
        (["--no-pareto"], ""),
        (["--pareto", "parameters"], "parameters"),
        (["--pareto", "latency"], "latency"),
        (["--pareto=size"], "size"),
    ],
)
def test_the_flag_alone_means_parameters_and_a_word_behind_it_something_else(arguments: list[str], expected: str) -> None:
    made = parse("tune", arguments)
    assert isinstance(made, TuneConfig)
    assert made.second_objective() == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [("yes", "parameters"), ("true", "parameters"), ("off", ""), ("latency", "latency"), ("size", "size")],
)
def test_a_file_of_settings_says_the_same(line: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(f"pareto: {line}")
    made = TuneConfig.parse(load_settings(str(tmp_path / "settings.yaml")))
    assert made.second_objective() == expected
    assert TuneConfig.parse(dict(made.texts())) == made


def test_any_other_word_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UserError) as refused:
        config(pareto="speed")
    assert str(refused.value) == "speed: expected parameters (or nothing behind the flag), latency or size"
    assert refused.value.field == "pareto"


def test_a_study_of_before_goes_on_and_one_of_another_cost_is_another_study() -> None:
    def facts(**fields: object) -> dict[str, str]:
        options = config(**fields)
        return identity(options, parse_space(options), "digest")

    directions = [facts(pareto=kind)["direction"] for kind in ("false", "true", "parameters", "latency", "size")]
    before = "maximize accuracy, minimize parameters"
    other = ["maximize accuracy, minimize latency", "maximize accuracy, minimize size"]
    assert directions == ["maximize accuracy", before, before, *other]
    assert config(pareto="parameters").params()["pareto"] == "true"  # as its run has it
    assert facts(max_latency=2)["max_latency"] == "2"
    assert "max_latency" not in facts()
    names = [study_name(config(pareto=kind), facts(pareto=kind)) for kind in ("false", "true", "latency")]
    assert [name.rpartition("-")[0] for name in names] == [
        "digits-student",
        "digits-student-pareto",
        "digits-student-pareto-latency",
    ]


def test_a_search_knows_the_costs_that_it_asks_about(guide: Guide) -> None:
    assert names_of(config()) == ["parameters"]
    assert names_of(config(pareto="size", max_latency=2)) == ["parameters", "latency", "size"]
    assert Costs(guide, LATENCIES).of(config(pareto="latency")) == {"parameters": 4934, "latency": 1.5}
    both = config(pareto="latency", objective="specialist")  # of three classes and two, each with a dustbin
    assert Costs(guide, LATENCIES).of(both)["latency"] == 3.0


def test_the_size_of_a_file_is_that_which_a_training_leaves(tiny_digits: Dataset, tmp_path: Path) -> None:
    trained = kd.train("resnet", tiny_digits, kd.Recipe(epochs=1), depth=1, width=4)
    file = kd.save(trained, tmp_path / "model.pt2")
    known: dict[str, int] = {}
    found = candidate_bytes(config(), [], tiny_digits, known)
    assert 0 <= found - file.stat().st_size <= 64  # the run that it would have, and padding to 64 bytes
    assert candidate_bytes(config(), [], tiny_digits, known) == found
    assert len(known) == 1
    of_three, of_two = (
        candidate_bytes(config(objective="specialist"), [group], tiny_digits, {}) for group in ((0, 1, 2), (3, 4))
    )
    together = candidate_bytes(config(objective="specialist"), [(0, 1, 2), (3, 4), (5, 6, 7)], tiny_digits, {})
    assert together == 2 * of_three + of_two


@pytest.mark.parametrize(
    ("fields", "costs", "told"),
    [
        ({}, {"parameters": 10**9, "latency": 1e9}, ""),
        ({"max_parameters": 4934}, {"parameters": 4934}, ""),
        ({"max_parameters": 4933}, {"parameters": 4934}, "4,934 parameters are more than --max-parameters 4,933"),
        ({"max_latency": 1.5}, {"parameters": 4934, "latency": 1.5}, ""),
        ({"max_latency": 1.5}, {"parameters": 4934, "latency": 1.61}, "1.61 ms for one image are more than --max-latency 1.5"),
    ],
)
def test_what_is_too_much_of_a_candidate_is_told(fields: dict[str, object], costs: dict[str, float], told: str) -> None:
    assert excess(config(**fields), costs) == told


def test_both_bounds_are_told() -> None:
    both = bounds_text(config(max_latency=0.5, max_parameters=100))
    assert both == "larger than `--max-parameters 100` or slower than `--max-latency 0.5`"


@pytest.fixture
def raced() -> optuna.Study:
    """Return a study of latency, in which the larger one of two equally accurate trials is the faster one."""
    study = optuna.create_study(study_name="s", directions=["maximize", "minimize"])
    study.set_user_attr(IDENTITY, {"direction": "maximize accuracy, minimize latency"})
    alpha: dict[str, BaseDistribution] = {"alpha": FloatDistribution(0, 1)}
    for accuracy, ms, parameters in ((0.9, 2.0, 100), (0.9, 1.0, 200), (0.5, 0.5, 50)):
        kept = {LATENCY: ms, PARAMETERS: parameters}
        study.add_trial(optuna.create_trial(values=[accuracy, ms], params={"alpha": 0.5}, distributions=alpha, user_attrs=kept))
    return study


def test_of_equally_accurate_trials_of_a_race_the_fastest_wins(raced: optuna.Study) -> None:
    assert [trial.number for trial in ranked_trials(raced)] == [1, 0, 2]
    sure = certainty(raced, ValImages(100))
    assert sure is not None
    assert "1 trial ties with it: the fastest is taken" in certainty_text(sure)


def test_a_race_is_told_in_milliseconds(raced: optuna.Study) -> None:
    options = config(pareto="latency", search="width=fixed;temperature=fixed")
    text = note(options, raced, groups="", space=parse_space(options), images=ValImages(100), comparison="", views="")
    assert "val accuracy of a student, against latency of one image (milliseconds)." in text
    assert "| trial | val accuracy | parameters | latency of one image | alpha | seconds |" in text
    assert "| trial 1 | 90.00% | 200 | 1 ms | 0.5 |" in text
    assert trial_line(options, raced, raced.trials[0]).startswith("trial 0: complete 90.00% at 2 ms (alpha 0.5)")


def test_a_size_cannot_be_weighed_where_no_model_is_kept(
    cli: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kd.commands.tune.start_fork_server", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli(["tune", "--pareto", "size", "--no-export", "--objective", "student"])
    assert ended.value.code == 2
    assert "--pareto size: with --no-export no model has a file" in capsys.readouterr().err
