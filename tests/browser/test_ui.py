"""What a person sees in MLflow's UI after a pipeline and a study: walked through in a browser, as a user does."""

import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from forked import Forked
from mlflow.entities import Run
from mlflow_server import served
from mlflow_ui import Visitor, browser, visited

from kd.tracking.views import ALL_SYSTEMS, COMBINED, SPECIALISTS, STUDENTS, TRIALS, View, run_page

SAVED_VIEWS_SINCE = (3, 17)
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(browser() is None, reason="Chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(
        tuple(map(int, mlflow.__version__.split(".")[:2])) < SAVED_VIEWS_SINCE, reason="this MLflow has no saved views"
    ),
]

TINY = [
    *("--teacher-width", "4", "--teacher-depth", "1", "--teacher-epochs", "2"),
    *("--width", "4", "--depth", "1", "--epochs", "2", "--views", "1"),
]


class Store:
    """A store with the runs of a pipeline and of a study."""

    def __init__(self, uri: str, said: str) -> None:
        self.client = mlflow.MlflowClient(uri)
        self.said = said
        """What the commands said on the terminal."""

    def runs(self, role: str) -> list[Run]:
        return self.client.search_runs(["0"], f"tags.`kd.role` = '{role}'", order_by=["attributes.start_time ASC"])

    def of(self, view: View) -> list[Run]:
        return self.client.search_runs(["0"], view.filter, order_by=[f"{view.order_by} DESC"])


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Callable[..., str]) -> Iterator[tuple[Store, Visitor]]:
    """Return a store with runs, and a visitor of its UI; the server starts while nets are trained."""
    folder = tmp_path_factory.mktemp("ui")
    uri = mlflow_store(folder)
    output = folder / "kd.log"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": uri}
    with served(uri, folder / "server.log") as address, visited(address) as visitor:
        for arguments in (
            ["pipeline", *TINY, "--groups", "0,1,2"],
            ["tune", *TINY, "--objective", "student", "--trials", "2", "--final-seeds", "0", "--search", "width=int:4:8:4"],
        ):
            with Forked(arguments, folder, env, output) as command:
                assert command.wait(300) == 0, output.read_text()
        yield Store(uri, output.read_text()), visitor


@pytest.fixture
def store(walked: tuple[Store, Visitor]) -> Store:
    return walked[0]


@pytest.fixture
def visitor(walked: tuple[Store, Visitor]) -> Iterator[Visitor]:
    """Return the visitor; after each walk no request has failed, no script has, and no banner tells of an error."""
    found = walked[1]
    found.wrong.clear()
    yield found
    assert not found.wrong
    assert not found.alerts()


def shown(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def test_the_address_at_a_commands_end_opens_all_systems_with_their_values(store: Store, visitor: Visitor) -> None:
    [address] = re.findall(r"^all systems: http://127.0.0.1:5000/(\S+)$", store.said, re.MULTILINE)
    systems = store.of(ALL_SYSTEMS)
    visitor.open(address)
    visitor.wait_for_runs(len(systems))
    assert visitor.runs() == [run.info.run_name for run in systems]
    assert visitor.column("tags.`kd.role`") == [run.data.tags["kd.role"] for run in systems]
    assert visitor.column("tags.`kd.verdict`") == [run.data.tags.get("kd.verdict", "-") for run in systems]
    for name in ("test/accuracy", "test/own_accuracy", "cost/parameters"):
        values = [run.data.metrics.get(name) for run in systems]
        assert visitor.column(f"metrics.`{name}`") == ["-" if value is None else shown(value) for value in values]
    assert {"teacher", "student", "control", "specialist", "combined"} == set(visitor.column("tags.`kd.role`"))


@pytest.mark.parametrize("view", [STUDENTS, SPECIALISTS, COMBINED, TRIALS], ids=lambda view: view.key)
def test_a_saved_view_shows_its_runs_the_best_first_with_all_its_columns(view: View, store: Store, visitor: Visitor) -> None:
    runs = store.of(view)
    assert len(runs) > 1
    visitor.open_view("0", view, len(runs))
    assert visitor.runs() == [run.info.run_name for run in runs]
    searched = {f"params.`{name}`" for run in runs for name in run.data.params}
    for column in view.columns:
        if column in searched or not column.startswith("params."):
            assert any(value not in {"", "-"} for value in visitor.column(column)), column


def test_saved_views_are_found_by_name_and_the_list_is_a_tree(store: Store, visitor: Visitor) -> None:
    visitor.open("#/experiments/0/runs?workflowType=machine_learning")
    parents = [store.runs("study")[0], store.runs("parent")[0]]
    visitor.wait_for_runs(2)
    assert visitor.runs() == [run.info.run_name for run in parents]
    visitor.page.locator(".ag-row [col-id='attributes.`Run Name`'] button").last.click()
    children = store.client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{parents[1].info.run_id}'")
    visitor.wait_for_runs(2 + len(children))
    assert set(visitor.runs()[2:]) == {run.info.run_name for run in children}
    visitor.page.get_by_role("button", name="Views").click()
    visitor.page.get_by_text(COMBINED.name).click()
    visitor.wait_for_runs(len(store.of(COMBINED)))


def test_a_parents_page_begins_with_the_verdict_and_its_note_leads_to_views_and_children(
    store: Store, visitor: Visitor
) -> None:
    parent, student = store.runs("parent")[0], store.runs("student")[0]
    visitor.open(run_page("0", parent.info.run_id))
    page = visitor.page
    page.get_by_text("Show more").first.wait_for()
    before, _, _ = page.inner_text("body").partition("Show more")
    verdict = parent.data.tags["kd.verdict"]
    assert verdict.partition(", ")[2] in before  # the first line
    page.get_by_text("Show more").first.click()
    with visitor.followed(page.locator(f"a[target=_blank][href*='{student.info.run_id}']").first) as child:
        child.get_by_role("heading", name=str(student.info.run_name)).wait_for()
    with visitor.followed(page.get_by_role("link", name=STUDENTS.name)) as view:
        view.get_by_text(re.compile(rf"^{len(store.of(STUDENTS))}\s+matching runs$")).wait_for()


def test_a_childs_charts_are_drawn(store: Store, visitor: Visitor) -> None:
    visitor.open(f"#/experiments/0/runs/{store.runs('student')[0].info.run_id}/model-metrics?workflowType=machine_learning")
    for section in ("test", "train", "val"):
        visitor.page.get_by_text(re.compile(rf"^{section}\s*\(\d+\)$")).first.wait_for()
    visitor.page.locator(".js-plotly-plot svg.main-svg").first.wait_for()


@pytest.mark.parametrize("role", ["parent", "student", "combined", "study"])
def test_each_picture_among_the_artifacts_is_seen(role: str, store: Store, visitor: Visitor) -> None:
    run = store.runs(role)[0]
    pictures = [Path(file.path).name for file in store.client.list_artifacts(run.info.run_id, "figures")]
    assert pictures
    visitor.open(f"#/experiments/0/runs/{run.info.run_id}/artifacts?workflowType=machine_learning")
    visitor.page.get_by_text("figures", exact=True).click()
    for name in pictures:
        visitor.page.get_by_text(name, exact=True).click()
        visitor.page.get_by_text(f"figures/{name}", exact=True).wait_for()
        assert visitor.next_picture_width() > 300


def test_a_models_page_has_its_metrics_and_a_description(store: Store, visitor: Visitor) -> None:
    student = store.runs("student")[0]
    visitor.open(run_page("0", student.info.run_id))
    with visitor.followed(visitor.page.locator("a[href*='/models/m-']").first) as model:
        model.get_by_text("About this logged model").wait_for()
        model.get_by_text("test/accuracy", exact=True).first.wait_for()
        text = model.inner_text("body")
    assert str(student.info.run_name) in text
    assert "No description" not in text


def test_trials_are_compared_by_parallel_coordinates(store: Store, visitor: Visitor) -> None:
    trials = store.of(TRIALS)
    visitor.open_view("0", TRIALS, len(trials))
    page = visitor.page
    for box in page.locator(".ag-pinned-left-cols-container .ag-selection-checkbox input").all():
        box.click(force=True)
    page.get_by_role("button", name="Compare").first.click()
    page.get_by_text(f"Comparing {len(trials)} Runs").wait_for()
    page.locator("svg.main-svg").first.wait_for()
    text = page.inner_text("body")
    for name in (*(str(run.info.run_name) for run in trials), "temperature", "alpha", "width"):
        assert name in text
