"""One combination in one MLflow run."""

import logging
from dataclasses import replace
from typing import Any

from kd.data.decode import CROP
from kd.distillation.combination import Combination, CombinationJob, combine_job
from kd.distillation.saved import saved_texts
from kd.machine.memory import give_back_freed_memory
from kd.reports.cost import file_bytes
from kd.reports.model_page import combination_page, model_card
from kd.reports.tables import answer_tables
from kd.specialists.kind import TaskKind
from kd.tracking.earlier import FINGERPRINT
from kd.tracking.metrics import combination_metrics, size_metrics
from kd.tracking.provenance import device_tag
from kd.tracking.resume import earlier_run
from kd.tracking.run_names import details
from kd.tracking.run_settings import RunSettings
from kd.tracking.store import NOT_EXPORTED, finished_run, run, say_reuse

log = logging.getLogger("kd")


def combine_in_run(job: CombinationJob, settings: RunSettings) -> Combination:
    """Combine in a run of its own: a child of the open run, or the top run.

    Args:
        job: the combination.
        settings: settings that all runs share, among them the name in the model registry.

    Raises:
        UserError: the tracking store can't be used.
    """
    with earlier_run(job.fingerprint(), settings) as earlier:
        if earlier is not None and earlier.is_finished:
            finished = finished_run(earlier.id, job.name, settings.output_dir)
            say_reuse(f"{job.name}: finished in run {earlier.id}: reused")
            # Its parts are at hand: this is quicker than to read it.
            return replace(combine_job(job), run=finished.as_result(exported=settings.export))
        return _combined_in_run(job, settings, None if earlier is None else earlier.id)


def _combined_in_run(job: CombinationJob, settings: RunSettings, again: str | None) -> Combination:
    dataset, teacher = job.teacher.dataset, job.teacher
    tags = {
        **settings.tags,
        "kd.device": device_tag(job.device),
        "kd.data": dataset.name,
        "kd.data_digest": dataset.digest,
        "kd.seed": str(job.seed),
        "kd.role": "combined",
        "kd.teacher": teacher.run_id,
        "kd.group": "all",
        FINGERPRINT: job.fingerprint(),
    }
    with run(
        job.name,
        details({"dustbin_correction": job.correction, "top_n": job.top_n}),
        output_dir=settings.output_dir,
        tags=tags,
        again=again,
    ) as tracked:
        tracked.log_params({"dustbin_correction": job.correction, "top_n": str(job.top_n), "seed": str(job.seed)})
        tracked.log_dataset(dataset)
        combination = replace(combine_job(job), run=tracked.as_result(exported=settings.export))
        metrics = combination_metrics(combination)
        give_back_freed_memory()
        from kd.reports.combination_figures import combination_figures  # noqa: PLC0415 - matplotlib is a slow import

        for name, figure in combination_figures(combination, teacher).items():
            tracked.log_figure(figure, name)
        test = dataset.test
        tracked.log_tables(answer_tables(combination.test_probabilities, test.labels, dataset.classes, test.index))
        page = combination_page(combination, tracked.model_file)
        model_id = None
        if settings.export:
            model_id = tracked.log_model(
                combination.model,
                dataset.image_shape,
                _metadata(combination, job),
                page=page,
                texts=saved_texts(combination),
                beside=lambda size: model_card(page, combination, tracked.model_file, size),
            )
        else:
            tracked.log_tags({NOT_EXPORTED: "true"})  # its members have their weights
        size = size_metrics(file_bytes(combination.run))
        tracked.log_metrics({**metrics, **size}, model_id=model_id)
        if settings.register_as and model_id is not None:
            tracked.register(settings.register_as, model_id, combination.val.combined.accuracy, dataset.digest, page=page)
    log.info(
        "%s: test accuracy %.2f %%, generalist alone %.2f %%, run %s",
        job.name,
        100 * combination.test.combined.accuracy,
        100 * combination.test.generalist.accuracy,
        tracked.id,
    )
    return combination


def _metadata(combination: Combination, job: CombinationJob) -> dict[str, Any]:
    dataset = combination.dataset
    return {
        "role": "combined",
        "kind": TaskKind.ALL.value,
        "outputs": "probabilities",
        "classes": list(dataset.classes),
        "image_shape": list(dataset.image_shape),
        "data": dataset.name,
        "data_digest": dataset.digest,
        "held_out_digest": dataset.held_out_digest,
        "bit_depth": dataset.bit_depth,
        "crop": CROP,
        "generalist": job.teacher.run_id,
        "specialists": [member.run_id for member in combination.members],
        "top_n": combination.top_n,
        "val_accuracy": combination.val.combined.accuracy,
        "parameters": combination.parameters,
    }
