"""One run under way: its params, metrics, figures, data sets and models."""

import glob
import io
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import torch
import yaml
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from torch import nn

from kd.data.dataset import Dataset
from kd.distillation.results import TrackedRun
from kd.distillation.saved import MODEL_NAME
from kd.errors import UserError, is_full, reason
from kd.evaluation.predict import answers
from kd.machine.activity import doing
from kd.machine.files import file_digest, write_whole
from kd.machine.names import file_name, logged_model_name
from kd.machine.secrets import masked
from kd.machine.signals import check_stop
from kd.nets.exported import EXAMPLE_IMAGES, read_model, write_program
from kd.reports.cost import size_text
from kd.reports.note import history_text, shortened, spaced
from kd.reports.tables import Columns
from kd.tracking.outbox.delivery import Point, location_of, model_of
from kd.tracking.outbox.ids import new_id
from kd.tracking.outbox.outbox import post
from kd.tracking.serving import write_model
from kd.tracking.store.known import known_of
from kd.tracking.store.links import link_to, ui_address
from kd.tracking.store.logged import Logged
from kd.tracking.store.texts import (
    MAX_NOTE,
    MAX_PARAM,
    MAX_TAG,
    MODEL_DIGEST,
    MODEL_FILE,
    NOT_EXPORTED,
    NOTE,
    REPORT,
    SETTINGS_FILE,
    cut_text,
    now_ms,
    shown,
    tag_run,
)
from kd.tracking.views import ALL_SYSTEMS, View, artifact_page, run_page, view_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # a slow import


class Run:
    """One MLflow run under way, and the folder of its figures on this machine."""

    def __init__(  # noqa: PLR0913, PLR0917 - a run, and what was before
        self,
        run_id: str,
        experiment_id: str,
        name: str,
        output_dir: Path,
        before: Logged | None = None,
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
        return tuple(known_of(self.id).history)

    @property
    def link(self) -> str:
        """Return a Markdown link that works in the notes that the UI shows."""
        return link_to(self.name, self.experiment_id, self.id)

    @property
    def model_file(self) -> Path:
        """Return where the run's model lies on this machine."""
        return self.output_dir.absolute() / "models" / self.files_name / MODEL_NAME

    @property
    def way_to_see(self) -> str:
        """Return the address of the run's page, after the command that shows it where no server does."""
        server, command = ui_address()
        page = f"{server}/{run_page(self.experiment_id, self.id)}"
        return f"{command}, then {page}" if command else page

    def view_address(self, view: View) -> str:
        """Return the address of a saved view of the run's experiment."""
        return f"{ui_address()[0]}/{view_page(self.experiment_id, view)}"

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
        told = {name: cut_text(value, MAX_PARAM) for name, value in params.items()}
        known_of(self.id).params.update(told)
        self._post("params", params=told)

    def log_settings(self, settings: Mapping[str, object]) -> None:
        """Log the whole resolved configuration as ``settings/config.yaml``, as ``--config`` takes it, without passwords."""
        told = {name: masked(value) if isinstance(value, str) else value for name, value in settings.items()}
        self._log_text(yaml.safe_dump(told, sort_keys=False), SETTINGS_FILE)

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; what is longer than MLflow takes is cut."""
        tag_run(self.id, tags)

    def log_note(self, markdown: str, *, final: bool = True) -> None:
        """Set the note that the UI shows on the run's page, where a longer one is cut.

        A final one is whole as ``note/note.md``.
        """
        note = shown(markdown)
        if final:
            self._log_text(note, "note/note.md")
        self._post("batch", tags={NOTE: shortened(spaced(note), MAX_NOTE)})

    def log_metrics(self, metrics: Mapping[str, float], *, model_id: str | None = None) -> None:
        """Log final metrics, tied to the split that they are of, and to a logged model where one is named.

        Of a run that was resumed, those that it has are left: a cost that was measured stays as it was measured first.
        """
        if self._before is not None:
            metrics = {name: value for name, value in metrics.items() if not self._before.has_final(name, value)}
        known_of(self.id).metrics.update(metrics)
        now = now_ms()
        points = []
        for name, value in metrics.items():
            data = self._splits.get(name.split("/")[0])
            of = (None, None) if data is None else (data.name, data.digest)
            points.append(Point(name, float(value), now, 0, model_id, *of).record())
        self._post("batch", metrics=points)

    def log_epochs(self, epochs: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of epochs in one call, but those that are there; each mapping has its number as ``epoch``."""
        now = now_ms()
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
            tags = {"kd.role": str(metadata.get("role", "")), NOTE: shortened(shown(told), MAX_TAG)}
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
            write_whole(path, shown(text).encode())
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
        text = shortened(shown(page), MAX_TAG)
        self._post("register", name=name, model=model_id, val_accuracy=val_accuracy, data_digest=data_digest, page=text)


def _outputs(module: nn.Module, image_shape: Sequence[int]) -> int:
    """Return how many numbers a module gives per image (C, H, W)."""
    return int(answers(module, torch.zeros(EXAMPLE_IMAGES, *image_shape, dtype=torch.uint8)).shape[1])


def _entity(dataset: MetaDataset) -> dict[str, str]:
    return {name: value for name, value in dict(dataset._to_mlflow_entity()).items() if value is not None}  # noqa: SLF001 - no other way
