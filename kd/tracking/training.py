"""One training in one MLflow run: its epochs as they end, its checkpoint, its figures and its model."""

import logging
from dataclasses import replace
from typing import Any

from kd.distillation.job import Job, create_trainer, fit_job, score_job, show_epoch
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
from kd.reports.model_page import training_page, weights_page
from kd.reports.tables import Columns, answer_tables
from kd.specialists.kind import TaskKind
from kd.tracking.checkpoint import Checkpoint
from kd.tracking.metrics import epoch_metrics, job_params, training_metrics
from kd.tracking.provenance import device_tag
from kd.tracking.run_names import details
from kd.tracking.run_settings import RunSettings
from kd.tracking.store import Run, run
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
    with run(job.name, _details(job), output_dir=settings.output_dir, tags=_tags(job, settings)) as tracked:
        tracked.log_params({**job_params(job), **settings.params})
        if settings.configuration:
            tracked.log_settings(settings.configuration)
        tracked.log_dataset(job.dataset, unlabelled=job.task.unlabelled > 0)
        with Checkpoint(settings.output_dir / "checkpoints", job.fingerprint(), tracked.id) as checkpoint:
            trainer, state = _begin(job, tracked, checkpoint, resume=settings.resume)
            _fit(job, tracked, checkpoint, trainer, state)
            trained = replace(score_job(job, trainer.model, state, control), run=tracked.as_result(exported=settings.export))
            give_back_freed_memory()
            _log_figures(job, tracked, trained)
            tracked.log_tables(_tables(trained))
            trained, model_id = _keep(job, tracked, trained, export=settings.export)
            tracked.log_metrics(training_metrics(trained), model_id=model_id)
            tracked.log_file(checkpoint.keep(tracked.files_name), "checkpoints")
    give_back_freed_memory()
    where = "" if job.task.kind == TaskKind.ALL else " among its own classes"
    log.info("%s: test accuracy%s %.2f %%, run %s", job.name, where, 100 * trained.test.rank[0], tracked.id)
    return trained


def _keep(job: Job, tracked: Run, trained: Trained, *, export: bool) -> tuple[Trained, str | None]:
    """Keep a trained net as a model, or its weights alone; return it with its file, and the id of its model if it has one."""
    if not export:
        page = weights_page(trained, _details(job), job.net.name, tracked.weights_file)
        model = trained.model
        path = tracked.log_weights(model.net if isinstance(model, Classifier) else model, page)
        log.info("%s: not exported; its weights are in %s", job.name, path)
        run = None if trained.run is None else replace(trained.run, weights_file=path)
        return replace(trained, run=run), None
    return trained, tracked.log_model(
        trained.model,
        job.dataset.image_shape,
        metadata(job, trained),
        page=training_page(trained, _details(job), tracked.model_file),
        texts=saved_texts(trained),
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
        "own_fraction": task.own_fraction,
        "net": job.net.name,
        **job.net.settings,
        "parameters": trained.parameters,
    }


def _details(job: Job) -> str:
    width_first = dict(sorted(job.net.settings.items(), reverse=True))
    seed = None if job.name.endswith(f" seed {job.recipe.seed}") else job.recipe.seed
    return details({"temperature": job.temperature, "alpha": job.alpha, **width_first, "net": job.net.name, "seed": seed})


def _tags(job: Job, settings: RunSettings) -> dict[str, str]:
    return {
        **settings.tags,
        "kd.device": device_tag(job.device),
        "kd.data": job.dataset.name,
        "kd.data_digest": job.dataset.digest,
        **({"kd.unlabelled_digest": job.dataset.unlabelled_digest} if job.task.unlabelled else {}),
        **({"kd.teacher": job.teacher.run_id} if job.teacher else {}),
        "kd.seed": str(job.recipe.seed),
        "kd.role": job.role,
        "kd.group": group_tag(job.task),
        **({} if job.task.kind == TaskKind.ALL else {"kd.group_classes": _class_names(job)}),
        "kd.fingerprint": job.fingerprint(),
    }


def _class_names(job: Job) -> str:
    return ", ".join(printable(job.dataset.classes[label]) for label in job.task.group)


def _trainer(job: Job, tracked: Run) -> Trainer:
    trainer, start = create_trainer(job)
    if job.start is not None:
        tracked.log_tags({"kd.start": start})
    return trainer


def _begin(job: Job, tracked: Run, checkpoint: Checkpoint, *, resume: bool) -> tuple[Trainer, FitState[Scores]]:
    """Return a training at its beginning, or at the last finished epoch of a stopped run of the same one."""
    trainer, state = _trainer(job, tracked), FitState[Scores]()
    saved = checkpoint.load() if resume else None
    if saved is None:
        return trainer, state
    try:
        trainer.restore(saved["trainer"])
        state.restore(saved["fit"], Scores)
        state.check_of(trainer)
        stopped = str(saved["run_id"])
    except UNREADABLE as error:
        log.warning("%s: its checkpoint holds something else (%s): starting anew", job.name, reason(error))
        return _trainer(job, tracked), FitState[Scores]()
    tracked.log_epochs([epoch_metrics(epoch) for epoch in state.history])
    tracked.log_tags({"kd.resumed_from": stopped})
    log.info("%s: resuming after epoch %d of run %s", job.name, len(state.history), stopped)
    return trainer, state


def _fit(job: Job, tracked: Run, checkpoint: Checkpoint, trainer: Trainer, state: FitState[Scores]) -> None:
    with Progress(job.name, job.recipe.epochs, len(state.history)) as progress:
        for epoch in fit_job(job, trainer, state):
            tracked.log_epochs([epoch_metrics(epoch)])
            show_epoch(progress, epoch)
            checkpoint.save({"trainer": trainer.state(), "fit": state.state()})


def _tables(trained: Trained) -> dict[str, Columns]:
    test = trained.task.test
    return answer_tables(trained.test_logits.softmax(dim=1), test.labels, trained.task.classes, test.index)


@doing("drawing figures")
def _log_figures(job: Job, tracked: Run, trained: Trained) -> None:
    from kd.reports.training_figures import training_figures  # noqa: PLC0415 - matplotlib is a slow import

    for name, figure in training_figures(trained, job.teacher, job.temperature).items():
        tracked.log_figure(figure, name)
