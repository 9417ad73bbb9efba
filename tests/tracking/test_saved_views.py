"""Saved views of an experiment: written once, in MLflow's own form, with filters that find the runs that they are of."""

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from kd.tracking import store as tracking
from kd.tracking.finished import find_finished
from kd.tracking.views import ALL_SYSTEMS, COMBINED, FINALS, SPECIALISTS, STUDENTS, TRIALS, View, view_tag, views_of

VIEWS = (ALL_SYSTEMS, STUDENTS, SPECIALISTS, COMBINED, TRIALS, FINALS)
MAX_EXPERIMENT_TAG = 5000


@pytest.fixture
def client(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    return mlflow.MlflowClient()


def unpacked(value: str) -> dict[str, Any]:
    """Return the state in the tag of a saved view."""
    state = str(json.loads(value)["state"])
    assert state.startswith("deflate;")
    read: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(state.removeprefix("deflate;"))))
    return read


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.key)
def test_a_view_is_a_tag_in_the_form_of_mlflows_ui(view: View) -> None:
    name, value = view_tag(view, 1_700_000_000_000)
    assert name == f"mlflow.sharedViewState.{view.key}"
    assert len(value) <= MAX_EXPERIMENT_TAG
    read = json.loads(value)
    assert (read["name"], read["createdAt"]) == (view.name, 1_700_000_000_000)
    state = unpacked(value)
    assert state["searchFilter"] == view.filter
    assert (state["orderByKey"], state["orderByAsc"]) == (view.order_by, False)
    assert view.order_by in state["selectedColumns"]
    assert state["columnOrder"][3:] == state["selectedColumns"]
    assert set(state["columnWidths"]) <= set(state["columnOrder"])


def test_no_two_views_share_a_key() -> None:
    assert len({view.key for view in VIEWS}) == len(VIEWS)


def run(role: str, folder: Path, tags: dict[str, str], metrics: dict[str, float]) -> None:
    with tracking.run(role, output_dir=folder, tags={"kd.role": role, **tags}) as opened:
        opened.log_metrics(metrics)


def test_each_view_finds_its_runs_the_best_first(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    run("teacher", tmp_path, {"kd.group": "all"}, {"test/accuracy": 0.9})
    run("control", tmp_path, {"kd.group": "all"}, {"test/accuracy": 0.7})
    run("student", tmp_path, {"kd.group": "all"}, {"test/accuracy": 0.8})
    run("control", tmp_path, {"kd.group": "0,1"}, {"test/own_accuracy": 0.5})
    run("specialist", tmp_path, {"kd.group": "0,1"}, {"test/own_accuracy": 0.6})
    run("combined", tmp_path, {"kd.group": "all"}, {"test/accuracy": 0.95})
    run("parent", tmp_path, {}, {"test/accuracy": 0.95})
    run("study", tmp_path, {}, {})
    run("trial", tmp_path, {}, {"val/chosen_accuracy": 0.1})
    run("trial", tmp_path, {}, {"val/chosen_accuracy": 0.3})
    run("final", tmp_path, {}, {"test/accuracy": 0.2})
    with tracking.run("of another program", output_dir=tmp_path, tags={}):
        pass

    def found(view: View) -> list[str]:
        return [one.data.tags["kd.role"] for one in client.search_runs(["0"], view.filter, order_by=[f"{view.order_by} DESC"])]

    assert found(ALL_SYSTEMS)[:4] == ["combined", "teacher", "student", "control"]
    assert sorted(found(ALL_SYSTEMS)[4:]) == ["control", "specialist"]
    assert found(STUDENTS) == ["student", "control"]
    assert found(SPECIALISTS) == ["specialist", "control"]
    assert found(COMBINED) == ["combined", "teacher"]
    assert found(TRIALS) == ["trial", "trial"]
    assert found(FINALS) == ["final"]


def saved(client: mlflow.MlflowClient) -> dict[str, str]:
    return {name: value for name, value in client.get_experiment("0").tags.items() if "sharedViewState" in name}


def test_an_experiment_has_a_kind_a_description_and_the_views_of_its_runs_once(
    client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    run("parent", tmp_path, {}, {})
    first = saved(client)
    assert first.keys() == {f"mlflow.sharedViewState.{ALL_SYSTEMS.key}"}
    tags = client.get_experiment("0").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert "distillation" in tags["mlflow.note.content"]
    run("parent", tmp_path, {}, {})
    assert saved(client) == first
    run("combined", tmp_path, {}, {})
    assert saved(client).keys() == {f"mlflow.sharedViewState.{view.key}" for view in views_of("combined")}
    assert saved(client).items() >= first.items()


def test_what_a_user_wrote_or_changed_stays(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    written = {
        "mlflow.note.content": "my words",
        "mlflow.experimentKind": "genai_development",
        f"mlflow.sharedViewState.{ALL_SYSTEMS.key}": '{"name": "mine", "createdAt": 1, "state": "{}"}',
        "mlflow.sharedViewState.0123": '{"name": "mine too", "createdAt": 1, "state": "{}"}',
    }
    for name, value in written.items():
        client.set_experiment_tag("0", name, value)
    run("parent", tmp_path, {}, {})
    assert client.get_experiment("0").tags == written


def test_an_experiment_full_of_views_gets_no_more(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    for number in range(39):
        client.set_experiment_tag("0", f"mlflow.sharedViewState.{number}", "{}")
    run("specialist", tmp_path, {}, {})  # in two views
    assert len(saved(client)) == 40


def test_a_child_is_in_the_experiment_of_its_parent_when_another_one_was_named_since(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.run("study", output_dir=tmp_path, tags={}) as before:
        pass
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    with (
        tracking.run("study", output_dir=tmp_path, tags={}, again=before.id) as parent,
        tracking.run("child", output_dir=tmp_path, tags={}) as child,
    ):
        pass
    assert (parent.id, parent.experiment_id, child.experiment_id) == (before.id, "0", "0")
    assert client.get_experiment_by_name("another") is None


def test_the_way_to_see_a_run_names_the_store_only_where_mlflow_ui_looks_elsewhere(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client
    with tracking.run("a run", output_dir=tmp_path, tags={}) as opened:
        pass
    page = f"http://127.0.0.1:5000/#/experiments/0/runs/{opened.id}?workflowType=machine_learning"
    assert opened.way_to_see == f"mlflow ui, then {page}"
    monkeypatch.chdir(tmp_path.parent)
    assert opened.way_to_see == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db, then {page}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:s3cret@host/mlflow/")
    assert opened.way_to_see == f"https://me:***@host/mlflow/#/experiments/0/runs/{opened.id}?workflowType=machine_learning"
    assert opened.view_address(TRIALS) == (
        "https://me:***@host/mlflow/#/experiments/0/runs?workflowType=machine_learning&viewStateShareKey=kd-trials"
    )


def test_a_finished_training_is_found_in_any_experiment(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.run("teacher", output_dir=tmp_path, tags={"kd.fingerprint": "f"}) as teacher:
        pass
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    with tracking.run("student", output_dir=tmp_path, tags={}) as student:
        assert find_finished("f") == [teacher.id]
    assert client.get_run(student.id).info.experiment_id != teacher.experiment_id
