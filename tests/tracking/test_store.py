"""What MLflow is given: no secrets, and names and values of any length and kind, cut to what it takes."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import yaml
from matplotlib.figure import Figure

from kd.tracking import store as tracking

ADDRESS = "postgresql://me:s3cret@host/x"


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: Callable[..., str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))


def test_no_secret_gets_into_a_run_nor_onto_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tracking.run(f"run at {ADDRESS}", output_dir=tmp_path, tags={"kd.study": ADDRESS}) as run:
        run.log_params({"study_name": ADDRESS})
        run.log_tags({"kd.reason": f"no connection to {ADDRESS}"})
        run.log_note(f"# {ADDRESS}\n\nlines of it stay: host=h password=s3cret")
        run.log_settings({"storage": ADDRESS, "epochs": 3, "resume": True})
        run.log_figure(Figure(), "figure")
    shown = yaml.safe_load(mlflow.artifacts.load_text(f"runs:/{run.id}/settings/config.yaml"))
    assert shown == {"storage": "postgresql://me:***@host/x", "epochs": 3, "resume": True}
    assert mlflow.get_run(run.id).data.tags["mlflow.note.content"].count("\n") == 2
    assert mlflow.get_run(run.id).info.run_name == "run at postgresql://me:***@host/x"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [path for path in files if b"s3cret" in path.read_bytes() or "s3cret" in str(path)]
    assert "s3cret" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "name", ["x" * 300, "a/b: c\\d", "line\nline \x1b[31m", "../../up", ".hidden", "été 猫", "\udcff", "猫" * 250]
)
def test_a_run_may_have_any_name(name: str, tmp_path: Path) -> None:
    with tracking.run(name, output_dir=tmp_path, tags={}) as run:
        run.log_figure(Figure(), "figure")
    shown = str(mlflow.get_run(run.id).info.run_name)
    assert len(shown) <= 250
    assert not set(shown) & set("\n\x1b")
    [folder] = (tmp_path / "figures").iterdir()
    assert folder.name.endswith(f"-{run.id[:8]}")
    assert len(f"{folder.name}.checkpoint.00000000.tmp".encode()) < 255


def test_values_longer_than_mlflow_takes_are_cut_and_say_so(tmp_path: Path) -> None:
    with tracking.run("run", output_dir=tmp_path, tags={"kd.group": "1," * 4000}) as run:
        run.log_params({"groups": "0,1;" * 2500})
        run.log_tags({"kd.groups": "0,1;" * 2500})
    data = mlflow.get_run(run.id).data
    for text in (data.tags["kd.group"], data.tags["kd.groups"], data.params["groups"]):
        assert text.endswith("...")
    assert (len(data.tags["kd.groups"]), len(data.params["groups"])) == (5000, 6000)
