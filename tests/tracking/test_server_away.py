"""A tracking server, or a database, that is gone, ill or slow in mid-run: training goes on, and nothing is lost or doubled."""

import http.client
import http.server
import json
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pytest
import torch
from forked import Forked
from mlflow_server import free_port, served

from kd.commands import runs as runs_command
from kd.commands.parent import parent_run
from kd.config import RunsConfig, StudentConfig
from kd.distillation.plan import hard_targets_job
from kd.distillation.tracker import carry_out
from kd.errors import UserError
from kd.from_config import prepare
from kd.nets.classifier import Classifier
from kd.nets.registry import net_spec
from kd.nets.resnet import ResNet
from kd.tracking import store
from kd.tracking.earlier import has_run
from kd.tracking.fetch import fetch_file, fetch_settings
from kd.tracking.models import load_model
from kd.tracking.outbox import outbox
from kd.tracking.outbox.journal import Journal
from kd.training.recipe import Recipe

Config = StudentConfig
SQLITE_SECONDS = 20
"""For which MLflow waits for a lock on its database."""
MEASURED = ("seconds", "per_second", "ms_per", "latency", "system/")
"""In the names of metrics that differ from one time to the next."""


class Server:
    """An MLflow server of one address, which can be stopped and started."""

    def __init__(self, folder: Path, store_uri: str) -> None:
        self._folder, self._store_uri = folder, store_uri
        self._port = free_port()
        self._running = ExitStack()
        self.address = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._running.enter_context(served(self._store_uri, self._folder / "server.log", self._port))

    def stop(self) -> None:
        self._running.close()


class Between(http.server.ThreadingHTTPServer):
    """What stands between kd and a server, and can answer in its place."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.port = port
        self.code = 0
        """What it answers to all; 0: what the server does."""
        self.delay = 0.0
        self.asked = 0
        self.address = f"http://127.0.0.1:{self.server_port}"


class Passing(http.server.BaseHTTPRequestHandler):
    """One request, passed on."""

    protocol_version = "HTTP/1.1"
    server: Between

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked += 1
        time.sleep(self.server.delay)
        code, answer = self.server.code, b"{}"
        if not code:
            with closing(http.client.HTTPConnection("127.0.0.1", self.server.port)) as there:
                there.request(self.command, self.path, body, dict(self.headers))
                response = there.getresponse()
                code, answer = response.status, response.read()
        self.send_response(code)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815 - the names that the library asks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Callable[..., str]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    started = Server(folder, mlflow_store(folder, "mlflow-artifacts:/0"))
    started.start()
    yield started
    started.stop()


@pytest.fixture
def between(server: Server) -> Iterator[Between]:
    proxy = Between(int(server.address.rpartition(":")[2]))
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    yield proxy
    proxy.shutdown()
    proxy.server_close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    monkeypatch.setattr(outbox, "_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(outbox, "_END_SECONDS", 1.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    logger = logging.getLogger("kd")
    monkeypatch.setattr(logger, "propagate", True)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield caplog
    logger.setLevel(level)


def of_store(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said of the tracking store."""
    return [message for message in caplog.messages if message.startswith("tracking store")]


def command(
    address: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *events: Callable[[], None], seeds: int = 2, fresh: bool = True
) -> str:
    """Train nets in a command's run, below it; before each one an event happens. Return the run's id."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    config = Config.parse({"output_dir": str(folder), "epochs": 2, "depth": 1, "width": 1, "teacher": "new"})
    config = config.model_copy(update={"resume": not fresh})
    workspace = prepare("student", config)
    happen = iter(events)
    with parent_run("student", config, workspace) as parent:
        for seed in range(seeds):
            next(happen, lambda: None)()
            recipe = Recipe(epochs=2, batch_size=400, seed=seed)
            spec = net_spec("resnet", {"depth": 1, "width": 1})
            carry_out(hard_targets_job(spec, workspace.dataset, recipe, torch.device("cpu"), name=f"net {seed}"))
        parent.log_metrics({"test/accuracy": 0.5})
        parent.log_note(f"# What came out\nsee {parent.link}")
        next(happen, lambda: None)()
    return parent.id


def logged(parent: str) -> dict[str, dict[str, Any]]:
    """Return all that runs hold that does not differ from one time to the next, by their names."""
    client = mlflow.MlflowClient()
    below = client.search_runs([client.get_run(parent).info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    found: dict[str, dict[str, Any]] = {}
    for run in [client.get_run(parent), *below]:
        run_id, name = run.info.run_id, str(run.info.run_name)
        names = [name for name in run.data.metrics if not any(part in name for part in MEASURED)]
        models = [client.get_logged_model(output.model_id) for output in (run.outputs.model_outputs if run.outputs else [])]
        rows = [(row.key, row.step, row.value) for name in names for row in client.get_metric_history(run_id, name)]
        of_models = [metric.key for model in models for metric in (model.metrics or [])]
        tags = {key: value for key, value in run.data.tags.items() if key in {"kd.role", "kd.fingerprint", "kd.seed"}}
        assert name not in found
        assert run.info.end_time >= run.info.start_time
        assert run.inputs is not None
        found[name] = {
            "state": run.info.status,
            "rows": sorted(rows),
            "params": run.data.params,
            "tags": (tags, sorted(set(run.data.tags) - {"kd.opened_as", "kd.files_of"})),
            "inputs": sorted((data.dataset.name, data.dataset.digest) for data in run.inputs.dataset_inputs),
            "files": sorted(path.replace(run_id[:8], "") for path in files(client, run_id) if "checkpoints" not in path),
            "models": [(str(model.status), sorted(of_models)) for model in models],
        }
    return found


def files(client: mlflow.MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    found = client.list_artifacts(run_id, folder)
    return [path for file in found for path in (files(client, run_id, file.path) if file.is_dir else [file.path])]


def check_models_load(parent: str) -> None:
    """Check that the models of a command's nets have the ids and the files that their runs say."""
    client = mlflow.MlflowClient()
    below = client.search_runs([client.get_run(parent).info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    for run in below:
        assert load_model(run.info.run_id, "teacher").run_id == run.info.run_id
        assert run.outputs is not None
        [output] = run.outputs.model_outputs
        facts = mlflow.models.get_model_info(f"models:/{output.model_id}")
        assert (facts.run_id, facts.model_id) == (run.info.run_id, output.model_id)


def test_a_server_that_is_stopped_for_good_is_sent_all_by_kd_runs_send(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    undisturbed = command(server.address, tmp_path, monkeypatch)
    assert not of_store(told)
    assert not (tmp_path / "outbox").exists()
    parent = command(server.address, tmp_path, monkeypatch, server.stop)
    gone, left = of_store(told)
    # The last two: it went while it was asked.
    reasons = "Connection refused|Connection reset by peer|Remote end closed connection without response"
    assert re.search(rf"is away \(({reasons})\): training goes on", gone)
    assert "`kd runs --send` sends them when it is back" in left
    asked = RunsConfig(send=True, output_dir=str(tmp_path))
    with pytest.raises(UserError, match="can't be used"):
        runs_command.runs(asked)
    server.start()
    assert mlflow.get_run(parent).info.status == "RUNNING"
    answer = runs_command.runs(asked)
    assert (answer.code, answer.record["waiting"], answer.record["sent"] > 20) == (0, 0, True)
    assert logged(parent) == logged(undisturbed)
    check_models_load(parent)
    check_first_ids_are_known(told, tmp_path / "models")
    assert runs_command.runs(asked).record["sent"] == 0
    assert not (tmp_path / "outbox").exists()


def check_first_ids_are_known(told: pytest.LogCaptureFixture, models: Path) -> None:
    """Check that a net told with an id of kd's own, as the server was away, is found by that; its card has the store's."""
    first = [
        found[1] for message in told.messages if (found := re.search("net 1: test accuracy .* run ([0-9a-f]{32})", message))
    ]
    own = first[-1]
    with pytest.raises(mlflow.MlflowException):
        mlflow.get_run(own)
    [run] = mlflow.search_runs(["0"], f"tags.`kd.opened_as` = '{own}'", output_format="list")
    assert {load_model(name, "teacher").run_id for name in (own, own[:8])} == {run.info.run_id}
    [weights] = [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id, "checkpoints")]
    with TemporaryDirectory() as folder:
        assert fetch_file(f"runs:/{own}/{weights}", Path(folder))[1] == run.info.run_id
    assert has_run(own)
    [card] = models.glob(f"net-1-{own[:8]}/README.md")
    assert f"-m runs:/{run.info.run_id}/net-1 " in card.read_text(encoding="utf-8")
    assert fetch_settings(own)["epochs"] == 2


def test_errors_of_a_server_in_mid_run_are_told_in_one_line_and_one_more_when_it_is_back(
    server: Server, between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    undisturbed = command(server.address, tmp_path, monkeypatch)
    monkeypatch.setattr(outbox, "_END_SECONDS", 30.0)
    parent = command(
        between.address,
        tmp_path,
        monkeypatch,
        lambda: setattr(between, "code", 500),
        lambda: None,
        lambda: setattr(between, "code", 0),
    )
    gone, back = of_store(told)
    assert "is away (too many 500 error responses)" in gone
    assert back == f"tracking store {between.address} is back: all that waited is sent"
    assert logged(parent) == logged(undisturbed)
    note = mlflow.artifacts.load_text(f"{mlflow.get_run(parent).info.artifact_uri}/note/note.md")
    assert parent in note


def test_a_slow_server_does_not_slow_down_the_training(
    between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", between.address)
    with store.run("slow", output_dir=tmp_path, tags={}) as run:
        between.delay = 0.5
        began = time.monotonic()
        for epoch in range(1, 6):
            run.log_epochs([{"epoch": epoch, "train/loss": 1 / epoch}])
        assert time.monotonic() - began < 0.5
        between.delay = 0.0
    rows = mlflow.MlflowClient().get_metric_history(run.id, "train/loss")
    assert [(row.step, row.value) for row in rows] == [(epoch, 1 / epoch) for epoch in range(1, 6)]
    assert not of_store(told)


def test_what_a_killed_command_could_not_send_is_sent_before_it_is_resumed(
    between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", between.address)
    arguments = ["teacher", "--epochs", "12", "--width", "1", "--depth", "1", "--no-export", "--output-dir", str(tmp_path)]
    output = tmp_path / "said.txt"
    killed = Forked(arguments, tmp_path, {**os.environ, "OMP_NUM_THREADS": "1"}, output)
    wait_for(output, "epoch 2/12")
    between.code = 503
    wait_for(output, "epoch 6/12")
    killed.kill()
    killed.wait()
    assert "is away" in output.read_text()
    between.code = 0
    again = Forked(arguments, tmp_path, {**os.environ, "OMP_NUM_THREADS": "1"}, output)
    assert again.wait() == 0
    said = output.read_text()
    assert re.search("sent [0-9]+ records that waited", said)
    [run] = mlflow.MlflowClient().search_runs(["0"], "tags.`kd.command` = 'teacher'")
    assert run.info.status == "FINISHED"
    rows = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [row.step for row in rows] == list(range(1, 13))


def wait_for(output: Path, text: str) -> None:
    until = time.monotonic() + 120
    while not (output.exists() and text in output.read_text()):
        assert time.monotonic() < until, output.read_text()
        time.sleep(0.02)


def test_a_database_that_is_locked_for_some_seconds_gets_all(
    tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    address = mlflow_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with store.run("locked", output_dir=tmp_path, tags={}) as run:
        with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
            other.execute("begin exclusive")
            began = time.monotonic()
            for epoch in range(1, 4):
                run.log_epochs([{"epoch": epoch, "train/loss": 1 / epoch}])
            lasted = time.monotonic() - began
            other.execute("rollback")
        monkeypatch.setattr(outbox, "_END_SECONDS", 30.0)
    assert lasted < 2 * SQLITE_SECONDS  # once, not at each write
    gone, back = of_store(told)
    assert "database is locked" in gone
    assert back.endswith("is back: all that waited is sent")
    rows = mlflow.MlflowClient().get_metric_history(run.id, "train/loss")
    assert [(row.step, row.value) for row in rows] == [(epoch, 1 / epoch) for epoch in range(1, 4)]
    assert mlflow.get_run(run.id).info.status == "FINISHED"


def test_what_a_server_refuses_fails_the_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    begun = []

    def log() -> None:
        with store.run("refused", output_dir=tmp_path, tags={}) as run:
            begun.append(run)
            run.log_metrics({"no:metric?": 0.5})
            run.log_metrics({"test/accuracy": 0.5})

    with pytest.raises(mlflow.MlflowException, match="nvalid"):
        log()
    [run] = begun
    assert mlflow.get_run(run.id).info.status == "FAILED"
    assert not of_store(told)
    [refused] = [message for message in told.messages if "refuses records" in message]
    assert re.search(r"Invalid.*: they are kept in .*/outbox/refused/\w+, and what comes after them is sent", refused)


def test_what_the_server_refuses_for_good_is_set_aside_and_what_comes_after_it_is_sent(
    server: Server, between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    client = mlflow.MlflowClient(server.address)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", between.address)
    ids = {}
    for name in ("deleted", "kept"):
        between.code = 0
        experiment = client.create_experiment(name)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
        with store.run(name, output_dir=tmp_path, tags={}) as run, store.run("below", output_dir=tmp_path, tags={}) as seen:
            ids[name] = (experiment, run.id)
            assert seen.id in {found.info.run_id for found in client.search_runs([experiment])}
            between.code = 503
            run.log_metrics({"test/accuracy": 0.5})
            with store.run("later", output_dir=tmp_path, tags={}) as later:  # that the server does not know
                later.log_metrics({"test/accuracy": 0.25})
    between.code = 0
    client.delete_experiment(ids["deleted"][0])
    asked = RunsConfig(send=True, output_dir=str(tmp_path))
    told.clear()
    answer = runs_command.runs(asked)
    assert (answer.code, answer.record["waiting"] > 0) == (1, True)
    assert accuracies(client, ids["kept"][0]) == {"kept": 0.5, "later": 0.25}
    [line] = [message for message in told.messages if "refuses records" in message]
    assert "must be in the 'active' state" in line
    store.send_waiting(tmp_path)  # as the next command does, which does not ask again
    client.restore_experiment(ids["deleted"][0])
    answer = runs_command.runs(asked)
    assert (answer.code, answer.record["waiting"]) == (0, 0)
    assert accuracies(client, ids["deleted"][0]) == {"deleted": 0.5, "later": 0.25}
    assert not (tmp_path / "outbox").exists()


def accuracies(client: mlflow.MlflowClient, experiment: str) -> dict[str, float]:
    """Return the accuracy of each run of an experiment that has one, by its name; each has ended."""
    runs = client.search_runs([experiment])
    assert {run.info.status for run in runs} == {"FINISHED"}
    return {str(run.info.run_name): run.data.metrics["test/accuracy"] for run in runs if "test/accuracy" in run.data.metrics}


def test_a_resumed_command_goes_on_while_the_server_is_away_and_knows_what_it_did_while_it_was(
    server: Server, between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        between.code = 0
        raise KeyboardInterrupt

    monkeypatch.setattr(outbox, "_AGAIN_SECONDS", 0.2)
    folders = [tmp_path / "whole", tmp_path / "cut"]
    undisturbed = command(server.address, folders[0], monkeypatch, fresh=False)
    monkeypatch.setattr(outbox, "_END_SECONDS", 30.0)
    with pytest.raises(KeyboardInterrupt):
        command(between.address, folders[1], monkeypatch, lambda: setattr(between, "code", 500), stop, fresh=False)
    away = [lambda: setattr(between, "code", 500), lambda: None, lambda: setattr(between, "code", 0)]
    parent = command(between.address, folders[1], monkeypatch, *away, fresh=False)
    history = mlflow.get_run(parent).data.tags["kd.history"].splitlines()
    assert [line.partition(" run ")[0] for line in history] == ["resuming", "net 0: finished in"]
    [reused] = [
        run for run in mlflow.search_runs(["0"], output_format="list") if f"run {run.info.run_id}: reused" in history[1]
    ]
    assert reused.info.status == "FINISHED"
    kept = ("state", "rows", "params", "inputs", "files", "models")
    expected, found = ({name: [run[key] for key in kept] for name, run in logged(one).items()} for one in (undisturbed, parent))
    assert found == expected
    check_models_load(parent)


def test_a_model_is_registered_once_the_server_is_back(
    between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", between.address)
    monkeypatch.setattr(outbox, "_END_SECONDS", 30.0)
    net = Classifier(ResNet(10, 1, 1, 1), [0.0], [1.0])
    with store.run("registered", output_dir=tmp_path, tags={}) as run:
        between.code = 500
        model = run.log_model(net, (1, 8, 8), {"role": "combined"}, page="# A net", texts={})
        for accuracy in (0.5, 0.25):
            run.register("digits", model, accuracy, "0" * 32, page="# A net")
        between.code = 0
    client = mlflow.MlflowClient()
    [version] = client.search_model_versions("name = 'digits'")
    outputs = mlflow.get_run(run.id).outputs
    assert outputs is not None
    assert (version.run_id, version.description) == (run.id, "# A net")
    assert [version.source] == [f"models:/{output.model_id}" for output in outputs.model_outputs]
    assert client.get_model_version_by_alias("digits", "champion").version == version.version
    assert len(of_store(told)) == 2


def test_records_that_are_cut_in_two_are_none(tmp_path: Path) -> None:
    journal = Journal.new(tmp_path)
    file = tmp_path / "figure.png"
    file.write_bytes(b"1")
    for number in (1, 2):
        journal.add({"do": "file", "run": str(number)}, file, "http://store")
        file.write_bytes(b"2")
    folder = journal.folder
    journal.close()
    (folder / "00000003.json.abcdef01.tmp").write_text("{")
    (folder / "00000003").mkdir()
    [left] = Journal.left(tmp_path)
    assert left.store == "http://store"
    del left
    found = []
    for left in Journal.left(tmp_path):
        while (entry := left.first()) is not None:
            assert entry.payload is not None
            found.append((json.loads(entry.text)["run"], entry.payload.name, entry.payload.read_bytes()))
            left.drop_first()
    assert found == [("1", "figure.png", b"1"), ("2", "figure.png", b"2")]
