"""What a command says that it will train, and in which order and at what cost it is scheduled."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kd.commands.plan import plan, plan_line, plan_specialists
from kd.config import PipelineConfig, SpecialistConfig, StudentConfig
from kd.data.dataset import Dataset
from kd.data.unlabelled import with_unlabelled
from kd.machine.schedule import Planned
from kd.tracking.workspace import Workspace

SIZES = {"teacher_depth": 1, "teacher_width": 4, "teacher_epochs": 7, "depth": 1, "width": 2, "epochs": 3}


@pytest.fixture
def workspace(tiny_digits: Dataset, tmp_path: Path) -> Workspace:
    return Workspace("test", tiny_digits, torch.device("cpu"), tmp_path, {})


def epochs(planned: list[Planned]) -> list[int]:
    return [one.epochs for one in planned]


def test_a_pipeline_is_told_and_planned_in_its_order(workspace: Workspace) -> None:
    config = PipelineConfig.parse({**SIZES, "seeds": 2})
    planned = plan(config, workspace, with_teacher=True)
    # The teacher; student and control of 2 seeds; 3 specialists (the root of 10 classes) and controls of 2 seeds.
    assert epochs(planned) == [7, *[3] * 4, *[3] * 12]
    assert plan_line(config, workspace, len(planned), with_teacher=True) == (
        "17 nets to train: teacher (resnet, depth 1, width 4, 7 epochs), student and its control (resnet, depth 1, width 2, "
        "3 epochs), 3 specialists and their controls (resnet, depth 1, width 2, 3 epochs); 2 seeds of all but the teacher"
    )


def test_what_is_found_or_not_wanted_is_not_planned(workspace: Workspace) -> None:
    student = StudentConfig.parse({**SIZES, "control": False, "epochs": 1})
    planned = plan(student, workspace, with_teacher=False)
    assert epochs(planned) == [1]
    told = plan_line(student, workspace, 1, with_teacher=False)
    assert told == "1 net to train: student without control (resnet, depth 1, width 2, 1 epoch)"
    one = SpecialistConfig.parse({**SIZES, "groups": "0,1;2,3", "group": 1})
    assert epochs(plan(one, workspace, with_teacher=False)) == [3, 3]
    assert "1 specialist and its control (" in plan_line(one, workspace, 2, with_teacher=False)


def test_a_student_with_unlabelled_images_is_planned_with_the_nets_that_it_is_compared_with(workspace: Workspace) -> None:
    dataset = workspace.dataset
    few = replace(dataset, train=dataset.train.select(torch.arange(40)))
    more = with_unlabelled(few, dataset.train.select(torch.arange(40, 120)).without_labels())
    config = StudentConfig.parse({**SIZES, "seeds": 2})
    planned = plan(config, replace(workspace, dataset=more), with_teacher=True)
    assert epochs(planned) == [7, *[3] * 6]
    assert {one.cost for one in planned[1:]} == {
        plan(config, workspace, with_teacher=True)[1].cost
    }  # each epoch has 120 images
    assert "student with 80 images without labels, its control, and the same without them (" in plan_line(
        config, replace(workspace, dataset=more), 7, with_teacher=True
    )
    alone = config.model_copy(update={"control": False})
    assert epochs(plan(alone, replace(workspace, dataset=more), with_teacher=False)) == [3, 3]
    assert "student with 80 images without labels (" in plan_line(
        alone, replace(workspace, dataset=more), 2, with_teacher=False
    )


def test_cost_follows_multiply_adds_and_images(workspace: Workspace) -> None:
    config = SpecialistConfig.parse({**SIZES, "groups": "0,1,2;3,4", "own_fraction": 0.5})
    teacher = plan(config, workspace, with_teacher=True)[0]
    first, control, second, _ = plan_specialists(config, workspace, {0: (0, 1, 2), 1: (3, 4)})
    assert first == control
    labels = workspace.dataset.train.labels.tolist()
    images = [2 * sum(label in group for label in labels) for group in ((0, 1, 2), (3, 4))]
    # Nearly the same net: the head has an output more, which hardly costs.
    assert first.cost / second.cost == pytest.approx(images[0] / images[1], rel=0.02)
    # Twice the width: nearly four times the multiply-adds of each image, but for the stem; and 4 to the power of 0.7 is 2.6.
    assert 2.2 < (teacher.cost / len(labels)) / (first.cost / images[0]) < 2.64


def test_the_teachers_targets_are_planned_before_the_first_student(workspace: Workspace) -> None:
    config = StudentConfig.parse({**SIZES, "views": 2})
    teacher, control, student = plan(config, workspace, with_teacher=True)
    assert control.before == pytest.approx(2 * teacher.cost / 3)  # two views, each a forward pass, a third of a step
    assert (teacher.before, student.before) == (0, 0)
    assert [one.before for one in plan(config, workspace, with_teacher=False)] == [0, 0]


def test_planning_leaves_the_random_numbers_of_the_trainings_as_they_were(workspace: Workspace) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    plan(PipelineConfig.parse(SIZES), workspace, with_teacher=True)
    assert torch.equal(torch.get_rng_state(), before)
