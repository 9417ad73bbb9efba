"""Nets of every form: by name, a module to start from, a function; and what tells one from another in a fingerprint."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd.errors import UserError
from kd.nets.names import SMALL
from kd.nets.pooled import PooledResNet
from kd.nets.registry import Net, NetSpec, net_spec
from kd.nets.resnet import ResNet


class Flat(nn.Module):
    """One linear layer on the pixels of 2 x 2 images."""

    def __init__(self, num_classes: int, in_channels: int, pixels: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(pixels * in_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


class Negative(Flat):
    """The same weights in other code."""

    def forward(self, images: Tensor) -> Tensor:
        return -super().forward(images)


def weights(module: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in module.state_dict().values()]


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(map(torch.equal, weights(one), weights(other)))


@pytest.mark.parametrize(("name", "kind"), [("resnet", ResNet), ("pooled", PooledResNet)])
def test_a_name_creates_kds_own_net_of_the_usual_size_or_of_the_size_given(name: str, kind: type[nn.Module]) -> None:
    large, small = net_spec(name), net_spec(name, {"width": 5}, SMALL)
    assert (large.name, large.settings) == (name, {"depth": 3, "width": 32})
    assert (small.name, small.settings) == (name, {"depth": 1, "width": 5})
    created = small.create(7, 2)
    assert isinstance(created, kind)
    torch.manual_seed(0)
    expected: nn.Module = kind(7, 2, depth=1, width=5)
    assert [tensor.shape for tensor in weights(created)] == [tensor.shape for tensor in weights(expected)]


def test_the_same_random_state_gives_the_same_net() -> None:
    spec, made = net_spec("resnet", {"width": 2}, SMALL), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        made.append(spec.create(3, 1))
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UserError) as caught:
        net_spec("resnet50")
    assert str(caught.value).startswith("unknown net 'resnet50'; choose one of resnet, pooled, torchvision:NAME, ")
    assert caught.value.field == "net"


@pytest.mark.parametrize("net", [Flat(3, 1), Flat], ids=["module", "function"])
def test_a_net_of_ones_own_takes_no_settings(net: Net) -> None:
    with pytest.raises(UserError, match=r"^depth, width: only nets by name have such settings; set them in the net itself$"):
        net_spec(net, {"depth": 1, "width": 4})


def test_each_training_starts_from_a_copy_of_a_module() -> None:
    module = Flat(3, 1)
    spec, before = net_spec(module), weights(module)
    first = spec.create(3, 1)
    assert isinstance(first, Flat)
    with torch.no_grad():
        first.layer.weight.add_(1)
    second = spec.create(3, 1)
    assert all(map(torch.equal, weights(second), before))
    assert all(map(torch.equal, weights(module), before))
    assert (spec.name, dict(spec.settings)) == ("Flat", {})


def test_a_function_is_given_classes_and_channels_each_time() -> None:
    asked = []

    def linear(num_classes: int, in_channels: int) -> nn.Module:
        asked.append((num_classes, in_channels))
        return Flat(num_classes, in_channels)

    spec = net_spec(linear)
    assert spec.name == "linear"
    spec.create(3, 1)
    spec.create(5, 2)
    assert asked == [(3, 1), (5, 2)]


def test_a_function_that_always_returns_one_module_gives_nets_that_share_nothing() -> None:
    module = Flat(3, 1)
    spec = net_spec(lambda _classes, _channels: module)
    one, two = spec.create(3, 1), spec.create(3, 1)
    with torch.no_grad():
        next(one.parameters()).add_(1)
    assert same(two, module)
    assert not same(one, module)


def facts(spec: NetSpec) -> dict[str, object]:
    return spec.facts(3, 1)


def test_facts_differ_by_name_and_size() -> None:
    told = [facts(net_spec(name, {"width": width}, SMALL)) for name in ("resnet", "pooled") for width in (2, 3)]
    assert all(one != other for place, one in enumerate(told) for other in told[:place])
    assert told[0] == facts(net_spec("resnet", {"width": 2, "depth": 1}))


def test_facts_differ_where_a_modules_weights_or_code_do() -> None:
    torch.manual_seed(0)
    one, two, negative = Flat(3, 1), Flat(3, 1), Negative(3, 1)
    two.load_state_dict(one.state_dict())
    negative.load_state_dict(one.state_dict())
    assert facts(net_spec(one)) == facts(net_spec(two))
    assert facts(net_spec(one)) != facts(net_spec(nn.Sequential(one)))
    assert facts(net_spec(nn.Sequential(one))) != facts(net_spec(nn.Sequential(negative)))  # the code of a part
    with torch.no_grad():
        two.layer.bias[0] += 1e-6
    assert facts(net_spec(one)) != facts(net_spec(two))


def test_facts_differ_where_functions_create_other_nets_whatever_they_are_called() -> None:
    def wide(hidden: int) -> Callable[[int, int], nn.Module]:
        return lambda classes, channels: nn.Sequential(
            nn.Flatten(), nn.Linear(4 * channels, hidden), nn.Linear(hidden, classes)
        )

    specs: list[Net] = [wide(2), wide(3), partial(Flat, pixels=4), partial(Flat, pixels=8), partial(Negative, pixels=4)]
    told = [facts(net_spec(create)) for create in specs]
    assert all(one != other for place, one in enumerate(told) for other in told[:place])
    assert told == [facts(net_spec(create)) for create in specs]  # weights drawn by chance make no difference
    assert facts(net_spec(wide(2))) == told[0]


def test_facts_leave_the_random_numbers_as_they_are() -> None:
    spec = net_spec(Flat)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    facts(spec)
    assert torch.equal(torch.rand(3), expected)


IN_A_SESSION = """
import linecache, sys
import torch
from torch import nn
from kd.nets.registry import net_spec

def cell(number, text):  # as a notebook runs its cells
    name = f"<cell {number}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), globals())

told = []
for number, sign in enumerate(("", "-", "")):
    cell(number, f'''
class Net(nn.Sequential):
    def forward(self, images):
        return {sign}super().forward(images)

class Heir(Net):
    pass
''')
    torch.manual_seed(0)
    told.append(net_spec(Heir(nn.Flatten(), nn.Linear(4, 3))).facts(3, 1))
print(told[0] == told[2], told[0] != told[1])
"""


def test_facts_differ_by_the_code_of_a_class_that_was_typed_into_a_notebook(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IN_A_SESSION]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path)
    assert result.stdout.split() == ["True", "True"]


def test_a_net_sees_images_at_a_height_of_its_own() -> None:
    torch.manual_seed(0)
    plain = net_spec("resnet", {"depth": 1, "width": 2}).create(5, 1).eval()
    spec = net_spec("resnet", {"depth": 1, "width": 2, "px": 16})
    torch.manual_seed(0)
    net = spec.create(5, 1).eval()
    images = torch.rand(2, 1, 32, 48)
    smaller = F.interpolate(images, size=(16, 24), mode="bilinear", antialias=True)
    torch.testing.assert_close(net(images), plain(smaller))
    assert spec.settings == {"depth": 1, "width": 2, "px": 16}
    assert spec.facts(5, 1) != net_spec("resnet", {"depth": 1, "width": 2, "px": 24}).facts(5, 1)
    with pytest.raises(UserError, match="can't be the height of images"):
        net_spec("resnet", {"px": -3})


def test_a_net_with_lazy_layers_is_refused_in_one_line() -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    for net in (lazy, lambda _classes, _channels: nn.Sequential(nn.Flatten(), nn.LazyLinear(5))):
        with pytest.raises(UserError, match=r"has lazy layers, without weights yet; give their sizes"):
            net_spec(net).create(5, 1)
