"""The losses of soft targets since 2015 beside Hinton's, each tuned on val in as many trainings."""

from collections.abc import Mapping
from dataclasses import dataclass

from kd.distillation.results import Trained
from kd.lab.experiment import Contrast, Experiment, Measured, correct
from kd.lab.seeds import derived_seed
from kd.lab.setup import Setup
from kd.losses.choice import SoftLoss

HARD, KD = "hard targets", "kd"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A loss with its weight against the hard targets and, where it is not that of the settings, its temperature."""

    loss: SoftLoss
    alpha: float
    temperature: float | None = None

    def told(self) -> dict[str, float]:
        """Return what tells it from the other candidates of its loss."""
        return {"alpha": self.alpha, **({"T": self.temperature} if self.temperature else {}), **self.loss.weights}


CANDIDATES: Mapping[str, tuple[Candidate, ...]] = {
    KD: (Candidate(SoftLoss(), 0.5, 4.0), Candidate(SoftLoss(), 0.9, 4.0), Candidate(SoftLoss(), 0.9, 20.0)),
    "mse": (Candidate(SoftLoss("mse"), 0.5), Candidate(SoftLoss("mse"), 0.9), Candidate(SoftLoss("mse"), 0.99)),
    "dkd": (
        Candidate(SoftLoss("dkd", {"beta": 8.0}), 0.5, 4.0),
        Candidate(SoftLoss("dkd", {"beta": 8.0}), 0.9, 4.0),
        Candidate(SoftLoss("dkd", {"beta": 2.0}), 0.9, 4.0),
    ),
    "dist": (
        Candidate(SoftLoss("dist"), 0.5, 1.0),
        Candidate(SoftLoss("dist"), 0.9, 1.0),
        Candidate(SoftLoss("dist"), 0.5, 4.0),
    ),
    "kd, standardised logits": (
        Candidate(SoftLoss(standardize=True), 0.5, 2.0),
        Candidate(SoftLoss(standardize=True), 0.9, 2.0),
        Candidate(SoftLoss(standardize=True), 0.9, 4.0),
    ),
}
"""What each loss is tuned over: its weight, and what its paper has it depend on most; as many for each."""


def run(setup: Setup, seed: int) -> Measured:
    """Tune each loss on val with a seed that nothing is reported of, then compare them with one seed, teacher and views."""
    teacher = setup.teacher(seed)
    targets = setup.targets(teacher)
    hard = setup.hard(seed, HARD)

    def distil(candidate: Candidate, own_seed: int, name: str) -> Trained:
        alpha, temperature = candidate.alpha, candidate.temperature
        return setup.soft(teacher, own_seed, name, loss=candidate.loss, alpha=alpha, temperature=temperature, targets=targets)

    students, figures = {HARD: hard}, {}
    for name, candidates in CANDIDATES.items():
        tried = {one: distil(one, derived_seed(seed, 1), tuning(name, one)) for one in candidates}
        best = best_on_val(tried)
        students[name] = distil(best, seed, name)
        figures.update({chosen(name, setting): value for setting, value in best.told().items()})
    return Measured(
        correct={"teacher": correct(teacher), **{name: correct(student) for name, student in students.items()}},
        contrasts=(
            *(Contrast(name, KD) for name in CANDIDATES if name != KD),
            *(Contrast(name, HARD, "gain" if name == KD else None) for name in CANDIDATES),
        ),
        parameters={"teacher": teacher.parameters, **{name: student.parameters for name, student in students.items()}},
        figures=figures,
    )


def best_on_val(tried: Mapping[Candidate, Trained]) -> Candidate:
    """Return the candidate whose net ranks highest on val, the first of equals."""
    return max(tried, key=lambda candidate: tried[candidate].val.rank)


def tuning(loss: str, candidate: Candidate) -> str:
    """Return the name of a training by which a loss is tuned."""
    return f"tuning {loss}: {', '.join(f'{name} {value:g}' for name, value in candidate.told().items())}"


def chosen(loss: str, setting: str) -> str:
    """Return the name of the figure of what was chosen for a loss."""
    return f"{loss}: {setting} chosen on val"


EXPERIMENT = Experiment(
    title="Losses of soft targets since 2015",
    section="section 2",
    claim="The loss of soft targets at T, beside a smaller share of hard targets, does better than hard targets alone. The "
    "other losses are of later papers.",
    tried="Each loss is tuned on val, with three settings and a seed of which nothing is reported, so that its alpha and T "
    "may be others than those below. Then all are trained with one seed, teacher and views.",
    run=run,
)
