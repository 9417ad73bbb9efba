"""The commands as a user runs them: real processes, a real MLflow store, real signals, a real server."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import mlflow
import mlflow.pytorch
import pytest
import torch
from forked import Forked
from mlflow.entities import Run
from mlflow_server import free_port
from PIL import Image

import kd
from kd.config import StudentConfig
from kd.data.load import load_dataset
from kd.evaluation.predict import EVAL_BATCH_SIZE
from kd.from_config import find_teacher, prepare
from kd.reports.note import GAP

EPOCHS = 16
TEACHER = ["--width", "4", "--depth", "1", "--epochs", f"{EPOCHS}"]
TINY = [
    *("--teacher-width", "4", "--teacher-depth", "1", "--teacher-epochs", f"{EPOCHS}"),
    *("--width", "4", "--epochs", "2", "--views", "3"),
]


class Place:
    """A working folder with its own MLflow store, and what kd said in it."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        self.store = store
        self.output = folder.with_name(f"{folder.name}.log")
        self.temporary = folder.with_name(f"{folder.name}.tmp")
        self.temporary.mkdir()
        self.client = mlflow.MlflowClient(self.store)
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": self.store, "TMPDIR": str(self.temporary)}

    def start(self, *arguments: str) -> Forked:
        self.output.write_text("")
        return Forked(arguments, self.folder, self.env, self.output)

    def kd(self, *arguments: str, code: int = 0) -> str:
        with self.start(*arguments) as process:
            assert process.wait(200) == code, self.output.read_text()
        return self.output.read_text()

    def runs(self, role: str | None = None) -> list[Run]:
        found = self.client.search_runs(["0"], order_by=["attributes.start_time ASC"])
        return [run for run in found if role in {None, run.data.tags.get("kd.role")}]

    def statuses(self) -> set[str]:
        return {run.info.status for run in self.runs()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Callable[..., str]) -> Place:
    """Return a place where the pipeline ran once."""
    folder = tmp_path_factory.mktemp("done")
    place = Place(folder, mlflow_store(folder))
    place.kd("pipeline", *TINY, "--groups", "0,1,2;2,3,4,5", "--register", "digits")
    return place


@pytest.fixture
def place(tmp_path: Path, mlflow_store: Callable[..., str]) -> Place:
    return Place(tmp_path, mlflow_store(tmp_path))


def test_the_tree_is_one_parent_and_its_children(done: Place) -> None:
    parent = done.runs("parent")[0]
    children = [run for run in done.runs() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    names = [run.info.run_name for run in children]
    net, soft = "width=4 depth=1 resnet seed=0", "T=4 alpha=0.9"
    assert parent.info.run_name == f"pipeline digits {soft} {net}"
    assert names == [
        f"teacher {net}",
        f"control of student {net}",
        f"student {soft} {net}",
        f"control of specialist 0 0-1-2 {net}",
        f"specialist 0 0-1-2 {soft} {net}",
        f"control of specialist 1 2-3-4-5 {net}",
        f"specialist 1 2-3-4-5 {soft} {net}",
        "combined dustbin_correction=fit top_n=1",
    ]
    assert done.statuses() == {"FINISHED"}


def test_a_training_run_holds_its_metrics_figures_data_and_files(done: Place) -> None:
    student = done.runs("student")[0]
    history = done.client.get_metric_history(student.info.run_id, "val/accuracy")
    assert [metric.step for metric in history] == [1, 2]
    assert {
        "train/soft_loss",
        "train/hard_loss",
        "train/learning_rate",
        "train/images_per_second",
        "train/seconds",
    } <= student.data.metrics.keys()
    assert {"test/accuracy", "test/nll", "test/calibration_error", "test/teacher_agreement"} <= student.data.metrics.keys()
    costs = {"cost/parameters", "cost/multiply_adds", "cost/latency_ms_batch_1", "cost/latency_ms_batch_32", "cost/file_bytes"}
    assert costs <= student.data.metrics.keys()
    figures = {file.path for file in done.client.list_artifacts(student.info.run_id, "figures")}
    answers = ("2_per_class_accuracy", "3_confusion_matrix", "4_dark_knowledge", "5_reliability_diagram", "6_mended_and_broken")
    drawn = ("1_training_curves", *answers)
    assert figures == {f"figures/{name}.png" for name in drawn}
    assert student.inputs is not None
    digits = load_dataset("digits", "")
    assert {(one.dataset.name, one.dataset.digest, one.tags[0].value) for one in student.inputs.dataset_inputs} == {
        ("digits train", digits.train.digest, "train"),
        ("digits val", digits.val.digest, "val"),
        ("digits test", digits.test.digest, "test"),
    }
    name = f"student-{student.info.run_id[:8]}"
    assert (done.folder / "models" / name / "model.pt2").is_file()
    assert torch.load(done.folder / "checkpoints" / f"{name}.pt", weights_only=True)["fit"]["best_weights"].keys()
    tables = {file.path for file in done.client.list_artifacts(student.info.run_id, "tables")}
    assert tables == {"tables/1_predictions.json", "tables/2_confused_pairs.json", "tables/3_per_class.json"}
    assert {path.name for path in (done.folder / "figures" / name).iterdir()} == {f"{figure}.png" for figure in drawn}
    assert {"kd.git_commit", "kd.git_dirty", "kd.device", "kd.torch", "kd.fingerprint"} <= student.data.tags.keys()


def test_readme_finds_the_most_accurate_student_below_a_size(
    done: Place, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    [code] = [block for block in blocks if "search_logged_models" in block]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", done.store)
    limit = min(run.data.metrics["cost/parameters"] for run in done.runs("student"))
    exec(code.replace("20000", f"{limit:.0f}"), {})  # noqa: S102 - README's own
    small = [run for run in done.runs("student") if run.data.metrics["cost/parameters"] <= limit]
    best = max(run.data.metrics["test/accuracy"] for run in small)
    assert capsys.readouterr().out.strip() in {run.info.run_id for run in small if run.data.metrics["test/accuracy"] == best}


def test_the_note_tells_what_distillation_changed(done: Place) -> None:
    parent = done.runs("parent")[0]
    note = parent.data.tags["mlflow.note.content"].replace(GAP, "")
    control, student = done.runs("control")[0], done.runs("student")[0]
    for run in (control, student):
        assert f"(#/experiments/0/runs/{run.info.run_id}?workflowType=machine_learning)" in note
    before, after = (f"{100 * run.data.metrics['test/accuracy']:.2f} %" for run in (control, student))
    assert re.search(rf"\| student \| [\d.]+ % \| {before} \| {after} \|", note)


def test_a_logged_model_scores_what_its_run_says(done: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", done.store)
    student = done.runs("student")[0]
    test = load_dataset("digits", "").test
    model = mlflow.pytorch.load_model(f"runs:/{student.info.run_id}/student")
    # In the batches that the run's were: two logits that are all but equal can change places in others.
    logits = torch.cat([model(images) for images in torch.split(test.images, EVAL_BATCH_SIZE)])
    accuracy = (logits.argmax(dim=1) == test.labels).double().mean().item()
    assert accuracy == pytest.approx(student.data.metrics["test/accuracy"])


def test_each_training_and_combination_has_one_logged_model(done: Place) -> None:
    models = done.client.search_logged_models(["0"])
    runs = [run.info.run_id for run in done.runs() if run.data.tags["kd.role"] != "parent"]
    assert sorted(str(model.source_run_id) for model in models) == sorted(runs)


@pytest.fixture(scope="module")
def champion(done: Place, root: Path) -> Iterator[str]:
    """Serve the registered model by README's command, and return the address that it answers at."""
    [command] = re.findall(r"^mlflow models serve .*$", (root / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    port = free_port()
    changed = command.replace("runs:/RUN_ID/student", "models:/digits@champion").replace("5001", str(port))
    assert changed.count(str(port)) == changed.count("digits@champion") == 1
    _, *words = shlex.split(changed)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words],
        cwd=done.folder,
        env=done.env,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", process)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - loopback
                return
        except OSError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.5)
    raise AssertionError("the server does not answer")


def test_the_combined_model_is_champion_and_is_served_over_http(
    done: Place, champion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    combined = done.runs("combined")[0]
    version = done.client.get_model_version_by_alias("digits", "champion")
    assert float(version.tags["kd.val_accuracy"]) == combined.data.metrics["val/accuracy"]
    images = load_dataset("digits", "").test.images[:50]
    body = json.dumps({"inputs": images.tolist(), "params": {"top": 10}}).encode()
    request = urllib.request.Request(champion, body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
        told = json.load(answer)["predictions"]
    by_class = [{one["class"]: one["probability"] for one in each["classes"]} for each in told]
    probabilities = torch.tensor([[each[str(digit)] for digit in range(10)] for each in by_class])
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(50), atol=1e-5)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", done.store)
    model = mlflow.pytorch.load_model("models:/digits@champion")
    assert torch.allclose(probabilities, model(images), atol=1e-5)


def test_readme_asks_a_served_model_for_a_picture_by_curl(done: Place, champion: str, root: Path, tmp_path: Path) -> None:
    [line] = re.findall(r"^.*\| curl .*$", (root / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    [name] = re.findall(r"photos/\S+\.jpg", line)
    (tmp_path / name).parent.mkdir(parents=True)
    digit = load_dataset("digits", "").test.images[0, 0].numpy()
    Image.fromarray(digit).resize((60, 90)).save(tmp_path / name)
    command = line.replace("http://127.0.0.1:5001/invocations", champion)
    assert command != line
    said = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True, timeout=60).stdout
    served = done.client.get_model_version_by_alias("digits", "champion").run_id
    [model] = done.folder.glob(f"models/combined-{str(served)[:8]}*")
    [predicted] = kd.load(model).predict([tmp_path / name])
    best = sorted(predicted.probabilities.items(), key=lambda item: -item[1])[:3]
    told = [{"class": digit, "probability": pytest.approx(probability, abs=1e-5)} for digit, probability in best]
    assert json.loads(said) == {"predictions": [{"classes": told}]}


def test_cached_targets_are_listed_and_pruned(done: Place, place: Place, tmp_path: Path) -> None:
    shutil.copytree(done.folder / "targets", tmp_path / "targets")
    listed = place.kd("targets", "--list")
    kept = list((tmp_path / "targets").glob("*.targets"))
    assert kept
    for path in kept:
        assert f"{path.relative_to(tmp_path)}: {path.stat().st_size:,} bytes" in listed
    assert "1,295 images x 2 views" in listed  # two epochs see no third one
    assert "deleted" in place.kd("targets", "--prune")
    assert not list((tmp_path / "targets").iterdir())
    assert place.kd("targets", "--list") == f"{place.folder}/targets: nothing is cached\n"
    assert place.kd("targets", "--prune") == f"{place.folder}/targets: nothing to delete\n"


def test_a_combined_model_teaches_students_of_two_seeds(done: Place) -> None:
    parent, combined = done.runs("parent")[0], done.runs("combined")[0]
    output = done.kd("student", *TINY, "--no-control", "--teacher", parent.info.run_id, "--seeds", "2")
    assert "teacher: epoch" not in output
    students = done.runs("student")[-2:]
    names = [f"student seed {seed} T=4 alpha=0.9 width=4 depth=1 resnet" for seed in (0, 1)]
    assert [run.info.run_name for run in students] == names
    guided = done.runs("parent")[-1]
    assert guided.info.run_name == "student digits T=4 alpha=0.9 width=4 depth=1 resnet seed=0-1"
    of_teacher = {name: value for name, value in guided.data.params.items() if name.startswith("teacher_")}
    assert of_teacher == {"teacher_chosen": "it was named"}  # a combined model has no settings of a training
    assert {run.data.tags["kd.teacher"] for run in students} == {combined.info.run_id}


def test_the_teacher_of_the_same_configuration_is_reused(done: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", done.store)
    run = done.runs("teacher")[0]
    settings = {"teacher_depth": 1, "teacher_width": 4, "teacher_epochs": EPOCHS}
    config = StudentConfig.parse(settings)
    teacher = find_teacher(config, prepare("student", config))
    assert (teacher.run_id, teacher.origin) == (run.info.run_id, "reused")
    right = teacher.test_logits.argmax(dim=1) == load_dataset("digits", "").test.labels
    assert right.double().mean().item() == run.data.metrics["test/accuracy"]


def test_finished_runs_are_combined_as_they_were(done: Place) -> None:
    teacher, specialists = done.runs("teacher")[0], done.runs("specialist")
    names = ",".join(run.info.run_id for run in specialists)
    first = done.runs("combined")[0]
    left_before = list(done.temporary.rglob("MLmodel"))  # by the server of another test
    done.kd("combine", "--generalist", teacher.info.run_id, "--specialists", names)
    again = done.runs("combined")[-1]
    for name in ("test/accuracy", "val/nll", "test/gain_low"):
        assert again.data.metrics[name] == pytest.approx(first.data.metrics[name], abs=1e-5)
    assert list(done.temporary.rglob("MLmodel")) == left_before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["combine", "--generalist", "TEACHER", "--specialists", "SPECIALIST,SPECIALIST"], "is named twice"),
        (["combine", "--generalist", "TEACHER", "--specialists", "TEACHER"], "not a specialist"),
        (["combine", "--generalist", "SPECIALIST", "--specialists", "SPECIALIST"], "of some classes"),
        (["student", "--teacher", "SPECIALIST"], "of some classes"),
        (["student", "--teacher", "0123456789abcdef" * 2], "no such run or model"),
        (["student", "--teacher", "0123456789abcdef"], "neither a run, by its id"),
        (["targets"], "--list, --prune or both"),
        (["student", "--batch-size", "1296"], "has only 1295 images"),
        (["specialist", "--groups", "0,1;5,10"], "class 10 is out of range"),
        (["specialist", "--group", "3"], "auto gives 3 groups at most"),
        (["student", "--output-dir", "/proc/nowhere"], "can't be made"),
    ],
)
def test_bad_input_is_one_line_and_opens_no_run(  # noqa: PLR0913, PLR0917 - pytest's fixtures
    done: Place,
    cli: Callable[[Sequence[str]], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    names = {"TEACHER": done.runs("teacher")[0].info.run_id, "SPECIALIST": done.runs("specialist")[0].info.run_id}
    arguments = [re.sub("TEACHER|SPECIALIST", lambda match: names[match[0]], argument) for argument in arguments]
    before = len(done.runs())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", done.store)
    with pytest.raises(SystemExit) as ended:
        cli(arguments)
    assert ended.value.code == 2
    *found, error = capsys.readouterr().err.splitlines()
    assert told in error
    assert not [line for line in found if not line.startswith("10 classes (0, 1, ...)")]  # what the data are, if it was known
    assert len(done.runs()) == before


def test_a_tracking_store_that_cannot_be_written_is_told_at_once(
    cli: Callable[[Sequence[str]], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////no/such/folder/mlflow.db")
    with pytest.raises(SystemExit) as ended:
        cli(["teacher"])
    assert ended.value.code == 2
    assert "tracking store sqlite:////no/such/folder/mlflow.db can't be used" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_fails_the_runs(place: Place) -> None:
    output = place.kd("teacher", "--width", "4", "--depth", "1", "--lr", "1e6", "--epochs", "2", code=2)
    assert re.search(r"kd: loss is (nan|inf) at epoch \d, step \d+: lower the learning rate \(it is 1e\+06\)", output)
    assert "Traceback" not in output
    assert place.statuses() == {"FAILED"}


def wait_for_epochs(number: int, place: Place, process: Forked) -> None:
    while place.output.read_text().count(": epoch") < number:
        assert process.poll() is None, "kd ended too early"
        time.sleep(0.005)


def test_a_command_stopped_again_and_again_ends_as_if_never_stopped(place: Place, done: Place) -> None:
    stops = [
        *((signal.SIGINT, 130, "KILLED"), (signal.SIGTERM, 143, "KILLED"), (signal.SIGHUP, 129, "KILLED")),
        (signal.SIGKILL, -signal.SIGKILL, "RUNNING"),
    ]
    stopped = None
    for number, code, status in stops:
        with place.start("teacher", *TEACHER) as process:
            wait_for_epochs(2, place, process)
            process.send_signal(number)
            assert process.wait(60) == code, place.output.read_text()
        assert "Traceback" not in place.output.read_text()
        assert_goes_on(place, stopped)
        [stopped] = place.runs()  # the same one each time
        assert stopped.info.status == status
    place.kd("teacher", *TEACHER)
    assert_goes_on(place, stopped)
    assert place.statuses() == {"FINISHED"}
    resumed, never_stopped = place.runs()[-1], done.runs("teacher")[0]
    for name in ("test/nll", "val/nll", "train/loss"):
        assert resumed.data.metrics[name] == never_stopped.data.metrics[name]
    seconds = [metric.value for metric in place.client.get_metric_history(resumed.info.run_id, "train/seconds")]
    assert resumed.data.metrics["cost/train_seconds"] >= sum(seconds)
    assert [path.name for path in (place.folder / "checkpoints").iterdir()] == [f"teacher-{resumed.info.run_id[:8]}.pt"]
    steps = [metric.step for metric in place.client.get_metric_history(resumed.info.run_id, "val/nll")]
    assert steps == list(range(1, EPOCHS + 1))


def assert_goes_on(place: Place, stopped: Run | None) -> None:
    """Assert that the last command went on from the run that was stopped, if there is one."""
    if stopped is not None:
        assert re.search(rf"resuming after epoch \d+ of run {stopped.info.run_id}", place.output.read_text())


def test_no_secret_is_in_what_a_search_says_or_leaves(place: Place, tmp_path: Path) -> None:
    secrets = [f"s3cret-{number}" for number in range(6)]
    set_outside = {
        "PGPASSWORD": secrets[0],
        "MLFLOW_TRACKING_TOKEN": secrets[1],
        "HTTPS_PROXY": f"http://me:{secrets[2]}@proxy",
    }
    place.env |= set_outside
    typed = [
        *("--study-name", f"postgresql://me:{secrets[3]}@host/x?token={secrets[4]} of {secrets[0]}"),
        *("--data-root", f"host=h password={secrets[5]}", "--output-dir", str(tmp_path / secrets[1])),
    ]
    how = ["--objective", "student", "--trials", "1", "--final-seeds", "0", "--search", "width=fixed"]
    said = place.kd("tune", *TINY, "--teacher-epochs", "1", "--epochs", "1", *how, *typed)
    assert "study postgresql://me:***@host/x?token=*** of ***: 0 of 1 trials done" in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"mlflow.db", "optuna.db", "best.yaml", "config.yaml"} <= {path.name for path in files}
    assert {f"{secret} in {path}" for path in files for secret in secrets if secret.encode() in path.read_bytes()} == set()
    assert [secret for secret in secrets if secret in said or any(secret in path.name for path in files)] == []
