"""A study's database that somebody else can write to: nothing of it is used that kd would not have written."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from kd.config import TuneConfig
from kd.errors import UserError
from kd.search.attributes import (
    END,
    FINAL,
    IDENTITY,
    LEADER,
    PARAMETERS,
    PARENT_RUN,
    POINT,
    RUN,
    SHARED,
    STOPPED,
    UNTIL,
    WORKER,
    read_trials,
    study_attribute,
)
from kd.search.best import best_config
from kd.search.candidate import Guide
from kd.search.session import open_session
from kd.search.shared import Shared, load_guide
from kd.search.space import Axis
from kd.search.state import all_trials, count_finished
from kd.search.storage import opened
from kd.search.study import load_study

# A heartbeat is the business of Study.optimize; these tests begin trials by hand.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")

RUN_ID, DIGEST = "0" * 32, "f" * 64
GOOD_SHARED = {"teacher": RUN_ID, "teacher_digest": DIGEST, "groups": {"0": [1, 2]}}
GOOD_PROCESS = {"machine": "m", "pid": 7, "started": 1.0}
GOOD_LEASE = {**GOOD_PROCESS, "id": "x", "time": 5.0}
CODE = "__import__('os').system('touch sprung')"

GOOD: Sequence[tuple[str, object]] = [
    (IDENTITY, {"objective": "specialist"}),
    (PARENT_RUN, RUN_ID),
    (SHARED, GOOD_SHARED),
    (SHARED, {**GOOD_SHARED, "teacher": f"{RUN_ID},{RUN_ID}", "groups": {}}),
    (LEADER, GOOD_LEASE),
    (LEADER, None),
    (UNTIL, None),
    (UNTIL, 12.5),
    (FINAL, {"of": {"trial": 1}, "note": "text"}),
]
OTHERS: Mapping[str, Sequence[Any]] = {
    **dict.fromkeys((IDENTITY, PARENT_RUN, SHARED, LEADER, FINAL), (5, "x", [CODE], True, {"a": [1]})),
    UNTIL: ("now", [], True, float("nan"), float("inf"), 10**400),
}
NO_RUNS: Sequence[str] = ("../../etc", f"{RUN_ID},{RUN_ID}", "", f"{RUN_ID}\n")
OTHERS_OF_SHARED: Mapping[str, Sequence[Any]] = {
    "teacher": ("file:///tmp/evil", "models:/evil@champion", "s3://evil/model", CODE, "evil.onnx", None, [RUN_ID]),
    "teacher_digest": ("", 5, DIGEST.upper(), DIGEST[1:]),
    "groups": (
        *(CODE, [], {CODE: [1, 2]}, {"0": CODE}, {"0": [2, 1]}, {"0": []}, {"0": [True, 2]}, {"0": [-1, 2]}),
        *({"0": ["1", "2"]}, {"0": [1.0, 2.0]}, {"0": [[1], [2]]}),
    ),
    "code": (CODE,),
}
OTHERS_OF_A_LEASE: Mapping[str, Sequence[Any]] = {"pid": (-1, "1", 10**30), "time": ("x",), "id": ([],), "machine": (5,)}
BAD: Sequence[tuple[str, object]] = [
    *((name, value) for name, values in OTHERS.items() for value in values),
    *((PARENT_RUN, value) for value in NO_RUNS),
    *((SHARED, {**GOOD_SHARED, part: value}) for part, values in OTHERS_OF_SHARED.items() for value in values),
    *((LEADER, {**GOOD_LEASE, part: value}) for part, values in OTHERS_OF_A_LEASE.items() for value in values),
]
GOOD_OF_A_TRIAL: Sequence[tuple[str, object]] = [
    (POINT, "paper"),
    (WORKER, {**GOOD_PROCESS, "trial": 0}),
    (RUN, RUN_ID),
    (PARAMETERS, 5),
    (END, "surplus"),
    (STOPPED, [0, 1]),
]
OTHERS_OF_A_TRIAL: Mapping[str, Sequence[Any]] = {
    POINT: (5, ["x"], None),
    WORKER: (5, "x", [], {}, {"pid": 1}, {**GOOD_PROCESS, "trial": "0"}, {**GOOD_PROCESS, "pid": 0, "trial": 0}),
    RUN: (5, "x", "../..", [RUN_ID]),
    PARAMETERS: ("5", -1, 1.5, True),
    END: (5, None, ["surplus"]),
    STOPPED: (5, "12", {"a": 1}, [-1], ["0"], [True]),
}
BAD_OF_A_TRIAL = [(name, value) for name, values in OTHERS_OF_A_TRIAL.items() for value in values]


def test_what_kd_writes_into_a_study_is_read(study: optuna.Study) -> None:
    for name, value in GOOD:
        study.set_user_attr(name, value)
        assert study_attribute(study, name) == value


def test_an_attribute_that_kd_did_not_write_is_refused(study: optuna.Study) -> None:
    for name, value in BAD:
        study.set_user_attr(name, value)
        with pytest.raises(UserError) as caught:
            pytest.fail(f"{name} is read: {study_attribute(study, name)!r}")
        assert str(caught.value) == f"s: its attribute {name} is not one that kd wrote; give another name"
        assert caught.value.field == "study_name"


def test_an_attribute_of_a_trial_that_kd_did_not_write_is_refused(study: optuna.Study) -> None:
    trial = study.ask()
    for name, value in BAD_OF_A_TRIAL:
        trial.set_user_attr(name, value)
        with pytest.raises(UserError) as caught:
            pytest.fail(f"{name} is read: {all_trials(study)} with {value!r}")
        assert str(caught.value) == f"s: trial 0 has an attribute {name} that kd did not write; give another name"
        trial.set_user_attr(name, next(good for other, good in GOOD_OF_A_TRIAL if other == name))
        assert len(all_trials(study)) == 1


ALTERED = (
    "update study_user_attributes set value_json = '{'",
    "update study_user_attributes set value_json = '" + "[" * 100_000 + "'",
    "update study_user_attributes set value_json = '" + "9" * 5000 + "'",
    "update trial_user_attributes set value_json = 'kd'",
    "update trial_system_attributes set value_json = 'kd'",
    "insert into trial_system_attributes(trial_id, key, value_json) select trial_id, 'retry_history', '[\"0\"]' from trials",
    "update trial_params set distribution_json = '{}'",
    'update trial_params set distribution_json = \'{"name": "os.system", "attributes": {}}\'',
    "update trial_params set distribution_json = '[]'",
    "update trial_params set param_value = 'kd'",
    "update trials set state = 'os.system'",
    "update trials set datetime_start = 'yesterday'",
    "delete from trial_values",
    "update trial_values set value_type = 'x'",
    "update trial_values set value = 'kd'",
    "update study_directions set direction = 'SIDEWAYS'",
    "delete from study_directions",
)


def test_whatever_is_written_into_the_database_ends_in_one_line_or_changes_nothing(study: optuna.Study, tmp_path: Path) -> None:
    trial = study.ask({"width": IntDistribution(4, 32)})
    trial.set_user_attr(POINT, "paper")
    study._storage.set_trial_system_attr(trial._trial_id, "kind", "value")
    study.tell(trial, 0.5)
    whole = (tmp_path / "optuna.db").read_bytes()
    for statement in ALTERED:
        path = tmp_path / "altered.db"
        path.write_bytes(whole)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(statement)
        with opened(f"sqlite:///{path}") as storage:
            try:
                other = load_study(storage, "s")
                study_attribute(other, IDENTITY)
                assert count_finished(read_trials(other)) == 1
            except UserError as error:
                told = str(error)
            else:
                told = "s: it is as it was"
        assert told.startswith("s: "), statement
        assert "\n" not in told


def finished(study: optuna.Study, **params: Any) -> None:  # noqa: ANN401 - any value
    distributions: dict[str, BaseDistribution]
    distributions = {name: CategoricalDistribution([value, "other"]) for name, value in params.items()}
    study.add_trial(optuna.create_trial(value=0.5, params=params, distributions=distributions))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("width", 10**6), ("width", 8.0), ("width", "8"), ("alpha", None)),
        *(("net", "os:system"), ("output_dir", "/etc"), ("teacher", "file:///evil")),
    ],
)
def test_a_winner_whose_values_are_not_searched_becomes_no_configuration(study: optuna.Study, name: str, value: object) -> None:
    finished(study, **{name: value})
    with pytest.raises(UserError, match=f"^s: trial 0 has {name} {value!r}, which is not searched; give another name$"):
        best_config(TuneConfig.parse({}), study)


def test_a_value_that_somebody_enqueued_is_refused_though_optuna_takes_it(study: optuna.Study) -> None:
    axis = Axis("width", "int", 4, 32, 4)
    study.enqueue_trial({"width": 10**6})
    told = pytest.raises(UserError, match=r"^width 1000000 is not in width=int:4:32:4$")
    with pytest.warns(UserWarning, match="out of range"), told:
        axis.suggest(study.ask())


def test_a_teacher_of_other_weights_than_the_leader_found_is_refused(guide: Guide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd.search.shared.load_teacher", lambda *_, warn: None if warn else guide.teacher)
    config, digest = TuneConfig.parse({"study_name": "s", "views": 0}), guide.teacher.digest
    with pytest.raises(UserError, match=f"^{RUN_ID}: not the teacher of study s, whose weights were others$"):
        load_guide(config, guide.workspace, Shared(RUN_ID, DIGEST, {}))
    with pytest.raises(UserError, match="the study has a group of class 10, and there are 10"):
        load_guide(config, guide.workspace, Shared(RUN_ID, digest, {"0": [1, 10]}))
    assert load_guide(config, guide.workspace, Shared(RUN_ID, digest, {"3": [1, 9]})).groups == {3: (1, 9)}


@pytest.mark.parametrize("teacher", ["file:///tmp/evil", "models:/evil@champion", "evil"])
def test_a_search_loads_no_teacher_that_a_study_names_by_an_address(
    teacher: str,
    cli: Callable[[Sequence[str]], None],
    url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kd.commands.tune.start_fork_server", lambda: None)
    config = TuneConfig.parse({"study_name": "s", "storage": url})
    with open_session(config) as session:
        session.study.set_user_attr(SHARED, {**GOOD_SHARED, "teacher": teacher})
    with pytest.raises(SystemExit) as ended:
        cli(["tune", "--study-name", "s", "--storage", url])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(
        "kd: --study-name s: its attribute kd.shared is not one that kd wrote; give another name\n"
    )
