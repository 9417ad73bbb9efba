"""``--power``: earlier seeds of the same settings are found, and tell how many a difference needs; nothing is trained."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Metric, Param

from kd.commands.power import power
from kd.config import SpecialistConfig, StudentConfig
from kd.errors import UserError
from kd.from_config import prepare
from kd.tracking.ready import is_made

ADVICE = "; the same command with --seeds 5, and without --power, trains some"
SHOWN = "show a difference of 1 point with a probability of 80 %"


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))


@pytest.fixture(scope="module")
def digest() -> str:
    return prepare("student", StudentConfig()).dataset.digest


@pytest.fixture
def logged(digest: str) -> Callable[..., str]:
    """Return what logs a run of which there is nothing but what is looked for."""

    def log(  # noqa: PLR0913 - all that is looked for
        role: str,
        parent: str = "",
        seed: int = 0,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        status: str = "FINISHED",
        command: str = "student",
        **tags: str,
    ) -> str:
        own = {"kd.role": role, "kd.data_digest": digest, "kd.command": command, "kd.seed": str(seed)}
        above = {"mlflow.parentRunId": parent, "kd.group": "all"} if parent else {"kd.teacher_digest": "t"}
        client = mlflow.MlflowClient()
        run_id = str(client.create_run("0", tags={**own, **above, **{f"kd.{k}": v for k, v in tags.items()}}).info.run_id)
        points = [Metric(name, value, 0, 0) for name, value in (metrics or {}).items()]
        client.log_batch(run_id, points, [Param(name, text) for name, text in (params or {}).items()])
        client.set_terminated(run_id, status)
        return run_id

    return log


def log_pairs(logged: Callable[..., str], parent: str, accuracies: Mapping[int, tuple[float, float]], **more: str) -> None:
    for seed, (student, control) in accuracies.items():
        logged("control", parent, seed, metrics={"test/accuracy": control}, **more)
        logged("student", parent, seed, metrics={"test/accuracy": student}, **more)


def told(points: float, config: StudentConfig) -> list[str]:
    return [line for line, _ in power("student", points, config).lines]


def test_the_spread_of_finished_seeds_of_the_same_settings_tells_how_many_are_needed(logged: Callable[..., str]) -> None:
    config = StudentConfig(seeds=4, seed=50)
    params = StudentConfig(seeds=3).params()
    first = logged("parent", params=params)
    log_pairs(logged, first, {0: (0.9, 0.5), 1: (0.82, 0.80)})
    logged("student", first, 9, metrics={"test/accuracy": 0.9})  # its control is missing
    log_pairs(logged, first, {8: (0.9, 0.1)}, status="KILLED")
    log_pairs(logged, first, {7: (0.9, 0.1)}, group="0,1")  # among some classes alone
    log_pairs(logged, logged("parent", params={**params, "epochs": "99"}), {5: (0.9, 0.1)})
    log_pairs(logged, logged("parent", params=params, command="pipeline"), {5: (0.9, 0.1)}, command="pipeline")
    log_pairs(logged, logged("parent", params=params, unlabelled_digest="u"), {5: (0.9, 0.1)})
    log_pairs(logged, logged("parent", params=params, data_digest="other"), {5: (0.9, 0.1)}, data_digest="other")
    log_pairs(logged, logged("parent", params=params, teacher_digest="another"), {5: (0.9, 0.1)})
    older = {name: text for name, text in params.items() if name != "select_by"}  # of before there was the setting
    log_pairs(logged, logged("parent", params=older), {2: (0.83, 0.80)})
    # The newest says which teacher counts, and stopped before its end: what ended below it counts.
    log_pairs(logged, logged("parent", params=params, status="KILLED"), {0: (0.81, 0.80)})
    # Differences of 1, 2 and 3 points: a spread of 1 point, for which published tables have 10 seeds at one of 1 point.
    answer = power("student", 1.0, config)
    assert [line for line, _ in answer.lines] == [
        f"student - control: 10 paired seeds {SHOWN} (5 to 312, as far as the spread is known); 4 with 29 %",
        "earlier seeds 0, 1, 2: spread 1.0 % points [0.5, 6.3], n = 3 seeds",
        "their difference: +2.0 % points [-0.5, 4.5], n = 3 seeds",
    ]
    assert answer.is_report
    [record] = answer.record["systems"]
    assert (record["seeds_needed"], list(record["differences"])) == (10, ["0", "1", "2"])
    assert record["power"] == pytest.approx(0.29, abs=0.01)
    assert len(mlflow.MlflowClient().search_runs(["0"], "attributes.status = 'RUNNING'")) == 0


def test_what_has_no_spread_is_told_with_what_to_do(logged: Callable[..., str]) -> None:
    assert told(1.0, StudentConfig()) == ["no earlier seeds of these settings" + ADVICE]
    parent = logged("parent", params=StudentConfig().params())
    assert told(1.0, StudentConfig()) == ["no earlier seeds of these settings" + ADVICE]
    log_pairs(logged, parent, {3: (0.75, 0.5)})
    assert told(1.0, StudentConfig()) == ["student - control: one earlier seed has no spread" + ADVICE]
    log_pairs(logged, parent, {4: (0.5, 0.25)})
    answer = power("student", 1.0, StudentConfig(seeds=3))
    assert [line for line, _ in answer.lines] == [
        "student - control: 2 earlier seeds with one difference have no spread" + ADVICE
    ]
    [record] = answer.record["systems"]
    assert (record["spread"], record["seeds_needed"], record["power"]) == (None, None, None)


def test_specialists_are_planned_by_their_combinations(logged: Callable[..., str]) -> None:
    parent = logged("parent", params=SpecialistConfig().params(), command="specialist", generalists_net="true")
    for seed, after in enumerate((0.81, 0.82)):
        logged(
            "combined", parent, seed, metrics={"test/accuracy": after, "test/generalist_accuracy": 0.8}, command="specialist"
        )
    lines = [line for line, _ in power("specialist", 1.0, SpecialistConfig()).lines]
    assert lines[0].startswith(f"combined - generalist: 7 paired seeds {SHOWN}")


@pytest.mark.parametrize("points", [0, -1, 101, float("nan")])
def test_a_difference_that_is_none_is_refused(points: float) -> None:
    with pytest.raises(UserError, match="expected a difference in points of accuracy, above 0 and up to 100"):
        power("student", points, StudentConfig())


def test_the_flag_trains_nothing_and_a_store_is_not_made(
    cli: Callable[[Sequence[str]], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
    cli(["student", "--quiet", "--power", "0.5", "--output-dir", str(tmp_path / "out")])
    assert capsys.readouterr().out == f"no earlier seeds of these settings{ADVICE}\n"
    assert not is_made()
    assert list((tmp_path / "out").iterdir()) == []


def test_specialists_of_a_named_net_are_no_earlier_seeds_of_those_of_their_generalists(
    logged: Callable[..., str],
) -> None:
    config = SpecialistConfig()
    named = SpecialistConfig.parse({"width": 8})
    own = logged("parent", params={**named.params(), "width": "32"}, command="specialist", generalists_net="true")
    other = logged("parent", params=named.params(), command="specialist")
    for seed, (parent, after) in enumerate([(own, 0.75), (own, 1.0), (other, 0.5)]):
        metrics = {"test/accuracy": after, "test/generalist_accuracy": 0.5}
        logged("combined", parent, seed, metrics=metrics, command="specialist")
    [system] = power("specialist", 1, config).record["systems"]
    assert system["differences"] == {"0": 0.25, "1": 0.5}
    [system] = power("specialist", 1, named).record["systems"]
    assert system["differences"] == {"2": 0.0}
