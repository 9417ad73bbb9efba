"""What distillation and specialists changed: paired differences, over images for one seed and over seeds for several."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kd.distillation.teacher import Teacher
from kd.evaluation.intervals import Interval, mcnemar, paired_bootstrap, paired_difference, t_interval, wilson_interval
from kd.tracking.combination import Combination
from kd.tracking.pairs import Pair

BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Change:
    """The accuracy of a system beside that of what it is compared with, and the paired difference, on test."""

    label: str
    before: Interval
    after: Interval
    difference: Interval
    p_value: float | None
    """McNemar's; None over several seeds."""
    teacher: float | None = None
    """The teacher's accuracy on the same images, among the same classes."""

    @property
    def over(self) -> str:
        """Say what n counts."""
        return "seeds" if self.p_value is None else "images"

    def metrics(self, before: str, after: str) -> dict[str, float]:
        """Return the change as metrics, e.g. ``student_test_accuracy`` and ``student_minus_control``."""
        slug = self.label.replace(" ", "_")
        prefix = f"{slug}_{after}" if after else slug
        parts = {
            f"{prefix}_test_accuracy": self.after,
            f"{slug}_{before}_test_accuracy": self.before,
            f"{prefix}_minus_{before}": self.difference,
        }
        named = {}
        for name, interval in parts.items():
            named[name] = interval.mean
            if interval.is_known:
                named |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        return named


def distillation_changes(teacher: Teacher, pairs: Sequence[Pair]) -> list[Change]:
    """Return, for each net that was distilled beside a control, what distillation changed on its own classes."""
    by_label: dict[str, list[tuple[Tensor, Tensor]]] = {}
    guides = {}
    for pair in pairs:
        if pair.control is None:
            continue
        task = pair.distilled.task
        labels = task.test.labels
        control, distilled = (task.own_correct(trained.test_logits, labels) for trained in (pair.control, pair.distilled))
        by_label.setdefault(pair.label, []).append((control, distilled))
        guide = task.own_correct(task.of_teacher(teacher.test_on(task), 1.0), labels)
        guides[pair.label] = guide.double().mean().item()
    return [_change(label, seeds, guides[label]) for label, seeds in by_label.items()]


def combination_change(combinations: Sequence[Combination]) -> Change:
    """Return what the specialists changed in the generalist's accuracy on all classes."""
    return _change("combined", [(combination.before, combination.after) for combination in combinations], None)


def _change(label: str, seeds: Sequence[tuple[Tensor, Tensor]], teacher: float | None) -> Change:
    """Compare which images were right before and after, for each seed."""
    if len(seeds) == 1:
        before, after = (correct.numpy() for correct in seeds[0])
        return Change(
            label,
            wilson_interval(int(before.sum()), len(before)),
            wilson_interval(int(after.sum()), len(after)),
            paired_bootstrap(before, after, seed=BOOTSTRAP_SEED),
            mcnemar(before, after),
            teacher,
        )
    befores, afters = ([correct.double().mean().item() for correct in column] for column in zip(*seeds, strict=True))
    return Change(label, t_interval(befores), t_interval(afters), paired_difference(afters, befores), None, teacher)
