"""The first lines of a study's note, of which MLflow's UI shows three: the result, where the model is, and the views."""

import shlex

import optuna
import pytest
from optuna.distributions import FloatDistribution

from kd.config import TuneConfig
from kd.search.attributes import FINAL
from kd.search.certainty import ValImages
from kd.search.outcome import difference_text, differences
from kd.search.report import _wrapped, note
from kd.search.space import parse_space

CONFIG = TuneConfig.parse({"objective": "student", "search": "alpha=float:0:1"})


def first_lines(study: optuna.Study) -> list[str]:
    text = note(
        CONFIG, study, groups="", space=parse_space(CONFIG), images=ValImages(100), comparison="", views="[trials](#/page)"
    )
    return text.split("\n\n")[:3]


@pytest.fixture
def studied() -> optuna.Study:
    study = optuna.create_study(study_name="s", direction="maximize")
    alpha = FloatDistribution(0, 1)
    for number in (5, 9):
        study.add_trial(optuna.create_trial(value=number / 10, params={"alpha": 0.5}, distributions={"alpha": alpha}))
    return study


def test_a_studys_note_begins_with_the_verdicts_where_the_model_is_and_the_views(studied: optuna.Study) -> None:
    tests = {"winner": [0.9, 0.92], "configured": [0.7, 0.725], "winner on hard targets": [0.91, 0.91]}
    studied.set_user_attr(FINAL, {"of": {"trial": 1}, "note": "", "test": tests})
    result, model, views = first_lines(studied)
    assert result == (
        "**winner, trial 1: +19.8 % points [16.6, 22.9], n = 2 seeds: gain (against configured); "
        "+0.0 % points [-12.7, 12.7], n = 2 seeds: null result (against winner on hard targets)**"  # t = 12.706
    )
    assert model == "The model: a search keeps none; `kd student --config best.yaml` trains it; the file is in `settings/`."
    assert views == "Side by side: [trials](#/page)."


def test_the_verdicts_on_a_winner_count_all_its_comparisons() -> None:
    # Differences of 0.06 and 0.03 with a standard deviation of 0.01 over 3 seeds: t = 10.392 and 5.196.
    tests = {"winner": [0.80, 0.81, 0.82], "configured": [0.75, 0.75, 0.75], "paper": [0.78, 0.78, 0.78]}
    alone = {name: differences({"winner": tests["winner"], name: tests[name]})[name] for name in ("configured", "paper")}
    assert [one.p_value for one in alone.values()] == pytest.approx([0.009133, 0.035099], abs=1e-6)
    assert [one.verdict for one in alone.values()] == ["gain", "gain"]
    assert [one.verdict for one in differences(tests).values()] == ["gain", "gain"]  # the largest p of a table stays
    three = differences({**tests, "winner on hard targets": [0.81, 0.81, 0.81]})
    assert three["paper"].adjusted_p == pytest.approx(2 * 0.035099, abs=2e-6)  # the second smallest of three
    assert [one.verdict for one in three.values()] == ["gain", "null result", "null result"]
    assert difference_text("paper", three["paper"]) == (
        "+3.0 % points [0.5, 5.5], n = 3 seeds: null result (p = 0.0702 among all comparisons) (against paper)"
    )
    assert differences({}) == {}


def test_until_the_comparison_it_begins_with_the_best_trial_so_far(studied: optuna.Study) -> None:
    assert first_lines(optuna.create_study(study_name="s"))[0] == "**No trial is complete.**"
    best = "**trial 1: val accuracy 90.0 % [82.6, 94.5], n = 100; it is the best so far, and was not compared on test**"
    assert first_lines(studied)[0] == best
    studied.set_user_attr(FINAL, {"of": {"trial": 0}, "note": "", "test": {"winner": [0.5], "configured": [0.4]}})
    assert first_lines(studied)[0] == best  # another trial was the best when the comparison was made


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        (["kd student", "--width 8"], ["kd student --width 8"]),
        (
            ["kd student", *6 * ["--temperature 3.046"], "--groups 'a --b'"],
            [f"kd student {'--temperature 3.046 ' * 4}\\", f"  {'--temperature 3.046 ' * 2}--groups 'a --b'"],
        ),
    ],
)
def test_a_long_command_has_lines_that_the_ui_shows_whole(parts: list[str], lines: list[str]) -> None:
    assert _wrapped(parts).splitlines() == lines
    assert shlex.split(_wrapped(parts).replace("\\\n", "")) == shlex.split(" ".join(parts))


def test_the_winner_in_one_command_has_what_differs_from_the_defaults_of_that_command(studied: optuna.Study) -> None:
    config = TuneConfig.parse({"search": "temperature=fixed", "epochs": "9"})  # T is 4, and 2 by default in kd specialist
    text = note(
        config,
        studied,
        groups="0,1;2,3",
        space=parse_space(config),
        images=ValImages(100),
        comparison="",
        views="[trials](#/page)",
    )
    command = text.split("## The winner in one command")[1].split("```")[1]
    flags = shlex.split(command.replace("\\\n", ""))
    settings = dict(zip(flags[2::2], flags[3::2], strict=True))
    net = {"--net": "resnet", "--depth": "1", "--width": "16"}  # there it is the generalist's by default
    assert settings == {**net, "--temperature": "4", "--groups": "0,1;2,3", "--epochs": "9"}  # alpha, of 0.5, is the default
