"""The generalist and its specialists as one model: corrected on val, combined by Eq. 5, compared on test (paper, section 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd.data.dataset import Dataset, Split
from kd.distillation.fingerprint import fingerprint
from kd.distillation.results import Tracked, TrackedRun, Trained
from kd.distillation.target_cache import weights_digest
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.evaluation.intervals import BOOTSTRAP_SEED, Interval, mcnemar, paired_bootstrap, paired_relative_gain
from kd.evaluation.latency import Latency, latencies
from kd.evaluation.predict import EVAL_BATCH_SIZE, predict
from kd.evaluation.scores import Scores, score
from kd.machine.activity import counted, doing
from kd.machine.signals import stoppable
from kd.nets.cost import count_parameters
from kd.specialists.clustering import Group
from kd.specialists.combined import CombinedModel, Specialist
from kd.specialists.dustbin import fit_correction, group_labels, paper_correction
from kd.specialists.kind import Correction, TaskKind

CORRECTIONS: tuple[Correction, ...] = ("none", "paper", "fit")


@dataclass(frozen=True, eq=False)
class Member(Tracked):
    """A trained specialist that takes part in a combination, on its device."""

    name: str
    model: nn.Module
    group: Group
    kind: TaskKind
    own_fraction: float
    run: TrackedRun | None = None


@dataclass(frozen=True, eq=False)
class CombinationJob:
    """A combination to carry out: its parts, and how they are combined."""

    name: str
    teacher: Teacher
    members: Sequence[Member]
    correction: Correction
    top_n: int
    """Number of the generalist's most probable classes that call their specialists."""
    device: torch.device
    seed: int
    """Seed of the specialists."""

    def fingerprint(self) -> str:
        """Return 32 hex digits over all that decides the combined model."""
        return fingerprint(
            {
                "role": "combined",
                "data": self.teacher.dataset.digest,
                "teacher": self.teacher.digest,
                "members": [
                    [weights_digest(member.model), list(member.group), member.kind, member.own_fraction]
                    for member in self.members
                ],
                "correction": self.correction,
                "top_n": self.top_n,
                "seed": self.seed,
            }
        )


@dataclass(frozen=True)
class CoverRow:
    """A row of the paper's Table 4: the test images whose true class a number of specialists covers."""

    cover: int
    gain: Interval
    """Relative gain in accuracy; its n is the number of images."""


@dataclass(frozen=True)
class Corrected:
    """One way of correcting the dustbin's logit, and the combination's scores with it on val."""

    shifts: tuple[float, ...]
    """Shift of the dustbin's logit in nats, per specialist."""
    val: Scores


@dataclass(frozen=True)
class Beside:
    """The combination beside the generalist alone, on the images of one split."""

    generalist: Scores
    combined: Scores
    generalist_conditional_accuracy: float
    """Accuracy of the generalist on the images whose true class some specialist covers."""
    combined_conditional_accuracy: float
    """Accuracy of the combination on these images."""
    gain: Interval
    """Accuracy of the combination less that of the generalist, over images."""
    p_value: float
    """McNemar's p-value of the same difference."""


@dataclass(frozen=True, eq=False)
class Combination(Tracked):
    """A combined model, beside the generalist alone."""

    name: str
    model: CombinedModel
    """Maps uint8 images (B, C, H, W) to probabilities (B, classes)."""
    dataset: Dataset
    members: tuple[Member, ...]
    top_n: int
    seed: int
    corrections: Mapping[Correction, Corrected]
    val: Beside
    test: Beside
    test_probabilities: Tensor
    """(N, classes), on the test images."""
    before: Tensor
    """Whether the generalist is right on each test image, (N,) bool."""
    after: Tensor
    """Whether the combination is right on each test image, (N,) bool."""
    table: tuple[CoverRow, ...]
    parameters: int
    latencies: tuple[Latency, ...]
    """Time of a pass, by the size of the batch."""
    generalist_latencies: tuple[Latency, ...]
    """The same of the generalist alone."""
    run: TrackedRun | None = None


class _Known(nn.Module):
    """A stand-in for a net whose logits are known: its "images" are row numbers."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self._logits = logits

    def forward(self, rows: Tensor) -> Tensor:
        return self._logits[rows]


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a combination, with the specialists' logits on val and test."""

    teacher: Teacher
    members: Sequence[Member]
    top_n: int
    val_logits: Sequence[Tensor]
    test_logits: Sequence[Tensor]

    def model(self, generalist: nn.Module, nets: Sequence[nn.Module], shifts: Sequence[float]) -> CombinedModel:
        """Return nets, or their stand-ins, as one model."""
        specialists = [
            Specialist(net, member.group, member.kind, shift)
            for net, member, shift in zip(nets, self.members, shifts, strict=True)
        ]
        return CombinedModel(generalist, specialists, self.teacher.dataset.num_classes, self.top_n).eval()

    def probabilities(self, generalist: Tensor, specialists: Sequence[Tensor], shifts: Sequence[float]) -> Tensor:
        """Return the combined probabilities (N, C) from known logits on the same N images."""
        model = self.model(_Known(generalist), [_Known(logits) for logits in specialists], shifts)
        with torch.inference_mode():
            chunks = torch.split(torch.arange(len(generalist)), EVAL_BATCH_SIZE)
            return torch.cat([model(rows) for rows in stoppable(counted(chunks, len(chunks)))])


def as_member(trained: Trained) -> Member:
    """Return a trained specialist as a member of a combination.

    Raises:
        UserError: it is a student, which tells all classes apart.
    """
    task = trained.task
    if task.kind == TaskKind.ALL:
        raise UserError(f"{trained.name} is not a specialist: it was trained on all classes", field="specialists")
    return Member(trained.name, trained.model, task.group, task.kind, task.own_fraction, trained.run)


@doing("combining generalist and specialists")
def combine_job(job: CombinationJob) -> Combination:
    """Combine a generalist and specialists, and compare the two on val and test.

    The dustbin's correction is worked out in three ways, all scored on val; the one that was asked for is used.
    """
    dataset, teacher = job.teacher.dataset, job.teacher
    parts = Parts(
        teacher,
        job.members,
        job.top_n,
        [predict(member.model, dataset.val) for member in job.members],
        [predict(member.model, dataset.test) for member in job.members],
    )
    corrections = {correction: _corrected(parts, correction) for correction in CORRECTIONS}
    shifts = corrections[job.correction].shifts
    val = parts.probabilities(teacher.val_logits, parts.val_logits, shifts)
    test = parts.probabilities(teacher.test_logits, parts.test_logits, shifts)
    model = parts.model(teacher.model, [member.model for member in job.members], shifts)
    before, after = teacher.test_logits.argmax(dim=1) == dataset.test.labels, test.argmax(dim=1) == dataset.test.labels
    return Combination(
        name=job.name,
        model=model,
        dataset=dataset,
        members=tuple(job.members),
        top_n=job.top_n,
        seed=job.seed,
        corrections=corrections,
        val=_beside(job.members, dataset.val, teacher.val_logits, val),
        test=_beside(job.members, dataset.test, teacher.test_logits, test),
        test_probabilities=test,
        before=before,
        after=after,
        table=cover_table(before, after, _cover(dataset.test.labels, job.members)),
        parameters=count_parameters(model),
        latencies=latencies(model.to(job.device), dataset.test.images),
        generalist_latencies=teacher.latencies,
    )


def cover_table(before: Tensor, after: Tensor, cover: Tensor) -> tuple[CoverRow, ...]:
    """Return the paper's Table 4: relative gain in accuracy by the number of specialists that cover the true class.

    Args:
        before: whether the generalist is right on each image, (N,) bool.
        after: whether the combination is right on each image, (N,) bool.
        cover: the number of specialists that cover each image's true class, (N,) int64.
    """
    rows = []
    for count in sorted(set(cover.tolist())):
        images = cover == count
        gain = paired_relative_gain(before[images].numpy(), after[images].numpy(), seed=BOOTSTRAP_SEED)
        rows.append(CoverRow(int(count), gain))
    return tuple(rows)


def dustbin_shifts(correction: Correction, parts: Parts) -> list[float]:
    """Return the shift of each specialist's dustbin logit by one way of correcting; 0 where there is no dustbin."""
    dataset = parts.teacher.dataset
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


def _corrected(parts: Parts, correction: Correction) -> Corrected:
    shifts = dustbin_shifts(correction, parts)
    combined = parts.probabilities(parts.teacher.val_logits, parts.val_logits, shifts)
    return Corrected(tuple(shifts), score(combined.log(), parts.teacher.dataset.val.labels))


def _beside(members: Sequence[Member], split: Split, generalist: Tensor, combined: Tensor) -> Beside:
    """Compare the generalist's logits (N, C) and the combined probabilities (N, C) on a split."""
    labels = split.labels
    before, after = generalist.argmax(dim=1) == labels, combined.argmax(dim=1) == labels
    covered = _cover(labels, members) > 0
    return Beside(
        generalist=score(generalist, labels),
        combined=score(combined.log(), labels),
        generalist_conditional_accuracy=before[covered].double().mean().item(),
        combined_conditional_accuracy=after[covered].double().mean().item(),
        gain=paired_bootstrap(before.numpy(), after.numpy(), seed=BOOTSTRAP_SEED),
        p_value=mcnemar(before.numpy(), after.numpy()),
    )


def _cover(labels: Tensor, members: Sequence[Member]) -> Tensor:
    """Return how many specialists cover each label, (N,) int64."""
    cover = torch.zeros_like(labels)
    for member in members:
        cover += torch.isin(labels, torch.tensor(member.group))
    return cover
