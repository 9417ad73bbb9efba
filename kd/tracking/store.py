"""MLflow: a run and its params, metrics, figures, data sets and models.

Only ``earlier``, ``fetch``, ``finished`` and ``ready`` import it too.
"""

import glob
import io
import json
import logging
import os
import shlex
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import mlflow.pytorch
import numpy as np
import torch
import yaml
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import Schema, TensorSpec
from sqlalchemy.exc import SQLAlchemyError
from torch import nn

from kd.data.dataset import Dataset
from kd.distillation.results import TrackedRun
from kd.errors import UserError, is_full, reason
from kd.machine.activity import doing
from kd.machine.files import file_digest, write_whole
from kd.machine.names import cut, file_name, logged_model_name
from kd.machine.output import is_verbose
from kd.machine.processes import myself
from kd.machine.secrets import masked
from kd.machine.signals import check_stop
from kd.machine.text import printable
from kd.nets.exported import EXAMPLE_IMAGES, add_texts, read_model
from kd.reports.note import shortened, spaced
from kd.reports.tables import Columns
from kd.tracking.earlier import PROCESS, end_orphans
from kd.tracking.ready import make_tables, sqlite_path, tracking_uri, unusable
from kd.tracking.views import ALL_SYSTEMS, KEY_PREFIX, MAX_VIEWS, View, run_page, view_page, view_tag, views_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # a slow import

log = logging.getLogger("kd")
if not log.level:
    log.setLevel(logging.WARNING)  # mlflow.pytorch raises the root logger's level to ERROR when it is imported


CHAMPION = "champion"

MAX_PARAM = 6000
MAX_TAG = 5000
MAX_RUN_NAME = 250
"""Characters that MLflow's stores take."""


MAX_NOTE = 8000
"""Characters of a tag: MLflow cuts a longer one in the middle of a row."""


NOTE = "mlflow.note.content"
"""Tag: the description of an experiment, a run or a model, in Markdown."""


_EXPERIMENT = {
    "mlflow.experimentKind": "custom_model_development",
    NOTE: "Knowledge distillation with kd. The saved views compare the runs; the note of a command's run is its summary.",
}
"""Tags of an experiment: what its page is for, and its description."""


COST = "cost/"
"""Beginning of the metrics that tell what was measured on the machine, and so differ from one time to the next."""


MODEL_FILE = "data/model.pt2"
"""The program and its weights, below the folder of a logged model."""
FACTS_FILE = "MLmodel"
"""What is known of it, beside it."""


SYSTEM_METRICS_SECONDS = "5"


MODEL_DIGEST = "kd.model_sha256"
"""Tag: SHA-256 of the model's file, which must be that of the file when it is loaded."""


NOT_EXPORTED = "kd.not_exported"
"""Tag of a run whose model is not exported."""


FACTS_DIGEST = "kd.model_facts_sha256"
"""Tag: the same of the file with the model's facts."""


class Run:
    """One MLflow run under way, and the folder of its figures on this machine."""

    def __init__(self, run_id: str, experiment_id: str, name: str, output_dir: Path, before: "Logged | None" = None) -> None:
        """Take what the run has logged before it was resumed; None: it is a new one."""
        self.id = run_id
        self.experiment_id = experiment_id
        self.name = name
        self.files_name = f"{file_name(name)}-{run_id[:8]}"
        self.output_dir = output_dir
        self._client = mlflow.MlflowClient()
        self._splits: dict[str, MetaDataset] = {}
        self._before = before

    @property
    def is_resumed(self) -> bool:
        """Return whether it stopped, and was opened again."""
        return self._before is not None

    @property
    def link(self) -> str:
        """Return a Markdown link that works in the notes that the UI shows."""
        return _link(self.name, self.experiment_id, self.id)

    @property
    def model_file(self) -> Path:
        """Return where the run's model lies on this machine."""
        return self.output_dir.absolute() / "models" / f"{self.files_name}.pt2"

    @property
    def way_to_see(self) -> str:
        """Return the address of the run's page, after the command that shows it where no server does."""
        server, command = _ui()
        page = f"{server}/{run_page(self.experiment_id, self.id)}"
        return f"{command}, then {page}" if command else page

    def view_address(self, view: View) -> str:
        """Return the address of a saved view of the run's experiment."""
        return f"{_ui()[0]}/{view_page(self.experiment_id, view)}"

    def view_links(self, views: Sequence[View]) -> str:
        """Return Markdown links to saved views of the run's experiment, that work in the notes that the UI shows."""
        return ", ".join(f"[{view.name}]({view_page(self.experiment_id, view)})" for view in views)

    @property
    def weights_file(self) -> Path:
        """Return where the weights of a net lie on this machine that is not exported."""
        return self.model_file.with_suffix(".pt")

    def as_result(self, *, exported: bool = True) -> TrackedRun:
        """Return the run as that of a result, whose model is exported or not."""
        view = self.view_address(ALL_SYSTEMS)
        model = self.model_file if exported else None
        return TrackedRun(self.id, self.link, model, self.experiment_id, self.way_to_see, view)

    def log_params(self, params: Mapping[str, str]) -> None:
        """Log the params that the run lacks: ``mlflow run`` has logged its own, and a param can't be changed."""
        present = self._client.get_run(self.id).data.params
        missing = [Param(name, _text(value, MAX_PARAM)) for name, value in params.items() if name not in present]
        self._client.log_batch(self.id, params=missing)

    def log_settings(self, settings: Mapping[str, object]) -> None:
        """Log the whole resolved configuration as ``config.yaml``, in the form that ``--config`` takes, without passwords."""
        shown = {name: masked(value) if isinstance(value, str) else value for name, value in settings.items()}
        mlflow.log_text(yaml.safe_dump(shown, sort_keys=False), "config.yaml", run_id=self.id)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; what is longer than MLflow takes is cut."""
        tag_run(self.id, tags)

    def log_note(self, markdown: str, *, final: bool = True) -> None:
        """Set the note that the UI shows on the run's page, where a longer one is cut; a final one is whole as ``note.md``."""
        note = _shown(markdown)
        if final:
            mlflow.log_text(note, "note.md", run_id=self.id)
        self._client.log_batch(self.id, tags=[RunTag(NOTE, shortened(spaced(note), MAX_NOTE))])

    def log_metrics(self, metrics: Mapping[str, float], *, model_id: str | None = None) -> None:
        """Log final metrics, tied to the split that they are of, and to a logged model where one is named.

        Of a run that was resumed, those that it has are left: a cost that was measured stays as it was measured first.
        """
        if self._before is not None:
            metrics = {name: value for name, value in metrics.items() if not self._before.has_final(name, value)}
        by_split: dict[str | None, dict[str, float]] = {}
        for name, value in metrics.items():
            split = name.split("/")[0]
            by_split.setdefault(split if split in self._splits else None, {})[name] = value
        for named, of_split in by_split.items():
            data = self._splits[named] if named else None
            mlflow.log_metrics(of_split, run_id=self.id, model_id=model_id, dataset=data)

    def log_epochs(self, epochs: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of epochs in one call, but those that are there; each mapping has its number as ``epoch``."""
        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, int(epoch["epoch"]))
            for epoch in epochs
            for name, value in epoch.items()
            if name != "epoch" and not (self._before and self._before.has_step(name, int(epoch["epoch"])))
        ]
        self._client.log_batch(self.id, metrics=metrics)

    def log_figure(self, figure: "Figure", name: str) -> None:
        """Log a figure as ``figures/NAME.png``, and write it under ``figures/`` on this machine; a stop comes first.

        Raises:
            KeyboardInterrupt: as :func:`kd.machine.signals.check_stop`.
        """
        check_stop()
        path = self.output_dir / "figures" / self.files_name / f"{name}.png"
        content = io.BytesIO()
        # Labels of Optuna's own figures lie beyond the edge; to find the edge costs one more drawing.
        figure.savefig(content, bbox_inches=None if figure.get_layout_engine() else "tight")
        write_whole(path, content.getbuffer())
        self._client.log_artifact(self.id, str(path), "figures")

    @doing("writing tables")
    def log_tables(self, tables: Mapping[str, Columns]) -> None:
        """Log tables as ``tables/NAME.json``, which the UI shows and compares between runs."""
        if self.is_resumed:
            self._delete("tables")  # a table would be appended to the one that is there
        for name, columns in tables.items():
            mlflow.log_table(columns, f"tables/{name}.json", run_id=self.id)

    def fetch_file(self, artifact: str, folder: Path) -> Path | None:
        """Fetch a file of the run's artifacts into a folder; None: it has none of that name."""
        with suppress(MlflowException, OSError):
            return Path(mlflow.artifacts.download_artifacts(run_id=self.id, artifact_path=artifact, dst_path=str(folder)))
        return None

    def log_file(self, path: Path, folder: str) -> None:
        """Log a file under a folder of the run's artifacts."""
        self._client.log_artifact(self.id, str(path), folder)

    def log_dataset(self, dataset: Dataset, *, unlabelled: bool = False) -> None:
        """Log the splits of a data set as the run's inputs, each with the digest of its own images and labels.

        Args:
            dataset: the images.
            unlabelled: whether the run learns from those without labels, which are logged then too.
        """
        facts = {"kd.data": dataset.name, "kd.data_digest": dataset.digest, "kd.data_seed": str(dataset.seed)}
        source = CodeDatasetSource(tags=facts)
        splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
        if unlabelled and dataset.unlabelled is not None:
            splits["unlabelled"] = dataset.unlabelled
        self._splits = {
            name: MetaDataset(source, name=f"{dataset.name} {name}", digest=split.digest)  # type: ignore[abstract] # MLflow's own idea
            for name, split in splits.items()
        }
        mlflow.log_inputs(list(self._splits.values()), list(self._splits), [None] * len(splits))

    @doing("exporting the model")
    def log_model(
        self,
        module: nn.Module,
        image_shape: Sequence[int],
        metadata: Mapping[str, Any],
        *,
        page: str,
        texts: Mapping[str, str],
    ) -> str:
        """Log a model without pickle (pt2), with signature, example and fixed requirements, and write it to ``models/``.

        Args:
            module: maps uint8 images (B, C, H, W) to (B, classes).
            image_shape: (C, H, W).
            metadata: facts that a later reader needs: classes, role, digests.
            page: description of the model in Markdown, for its own page and the run's.
            texts: what stands beside the program in ``models/``.

        Returns:
            The id of the logged model.

        Raises:
            KeyboardInterrupt: as :func:`kd.machine.signals.check_stop`, before anything is exported.
        """
        check_stop()
        if self._before is not None and self._before.model is not None and self.model_file.exists():
            return self._before.model
        for model_id in self._before.models if self._before is not None else []:
            self._client.delete_logged_model(model_id)  # half of one
        was_on = next(module.parameters()).device
        module = module.cpu().eval()
        example = np.zeros((EXAMPLE_IMAGES, *image_shape), dtype=np.uint8)
        with torch.inference_mode():
            outputs = module(torch.from_numpy(example)).shape[1]
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *image_shape))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, outputs))]),
        )
        info = mlflow.pytorch.log_model(
            module,
            name=logged_model_name(self.name),
            signature=signature,
            input_example=example,
            pip_requirements=[f"{package}=={_version(package)}" for package in ("mlflow", "torch", "numpy")],
            metadata=dict(metadata),
            tags={"kd.role": str(metadata.get("role", "")), NOTE: shortened(_shown(page), MAX_TAG)},
            validate_serving_input=False,  # it would load the model again and try it
        )
        module.to(was_on)
        self._keep_model(str(info.model_id), image_shape, outputs, texts)
        self.log_note(page, final=False)
        return str(info.model_id)

    def log_weights(self, net: nn.Module, page: str) -> Path:
        """Keep the weights of a net that is not exported: a state dict in ``models/`` and among the artifacts.

        Args:
            net: the net.
            page: the run's note in Markdown.

        Returns:
            The file.

        Raises:
            OSError: the disk is full.
            UserError: it can't be written for another reason.
        """
        weights = {name: value.cpu() for name, value in net.state_dict().items()}
        path = self.weights_file
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(weights, content)
        try:
            write_whole(path, content.getbuffer())
        except OSError as error:
            if is_full(error):
                raise
            raise UserError(f"no place for the weights {path.name} in {path.parent} ({reason(error)}): mend that") from error
        self.log_file(path, "weights")
        self.log_tags({NOT_EXPORTED: "true"})
        self.log_note(page, final=False)
        return path

    def register(self, name: str, model_id: str, val_accuracy: float, data_digest: str, *, page: str) -> None:
        """Register a logged model as a new version of ``name``, the champion if it beats the present one on val.

        Val accuracies are compared on the same data and split only: on others the champion stays.
        """
        version = self._version_of(name, model_id) or mlflow.register_model(f"models:/{model_id}", name)
        self._client.update_model_version(name, version.version, shortened(_shown(page), MAX_TAG))
        for key, value in (("kd.val_accuracy", repr(val_accuracy)), ("kd.data_digest", data_digest)):
            self._client.set_model_version_tag(name, version.version, key, value)
        try:
            present = self._client.get_model_version_by_alias(name, CHAMPION).tags
        except MlflowException:
            present = {"kd.data_digest": data_digest, "kd.val_accuracy": "-inf"}
        if present.get("kd.data_digest") == data_digest and val_accuracy > float(present["kd.val_accuracy"]):
            self._client.set_registered_model_alias(name, CHAMPION, version.version)
            log.info("models:/%s@%s is now version %s", name, CHAMPION, version.version)

    def _version_of(self, name: str, model_id: str) -> ModelVersion | None:
        """Return the registered version of a model, which a run that was resumed may have; None: there is none."""
        if not self.is_resumed:
            return None
        found = self._client.search_model_versions(f"name = '{name}'")
        return next((version for version in found if version.model_id == model_id), None)

    def _delete(self, folder: str) -> None:
        """Delete a folder of the run's artifacts."""
        with suppress(MlflowException, OSError):
            get_artifact_repository(mlflow.get_run(self.id).info.artifact_uri).delete_artifacts(folder)  # type: ignore[no-untyped-call]

    def _keep_model(self, model_id: str, image_shape: Sequence[int], outputs: int, texts: Mapping[str, str]) -> None:
        location = mlflow.get_logged_model(model_id).artifact_location
        target = self.model_file
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f"{glob.escape(self.files_name)}.*.tmp"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{self.files_name}.", suffix=".tmp") as folder:
            path, facts = (
                Path(mlflow.artifacts.download_artifacts(f"{location}/{file}", dst_path=folder))
                for file in (MODEL_FILE, FACTS_FILE)
            )
            read_model(path, image_shape, outputs, logarithm=False)  # refuses now what could not be loaded later
            self.log_tags({MODEL_DIGEST: file_digest(path), FACTS_DIGEST: file_digest(facts)})
            add_texts(path, texts)
            path.replace(target)


@dataclass(frozen=True)
class Logged:
    """What a run had logged when it stopped."""

    final: Mapping[str, float]
    """The last value of each metric."""
    steps: frozenset[tuple[str, int]]
    """Each metric's steps."""
    models: Sequence[str]
    """The ids of its models."""
    model: str | None
    """The id of the model that was logged whole; None: there is none."""

    def has_step(self, name: str, step: int) -> bool:
        """Return whether a metric has a step."""
        return (name, step) in self.steps

    def has_final(self, name: str, value: float) -> bool:
        """Return whether a final metric needs no other value: it has this one, or it is a cost that was measured."""
        return (name, 0) in self.steps and (self.final[name] == value or name.startswith(COST))


def logged_before(run_id: str) -> Logged:
    """Return what a run had logged when it stopped."""
    client, run = mlflow.MlflowClient(), mlflow.get_run(run_id)
    names = [name for name in run.data.metrics if not name.startswith("system/")]
    steps = frozenset((name, row.step) for name in names for row in client.get_metric_history(run_id, name))
    models = [model.model_id for model in run.outputs.model_outputs] if run.outputs else []
    whole = models[-1] if models and FACTS_DIGEST in run.data.tags else None
    return Logged(run.data.metrics, steps, models, whole)


def _version(package: str) -> str:
    # A local version such as 2.14.1+cpu is on no index, so a requirement on it could not be installed.
    module = {"mlflow": mlflow, "torch": torch, "numpy": np}[package]
    return str(module.__version__).split("+")[0]


def versions() -> dict[str, str]:
    """Return the versions of the libraries that a result depends on."""
    return {package: _version(package) for package in ("mlflow", "torch", "numpy")}


def is_made() -> bool:
    """Return whether the tracking store is there; a new sqlite store is made with its first run."""
    path = sqlite_path(tracking_uri())
    return path is None or path.exists()


def open_run() -> str | None:
    """Return the id of the run that is open in this thread; None: none is."""
    active = mlflow.active_run()
    return None if active is None else str(active.info.run_id)


def finished_run(run_id: str, name: str, output_dir: Path) -> Run:
    """Return a run that has ended, whose results are reused.

    Args:
        run_id: its id.
        name: what was made in it.
        output_dir: folder of its files on this machine.
    """
    return Run(run_id, mlflow.get_run(run_id).info.experiment_id, _shown(printable(name)), output_dir)


@contextmanager
def run(name: str, details: str = "", *, output_dir: Path, tags: Mapping[str, str], again: str | None = None) -> Iterator[Run]:
    """Open a run: the top one, or a child of the run that is open.

    It ends as FINISHED, as FAILED after an error, or as KILLED after Ctrl-C, SIGTERM or SIGHUP. Only the top run, which lasts
    as long as the process works, has system metrics. Before it is opened, the runs end that dead processes of this machine
    left open.

    Args:
        name: what is made in the run; its files and links to it are named so.
        details: what tells it from others of that name, in the list of runs.
        output_dir: folder of its files on this machine.
        tags: tags of the run.
        again: id of an ended run to resume; None: a new run.

    Raises:
        UserError: the tracking store can't be used.
    """
    above = mlflow.active_run()
    top = above is None
    # Set by `mlflow run`: the next child would take that run for its own.
    opened_by_mlflow = os.environ.pop("MLFLOW_RUN_ID", None) if again is not None else None
    if again is not None and opened_by_mlflow not in {None, again}:
        _lead(str(opened_by_mlflow), again)
    # MLflow would open a child of a run that was resumed in the experiment of now, not in that of its parent.
    experiment = None if above is None else above.info.experiment_id
    how = {"run_id": again, "experiment_id": experiment, "nested": not top}
    with _started(name, details, output_dir, tags, (KeyboardInterrupt,), top=top, **how) as opened:
        yield opened


@contextmanager
def child_run(  # noqa: PLR0913 - the run, and how it ends
    parent_run: str,
    name: str,
    details: str,
    *,
    output_dir: Path,
    tags: Mapping[str, str],
    killed_by: tuple[type[BaseException], ...],
) -> Iterator[Run]:
    """Open a run below a run that another process may have open; it ends as KILLED after the given exceptions.

    Name and details are those of :func:`run`.

    Raises:
        UserError: the tracking store can't be used.
    """
    experiment = mlflow.get_run(parent_run).info.experiment_id
    below = {"experiment_id": experiment, "parent_run_id": parent_run}
    with _started(name, details, output_dir, tags, killed_by, top=False, **below, nested=True) as opened:
        yield opened


@contextmanager
def _started(  # noqa: PLR0913 - the run, and how it ends
    name: str,
    details: str,
    output_dir: Path,
    tags: Mapping[str, str],
    killed_by: tuple[type[BaseException], ...],
    *,
    top: bool,
    **how: Any,  # noqa: ANN401 - start_run's own
) -> Iterator[Run]:
    quiet()
    make_tables()
    check_stop()
    name = printable(name)
    try:
        if top:
            end_orphans(but=how.get("run_id"))
        own = {"mlflow.runName": _text(f"{name} {details}".rstrip(), MAX_RUN_NAME), PROCESS: json.dumps(myself())}
        with doing("opening a run"):
            active = mlflow.start_run(tags=_tags({**own, **tags}), log_system_metrics=top, **how)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise unusable(error) from None
    views = views_of(tags.get("kd.role", ""))
    if top or views:
        _describe(active.info.experiment_id, views)
    status = RunStatus.FAILED
    try:
        before = None if how.get("run_id") is None else logged_before(active.info.run_id)
        yield Run(active.info.run_id, active.info.experiment_id, _shown(name), output_dir, before)
        status = RunStatus.FINISHED
    except killed_by:
        status = RunStatus.KILLED
        raise
    finally:
        mlflow.end_run(RunStatus.to_string(status))


def _lead(run_id: str, to: str) -> None:
    """Have a run that ``mlflow run`` opened lead to the run that was resumed instead; that has all there is to see."""
    name = str(mlflow.get_run(to).info.run_name)
    tag_run(run_id, {"kd.resumed_run": to, NOTE: f"A command that had stopped was resumed: see {run_link(to, name)}."})


def _ui() -> tuple[str, str]:
    """Return the address of MLflow's UI, and the command that starts it there; empty where a server shows it."""
    uri = tracking_uri()
    if uri.startswith("http"):
        return masked(uri).rstrip("/"), ""
    is_default = sqlite_path(uri) == Path.cwd() / "mlflow.db"
    return "http://127.0.0.1:5000", "mlflow ui" if is_default else f"mlflow ui --backend-store-uri {shlex.quote(masked(uri))}"


def _describe(experiment_id: str, views: Sequence[View]) -> None:
    """Give an experiment a kind and a description where it has none, and saved views.

    What is there is left as it is, so that a user's own words, and a view that was changed by hand, stay.
    """
    client = mlflow.MlflowClient()
    with suppress(MlflowException, SQLAlchemyError):  # of a server, say, where another user made the experiment
        present = client.get_experiment(experiment_id).tags
        room = MAX_VIEWS - sum(name.startswith(KEY_PREFIX) for name in present)
        saved = [view_tag(view, int(time.time() * 1000)) for view in views]
        missing = [(name, value) for name, value in saved if name not in present]
        facts = [(name, value) for name, value in _EXPERIMENT.items() if not present.get(name)]
        for name, value in (*facts, *missing[:room]):
            client.set_experiment_tag(experiment_id, name, value)


def _shown(text: str) -> str:
    """Return a user's text as MLflow may have it: without secrets, and of whole characters."""
    return masked(text).encode(errors="backslashreplace").decode()


def _text(value: str, most: int) -> str:
    """Return a user's text as :func:`_shown`, of a length that MLflow takes."""
    return cut(_shown(value), most)


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: _text(value, MAX_TAG) for name, value in tags.items()}


def quiet() -> None:
    """Leave the terminal to kd's own lines, unless a user wants all: MLflow would log each of its steps."""
    if not is_verbose():
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # the traceback of what it raises anyway
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the address may have a password in it
    # torch warns so at every export of a model on the CPU.
    warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)
    # pandas 3 warns MLflow of itself at each table.
    warnings.filterwarnings("ignore", "For backward compatibility, 'str' dtypes", DeprecationWarning)
    os.environ["MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"] = SYSTEM_METRICS_SECONDS
    os.environ["MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING"] = "1"


def run_link(run_id: str, name: str = "") -> str:
    """Return a Markdown link to a run, by a name or by its own, that works in the notes that the UI shows."""
    info = mlflow.get_run(run_id).info
    return _link(name or str(info.run_name), info.experiment_id, run_id)


def _link(name: str, experiment_id: str, run_id: str) -> str:
    return f"[{name}]({run_page(experiment_id, run_id)})"


def tag_run(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run that may have ended."""
    mlflow.MlflowClient().log_batch(run_id, tags=[RunTag(name, value) for name, value in _tags(tags).items()])


def run_name(run_id: str) -> str:
    """Return the name of a run."""
    return str(mlflow.get_run(run_id).info.run_name)


def run_metrics(run_id: str) -> dict[str, float]:
    """Return the last value of each metric of a run."""
    return dict(mlflow.get_run(run_id).data.metrics)


def run_params(run_ids: Sequence[str]) -> dict[str, str]:
    """Return the params of runs; where several differ in one, all their values, with commas between."""
    values: dict[str, list[str]] = {}
    for run_id in run_ids:
        for name, value in mlflow.get_run(run_id).data.params.items():
            values.setdefault(name, []).append(value)
    return {name: ",".join(dict.fromkeys(texts)) for name, texts in values.items()}
