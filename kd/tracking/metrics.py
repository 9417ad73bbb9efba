"""The one place that names metrics, and the params of a training, from the library's records."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from kd.distillation.combination import Beside, Combination
from kd.distillation.job import Job
from kd.distillation.results import Trained
from kd.evaluation.intervals import Interval
from kd.evaluation.latency import Latency
from kd.evaluation.scores import Scores
from kd.losses.choice import SoftLoss
from kd.losses.names import LOSS_WEIGHTS
from kd.machine.names import metric_name
from kd.reports.changes import Change
from kd.reports.page.contents import WITH_DUSTBIN
from kd.specialists.kind import TaskKind
from kd.tracking.params import canonical
from kd.training.fit import ScoredEpoch

_NUMBERED = re.compile(r"specialist \d+(?= )")
"""The part of a specialist's label that comes before its classes."""


def score_metrics(scores: Scores, prefix: str) -> dict[str, float]:
    """Return scores by name, e.g. ``val/accuracy`` for the prefix ``val/``."""
    return {f"{prefix}{name}": value for name, value in asdict(scores).items() if value is not None}


def epoch_metrics(epoch: ScoredEpoch[Scores]) -> dict[str, float]:
    """Return the metrics of one epoch, with its number as ``epoch``."""
    return {
        "epoch": float(epoch.number),
        "train/loss": epoch.train.loss,
        "train/soft_loss": epoch.train.soft_loss,
        "train/hard_loss": epoch.train.hard_loss,
        "train/accuracy": epoch.train.accuracy,
        "train/learning_rate": epoch.train.learning_rate,
        "train/seconds": epoch.train.seconds,
        "train/images_per_second": epoch.train.images_per_second,
        **score_metrics(epoch.val, "val/"),
    }


def training_metrics(trained: Trained) -> dict[str, float]:
    """Return the final metrics of a training."""
    metrics = {
        **_test_metrics(trained),
        **score_metrics(trained.val, "val/chosen_"),
        "val/chosen_epoch": trained.chosen_epoch,
        "cost/parameters": trained.parameters,
        "cost/multiply_adds": trained.multiply_adds,
        "cost/train_seconds": trained.seconds,
        **latency_metrics(trained.latencies),
    }
    return metrics if trained.teacher_agreement is None else {**metrics, "test/teacher_agreement": trained.teacher_agreement}


def _test_metrics(trained: Trained) -> dict[str, float]:
    """Return the scores on test; ``test/accuracy``, a column to sort by, is that of nets that tell all classes apart."""
    metrics = score_metrics(trained.test, "test/")
    if trained.task.kind == TaskKind.DUSTBIN:
        metrics[WITH_DUSTBIN] = metrics.pop("test/accuracy")
    elif trained.task.kind == TaskKind.OWN:
        del metrics["test/accuracy"]  # it is test/own_accuracy
    return metrics


def combination_metrics(combination: Combination) -> dict[str, float]:
    """Return the final metrics of a combination."""
    metrics: dict[str, float] = {}
    for correction, corrected in combination.corrections.items():
        metrics |= score_metrics(corrected.val, f"dustbin/{correction}_val_")
        metrics |= {f"dustbin/{correction}_shift_{number}": value for number, value in enumerate(corrected.shifts)}
    return {
        **metrics,
        **_beside_metrics(combination.val, "val/"),
        **_beside_metrics(combination.test, "test/"),
        "cost/parameters": combination.parameters,
        **latency_metrics(combination.latencies),
        "cost/ms_per_image": _per_image(combination.latencies),
        "cost/generalist_ms_per_image": _per_image(combination.generalist_latencies),
    }


def latency_metrics(latencies: Sequence[Latency]) -> dict[str, float]:
    """Return the time of a pass by the size of the batch, e.g. ``cost/latency_ms_batch_1``."""
    return {f"cost/latency_ms_batch_{one.batch}": one.median_ms for one in latencies}


def _per_image(latencies: Sequence[Latency]) -> float:
    """Return the time per image in the largest batch."""
    return latencies[-1].median_ms / latencies[-1].batch


def size_metrics(size_bytes: int | None) -> dict[str, float]:
    """Return the size of a model's file; nothing where there is none."""
    return {} if size_bytes is None else {"cost/file_bytes": size_bytes}


def _beside_metrics(beside: Beside, split: str) -> dict[str, float]:
    return {
        **score_metrics(beside.combined, split),
        **score_metrics(beside.generalist, f"{split}generalist_"),
        f"{split}conditional_accuracy": beside.combined_conditional_accuracy,
        f"{split}generalist_conditional_accuracy": beside.generalist_conditional_accuracy,
        f"{split}gain": beside.gain.mean,
        f"{split}gain_low": beside.gain.low,
        f"{split}gain_high": beside.gain.high,
        f"{split}mcnemar_p": beside.p_value,
    }


def change_metrics(changes: Sequence[Change]) -> dict[str, float]:
    """Return changes, e.g. ``student/test_accuracy``, ``student/control_test_accuracy`` and ``student/minus_control``.

    Those of a specialist begin with its number, as in ``specialist_0/test_accuracy``; names of classes may hold what no metric
    can be named by.
    """
    metrics: dict[str, float] = {}
    for change, prefix in zip(changes, _prefixes(changes), strict=True):
        parts: Mapping[str, Interval] = {
            f"{prefix}/test_accuracy": change.after,
            f"{prefix}/{metric_name(change.beside)}_test_accuracy": change.before,
            f"{prefix}/minus_{metric_name(change.beside)}": change.difference,
        }
        for name, interval in parts.items():
            metrics[name] = interval.mean
            if interval.is_known:
                metrics |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return metrics


def _prefixes(changes: Sequence[Change]) -> list[str]:
    """Return the beginning of the names of each change's metrics, those of two systems never alike."""
    by_label: dict[str, str] = {}
    used: Counter[str] = Counter()
    for label in dict.fromkeys(change.label for change in changes):
        numbered = _NUMBERED.match(label)
        prefix = metric_name(numbered.group() if numbered else label)
        used[prefix] += 1
        by_label[label] = prefix if used[prefix] == 1 else f"{prefix}_{used[prefix]}"
    return [by_label[change.label] for change in changes]


def loss_settings(loss: SoftLoss) -> dict[str, object]:
    """Return the settings of a loss by the names of their flags, for example ``dkd_beta``."""
    weights = {f"{loss.name}_{name}": value for name, value in {**LOSS_WEIGHTS.get(loss.name, {}), **loss.weights}.items()}
    return {"loss": loss.name, **weights, "standardize": loss.standardize}


def job_params(job: Job) -> dict[str, str]:
    """Return the params of a training: the settings that a reader compares."""
    recipe = job.recipe
    decided: dict[str, object] = {
        "data": job.dataset.name,
        "net": job.net.name,
        **job.net.settings,
        **{name: getattr(recipe, name) for name in ("epochs", "batch_size", "lr", "weight_decay", "optimizer")},
        **{name: getattr(recipe, name) for name in ("label_smoothing", "start_px", "shift_px", "views", "seed")},
        **{name: getattr(recipe, name) for name in ("use", "select_by")},
        "data_seed": job.dataset.seed,
    }
    guided: dict[str, object] = {"temperature": job.temperature, "alpha": job.alpha, "unlabelled": job.task.unlabelled or None}
    if job.loss is not None:
        guided |= loss_settings(job.loss)
    decided |= {name: value for name, value in guided.items() if value is not None}
    return {name: canonical(value) for name, value in decided.items()}
