"""The generalist and its specialists as one tracked model: corrected on val, combined by Eq. 5, compared on test."""

import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kd.distillation.teacher import Teacher
from kd.evaluation.intervals import Interval, mcnemar, paired_bootstrap, paired_relative_gain
from kd.evaluation.predict import EVAL_BATCH_SIZE, predict
from kd.evaluation.scores import score
from kd.machine.memory import give_back_freed_memory
from kd.machine.signals import stoppable
from kd.nets.cost import count_parameters
from kd.specialists.clustering import Group
from kd.specialists.combined import CombinedModel, Specialist
from kd.specialists.dustbin import fit_correction, group_labels, paper_correction
from kd.specialists.kind import Correction, TaskKind
from kd.tracking import store as tracking
from kd.tracking.workspace import Setting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("kd")


CORRECTIONS: tuple[Correction, ...] = ("none", "paper", "fit")


BOOTSTRAP_SEED = 0


LATENCY_IMAGES = 128


LATENCY_REPEATS = 5


@dataclass(frozen=True, eq=False)
class Member:
    """A trained specialist that takes part in a combination, on the command's device."""

    name: str
    run_id: str
    model: nn.Module
    group: Group
    kind: TaskKind
    own_fraction: float


@dataclass(frozen=True)
class CombineOptions:
    """How specialists are combined."""

    correction: Correction
    top_n: int
    register_as: str = ""


@dataclass(frozen=True, eq=False)
class Combination:
    """A combined model, where it is tracked, and how it compares with the generalist alone."""

    seed: int
    run_id: str
    link: str
    metrics: dict[str, float]
    gain: Interval
    """Test accuracy of the combination less that of the generalist, over images."""
    p_value: float
    """McNemar's, of the same two."""
    before: Tensor
    """Which test images the generalist has right, (N,) bool."""
    after: Tensor
    """Which the combination has right, (N,) bool."""
    table: tuple["CoverRow", ...]
    parameters: int


@dataclass(frozen=True)
class CoverRow:
    """A row of the paper's Table 4: the test images whose true class a number of specialists covers."""

    cover: int
    gain: Interval
    """Relative gain in accuracy, with n, the number of images."""


class _Known(nn.Module):
    """Stands for a net whose logits are known: its "images" are rows."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self._logits = logits

    def forward(self, rows: Tensor) -> Tensor:
        return self._logits[rows]


@dataclass(frozen=True, eq=False)
class Parts:
    """What is combined, with each part's logits on val and test."""

    setting: Setting
    teacher: Teacher
    members: Sequence[Member]
    top_n: int
    val_logits: Sequence[Tensor]
    test_logits: Sequence[Tensor]

    def model(self, generalist: nn.Module, nets: Sequence[nn.Module], shifts: Sequence[float]) -> CombinedModel:
        """Return nets, or what stands for them, as one model."""
        specialists = [
            Specialist(net, member.group, member.kind, shift)
            for net, member, shift in zip(nets, self.members, shifts, strict=True)
        ]
        return CombinedModel(generalist, specialists, self.setting.dataset.num_classes, self.top_n).eval()

    def probabilities(self, generalist: Tensor, specialists: Sequence[Tensor], shifts: Sequence[float]) -> Tensor:
        """Return the combined probabilities (N, C) from known logits on the same N images."""
        model = self.model(_Known(generalist), [_Known(logits) for logits in specialists], shifts)
        with torch.inference_mode():
            chunks = torch.split(torch.arange(len(generalist)), EVAL_BATCH_SIZE)
            return torch.cat([model(rows) for rows in stoppable(chunks)])


def combine_specialists(  # noqa: PLR0913 - the parts, how they are combined, and what the run is called
    setting: Setting, teacher: Teacher, members: Sequence[Member], options: CombineOptions, *, name: str, seed: int
) -> Combination:
    """Combine a generalist and specialists in a child run of their own, and compare the two on val and test.

    The dustbin's correction is worked out in three ways, all scored on val; the configured one is used.
    """
    dataset = setting.dataset
    tags = {**setting.tags, "kd.seed": str(seed), "kd.role": "combined", "kd.teacher": teacher.run_id, "kd.group": "all"}
    with tracking.run(name, output_dir=setting.output_dir, tags=tags) as tracked:
        tracked.log_params({"dustbin_correction": options.correction, "top_n": str(options.top_n), "seed": str(seed)})
        tracked.log_dataset(dataset.name, dataset.digest, {"role": "combined"})
        parts = Parts(
            setting,
            teacher,
            members,
            options.top_n,
            [predict(member.model, dataset.val) for member in members],
            [predict(member.model, dataset.test) for member in members],
        )
        shifts = {correction: dustbin_shifts(correction, parts) for correction in CORRECTIONS}
        chosen = shifts[options.correction]
        test = parts.probabilities(teacher.test_logits, parts.test_logits, chosen)
        model = parts.model(teacher.model, [member.model for member in members], chosen)
        metrics = {
            **_correction_metrics(parts, shifts),
            **_comparison(parts, parts.probabilities(teacher.val_logits, parts.val_logits, chosen), "val"),
            **_comparison(parts, test, "test"),
            "parameters": count_parameters(model),
            "generalist_ms_per_image": _milliseconds(teacher.model, setting),
            "combined_ms_per_image": _milliseconds(model, setting),
        }
        combination = _combination(parts, test, metrics, tracked, seed)
        give_back_freed_memory()
        for figure_name, figure in _figures(parts, combination, test).items():
            tracked.log_figure(figure, figure_name)
        model_id = tracked.log_model(model, dataset.image_shape, _metadata(parts, metrics))
        tracked.log_metrics(metrics, model_id=model_id)
        if options.register_as:
            tracked.register(options.register_as, model_id, metrics["val_combined_accuracy"], dataset.digest)
    log.info(
        "%s: test accuracy %.2f %%, generalist alone %.2f %%, run %s",
        name,
        100 * metrics["test_combined_accuracy"],
        100 * metrics["test_generalist_accuracy"],
        combination.run_id,
    )
    return combination


def cover_table(before: Tensor, after: Tensor, cover: Tensor) -> tuple[CoverRow, ...]:
    """Return the paper's Table 4: relative gain in accuracy by the number of specialists that cover the true class.

    Args:
        before: which images the generalist has right, (N,) bool.
        after: which the combination has right, (N,) bool.
        cover: the number of specialists that cover each image's true class, (N,) int64.
    """
    rows = []
    for count in sorted(set(cover.tolist())):
        images = cover == count
        gain = paired_relative_gain(before[images].numpy(), after[images].numpy(), seed=BOOTSTRAP_SEED)
        rows.append(CoverRow(int(count), gain))
    return tuple(rows)


def dustbin_shifts(correction: Correction, parts: Parts) -> list[float]:
    """Return what one way of correcting adds to the dustbin's logit of each specialist; 0 where there is none."""
    dataset = parts.setting.dataset
    counts = dataset.train.labels.bincount(minlength=dataset.num_classes)
    shifts = []
    for member, logits in zip(parts.members, parts.val_logits, strict=True):
        shift = 0.0
        if member.kind == TaskKind.DUSTBIN and correction == "fit":
            shift = fit_correction(logits, group_labels(dataset.val.labels, member.group, dataset.num_classes, dustbin=True))
        # An epoch of the group's classes alone has no odds of the dustbin to correct.
        elif member.kind == TaskKind.DUSTBIN and correction == "paper" and member.own_fraction < 1:
            shift = paper_correction(counts, member.group, member.own_fraction)
        shifts.append(shift)
    return shifts


def _correction_metrics(parts: Parts, shifts: Mapping[Correction, Sequence[float]]) -> dict[str, float]:
    """Return, for each way of correcting, the shifts and how the combination then scores on val."""
    metrics: dict[str, float] = {}
    for correction, values in shifts.items():
        combined = parts.probabilities(parts.teacher.val_logits, parts.val_logits, values)
        scores = score(combined.log(), parts.setting.dataset.val.labels)
        metrics |= scores.metrics(f"val_correction_{correction}")
        metrics |= {f"dustbin_shift_{correction}_{number}": value for number, value in enumerate(values)}
    return metrics


def _comparison(parts: Parts, combined: Tensor, split_name: Literal["val", "test"]) -> dict[str, float]:
    """Return how generalist and combination score on a split, and the difference with its interval and test."""
    dataset, teacher = parts.setting.dataset, parts.teacher
    labels = (dataset.val if split_name == "val" else dataset.test).labels
    generalist = teacher.val_logits if split_name == "val" else teacher.test_logits
    before, after = generalist.argmax(dim=1) == labels, combined.argmax(dim=1) == labels
    covered = _cover(labels, parts.members) > 0
    gain = paired_bootstrap(before.numpy(), after.numpy(), seed=BOOTSTRAP_SEED)
    return {
        **score(generalist, labels).metrics(f"{split_name}_generalist"),
        **score(combined.log(), labels).metrics(f"{split_name}_combined"),
        f"{split_name}_generalist_conditional_accuracy": before[covered].double().mean().item(),
        f"{split_name}_combined_conditional_accuracy": after[covered].double().mean().item(),
        f"{split_name}_gain": gain.mean,
        f"{split_name}_gain_low": gain.low,
        f"{split_name}_gain_high": gain.high,
        f"{split_name}_mcnemar_p": mcnemar(before.numpy(), after.numpy()),
    }


def _combination(parts: Parts, test: Tensor, metrics: dict[str, float], tracked: tracking.Run, seed: int) -> Combination:
    labels = parts.setting.dataset.test.labels
    before, after = parts.teacher.test_logits.argmax(dim=1) == labels, test.argmax(dim=1) == labels
    return Combination(
        seed=seed,
        run_id=tracked.id,
        link=tracked.link,
        metrics=metrics,
        gain=paired_bootstrap(before.numpy(), after.numpy(), seed=BOOTSTRAP_SEED),
        p_value=metrics["test_mcnemar_p"],
        before=before,
        after=after,
        table=cover_table(before, after, _cover(labels, parts.members)),
        parameters=int(metrics["parameters"]),
    )


def _cover(labels: Tensor, members: Sequence[Member]) -> Tensor:
    """Return how many specialists cover each label, (N,) int64."""
    cover = torch.zeros_like(labels)
    for member in members:
        cover += torch.isin(labels, torch.tensor(member.group))
    return cover


def _milliseconds(model: nn.Module, setting: Setting) -> float:
    """Return the median time that the model takes for an image, in batches of 128 or all test images if fewer."""
    images = setting.dataset.test.images[:LATENCY_IMAGES].to(setting.device)
    model = model.to(setting.device)
    seconds = []
    with torch.inference_mode():
        for _ in range(LATENCY_REPEATS):
            started = time.perf_counter()
            model(images).sum().item()  # waits for the device
            seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds) / len(images)


def _figures(parts: Parts, combination: Combination, test: Tensor) -> dict[str, "Figure"]:
    from kd.reports import plots  # noqa: PLC0415 - matplotlib is a slow import

    dataset = parts.setting.dataset
    rows = combination.table
    gains = [100 * np.array([getattr(row.gain, part) for row in rows]) for part in ("mean", "low", "high")]
    return {
        "relative_gain_by_cover": plots.relative_gain_by_cover(
            [row.cover for row in rows],
            gains[0],
            [row.gain.n for row in rows],
            gains[1],
            gains[2],
            f"Gain by cover: generalist and specialists on {dataset.name}, test",
        ),
        "mended_and_broken": plots.mended_and_broken(
            dataset.test.images.numpy(),
            dataset.test.labels.numpy(),
            parts.teacher.test_logits.argmax(dim=1).numpy(),
            test.argmax(dim=1).numpy(),
            dataset.classes,
            f"Mended and broken by the specialists on {dataset.name}, test",
        ),
        "confusion_matrix": plots.confusion_matrix(
            dataset.test.labels.numpy(),
            test.argmax(dim=1).numpy(),
            dataset.classes,
            f"Confusion of generalist and specialists on {dataset.name}, test",
        ),
    }


def _metadata(parts: Parts, metrics: Mapping[str, float]) -> dict[str, Any]:
    dataset = parts.setting.dataset
    return {
        "role": "combined",
        "kind": TaskKind.ALL.value,
        "outputs": "probabilities",
        "classes": list(dataset.classes),
        "image_shape": list(dataset.image_shape),
        "data": dataset.name,
        "data_digest": dataset.digest,
        "generalist": parts.teacher.run_id,
        "specialists": [member.run_id for member in parts.members],
        "top_n": parts.top_n,
        "val_accuracy": metrics["val_combined_accuracy"],
        "parameters": int(metrics["parameters"]),
    }
