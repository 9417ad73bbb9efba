"""Section 4: a single net keeps most of what an ensemble of ten gains."""

from kd.distillation.teacher import Ensemble, Teacher
from kd.lab.experiment import Contrast, Experiment, Measured, correct
from kd.lab.seeds import derived_seed
from kd.lab.setup import Setup

MEMBERS = 10

ONE, ALL, DISTILLED = "single net", f"ensemble of {MEMBERS}", "net distilled from the ensemble"
MEAN = "mean accuracy of the members, %"
SHARE = "share of the ensemble's gain that is kept, %"


def run(setup: Setup, seed: int) -> Measured:
    """Train ten nets that differ in their seeds alone, and distil their mean into one net of the same form.

    The single net is a member, and the control of the distilled one. The share that is kept is one of gains over the members'
    mean, summed over all seeds: where the ensemble of one seed gains next to nothing, there is nothing to have a share of.
    """
    single = setup.hard(seed, ONE)
    members = [single]
    members += [setup.hard(derived_seed(seed, number), f"member {number + 1}") for number in range(1, MEMBERS)]
    together = Teacher(Ensemble([member.model for member in members]).eval(), setup.transfer, "trained")
    distilled = setup.soft(together, seed, DISTILLED)
    right = {ONE: correct(single), ALL: correct(together), DISTILLED: correct(distilled)}
    usual = sum(member.test.accuracy for member in members) / MEMBERS
    gained, kept = (float(right[name].double().mean()) - usual for name in (ALL, DISTILLED))
    return Measured(
        correct=right,
        contrasts=(Contrast(ALL, ONE, "gain"), Contrast(DISTILLED, ONE, "gain"), Contrast(DISTILLED, ALL)),
        parameters={ONE: single.parameters, ALL: together.parameters, DISTILLED: distilled.parameters},
        figures={MEAN: 100 * usual},
        ratios={SHARE: (100 * kept, gained)},
    )


EXPERIMENT = Experiment(
    title="An ensemble distilled into one net",
    section="section 4",
    claim="Ten nets together name 61.1 % of the frames of speech, one alone 58.9 %, and one distilled from the ten 60.8 %: it "
    "keeps more than 80 % of the gain.",
    tried="Ten nets that differ in their seeds alone, the mean of their probabilities, and one net of the same form that is "
    "distilled from it. The share that is kept is that of the gain over the members' mean accuracy.",
    run=run,
    published_on="speech",
    published={ONE: "58.9 % of frames", ALL: "61.1 % of frames", DISTILLED: "60.8 % of frames", SHARE: "more than 80"},
)
