"""The net of ``kd specialist`` where none is named: the generalist's, whose weights specialists start from."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from kd.config import PipelineConfig, SpecialistConfig
from kd.data.dataset import Dataset
from kd.distillation.teacher import Teacher
from kd.from_config import net, with_generalists_net
from kd.nets.classifier import Classifier
from kd.nets.registry import NetSpec, net_spec
from kd.tracking.workspace import Workspace

CODE = """
from torch import nn

def flat(num_classes, in_channels, bias=True):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes, bias=bias))

def ten(num_classes, in_channels):
    return flat(10, in_channels)
"""


@pytest.fixture
def workspace(tiny_digits: Dataset, tmp_path: Path) -> Workspace:
    return Workspace("specialist", tiny_digits, torch.device("cpu"), tmp_path, {})


def teacher(spec: NetSpec, workspace: Workspace, named: NetSpec | None) -> Teacher:
    """Return a teacher of a net, and what is known of its net."""
    dataset = workspace.dataset
    model = Classifier(spec.create(dataset.num_classes, dataset.image_shape[0]), dataset.mean, dataset.std)
    return Teacher(model, dataset, net=named)


def trained(workspace: Workspace, found: Teacher | None = None, **settings: object) -> SpecialistConfig:
    return with_generalists_net(SpecialistConfig.parse(settings), workspace, found)


def test_it_is_that_of_a_generalist_that_is_still_to_be_trained(workspace: Workspace) -> None:
    large = trained(workspace)
    assert (large.net, large.depth, large.width) == ("resnet", 3, 32)
    pooled = trained(workspace, teacher_net="pooled", teacher_depth=2, teacher_width=5, teacher_px=6)
    assert (pooled.net, pooled.depth, pooled.width, pooled.px) == ("pooled", 2, 5, 6)
    assert net(pooled, workspace.dataset).settings == net(pooled.teacher_config(), workspace.dataset).settings


def test_it_is_that_of_a_generalist_that_was_found(workspace: Workspace) -> None:
    spec = net_spec("pooled", {"depth": 1, "width": 3, "px": 4})
    own = trained(workspace, teacher(spec, workspace, spec))
    assert (own.net, own.depth, own.width, own.px) == ("pooled", 1, 3, 4)
    assert own.params() == trained(workspace).params() | {"net": "pooled", "depth": "1", "width": "3", "px": "4"}


def test_of_a_net_of_others_it_is_what_was_typed_for_the_teacher(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(CODE, encoding="utf-8")
    name = f"{file}:flat"
    found = teacher(net_spec(name, {"bias": False}), workspace, None)  # a store tells of no code to import
    own = trained(workspace, found, teacher_net=name, teacher_net_args="bias=false")
    assert (own.net, own.net_args, own.recorded().get("width")) == (name, "bias=false", None)
    state = net(own, workspace.dataset).create(4, 1).state_dict()
    assert {weight: tuple(tensor.shape) for weight, tensor in state.items()} == {"1.weight": (4, 64)}


def test_it_is_a_small_one_where_the_net_of_the_teacher_to_train_has_always_as_many_outputs(
    workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "own.py"
    file.write_text(CODE, encoding="utf-8")
    small = trained(workspace, teacher_net=f"{file}:ten")
    assert (small.net, small.depth, small.width) == ("resnet", 1, 16)
    assert trained(workspace, teacher_net=f"{file}:ten", specialist_kind="full").net == f"{file}:ten"


def test_it_sees_images_at_the_height_of_a_generalist_for_which_they_were_decoded(workspace: Workspace) -> None:
    config = SpecialistConfig.parse({"data": "folder", "image_px": 8, "teacher_px": 16, "teacher_width": 4})
    own = with_generalists_net(config, replace(workspace, dataset=twice_as_high(workspace.dataset)), None)
    assert own.px == 16
    assert "px" not in net(own, twice_as_high(workspace.dataset)).settings  # they have it


def twice_as_high(dataset: Dataset) -> Dataset:
    images = dataset.train.images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return replace(dataset, train=replace(dataset.train, images=images))


@pytest.mark.parametrize("known", ["nothing", "a module", "another net", "more than any memory holds"])
def test_it_is_a_small_one_where_the_generalists_is_none_to_start_from(
    known: str, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="kd")
    own = net_spec("resnet", {"depth": 1, "width": 2})
    spec = {
        "a module": net_spec(nn.Flatten()),
        "another net": net_spec("resnet", {"depth": 1, "width": 3}),
        "more than any memory holds": net_spec("resnet", {"depth": 1, "width": 2**20}),
    }
    small = trained(workspace, teacher(own, workspace, spec.get(known)))
    assert (small.net, small.depth, small.width) == ("resnet", 1, 16)
    told = "specialists can't have this generalist's net: theirs is a small resnet; --net names another"
    assert caplog.messages == [told]


def test_one_that_is_named_stays(workspace: Workspace) -> None:
    spec = net_spec("pooled", {"depth": 1, "width": 3})
    for config in (SpecialistConfig.parse({"width": 4}), PipelineConfig()):
        assert with_generalists_net(config, workspace, teacher(spec, workspace, spec)) is config
    at_4_px = net_spec("pooled", {"depth": 1, "width": 3, "px": 4})
    own = trained(workspace, teacher(at_4_px, workspace, at_4_px), px=6)
    assert (own.net, own.px) == ("pooled", 6)  # what else is given stays too
