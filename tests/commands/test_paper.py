"""``kd paper`` and ``kd results``: an experiment tracked, resumed and untracked, its record, and the page of all records."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import mlflow
import pytest

from kd.commands.paper import paper
from kd.commands.results import results
from kd.config import PaperConfig, ResultsConfig
from kd.errors import UserError
from kd.evaluation.intervals import Interval
from kd.lab import controls, soft_targets
from kd.lab.experiment import Measured
from kd.lab.record import Difference, Record, Row
from kd.lab.setup import Setup

TINY = {"name": "soft-targets", "seeds": 2, "width": 4, "teacher_width": 4, "epochs": 1, "teacher_epochs": 1, "batch_size": 400}
NETS = ["teacher", "student, hard targets", "student, soft targets"]


@pytest.fixture
def config(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> PaperConfig:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    return PaperConfig.parse({**TINY, "output_dir": str(tmp_path / "out")})


def test_an_experiment_is_one_run_with_brief_ones_below_it_and_leaves_a_record(config: PaperConfig, tmp_path: Path) -> None:
    answer = paper(config)
    [parent] = mlflow.MlflowClient().search_runs(["0"], "tags.`kd.role` = 'parent'")
    below = mlflow.MlflowClient().search_runs(["0"], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.info.status for run in [parent, *below]} == {"FINISHED"}
    names = sorted(str(run.info.run_name).split(" depth=")[0].split(" temperature=")[0].split(" width=")[0] for run in below)
    assert [name.split(" T=")[0] for name in names] == sorted(f"{net} seed {seed}" for net in NETS for seed in (0, 1))
    assert all(run.data.tags["kd.role"].startswith("brief ") for run in below)  # no command takes one for its teacher
    assert all("test/accuracy" in run.data.metrics for run in below)
    client = mlflow.MlflowClient()
    files = client.list_artifacts(parent.info.run_id)
    assert [file.path for file in files if not file.is_dir] == ["report.html"]
    assert {file.path for file in files if file.is_dir} >= {"figures", "note", "results", "settings", "tables"}
    html = Path(str(answer.record["report"])).read_text()
    assert html == Path(mlflow.artifacts.download_artifacts(f"runs:/{parent.info.run_id}/report.html")).read_text()
    assert not any(client.list_artifacts(run.info.run_id) for run in below)
    assert not list((tmp_path / "out" / "checkpoints").rglob("*.pt"))
    record = Record.read(Path(str(answer.record["record"])))
    assert (
        record.command
        == "kd paper soft-targets --seeds 2 --width 4 --teacher-width 4 --epochs 1 --teacher-epochs 1 --batch-size 400"
    )
    assert parent.data.tags["kd.verdict"] == record.conclusion[0].in_words
    means = {row.system: row.accuracy.mean for row in record.rows}
    assert list(means) == NETS
    for net, mean in means.items():
        own = [run.data.metrics["test/accuracy"] for run in below if str(run.info.run_name).startswith(f"{net} seed")]
        assert mean == pytest.approx(sum(own) / 2)


def test_an_experiment_that_stopped_trains_no_finished_net_again(
    config: PaperConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.INFO, "kd")
    whole = Record.read(Path(str(paper(config.model_copy(update={"output_dir": f"{config.output_dir}2"})).record["record"])))
    hard, calls = Setup.hard, []

    def stops_at_the_second(*arguments: object, **settings: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return hard(*arguments, **settings)  # type: ignore[arg-type] # what hard takes

    with monkeypatch.context() as patched:
        patched.setattr(Setup, "hard", stops_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            paper(config)
    caplog.clear()
    answer = paper(config)
    reused = [record.message.partition(":")[0] for record in caplog.records if "reused" in record.message]
    assert reused == ["teacher seed 0", "student, hard targets seed 0", "student, soft targets seed 0", "teacher seed 1"]
    again = Record.read(Path(str(answer.record["record"])))
    assert again.rows == whole.rows
    assert [one.points for one in again.differences] == [one.points for one in whole.differences]


def test_without_a_tracker_an_experiment_gives_the_same_record(config: PaperConfig, tmp_path: Path) -> None:
    tracked = Record.read(Path(str(paper(config).record["record"])))
    runs = len(mlflow.MlflowClient().search_runs(["0"]))
    untracked = config.model_copy(update={"track": False, "output_dir": str(tmp_path / "untracked")})
    record = Record.read(Path(str(paper(untracked).record["record"])))
    assert record.rows == tracked.rows
    assert record.command == tracked.command
    assert len(mlflow.MlflowClient().search_runs(["0"])) == runs


def test_a_name_of_no_experiment_is_refused_with_those_that_there_are(config: PaperConfig) -> None:
    with pytest.raises(UserError, match=r"soft-target: no experiment of that name; did you mean soft-targets\?"):
        paper(config.model_copy(update={"name": "soft-target"}))
    with pytest.raises(UserError, match=r"none: no experiment of that name; choose one of soft-targets, .*, all"):
        paper(config.model_copy(update={"name": ""}))


def test_results_are_a_page_of_all_records(config: PaperConfig, tmp_path: Path) -> None:
    untracked = config.model_copy(update={"track": False})
    record = Record.read(Path(str(paper(untracked).record["record"])))
    page = tmp_path / "page.md"
    told = results(ResultsConfig(results=f"{config.output_dir}/results", output=str(page)))
    text = page.read_text()
    assert told.record["records"] == 1
    assert "\n## Soft targets against hard targets: digits\n" in text
    of_claims = [line for line in text.splitlines() if "(#soft-targets-against-hard-targets-digits) | digits |" in line]
    assert [f"{one.after} against {one.before}" in line for one, line in zip(record.told, of_claims, strict=True)] == [True] * 2
    for row in record.rows:
        assert f"| {row.system} | {100 * row.accuracy.mean:.1f} %" in text
        assert f"{row.errors[0]}, {row.errors[1]} of 359 | {row.parameters:,} | {row.published} |" in text
    assert "## Not run" in text
    assert "`temperature`" in text


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no records"):
        results(ResultsConfig(results=str(tmp_path)))
    (tmp_path / "a.json").write_text(json.dumps({"rows": 3}))
    with pytest.raises(UserError, match=r"a\.json: is no record of an experiment"):
        results(ResultsConfig(results=str(tmp_path)))


@pytest.mark.parametrize(
    "damage",
    [
        {"differences": []},
        {"rows": []},
        {"seeds": [0, 1]},
        {"settings": [1]},
        {"rows": [{"system": "net", "images": 0, "errors": [0], "parameters": 1, "published": ""}]},
        {"rows": [{"system": "net", "images": 4, "errors": [5], "parameters": 1, "published": ""}]},
        {"rows": [{"system": "net", "images": 4, "errors": ["1"], "parameters": 1, "published": ""}]},
    ],
)
def test_a_record_without_what_its_page_needs_is_named(tmp_path: Path, damage: dict[str, object]) -> None:
    row = Row("net", 4, (1,), 10, "")
    one = Difference("net", "other", None, Interval(0.25, -0.25, 0.75, 4), "images", None)
    made = Record("temperature", "T", "2", "so", "", "digits", "0", (0,), {"net": "mlp"}, (row,), (one,), (), "CPU", 1.0)
    path = made.write(tmp_path)
    page = ResultsConfig(results=str(tmp_path), output=str(tmp_path / "page.md"))
    assert results(page).record["records"] == 1
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(UserError, match=r"temperature-digits\.json: is no record of an experiment"):
        results(page)


def test_a_file_that_nests_without_end_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 10**5)
    with pytest.raises(UserError, match=r"a\.json: is no record of an experiment"):
        results(ResultsConfig(results=str(tmp_path)))


def test_a_folder_that_can_not_have_records_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match="results: no folder that can be written to"):
        paper(PaperConfig.parse({**TINY, "track": False, "output_dir": str(tmp_path)}))


def test_all_experiments_go_on_after_one_that_does_not_fit_and_exit_with_2(
    config: PaperConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kd.commands.paper.NAMES", ("soft-targets", "controls", "two-classes"))
    every = config.model_copy(update={"name": "all", "track": False, "seeds": 1, "views": 1})

    def refuses(setup: Setup, seed: int) -> NoReturn:
        raise UserError(f"{seed}: does not fit {setup.dataset.name}", field="views")

    monkeypatch.setattr(controls, "EXPERIMENT", replace(controls.EXPERIMENT, run=refuses))
    answer = paper(every)
    assert answer.code == 2
    assert [one["experiment"] for one in answer.record["experiments"]] == ["soft-targets", "two-classes"]
    assert answer.record["refused"] == {"controls": "--views 0: does not fit digits"}
    assert answer.lines[-1][0] == "controls: not carried out: --views 0: does not fit digits"
    told = [line for line, _ in answer.lines]  # the same systems are compared by several experiments
    assert (told[0], told[1].partition(" against")[0]) == ("soft-targets:", "student, soft targets")
    assert "student, soft targets against student, hard targets" in told[told.index("two-classes:") + 1]


def test_all_experiments_go_on_behind_those_that_were_finished_before_a_stop(
    config: PaperConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.INFO, "kd")
    monkeypatch.setattr("kd.commands.paper.NAMES", ("soft-targets", "controls"))
    every = config.model_copy(update={"name": "all", "track": False, "seeds": 1})
    stopped = [KeyboardInterrupt()]

    def stops_once(setup: Setup, seed: int) -> Measured:
        if stopped:
            raise stopped.pop()
        return soft_targets.EXPERIMENT.run(setup, seed)

    monkeypatch.setattr(controls, "EXPERIMENT", replace(controls.EXPERIMENT, run=stops_once))
    with pytest.raises(KeyboardInterrupt):
        paper(every)
    path = Path(config.output_dir) / "results" / "soft-targets-digits.json"
    before = path.read_bytes()
    path.unlink()
    answer = paper(every)
    assert [one["experiment"] for one in answer.record["experiments"]] == ["soft-targets", "controls"]
    assert path.read_bytes() == before  # its seconds too: it was not carried out again
    assert "soft-targets was finished before this command stopped; --fresh carries it out again" in caplog.messages
    assert not list((Path(config.output_dir) / "checkpoints").glob("unfinished-*"))
    paper(every)
    assert path.read_bytes() != before


def test_an_experiment_whose_record_was_damaged_after_a_stop_is_carried_out_again(
    config: PaperConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    monkeypatch.setattr("kd.commands.paper.NAMES", ("soft-targets", "controls"))
    every = config.model_copy(update={"name": "all", "track": False, "seeds": 1})

    def stops(*_: object) -> NoReturn:
        [path] = (Path(config.output_dir) / "checkpoints").glob("unfinished-paper-*/soft-targets-*.json")
        path.write_text('{"experiment": "soft-ta')
        raise KeyboardInterrupt

    whole = controls.EXPERIMENT
    monkeypatch.setattr(controls, "EXPERIMENT", replace(whole, run=stops))
    with pytest.raises(KeyboardInterrupt):
        paper(every)
    monkeypatch.setattr(controls, "EXPERIMENT", replace(whole, run=soft_targets.EXPERIMENT.run))
    answer = paper(every)
    assert (answer.code, answer.record["refused"]) == (0, {})
    assert [one["experiment"] for one in answer.record["experiments"]] == ["soft-targets", "controls"]
    assert [line for line in caplog.messages if line.startswith("soft-targets is carried out again: what it found before")]
