"""One training in one MLflow run: its epochs as they end, its checkpoint, its figures and its model."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kd.data.decode import CROP
from kd.distillation.job import Job, create_trainer, fit_job, score_job, show_epoch
from kd.distillation.objectives import HINTON
from kd.distillation.results import Trained
from kd.distillation.saved import saved_texts
from kd.distillation.task import Task
from kd.errors import reason
from kd.evaluation.scores import Scores
from kd.machine.activity import doing
from kd.machine.memory import give_back_freed_memory
from kd.machine.progress import Progress
from kd.machine.text import printable
from kd.nets.classifier import Classifier
from kd.reports.cost import file_bytes
from kd.reports.model_page import model_card, training_page, weights_card, weights_page
from kd.reports.tables import Columns, answer_tables
from kd.specialists.kind import TaskKind
from kd.tracking.checkpoint import Checkpoint, finished_checkpoint
from kd.tracking.earlier import FINGERPRINT
from kd.tracking.metrics import epoch_metrics, job_params, loss_settings, size_metrics, training_metrics
from kd.tracking.provenance import device_tag
from kd.tracking.resume import earlier_run
from kd.tracking.run_names import details
from kd.tracking.run_settings import RunSettings
from kd.tracking.store import Run, finished_run, run, say_reuse
from kd.training.checkpoints import UNREADABLE
from kd.training.fit import FitState
from kd.training.loop import Trainer

log = logging.getLogger("kd")


def train_in_run(job: Job, settings: RunSettings, control: Trained | None) -> Trained:
    """Train a job in a run of its own: a child of the open run, or the top run.

    Args:
        job: the training.
        settings: settings that all runs share.
        control: the same net on hard targets, for comparison.

    Raises:
        UserError: the loss is not finite, or the tracking store can't be used.
    """
    with earlier_run(job.fingerprint(), settings) as earlier:
        reused = _reused(job, earlier.id, settings, control) if earlier is not None and earlier.is_finished else None
        again = None if earlier is None or earlier.is_finished else earlier.id
        return reused or _trained_in_run(job, settings, control, again)


def _reused(job: Job, run_id: str, settings: RunSettings, control: Trained | None) -> Trained | None:
    """Return what a finished run trained, from its checkpoint; None: that is not as it was written."""
    finished = finished_run(run_id, job.name, settings.output_dir)
    trainer, _ = create_trainer(job)
    state = _restored(job, trainer, finished_checkpoint(settings.checkpoints, finished))
    if state is None or trainer.epochs_done < job.recipe.epochs:
        log.warning("%s: run %s is finished, but its checkpoint can't be used: trained again", job.name, run_id)
        return None
    for _ in fit_job(job, trainer, state):  # no epoch is left: the weights to use are taken
        raise AssertionError
    say_reuse(f"{job.name}: finished in run {run_id}: reused")
    result = finished.as_result(exported=settings.export)
    result = result if settings.export or settings.brief else replace(result, weights_file=finished.weights_file)
    return replace(score_job(job, trainer.model, state, control), run=result)


def _trained_in_run(job: Job, settings: RunSettings, control: Trained | None, again: str | None) -> Trained:
    with run(job.name, _details(job), output_dir=settings.output_dir, tags=_tags(job, settings), again=again) as tracked:
        tracked.log_params({**job_params(job), **settings.params})
        if settings.configuration:
            tracked.log_settings(settings.configuration)
        tracked.log_dataset(job.dataset, unlabelled=job.task.unlabelled > 0)
        with Checkpoint(settings.checkpoints, job.fingerprint(), tracked.id) as checkpoint:
            trainer, state = _begin(job, tracked, checkpoint, resume=settings.resume)
            _fit(job, tracked, checkpoint, trainer, state, 60 * settings.checkpoint_minutes)
            trained = replace(score_job(job, trainer.model, state, control), run=tracked.as_result(exported=settings.export))
            give_back_freed_memory()
            model_id = None
            if not settings.brief:
                _log_figures(job, tracked, trained)
                tracked.log_tables(_tables(trained))
                trained, model_id = _keep(job, tracked, trained, export=settings.export)
            size = size_metrics(file_bytes(trained.run))
            tracked.log_metrics({**training_metrics(trained), **size}, model_id=model_id)
            kept = checkpoint.keep(tracked.files_name)
            if not settings.brief:
                tracked.log_file(kept, "checkpoints")
    give_back_freed_memory()
    where = "" if job.task.kind == TaskKind.ALL else " among its own classes"
    log.info("%s: test accuracy%s %.2f %%, run %s", job.name, where, 100 * trained.test.rank[0], tracked.id)
    return trained


def _keep(job: Job, tracked: Run, trained: Trained, *, export: bool) -> tuple[Trained, str | None]:
    """Keep a trained net as a model, or its weights alone; return it with its file, and the id of its model if it has one."""
    if not export:
        page = weights_page(trained, _details(job), job.net.name, tracked.weights_file)
        model = trained.model
        path = tracked.log_weights(
            model.net if isinstance(model, Classifier) else model,
            page,
            beside=lambda size: weights_card(page, trained, job.net, tracked.weights_file, size),
        )
        log.info("%s: not exported; its weights are in %s", job.name, path)
        run = None if trained.run is None else replace(trained.run, weights_file=path)
        return replace(trained, run=run), None
    page = training_page(trained, _details(job), tracked.model_file)
    return trained, tracked.log_model(
        trained.model,
        job.dataset.image_shape,
        metadata(job, trained),
        page=page,
        texts=saved_texts(trained),
        beside=lambda size: model_card(page, trained, tracked.model_file, size),
    )


def group_tag(task: Task) -> str:
    """Return a task's group as the text of a tag."""
    return "all" if task.kind == TaskKind.ALL else ",".join(map(str, task.group))


def metadata(job: Job, trained: Trained) -> dict[str, Any]:
    """Return the facts beside a logged model, for whoever loads it."""
    dataset, task = trained.dataset, trained.task
    return {
        "role": trained.role,
        "kind": task.kind.value,
        "outputs": "logits",
        "classes": list(dataset.classes),
        "group": list(task.group),
        "image_shape": list(dataset.image_shape),
        "data": dataset.name,
        "data_digest": dataset.digest,
        "held_out_digest": dataset.held_out_digest,
        "bit_depth": dataset.bit_depth,
        "crop": CROP,
        "own_fraction": task.own_fraction,
        "net": job.net.name,
        **job.net.settings,
        "parameters": trained.parameters,
    }


def _details(job: Job) -> str:
    width_first = dict(sorted(job.net.settings.items(), reverse=True))
    seed = None if job.name.endswith(f" seed {job.recipe.seed}") else job.recipe.seed
    soft = {"temperature": job.temperature, "alpha": job.alpha, **_loss_told(job)}
    return details({**soft, **width_first, "net": job.net.name, "seed": seed})


def _loss_told(job: Job) -> dict[str, object]:
    """Return the settings of the loss, where it is not the usual one."""
    if job.loss is None or job.loss == HINTON:
        return {}
    return {name: value for name, value in loss_settings(job.loss).items() if value is not False}


def _tags(job: Job, settings: RunSettings) -> dict[str, str]:
    return {
        **settings.tags,
        "kd.device": device_tag(job.device),
        "kd.data": job.dataset.name,
        "kd.data_digest": job.dataset.digest,
        **({"kd.unlabelled_digest": job.dataset.unlabelled_digest} if job.task.unlabelled else {}),
        **({"kd.teacher": job.teacher.run_id} if job.teacher else {}),
        "kd.seed": str(job.recipe.seed),
        # A command that looks for a teacher must not find one of which no model was kept.
        "kd.role": f"brief {job.role}" if settings.brief else job.role,
        "kd.group": group_tag(job.task),
        **({} if job.task.kind == TaskKind.ALL else {"kd.group_classes": _class_names(job)}),
        FINGERPRINT: job.fingerprint(),
    }


def _class_names(job: Job) -> str:
    return ", ".join(printable(job.dataset.classes[label]) for label in job.task.group)


def _trainer(job: Job, tracked: Run) -> Trainer:
    trainer, start = create_trainer(job)
    if job.start is not None:
        tracked.log_tags({"kd.start": start})
    return trainer


def _begin(job: Job, tracked: Run, checkpoint: Checkpoint, *, resume: bool) -> tuple[Trainer, FitState[Scores]]:
    """Return a training at its beginning, or where a stopped run of the same one was saved last."""
    trainer = _trainer(job, tracked)
    for saved in _saved(tracked, checkpoint) if resume else ():
        state = _restored(job, trainer, saved)
        if state is not None:
            _say_resumed(job, tracked, state, str(saved["run_id"]))
            return trainer, state
        trainer = _trainer(job, tracked)  # what was read may have changed it
    if tracked.is_resumed:
        say_reuse(f"{job.name}: run {tracked.id} stopped before it was saved: trained from the beginning in the same run")
    return trainer, FitState[Scores]()


def _saved(tracked: Run, checkpoint: Checkpoint) -> Iterator[dict[str, Any]]:
    """Yield the states from which a training can go on, the best one first."""
    yield from checkpoint.states()
    last = finished_checkpoint(checkpoint.folder, tracked) if tracked.is_resumed else None
    if last is not None:  # it stopped while its results were written
        yield last


def _say_resumed(job: Job, tracked: Run, state: FitState[Scores], stopped: str) -> None:
    tracked.log_epochs([epoch_metrics(epoch) for epoch in state.history])
    if tracked.is_called(stopped):
        stopped = tracked.id
    else:
        tracked.log_tags({"kd.resumed_from": stopped})
    say_reuse(f"{job.name}: resuming after epoch {len(state.history)} of run {stopped}")


def _restored(job: Job, trainer: Trainer, saved: Mapping[str, Any] | None) -> FitState[Scores] | None:
    """Take a trainer to where a checkpoint was written; None: there is none, or, which is told, it is of something else."""
    if saved is None:
        return None
    state = FitState[Scores]()
    try:
        trainer.restore(saved["trainer"])
        state.restore(saved["fit"], Scores)
        state.check_of(trainer)
        str(saved["run_id"])
    except UNREADABLE as error:
        log.warning("%s: its checkpoint holds something else (%s): passed over", job.name, reason(error))
        return None
    return state


def _fit(  # noqa: PLR0913, PLR0917 - the training, where it is recorded, and how often it is saved
    job: Job, tracked: Run, checkpoint: Checkpoint, trainer: Trainer, state: FitState[Scores], every_seconds: float
) -> None:
    """Train the epochs that are left; save the training after each one, and within an epoch after so many seconds."""
    saved_at = time.monotonic()

    def save() -> None:
        nonlocal saved_at
        checkpoint.save({"trainer": trainer.state(), "fit": state.state()})
        saved_at = time.monotonic()

    def save_if_due() -> None:
        if time.monotonic() - saved_at >= every_seconds:
            save()

    trainer.after_step = save_if_due
    with Progress(job.name, job.recipe.epochs, len(state.history)) as progress:
        for epoch in fit_job(job, trainer, state):
            tracked.log_epochs([epoch_metrics(epoch)])
            show_epoch(progress, epoch)
            save()


def _tables(trained: Trained) -> dict[str, Columns]:
    test = trained.task.test
    return answer_tables(trained.test_logits.softmax(dim=1), test.labels, trained.task.classes, test.index)


@doing("drawing figures")
def _log_figures(job: Job, tracked: Run, trained: Trained) -> None:
    from kd.reports.training_figures import training_figures  # noqa: PLC0415 - matplotlib is a slow import

    for name, figure in training_figures(trained, job.teacher, job.temperature).items():
        tracked.log_figure(figure, name)
