"""Images without labels in a distillation: who learns from them, from which targets, and in as many steps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import kd
from kd.data.batches import Batch
from kd.data.dataset import NO_LABEL, Dataset, Split
from kd.data.unlabelled import with_unlabelled
from kd.distillation.job import Job, create_trainer, fit_job
from kd.distillation.plan import Distillation, distillation_jobs, obtain_targets
from kd.distillation.results import Trained
from kd.distillation.targets import LiveTargets, TeacherTargets
from kd.distillation.task import specialist_task
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.evaluation.scores import Scores
from kd.nets.classifier import Classifier
from kd.nets.registry import net_spec
from kd.nets.resnet import ResNet
from kd.specialists.kind import TaskKind
from kd.training import checkpoints
from kd.training.fit import FitState
from kd.training.recipe import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=4, batch_size=32, lr=0.05, views=2, seed=1, optimizer="muon")
LABELLED, UNLABELLED = 50, 70
STEPS = 4
"""Of an epoch: 120 images in batches of at most 32."""


@pytest.fixture(scope="module")
def dataset(tiny_digits: Dataset) -> Dataset:
    """Return the digits with 50 labelled images, and 70 without labels that are numbered as in the whole."""
    train = tiny_digits.train
    few = replace(tiny_digits, train=train.select(torch.arange(LABELLED)), digest="1" * 32)
    return with_unlabelled(few, train.select(torch.arange(LABELLED, LABELLED + UNLABELLED)).without_labels())


@pytest.fixture(scope="module")
def teacher(dataset: Dataset) -> Teacher:
    torch.manual_seed(0)
    # In float64 its logits are the same in any batch and on any processor.
    return Teacher(Classifier(ResNet(10, 1, 1, 4), dataset.mean, dataset.std).double().eval(), dataset)


@pytest.fixture(scope="module")
def targets(teacher: Teacher) -> TeacherTargets:
    return obtain_targets(teacher, 2, CPU)


def jobs(teacher: Teacher, targets: TeacherTargets, recipe: Recipe = RECIPE) -> tuple[Job, Job]:
    how = Distillation(net_spec("resnet", {"depth": 1, "width": 2}), recipe, CPU)
    return distillation_jobs(how, teacher, targets, teacher.task, label="student")


@pytest.fixture(scope="module")
def distilled(teacher: Teacher) -> Trained:
    return kd.distil(teacher, "resnet", None, RECIPE, width=2)


class Recorded:
    """Targets that note the batches for which they are asked."""

    def __init__(self, targets: TeacherTargets) -> None:
        self.targets, self.views = targets, targets.views
        self.batches: list[Batch] = []

    def __call__(self, batch: Batch) -> Tensor:
        self.batches.append(batch)
        return self.targets(batch)

    def epochs(self) -> Iterator[list[Batch]]:
        for start in range(0, len(self.batches), STEPS):
            yield self.batches[start : start + STEPS]


@pytest.mark.parametrize("live", [True, False])
def test_each_epoch_of_a_student_has_every_image_once_and_the_targets_of_what_it_sees(
    teacher: Teacher, targets: TeacherTargets, *, live: bool
) -> None:
    seen = Recorded(LiveTargets(teacher.model) if live else targets)
    _, soft = jobs(teacher, seen)
    assert len(list(create_trainer(soft)[0].epochs())) == RECIPE.epochs
    whole, augmentation, computed = teacher.dataset.transfer_set, soft.augmentation, LiveTargets(teacher.model)
    assert len(seen.batches) == RECIPE.epochs * STEPS
    for epoch, batches in enumerate(seen.epochs()):
        assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(LABELLED + UNLABELLED))
        for batch in batches:
            assert torch.equal(batch.images, augmentation(whole.images[batch.index], batch.index, epoch % 2))
            assert torch.equal(batch.labels == NO_LABEL, batch.index >= LABELLED)
            assert (computed(batch) - seen.targets(batch)).abs().max() <= computed(batch).abs().max() / 1000  # float16
    with pytest.raises(IndexError):
        targets(Batch(whole.images[:1], whole.labels[:1], torch.tensor([LABELLED + UNLABELLED]), 0))


def test_control_and_the_net_without_unlabelled_take_as_many_steps_on_labelled_images_alone(distilled: Trained) -> None:
    control, without = distilled.control, distilled.without_unlabelled
    assert control is not None
    assert without is not None
    assert (distilled.task.unlabelled, control.task.unlabelled, without.task.unlabelled) == (UNLABELLED, 0, 0)
    assert (control.name, without.name, without.role) == (
        "control of student",
        "student without unlabelled",
        "without unlabelled",
    )
    assert [epoch.train.soft_loss > 0 for epoch in (distilled.history[0], control.history[0], without.history[0])] == [
        True,
        False,
        True,
    ]
    rates = [[epoch.train.learning_rate for epoch in one.history] for one in (distilled, control, without)]
    assert rates[0] == rates[1] == rates[2]  # the rate is a function of the step among all steps
    for one in (control, without):
        pick = one.task.epoch_rows(RECIPE.seed)
        assert pick is not None
        rows = torch.cat([pick(epoch) for epoch in range(RECIPE.epochs)])
        assert len(rows) == RECIPE.epochs * (LABELLED + UNLABELLED)
        assert set(rows.bincount().tolist()) == {9, 10}  # 480 rows of 50 images
    assert kd.compare(distilled, without).over == "images"


def test_the_net_without_unlabelled_is_the_same_distillation_of_the_labelled_images(
    teacher: Teacher, targets: TeacherTargets, distilled: Trained
) -> None:
    seen = Recorded(targets)
    hard, soft = jobs(teacher, seen)
    trainer, _ = create_trainer(replace(soft, task=hard.task))
    list(fit_job(soft, trainer, FitState()))
    assert distilled.without_unlabelled is not None
    expected = distilled.without_unlabelled.model.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in trainer.model.state_dict().items())
    assert all((batch.index < LABELLED).all() for batch in seen.batches)
    assert {len(batch.index) for batch in seen.batches} == {30}


@pytest.mark.parametrize("stop", [1, 6, 12])
@pytest.mark.parametrize("which", ["control", "without unlabelled", "student"])
def test_a_training_resumed_from_a_checkpoint_ends_as_the_one_never_stopped(  # noqa: PLR0913, PLR0917 - pytest's fixtures
    which: str, stop: int, teacher: Teacher, targets: TeacherTargets, distilled: Trained, tmp_path: Path
) -> None:
    """It is saved after a step within its first, second or last epoch, and after its third epoch."""
    hard, soft = jobs(teacher, targets)
    job = {"control": hard, "without unlabelled": replace(soft, task=hard.task), "student": soft}[which]
    whole = {"control": distilled.control, "without unlabelled": distilled.without_unlabelled, "student": distilled}[which]
    trainer, state = create_trainer(job)[0], FitState[Scores]()
    steps = 0

    def save() -> None:
        nonlocal steps
        steps += 1
        if steps == stop:
            checkpoints.save(tmp_path / "file.pt", {"trainer": trainer.state(), "fit": state.state()})

    trainer.after_step = save
    for _ in fit_job(job, trainer, state):
        save()
    saved = checkpoints.load(tmp_path / "file.pt")
    assert saved is not None
    resumed, after = create_trainer(job)[0], FitState[Scores]()
    resumed.restore(saved["trainer"])
    after.restore(saved["fit"], Scores)
    assert len(list(fit_job(job, resumed, after))) == RECIPE.epochs - stop // STEPS
    assert whole is not None
    expected = whole.model.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in resumed.model.state_dict().items())
    assert [epoch.train.loss for epoch in after.history] == [epoch.train.loss for epoch in whole.history]
    assert [epoch.train.accuracy for epoch in after.history] == [epoch.train.accuracy for epoch in whole.history]


def test_what_images_without_labels_decide_has_their_digest(teacher: Teacher, targets: TeacherTargets) -> None:
    dataset = teacher.dataset
    assert dataset.unlabelled is not None
    fewer = replace(teacher, dataset=replace(dataset, unlabelled=dataset.unlabelled.select(torch.arange(60))))
    moved = Split(dataset.unlabelled.images, dataset.unlabelled.labels, dataset.unlabelled.index + 1)
    elsewhere = replace(teacher, dataset=replace(dataset, unlabelled=moved))  # other views of the same images
    none = replace(teacher, dataset=replace(dataset, unlabelled=None))
    (hard, soft), others = jobs(teacher, targets), [jobs(other, targets) for other in (fewer, elsewhere, none)]
    assert len({one.fingerprint() for _, one in [(hard, soft), *others]}) == 4
    assert hard.fingerprint() == others[1][0].fingerprint()  # the same control: of the same labelled images, in as many steps
    assert hard.fingerprint() != others[0][0].fingerprint()
    assert len({hard.fingerprint(), soft.fingerprint(), replace(soft, task=hard.task).fingerprint()}) == 3


def test_targets_of_other_unlabelled_images_are_another_file_and_those_of_labelled_ones_stay(
    teacher: Teacher, tmp_path: Path
) -> None:
    def files() -> set[str]:
        return {path.name for path in tmp_path.glob("*.targets")}

    none = replace(teacher, dataset=replace(teacher.dataset, unlabelled=None))
    obtain_targets(none, 1, CPU, folder=tmp_path)
    before = files()
    obtain_targets(teacher, 1, CPU, folder=tmp_path, unlabelled=False)  # for specialists
    assert files() == before
    obtain_targets(teacher, 1, CPU, folder=tmp_path)
    assert len(files() - before) == 1
    unlabelled = teacher.dataset.unlabelled
    assert unlabelled is not None
    negatives = Split(255 - unlabelled.images, unlabelled.labels, unlabelled.index)
    obtain_targets(replace(teacher, dataset=replace(teacher.dataset, unlabelled=negatives)), 1, CPU, folder=tmp_path)
    assert len(files() - before) == 2


def test_targets_that_were_computed_before_serve_students_and_must_have_all_their_images(
    teacher: Teacher, distilled: Trained
) -> None:
    some = kd.cached_targets(teacher, views=2)
    again = kd.distil(teacher, "resnet", None, RECIPE, width=2, targets=some, control=False)
    expected = distilled.model.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in again.model.state_dict().items())
    assert again.without_unlabelled is None
    labelled = obtain_targets(teacher, 2, CPU, unlabelled=False)
    with pytest.raises(UserError, match="not this teacher's logits for these images"):
        kd.distil(teacher, "resnet", None, RECIPE, width=2, targets=labelled)


def test_images_given_to_a_distillation_are_those_of_a_data_set(teacher: Teacher, dataset: Dataset) -> None:
    assert dataset.unlabelled is not None
    plain = replace(teacher, dataset=replace(dataset, unlabelled=None, full_train=LABELLED))
    given = kd.distil(
        plain, "resnet", None, replace(RECIPE, epochs=1), unlabelled=dataset.unlabelled.images.numpy(), width=2, control=False
    )
    assert given.dataset.transfer_digest == dataset.transfer_digest
    assert given.task.unlabelled == UNLABELLED


def test_without_soft_targets_there_is_nothing_to_learn_from_them(teacher: Teacher) -> None:
    with pytest.raises(UserError, match=r"^0: 70 images have no labels, and nothing to learn from them") as refused:
        kd.distil(teacher, "resnet", alpha=0)
    assert refused.value.field == "alpha"


def test_a_batch_may_be_larger_than_the_labelled_images_but_not_than_all(teacher: Teacher, distilled: Trained) -> None:
    recipe = replace(RECIPE, epochs=1, batch_size=100)
    student = kd.distil(teacher, "resnet", None, recipe, width=2)
    assert student.control is not None
    with pytest.raises(UserError, match="121: the training split has only 120 images"):
        kd.distil(teacher, "resnet", None, replace(recipe, batch_size=121))
    assert distilled.dataset is teacher.dataset


def test_specialists_learn_from_labelled_images_alone(teacher: Teacher) -> None:
    [specialist] = kd.specialise(teacher, [(0, 1, 2)], "resnet", None, replace(RECIPE, epochs=1, batch_size=16), width=2)
    assert specialist.task.unlabelled == 0
    assert specialist.without_unlabelled is None
    assert specialist.task.train.digest == specialist_task(teacher.dataset, (0, 1, 2), TaskKind.DUSTBIN, 0.5).train.digest
