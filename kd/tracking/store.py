"""MLflow: a run and its params, metrics, figures, data sets and models.

A few files beside this one import it too; ``pyproject.toml`` names them. What a run tells the store goes through
:mod:`kd.tracking.outbox`, which keeps it where the store is away.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import torch
import yaml
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LifecycleStage, RunData, RunInfo, RunStatus
from mlflow.entities import Run as Entity
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import fluent
from mlflow.tracking.context.registry import resolve_tags
from sqlalchemy.exc import SQLAlchemyError
from torch import nn

from kd.data.dataset import Dataset
from kd.distillation.results import TrackedRun
from kd.distillation.saved import MODEL_NAME
from kd.errors import UserError, is_full, reason
from kd.evaluation.predict import answers
from kd.machine.activity import doing
from kd.machine.files import file_digest, write_whole
from kd.machine.names import cut, file_name, logged_model_name
from kd.machine.output import is_verbose
from kd.machine.processes import myself
from kd.machine.secrets import masked
from kd.machine.signals import check_stop
from kd.machine.text import printable
from kd.nets.exported import EXAMPLE_IMAGES, read_model, write_program
from kd.reports.cost import size_text
from kd.reports.note import history_text, shortened, spaced
from kd.reports.tables import Columns
from kd.tracking.earlier import PROCESS, end_orphans, find_run, keep_children
from kd.tracking.machine_metrics import MachineMetrics
from kd.tracking.outbox.delivery import FACTS_DIGEST, FILES_OF, OPENED_AS, Point, location_of, model_of
from kd.tracking.outbox.ids import new_id
from kd.tracking.outbox.outbox import FOLDER, Left, Outbox, is_store_away, left_text, outbox_open, post, send_left
from kd.tracking.ready import make_tables, short_patience, sqlite_path, tracking_uri, unusable
from kd.tracking.requirements import pinned
from kd.tracking.serving import write_model
from kd.tracking.views import ALL_SYSTEMS, KEY_PREFIX, MAX_VIEWS, View, artifact_page, run_page, view_page, view_tag, views_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # a slow import

log = logging.getLogger("kd")
if not log.level:
    log.setLevel(logging.WARNING)  # mlflow.pytorch, where it is imported, raises the root logger's level to ERROR


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


SYSTEM_METRICS_SECONDS = "5"


MODEL_DIGEST = "kd.model_sha256"
"""Tag: SHA-256 of the model's file, which must be that of the file when it is loaded."""


REPORT = "report.html"
"""The report, among a run's artifacts."""


SETTINGS_FILE = "settings/config.yaml"
"""The whole configuration of a command, among the artifacts of its run."""


NOT_EXPORTED = "kd.not_exported"
"""Tag of a run whose model is not exported."""


HISTORY = "kd.history"
"""Tag: what was resumed in a run, and what was reused in it from other runs, a line each."""


class Run:
    """One MLflow run under way, and the folder of its figures on this machine."""

    def __init__(  # noqa: PLR0913, PLR0917 - a run, and what was before
        self,
        run_id: str,
        experiment_id: str,
        name: str,
        output_dir: Path,
        before: "Logged | None" = None,
        files_of: str = "",
    ) -> None:
        """Take what the run has logged before it was resumed (None: it is a new one), and the id that its files have."""
        self.id = run_id
        self.experiment_id = experiment_id
        self.name = name
        self.files_name = f"{file_name(name)}-{(files_of or run_id)[:8]}"
        self.output_dir = output_dir
        self._splits: dict[str, MetaDataset] = {}
        self._before = before

    @property
    def is_resumed(self) -> bool:
        """Return whether it stopped, and was opened again."""
        return self._before is not None

    def is_called(self, run_id: str) -> bool:
        """Return whether an id is that of this run, or the one that it had while the store was away."""
        return run_id == self.id or (self._before is not None and run_id == self._before.opened_as)

    @property
    def history(self) -> tuple[str, ...]:
        """Return what was resumed in it, and what was reused in it from other runs, a line each."""
        return tuple(_known(self.id).history)

    @property
    def link(self) -> str:
        """Return a Markdown link that works in the notes that the UI shows."""
        return _link(self.name, self.experiment_id, self.id)

    @property
    def model_file(self) -> Path:
        """Return where the run's model lies on this machine."""
        return self.output_dir.absolute() / "models" / self.files_name / MODEL_NAME

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
        """Return Markdown links to saved views of the run's experiment and to its report, that work in the UI's notes."""
        links = [f"[{view.name}]({view_page(self.experiment_id, view)})" for view in views]
        return ", ".join([*links, f"[report]({artifact_page(self.experiment_id, self.id, REPORT)})"])

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
        told = {name: _text(value, MAX_PARAM) for name, value in params.items()}
        _known(self.id).params.update(told)
        self._post("params", params=told)

    def log_settings(self, settings: Mapping[str, object]) -> None:
        """Log the whole resolved configuration as ``settings/config.yaml``, as ``--config`` takes it, without passwords."""
        shown = {name: masked(value) if isinstance(value, str) else value for name, value in settings.items()}
        self._log_text(yaml.safe_dump(shown, sort_keys=False), SETTINGS_FILE)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; what is longer than MLflow takes is cut."""
        tag_run(self.id, tags)

    def log_note(self, markdown: str, *, final: bool = True) -> None:
        """Set the note that the UI shows on the run's page, where a longer one is cut.

        A final one is whole as ``note/note.md``.
        """
        note = _shown(markdown)
        if final:
            self._log_text(note, "note/note.md")
        self._post("batch", tags={NOTE: shortened(spaced(note), MAX_NOTE)})

    def log_metrics(self, metrics: Mapping[str, float], *, model_id: str | None = None) -> None:
        """Log final metrics, tied to the split that they are of, and to a logged model where one is named.

        Of a run that was resumed, those that it has are left: a cost that was measured stays as it was measured first.
        """
        if self._before is not None:
            metrics = {name: value for name, value in metrics.items() if not self._before.has_final(name, value)}
        _known(self.id).metrics.update(metrics)
        now = _now()
        points = []
        for name, value in metrics.items():
            data = self._splits.get(name.split("/")[0])
            of = (None, None) if data is None else (data.name, data.digest)
            points.append(Point(name, float(value), now, 0, model_id, *of).record())
        self._post("batch", metrics=points)

    def log_epochs(self, epochs: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of epochs in one call, but those that are there; each mapping has its number as ``epoch``."""
        now = _now()
        metrics = [
            Point(name, float(value), now, int(epoch["epoch"])).record()
            for epoch in epochs
            for name, value in epoch.items()
            if name != "epoch" and not (self._before and self._before.has_step(name, int(epoch["epoch"])))
        ]
        self._post("batch", metrics=metrics)

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
        self.log_file(path, "figures")

    @doing("writing tables")
    def log_tables(self, tables: Mapping[str, Columns]) -> None:
        """Log tables as ``tables/NAME.json``, which the UI shows and compares between runs."""
        import pandas as pd  # type: ignore[import-untyped] # noqa: PLC0415 - a slow import

        with tempfile.TemporaryDirectory() as folder:
            for name, columns in tables.items():
                path = Path(folder, f"{name}.json")
                pd.DataFrame(columns).to_json(path, orient="split", index=False, date_format="iso")  # as mlflow.log_table does
                self._post("table", path, folder="tables")

    def fetch_file(self, artifact: str, folder: Path) -> Path | None:
        """Fetch a file of the run's artifacts into a folder; None: it has none of that name."""
        with suppress(MlflowException, OSError):
            return Path(mlflow.artifacts.download_artifacts(run_id=self.id, artifact_path=artifact, dst_path=str(folder)))
        return None

    def log_file(self, path: Path, folder: str) -> None:
        """Log a file under a folder of the run's artifacts."""
        self._post("file", path, folder=folder)

    @property
    def report_file(self) -> Path:
        """Return where the run's report lies on this machine."""
        return self.output_dir.absolute() / "reports" / f"{self.files_name}.html"

    def log_report(self, html: str) -> None:
        """Write the run's report under ``reports/`` on this machine, and log it as ``report.html``, beside folders alone."""
        self.report_file.parent.mkdir(exist_ok=True)
        write_whole(self.report_file, html.encode())
        with tempfile.TemporaryDirectory() as folder:
            self.log_file(Path(shutil.copy(self.report_file, Path(folder, REPORT))), "")

    def _log_text(self, text: str, name: str) -> None:
        """Log a text as a file of the run's artifacts, at a place such as ``note/note.md``."""
        self._post("text", text=text, name=name)

    def _post(self, do: str, payload: Path | None = None, **what: object) -> str | None:
        """Tell the store something of this run, as :func:`kd.tracking.outbox.outbox.post`."""
        return post({"do": do, "run": self.id, **what}, payload)

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
        self._post("inputs", data={name: _entity(split) for name, split in self._splits.items()})

    @doing("exporting the model")
    def log_model(  # noqa: PLR0913 - a model, and what is told of it
        self,
        module: nn.Module,
        image_shape: Sequence[int],
        metadata: Mapping[str, Any],
        *,
        page: str,
        texts: Mapping[str, str],
        beside: Callable[[int], Mapping[str, str]] = lambda _: {},
    ) -> str:
        """Log a model without pickle (pt2), as :mod:`kd.tracking.serving` serves it, and write it to ``models/``.

        Args:
            module: maps uint8 images (B, C, H, W) to (B, classes).
            image_shape: (C, H, W).
            metadata: facts that a later reader needs: classes, role, digests.
            page: description of the model in Markdown, for its own page and the run's, where the size of its file is added.
            texts: what stands within the model's file, beside the program.
            beside: makes, of the size of that file in bytes, the texts that lie beside it, by name.

        Returns:
            The id of the logged model.

        Raises:
            KeyboardInterrupt: as :func:`kd.machine.signals.check_stop`, before anything is exported.
        """
        check_stop()
        if self._before is not None and self._before.model is not None and self.model_file.exists():
            return self._before.model
        if self._before is not None and self._before.models:
            self._post("delete_models", models=list(self._before.models))  # half of one
        models = self.model_file.parent.parent
        models.mkdir(parents=True, exist_ok=True)
        for left in models.glob(f"{glob.escape(self.files_name)}.*.tmp"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=models, prefix=f"{self.files_name}.", suffix=".tmp") as folder:
            new, program, saved = new_id(), Path(folder, MODEL_NAME), Path(folder, "model")
            write_program(module, image_shape, program, texts)
            # Refuses now what could not be loaded later.
            read_model(program, image_shape, _outputs(module, image_shape), logarithm=False)
            told = f"{page}\n\n**Size**: {size_text(program.stat().st_size)}."
            tags = {"kd.role": str(metadata.get("role", "")), NOTE: shortened(_shown(told), MAX_TAG)}
            facts = Model(location_of(new), self.id, metadata=dict(metadata), model_uuid=model_of(new), model_id=model_of(new))
            write_model(saved, program, image_shape, facts)
            digests = {MODEL_DIGEST: file_digest(saved / MODEL_FILE)}
            name = logged_model_name(self.name)
            model_id = str(self._post("model", saved, new=new, name=name, tags=tags, digests=digests))
            self._write_beside(beside(program.stat().st_size))
            self.model_file.parent.mkdir(exist_ok=True)
            program.replace(self.model_file)  # what is logged, a copy, may still wait
        self._log_page(told)
        return model_id

    def _write_beside(self, texts: Mapping[str, str]) -> None:
        """Write texts into the folder of the run's model; ids of kd's own in them become the store's when it has some."""
        for name, text in texts.items():
            path = self.model_file.with_name(name)
            write_whole(path, _shown(text).encode())
            self._post("beside", path=str(path))

    def log_weights(self, net: nn.Module, page: str, beside: Callable[[int], Mapping[str, str]] = lambda _: {}) -> Path:
        """Keep the weights of a net that is not exported: a state dict in ``models/`` and among the artifacts.

        Args:
            net: the net.
            page: the run's note in Markdown.
            beside: makes, of the size of the file in bytes, the texts that lie beside it, by name.

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
            self._write_beside(beside(path.stat().st_size))
        except OSError as error:
            if is_full(error):
                raise
            raise UserError(f"no place for the weights {path.name} in {path.parent} ({reason(error)}): mend that") from error
        self.log_file(path, "weights")
        self.log_tags({NOT_EXPORTED: "true"})
        self._log_page(page)
        return path

    def _log_page(self, page: str) -> None:
        """Set the page of the run's model as its note, with what was resumed and reused in the run."""
        self.log_note("\n\n".join([page, *history_text(self.history)]), final=False)

    def register(self, name: str, model_id: str, val_accuracy: float, data_digest: str, *, page: str) -> None:
        """Register a logged model as a new version of ``name``, the champion if it beats the present one on val.

        Val accuracies are compared on the same data and split only: on others the champion stays.
        """
        text = shortened(_shown(page), MAX_TAG)
        self._post("register", name=name, model=model_id, val_accuracy=val_accuracy, data_digest=data_digest, page=text)


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
    history: Sequence[str]
    """What had been resumed and reused in it."""
    opened_as: str
    """The id that kd gave it, which was its own as long as the store was away."""
    files_of: str
    """The beginning of the id by which its files are named, where it is not the run's."""

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
    tags = run.data.tags
    history = tags.get(HISTORY, "").splitlines()
    return Logged(run.data.metrics, steps, models, whole, history, tags.get(OPENED_AS, ""), tags.get(FILES_OF, ""))


def _outputs(module: nn.Module, image_shape: Sequence[int]) -> int:
    """Return how many numbers a module gives per image (C, H, W)."""
    return int(answers(module, torch.zeros(EXAMPLE_IMAGES, *image_shape, dtype=torch.uint8)).shape[1])


def versions() -> dict[str, str]:
    """Return the versions of the libraries that a result depends on."""
    return {package: pinned(package) for package in ("mlflow", "torch", "numpy")}


def open_run() -> str | None:
    """Return the id of the run that is open in this thread; None: none is."""
    active = mlflow.active_run()
    return None if active is None else str(active.info.run_id)


@dataclass
class _Known:
    """What this process knows of a run, so that it need not ask a store that may be away."""

    experiment_id: str = ""
    name: str = ""
    files_of: str = ""
    is_new: bool = False
    """Whether this process opened it, so that it has no params and metrics but these."""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    """What was resumed and reused in it, a line each."""


_runs: dict[str, _Known] = {}


def _known(run_id: str) -> _Known:
    return _runs.setdefault(run_id, _Known())


def _looked_up(run_id: str) -> _Known:
    """Return what is known of a run; the store is asked where nothing is."""
    known = _known(run_id)
    if not known.experiment_id:
        _note_known(known, find_run(run_id))
    return known


def _note_known(known: _Known, run: Entity) -> None:
    known.experiment_id, known.name = str(run.info.experiment_id), str(run.info.run_name)
    known.files_of = run.data.tags.get(FILES_OF, "")
    known.params, known.metrics = dict(run.data.params), dict(run.data.metrics)


def _now() -> int:
    """Return the time in milliseconds since 1970, as MLflow has it."""
    return int(time.time() * 1000)


def _entity(dataset: MetaDataset) -> dict[str, str]:
    return {name: value for name, value in dict(dataset._to_mlflow_entity()).items() if value is not None}  # noqa: SLF001 - no other way


def say_reuse(line: str) -> None:
    """Say in a line what is resumed, or reused from another run, and note that in the runs that are open in this thread."""
    log.info("%s", line)
    for active in _active_runs():
        run_id = str(active.info.run_id)
        history = _known(run_id).history
        if line not in history:
            history.append(line)
            tag_run(run_id, {HISTORY: "\n".join(history)})


def finished_run(run_id: str, name: str, output_dir: Path) -> Run:
    """Return a run that has ended, whose results are reused.

    Args:
        run_id: its id.
        name: what was made in it.
        output_dir: folder of its files on this machine.
    """
    known = _looked_up(run_id)
    return Run(run_id, known.experiment_id, _shown(printable(name)), output_dir, files_of=known.files_of)


def send_waiting(output_dir: Path, *, refused: bool = False) -> Left:
    """Send what commands before could not tell the tracking store, and say so; what it does not take goes on waiting.

    Args:
        output_dir: the output folder of those commands.
        refused: whether what the store refused before is sent once more, too.
    """
    quiet()
    left = send_left(output_dir, tracking_uri(), refused=refused)
    if left.sent:
        log.info("sent %d records that waited for the tracking store", left.sent)
    if left.waiting:
        log.warning("%s: %s", left_text(left.waiting, output_dir / FOLDER), left.why)
    return left


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
    # Set by `mlflow run`: the next child would take that run for its own.
    opened_by_mlflow = os.environ.pop("MLFLOW_RUN_ID", None) if again is not None else None
    if again is not None and opened_by_mlflow not in {None, again}:
        _lead(str(opened_by_mlflow), again)
    # MLflow would open a child of a run that was resumed in the experiment of now, not in that of its parent.
    experiment = "" if above is None else str(above.info.experiment_id)
    parent = None if above is None else str(above.info.run_id)
    with (
        outbox_open(output_dir, tracking_uri(), keep=False) as outbox,
        _started(name, details, output_dir, tags, (KeyboardInterrupt,), outbox, experiment, parent, again) as opened,
    ):
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
    experiment = _looked_up(parent_run).experiment_id
    with (
        outbox_open(output_dir, tracking_uri(), keep=True) as outbox,
        _started(name, details, output_dir, tags, killed_by, outbox, experiment, parent_run) as opened,
    ):
        yield opened


@contextmanager
def _started(  # noqa: PLR0913, PLR0917 - the run, and how it ends
    name: str,
    details: str,
    output_dir: Path,
    tags: Mapping[str, str],
    killed_by: tuple[type[BaseException], ...],
    outbox: Outbox,
    experiment: str,
    parent: str | None,
    again: str | None = None,
) -> Iterator[Run]:
    quiet()
    make_tables()
    check_stop()
    name = printable(name)
    own = {"mlflow.runName": _text(f"{name} {details}".rstrip(), MAX_RUN_NAME), PROCESS: json.dumps(myself())}
    all_tags = _tags({**own, **tags})
    monitor = None
    try:
        with doing("opening a run"):
            if parent is None:
                active, before, monitor = _open_top(all_tags, again, outbox)
            else:
                active, before = _open_child(all_tags, experiment, parent, again), _logged_of(again)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise unusable(error) from None
    run_id, experiment_id = str(active.info.run_id), str(active.info.experiment_id)
    _runs[run_id] = _Known(experiment_id, all_tags["mlflow.runName"], is_new=before is None)
    _runs[run_id].history += before.history if before is not None else ()
    views = views_of(tags.get("kd.role", ""))
    if parent is None or views:
        _describe(experiment_id, views)
    status = RunStatus.FAILED
    try:
        yield Run(run_id, experiment_id, _shown(name), output_dir, before, before.files_of if before is not None else "")
        if parent is None:
            outbox.settle()
        outbox.check_refused()
        status = RunStatus.FINISHED
    except killed_by:
        status = RunStatus.KILLED
        raise
    finally:
        if monitor is not None:
            monitor.finish()
        _leave_run(run_id)
        post({"do": "end", "run": run_id, "status": RunStatus.to_string(status), "at": _now()})


def _open_top(
    tags: Mapping[str, str], again: str | None, outbox: Outbox
) -> tuple[Entity, "Logged | None", MachineMetrics | None]:
    """Open a run that is below no other, with metrics of the machine; the store has to be there."""
    with short_patience():
        end_orphans(but=again)
        active = mlflow.start_run(run_id=again, tags=dict(tags), log_system_metrics=False)
    before = None
    if again is not None:
        before = logged_before(again)
        for child, is_stopped in keep_children(again):
            run_id = str(child.info.run_id)
            _note_known(_known(run_id), child)
            if is_stopped:
                _before[run_id] = logged_before(run_id)
    monitor = MachineMetrics(str(active.info.run_id), outbox, resumed=again is not None)
    monitor.start()  # type: ignore[no-untyped-call] # MLflow's own
    return active, before, monitor


def _open_child(tags: Mapping[str, str], experiment: str, parent: str, again: str | None) -> Entity:
    """Open a run below another, and have MLflow take it for the active one."""
    if again is not None:
        post({"do": "reopen", "run": again, "tags": tags})
        run_id = again
    else:
        all_tags = resolve_tags({**tags, "mlflow.parentRunId": parent})
        new = new_id()
        run_id = str(post({"do": "open", "new": new, "experiment": experiment, "tags": all_tags, "at": _now()}))
        if run_id == new:  # the store will give it another one
            tag_run(run_id, {FILES_OF: new[:8]})
    info = RunInfo(run_id, experiment, "", RunStatus.to_string(RunStatus.RUNNING), _now(), None, LifecycleStage.ACTIVE)
    active = fluent.ActiveRun(Entity(info, RunData()))  # type: ignore[no-untyped-call] # MLflow's own
    _active_runs().append(active)  # mlflow.start_run asks the store, which may be away
    return active


def _leave_run(run_id: str) -> None:
    """Have MLflow take a run for active no more; mlflow.end_run would tell the store, which may be away."""
    os.environ.pop("MLFLOW_RUN_ID", None)
    stack = _active_runs()
    stack[:] = [active for active in stack if active.info.run_id != run_id]


def _active_runs() -> list[fluent.ActiveRun]:
    """Return the runs that MLflow takes for active in this thread."""
    runs: list[fluent.ActiveRun] = fluent._active_run_stack.get()  # type: ignore[no-untyped-call] # noqa: SLF001 - no other way
    return runs


_before: dict[str, "Logged"] = {}
"""What the children of a run that was resumed had logged, by run id: the store may be away when they are resumed."""


def _logged_of(run_id: str | None) -> "Logged | None":
    if run_id is None:
        return None
    return _before.pop(run_id) if run_id in _before else logged_before(run_id)


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
    tags = dict(view_tag(view, _now()) for view in views)
    limits = {"prefix": KEY_PREFIX, "most": MAX_VIEWS}
    post({"do": "describe", "experiment": experiment_id, "tags": _EXPERIMENT, "views": tags, **limits})


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
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each try to reach a server
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback for each try to write to a database
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the address may have a password in it
    # pandas 3 warns MLflow of itself at each table.
    warnings.filterwarnings("ignore", "For backward compatibility, 'str' dtypes", DeprecationWarning)
    os.environ["MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"] = SYSTEM_METRICS_SECONDS
    os.environ["MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING"] = "1"


def run_link(run_id: str, name: str = "") -> str:
    """Return a Markdown link to a run, by a name or by its own, that works in the notes that the UI shows."""
    known = _known(run_id)
    if name and not known.experiment_id and is_store_away():
        active = mlflow.active_run()
        return _link(name, "0" if active is None else str(active.info.experiment_id), run_id)
    try:
        known = _looked_up(run_id)
    except MlflowException:
        if not name:
            raise
        return name  # its worker opened it while the store was away, and could not tell it of the run so far
    return _link(name or known.name, known.experiment_id, run_id)


def _link(name: str, experiment_id: str, run_id: str) -> str:
    return f"[{name}]({run_page(experiment_id, run_id)})"


def tag_run(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run that may have ended."""
    post({"do": "batch", "run": run_id, "tags": _tags(tags)})


def run_name(run_id: str) -> str:
    """Return the name of a run."""
    return _known(run_id).name or _looked_up(run_id).name


def run_metrics(run_id: str) -> dict[str, float]:
    """Return the last value of each metric of a run."""
    known = _known(run_id)
    return dict(known.metrics if _is_all_known(known) else find_run(run_id).data.metrics)


def _is_all_known(known: _Known) -> bool:
    """Return whether this process knows the params and metrics of a run: it made it, or saw it when the store was there."""
    return known.is_new or (bool(known.experiment_id) and is_store_away())


def run_params(run_ids: Sequence[str]) -> dict[str, str]:
    """Return the params of runs; where several differ in one, all their values, with commas between."""
    values: dict[str, list[str]] = {}
    for run_id in run_ids:
        known = _known(run_id)
        for name, value in (known.params if _is_all_known(known) else find_run(run_id).data.params).items():
            values.setdefault(name, []).append(value)
    return {name: ",".join(dict.fromkeys(texts)) for name, texts in values.items()}
