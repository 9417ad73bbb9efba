"""One tracked training: a net trained, its best epoch chosen on val, scored once on test, all of it in one MLflow run."""

import json
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from torch import Tensor

from kd.distillation.job import Job, create_trainer
from kd.distillation.results import Trained
from kd.distillation.task import Task
from kd.evaluation.predict import predict
from kd.evaluation.scores import agreement
from kd.machine.memory import give_back_freed_memory
from kd.machine.progress import Progress
from kd.nets.cost import count_multiply_adds, count_parameters
from kd.specialists.kind import TaskKind
from kd.tracking.params import canonical
from kd.tracking.store import Run, run
from kd.training import checkpoints
from kd.training.loop import Epoch

log = logging.getLogger("kd")


def train(job: Job, teacher: Tensor | None = None, control: Trained | None = None) -> Trained:
    """Train a job in a run of its own: a child of the open run, or the top run.

    Args:
        job: what to train.
        teacher: the teacher's logits for the task's test images, (N, all classes).
        control: the same net on hard targets, to be compared with.

    Raises:
        UserError: the loss became not finite, or the tracking store can't be used.
    """
    tags = {
        **job.tags,
        "kd.seed": str(job.recipe.seed),
        "kd.role": job.role,
        "kd.group": describe(job.task),
        "kd.fingerprint": job.fingerprint(),
    }
    with run(job.name, output_dir=job.output_dir, tags=tags) as tracked:
        tracked.log_params({name: canonical(value) for name, value in job.params.items()})
        if job.settings:
            tracked.log_settings(job.settings)
        tracked.log_dataset(job.dataset.name, job.dataset.digest, {"role": job.role})
        with _Fit(job, tracked) as fitted:
            fitted.run()
            trained = _score(job, tracked, fitted, teacher)
            give_back_freed_memory()
            logits = {
                "teacher": teacher,
                "control": None if control is None else control.test_logits,
                job.role: trained.test_logits,
            }
            from kd.reports.training_figures import training_figures  # noqa: PLC0415 - matplotlib is a slow import

            drawn = training_figures(
                f"{job.name} on {job.dataset.name}",
                job.task,
                fitted.history,
                chosen_epoch=fitted.used_epoch(),
                logits={system: of_system for system, of_system in logits.items() if of_system is not None},
                temperature=job.temperature,
            )
            for name, figure in drawn.items():
                tracked.log_figure(figure, name)
            model_id = tracked.log_model(trained.model, job.dataset.image_shape, metadata(job, trained))
            tracked.log_metrics(trained.metrics, model_id=model_id)
            fitted.keep_checkpoint()
    give_back_freed_memory()
    accuracy = job.task.rank(trained.metrics, "test")[0]
    where = "" if job.task.kind == TaskKind.ALL else " among its own classes"
    log.info("%s: test accuracy%s %.2f %%, run %s", job.name, where, 100 * accuracy, trained.run_id)
    return trained


def describe(task: Task) -> str:
    """Name a task's group in a tag."""
    return "all" if task.kind == TaskKind.ALL else ",".join(map(str, task.group))


def metadata(job: Job, trained: Trained) -> dict[str, Any]:
    """Return what stands beside a logged model, for whoever loads it."""
    return {
        "role": job.role,
        "kind": job.task.kind.value,
        "outputs": "logits",
        "classes": list(job.dataset.classes),
        "group": list(job.task.group),
        "image_shape": list(job.dataset.image_shape),
        "data": job.dataset.name,
        "data_digest": job.dataset.digest,
        "own_fraction": job.task.own_fraction,
        "depth": job.depth,
        "width": job.width,
        "parameters": trained.parameters,
    }


class _Fit:
    """The epochs of a job: each one scored on val, logged and kept in a checkpoint; resumed where one is left."""

    def __init__(self, job: Job, tracked: Run) -> None:
        self.job = job
        self.tracked = tracked
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.seconds = 0.0
        """What training and scoring on val took so far, that of the runs gone on from counted."""
        self._best_weights: dict[str, Tensor] = {}
        self._trainer, start = create_trainer(job)
        self.model = self._trainer.model
        if job.start is not None:
            if start == "random":
                log.info("%s: the generalist's net is another one: starting from random weights", job.name)
            tracked.log_tags({"kd.start": start})
        self._folder = job.output_dir / "checkpoints"
        self._path = self._folder / f"unfinished-{job.fingerprint()}.pt"
        self._lock = FileLock(f"{self._path}.lock")

    def __enter__(self) -> Self:
        """Have the checkpoint for oneself, until :meth:`keep_checkpoint` is done."""
        self._claim_checkpoint()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def run(self) -> None:
        """Train the epochs that are left, then load the weights to use into the model."""
        if self.job.resume:
            self._go_on()
        self._val = self.job.task.val.to(self.job.device)
        with Progress(self.job.name, self.job.recipe.epochs, len(self.history)) as progress:
            began = time.perf_counter() - self.seconds
            for epoch in self._trainer.epochs():
                metrics = self._score_epoch(epoch)
                self.seconds = time.perf_counter() - began
                progress.update(metrics)
                checkpoints.save(self._path, self._state())
        if self.job.use == "best":
            self.model.load_state_dict(self._best_weights)

    def keep_checkpoint(self) -> None:
        """Give the finished training's checkpoint the run's name, and the run a copy."""
        final = self._folder / f"{self.tracked.files_name}.pt"
        self._path.replace(final)
        if self._lock.is_locked:
            with suppress(OSError):  # Windows deletes no file that is open
                Path(self._lock.lock_file).unlink()
        self.tracked.log_file(final, "checkpoints")

    def used_epoch(self) -> int:
        """Return the number of the epoch whose weights are used."""
        return self.best_epoch if self.job.use == "best" else len(self.history)

    def _claim_checkpoint(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            # The same training is under way in another process: leave its checkpoint alone.
            self._path = self._folder / f"unfinished-{self.tracked.id}.pt"

    def _go_on(self) -> None:
        state = checkpoints.load(self._path)
        if state is None:
            return
        self._trainer.restore(state["trainer"])
        self.history = json.loads(state["history"])
        self.best_epoch = state["best_epoch"]
        self.seconds = state["seconds"]
        self._best_weights = state["best_weights"]
        self.tracked.log_epochs(self.history)
        self.tracked.log_tags({"kd.resumed_from": state["run_id"]})
        log.info("%s: going on after epoch %d of run %s", self.job.name, len(self.history), state["run_id"])

    def _state(self) -> dict[str, Any]:
        return {
            "trainer": self._trainer.state(),
            "history": json.dumps(self.history),
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "best_weights": self._best_weights,
            "run_id": self.tracked.id,
        }

    def _score_epoch(self, epoch: Epoch) -> dict[str, float]:
        task = self.job.task
        val = task.scores(predict(self.model, self._val), self._val.labels.cpu(), "val")
        metrics = {
            "epoch": float(epoch.number),
            "train_loss": epoch.loss,
            "train_soft_loss": epoch.soft_loss,
            "train_hard_loss": epoch.hard_loss,
            "train_accuracy": epoch.accuracy,
            "learning_rate": epoch.learning_rate,
            "seconds": epoch.seconds,
            "images_per_second": epoch.images_per_second,
            "val_loss": val["val_nll"],
            **val,
        }
        self.history.append(metrics)
        if not self.best_epoch or task.rank(metrics, "val") > task.rank(self.history[self.best_epoch - 1], "val"):
            self.best_epoch = epoch.number
            self._best_weights = {name: weight.clone() for name, weight in self.model.state_dict().items()}
        self.tracked.log_epochs([metrics])
        return metrics


def _score(job: Job, tracked: Run, fitted: _Fit, teacher: Tensor | None) -> Trained:
    """Score the chosen weights on val and, this once, on test."""
    task = job.task
    val_logits, test_logits = predict(fitted.model, task.val), predict(fitted.model, task.test)
    parameters = count_parameters(fitted.model)
    multiply_adds = count_multiply_adds(fitted.model, job.dataset.image_shape)
    metrics = {
        **{f"chosen_{name}": value for name, value in task.scores(val_logits, task.val.labels, "val").items()},
        **task.scores(test_logits, task.test.labels, "test"),
        "chosen_epoch": fitted.used_epoch(),
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "train_seconds": fitted.seconds,
    }
    if teacher is not None:
        metrics["test_teacher_agreement"] = agreement(test_logits, task.of_teacher(teacher, 1.0))
    return Trained(
        name=job.name,
        role=job.role,
        run_id=tracked.id,
        link=tracked.link,
        model=fitted.model,
        task=task,
        metrics=metrics,
        val_logits=val_logits,
        test_logits=test_logits,
        parameters=parameters,
        multiply_adds=multiply_adds,
        seconds=fitted.seconds,
    )
