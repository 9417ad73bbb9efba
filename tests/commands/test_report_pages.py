"""``kd report``: where the page of a run, and that of several, is written."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from kd.commands.report import report
from kd.config import ReportConfig


@pytest.fixture
def runs(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of two runs of one name."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    client = mlflow.MlflowClient()
    return [str(client.create_run("0", run_name="student digits T=4").info.run_id) for _ in range(2)]


def written(named: str) -> str:
    path = Path(str(report(ReportConfig(runs=named)).record["report"]))
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    return path.name


def test_the_pages_of_two_runs_of_one_name_are_two_files(runs: list[str]) -> None:
    assert [written(run) for run in runs] == [f"student-digits-T=4-{run[:8]}.html" for run in runs]


def test_the_page_that_a_command_wrote_is_written_again_and_no_other(runs: list[str]) -> None:
    first, second = (run[:8] for run in runs)
    several = written(f"{second}\n{first}")
    assert several == f"2-runs-{second}-{first}.html"
    Path(f"reports/student-digits-{first}.html").write_text("an older one")
    assert written(first) == f"student-digits-{first}.html"
    assert {path.name for path in Path("reports").iterdir()} == {several, f"student-digits-{first}.html"}
