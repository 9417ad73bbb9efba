"""Nets of others by name: torchvision's, timm's, and functions of the user's own."""

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from kd.errors import UserError
from kd.nets.channels import RepeatedChannels
from kd.nets.registry import net_spec

OWN = """
from torch import nn

WIDTH = 4

def small(num_classes, in_channels, width=WIDTH):
    return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))

def for_colours(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))

def number(num_classes):
    return 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my nets" / "small.py"
    path.parent.mkdir()
    path.write_text(OWN)
    return path


def answer(net: nn.Module, channels: int) -> tuple[int, ...]:
    return tuple(net.eval()(torch.rand(2, channels, 32, 32)).shape)


def test_a_net_of_torchvision_has_the_classes_asked_for_and_first_weights_by_the_seed() -> None:
    spec = net_spec("torchvision:mobilenet_v3_small")
    torch.manual_seed(0)
    first = spec.create(6, 3)
    torch.manual_seed(0)
    second = spec.create(6, 3)
    assert answer(first, 3) == (2, 6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_net_for_colours_gets_grey_images_repeated() -> None:
    net = net_spec("torchvision:squeezenet1_1").create(4, 1)
    assert isinstance(net, RepeatedChannels)
    grey = torch.rand(2, 1, 32, 32)
    net.eval()
    torch.testing.assert_close(net(grey), net.net(torch.cat([grey, grey, grey], dim=1)))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_net_with_auxiliary_answers_gives_logits_alone(name: str) -> None:
    net = net_spec(f"torchvision:{name}").create(4, 3).train()
    assert tuple(net(torch.rand(2, 3, 96, 96)).shape) == (2, 4)


def test_a_function_in_a_file_gets_what_it_takes(own: Path) -> None:
    assert answer(net_spec(f"{own}:small", {"width": 7}).create(5, 1), 1) == (2, 5)
    assert net_spec(f"{own}:small", {"width": 7}).create(5, 1)[0].out_channels == 7  # type: ignore[index]
    assert answer(net_spec(f"{own}:for_colours").create(5, 1), 1) == (2, 5)
    assert answer(net_spec(f"{own}:for_colours").create(5, 3), 3) == (2, 5)


def test_a_changed_file_is_another_net(own: Path) -> None:
    before = net_spec(f"{own}:small").facts(5, 1)
    assert before == net_spec(f"{own}:small").facts(5, 1)
    own.write_text(OWN + "\n# what is called from elsewhere may decide a net as well\n")
    assert before != net_spec(f"{own}:small").facts(5, 1)


def test_equal_names_of_files_in_two_folders_are_two_nets(own: Path, tmp_path: Path) -> None:
    other = tmp_path / "small.py"
    other.write_text(OWN.replace("WIDTH = 4", "WIDTH = 9"))
    one, two = (net_spec(f"{path}:small").create(5, 1) for path in (own, other))
    assert (one[0].out_channels, two[0].out_channels) == (4, 9)  # type: ignore[index]


def test_a_file_that_imports_its_neighbour_is_told_how_and_the_neighbour_counts_as_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, beside = tmp_path / "net.py", tmp_path / "kd_test_beside.py"
    file.write_text("from kd_test_beside import act, net\n")
    beside.write_text("from torch import nn\nact = abs\ndef net(num_classes): return nn.Linear(64, num_classes)\n")
    with pytest.raises(UserError, match=f"kd_test_beside lies in {tmp_path}: set PYTHONPATH={tmp_path}$"):
        net_spec(f"{file}:net")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"set PYTHONPATH={tmp_path}$"):
        net_spec("kd_test_beside:net")
    monkeypatch.syspath_prepend(tmp_path)
    before = net_spec(f"{file}:net").origin
    beside.write_text(beside.read_text() + "# edited\n")
    assert net_spec(f"{file}:net").origin == before  # what was imported is what is run
    importlib.reload(sys.modules["kd_test_beside"])
    after = net_spec(f"{file}:net").origin
    monkeypatch.delitem(sys.modules, "kd_test_beside")
    assert before != after == net_spec(f"{file}:net").origin
    monkeypatch.delitem(sys.modules, "kd_test_beside")


def test_a_function_of_a_package_is_imported() -> None:
    assert answer(net_spec("torchvision.models:squeezenet1_1", {"dropout": 0.1}).create(5, 3), 3) == (2, 5)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("torchvision:resnet81", r"torchvision:resnet81: no such net; did you mean resnet18"),
        ("torchvision:fcn_resnet50", r"no such net"),  # it answers with a picture
        ("FILE:smal", r"has no function smal; did you mean small\?"),
        ("/nowhere/x.py:f", r"/nowhere/x.py: no such file"),
        ("no.such.package:f", r"no\.such\.package can't be imported \(No module named 'no'\)"),
        ("resnet18", r"unknown net 'resnet18'; choose one of resnet, pooled, torchvision:NAME"),
    ],
)
def test_a_net_that_there_is_not_is_told_in_one_line(name: str, told: str, own: Path) -> None:
    with pytest.raises(UserError, match=told) as refused:
        net_spec(name.replace("FILE", str(own)))
    assert "\n" not in str(refused.value)
    assert refused.value.field == "net"


def test_what_goes_wrong_in_code_of_others_is_told_in_one_line(own: Path) -> None:
    with pytest.raises(UserError, match=r"small.*can't make a net \(.*unexpected keyword argument 'depth'"):
        net_spec(f"{own}:small", {"depth": 3}).create(5, 1)
    with pytest.raises(UserError, match=r"number.*returned an int, not a module"):
        net_spec(f"{own}:number").create(5, 1)
    own.write_text("1 / 0")
    with pytest.raises(UserError, match=r"can't be imported \(division by zero\)"):
        net_spec(f"{own}:small")


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_timm_where_it_is_missing_is_told_with_what_installs_it() -> None:
    with pytest.raises(UserError, match=r"needs the package timm: pip install timm"):
        net_spec("timm:resnet18")
