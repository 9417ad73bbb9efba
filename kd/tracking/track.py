"""Tracking for callers of the library: trainings inside the ``with`` block have MLflow runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kd.distillation.as_teacher import Teaching, teacher_of
from kd.distillation.combination import Combination
from kd.distillation.results import Trained
from kd.distillation.tracker import tracked_by
from kd.tracking.provenance import provenance
from kd.tracking.ready import check_ready, check_registered
from kd.tracking.run_settings import RunSettings
from kd.tracking.store import Run, run, send_waiting
from kd.tracking.summary import summarise
from kd.tracking.tracker import MlflowTracker
from kd.tracking.workspace import output_folder


@dataclass(frozen=True, eq=False)
class Track:
    """A run under way, with the runs of trainings and combinations below it."""

    run: Run

    @property
    def run_id(self) -> str:
        """Return the run's id."""
        return self.run.id

    def summarise(self, teacher: Teaching, distilled: Sequence[Trained], combinations: Sequence[Combination] = ()) -> None:
        """Write the run's note, metrics and figures, as a command does at its end.

        Args:
            teacher: the teacher of all nets.
            distilled: students and specialists of all seeds, one or more, with their controls.
            combinations: one per seed; none where there are no specialists.
        """
        guide = teacher_of(teacher, None)
        summarise(self.run, f"{self.run.name} on {guide.dataset.name}", guide, distilled, combinations)


@contextmanager
def track(name: str, output_dir: str | Path = ".", *, register_as: str = "", export: bool = True) -> Iterator[Track]:
    """Track everything that is trained, distilled, specialised or combined inside the ``with`` block in MLflow.

    A run of this name is opened, with one run below it for each training and each combination: params, metrics, figures,
    the checkpoint and the model. ``MLFLOW_TRACKING_URI`` names the store. A stopped training resumes from its last
    finished epoch when the same one is asked for again. What another thread trains meanwhile is not tracked.

    Args:
        name: name of the run.
        output_dir: folder under which ``models/``, ``checkpoints/`` and ``figures/`` are written.
        register_as: name in the model registry for combined models; empty: they are not registered.
        export: whether models are kept as programs; otherwise the weights of trained nets are kept alone, of any net.

    Raises:
        UserError: the tracking store can't be used, the folder can't be written to, or the name can't be registered.
    """
    check_registered(register_as, export=export)
    folder = output_folder(output_dir)
    check_ready(register_as)
    send_waiting(folder)
    tags = {"kd.command": "track", **provenance()}
    tracker = MlflowTracker(RunSettings(folder, tags, register_as=register_as, export=export))
    with run(name, output_dir=folder, tags={**tags, "kd.role": "parent"}) as opened, tracked_by(tracker):
        yield Track(opened)
