"""How a candidate is trained and scored, against the same by hand."""

from dataclasses import replace

import pytest
import torch

from kd.config import TuneConfig
from kd.data.unlabelled import with_unlabelled
from kd.distillation.job import create_trainer
from kd.distillation.plan import distillation_jobs
from kd.distillation.task import specialist_task
from kd.evaluation.predict import predict
from kd.from_config import distillation
from kd.search.candidate import Candidate, Guide
from kd.specialists.combined import CombinedModel, Specialist
from kd.specialists.dustbin import fit_correction, group_labels
from kd.specialists.kind import TaskKind

SMALL = {"epochs": 3, "width": 4, "views": 0, "batch_size": 32, "lr": 0.2}


def trained(config: TuneConfig, guide: Guide) -> tuple[Candidate, list[dict[str, float]]]:
    candidate = Candidate(config, guide)
    return candidate, list(candidate.epochs())


@pytest.mark.parametrize("use", ["best", "last"])
@pytest.mark.parametrize("dustbin", [True, False])
def test_specialists_are_those_of_their_command_and_the_accuracy_is_the_mean_over_groups(
    guide: Guide, use: str, *, dustbin: bool
) -> None:
    config = TuneConfig.parse({**SMALL, "use": use, "dustbin": dustbin})
    candidate, history = trained(config, guide)

    accuracies: list[list[float]] = []
    for number, group in guide.groups.items():
        task = specialist_task(guide.workspace.dataset, group, TaskKind.DUSTBIN if dustbin else TaskKind.OWN, 0.5)
        how = distillation(config, guide.workspace)
        start = guide.teacher.model  # the nets match
        _, job = distillation_jobs(how, guide.teacher, guide.targets, task, label=f"specialist {number}", start=start)
        trainer, _ = create_trainer(job)
        seen = []
        for _ in trainer.epochs():
            logits = predict(trainer.model, task.val)
            right = task.own_correct(logits, task.val.labels)
            seen.append(right.double().mean().item())
        accuracies.append(seen)
    so_far = [max(seen) for seen in accuracies] if use == "best" else [seen[-1] for seen in accuracies]
    assert history[-1]["val/accuracy"] == pytest.approx(sum(so_far) / 2)
    assert candidate.val_accuracies() == [pytest.approx(sum(so_far) / 2)]
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert history[0]["val/accuracy"] == pytest.approx(sum(seen[0] for seen in accuracies) / 2)
    drawn = 2 * sum(
        torch.isin(guide.workspace.dataset.train.labels, torch.tensor(group)).sum().item() for group in guide.groups.values()
    )
    images = drawn if dustbin else drawn / 2
    assert history[0]["train/images_per_second"] * history[0]["train/seconds"] == pytest.approx(images)


@pytest.mark.parametrize("dustbin", [True, False])
def test_the_combined_accuracy_is_that_of_the_combined_model(guide: Guide, *, dustbin: bool) -> None:
    config = TuneConfig.parse({**SMALL, "objective": "combined", "dustbin": dustbin, "top_n": 2})
    candidate, history = trained(config, guide)
    dataset = guide.workspace.dataset
    specialists = []
    for training in candidate.trainings:
        model = training.model
        group = training.job.task.group
        labels = group_labels(dataset.val.labels, group, 10, dustbin=True)
        shift = fit_correction(predict(model, dataset.val), labels) if dustbin else 0.0
        specialists.append(Specialist(model, group, TaskKind.DUSTBIN if dustbin else TaskKind.OWN, shift))
    combined = CombinedModel(guide.teacher.model, specialists, 10, 2).eval()
    for split, [accuracy] in ((dataset.val, candidate.val_accuracies()), (dataset.test, candidate.test_accuracies())):
        answers = predict(combined, split).argmax(dim=1)
        assert accuracy == pytest.approx((answers == split.labels).double().mean().item())
    assert history[-1]["val/accuracy"] == candidate.val_accuracies()[0]


def test_a_student_of_two_seeds_is_judged_by_their_mean(guide: Guide) -> None:
    config = TuneConfig.parse({**SMALL, "objective": "student", "seeds": 2, "seed": 5})
    candidate, history = trained(config, guide)
    apart = [trained(config.model_copy(update={"seeds": 1, "seed": seed}), guide)[0] for seed in (5, 6)]
    assert candidate.val_accuracies() == [one.val_accuracies()[0] for one in apart]
    assert candidate.test_accuracies() == [one.test_accuracies()[0] for one in apart]
    assert history[-1]["val/accuracy"] == pytest.approx(sum(candidate.val_accuracies()) / 2)
    assert candidate.parameters == apart[0].parameters


def test_the_control_learns_from_hard_targets_alone(guide: Guide) -> None:
    config = TuneConfig.parse({**SMALL, "objective": "student"})
    control, hard = Candidate(config, guide, "control"), Candidate(config.model_copy(update={"alpha": 0.0}), guide)
    for one in (control, hard):
        list(one.epochs())
    weights = control.trainings[0].model.state_dict()
    for name, weight in hard.trainings[0].model.state_dict().items():
        assert torch.equal(weights[name], weight), name  # a zero is added to each gradient


def test_a_student_of_a_search_learns_from_images_without_labels_and_its_control_does_not(guide: Guide) -> None:
    dataset = guide.workspace.dataset
    few = replace(dataset, train=dataset.train.select(torch.arange(60)))
    more = with_unlabelled(few, dataset.train.select(torch.arange(60, 120)).without_labels())
    both = replace(guide, workspace=replace(guide.workspace, dataset=more), teacher=replace(guide.teacher, dataset=more))
    config = TuneConfig.parse({**SMALL, "objective": "student", "epochs": 1})
    [student], [control] = (Candidate(config, both, role).trainings for role in ("distilled", "control"))
    assert (student.job.task.unlabelled, control.job.task.unlabelled) == (60, 0)
    [of_student], [of_control] = (list(one.epochs()) for one in (student, control))
    assert of_student.learning_rate == of_control.learning_rate  # at the last of as many steps
    assert of_student.images_per_second * of_student.seconds == pytest.approx(120)
