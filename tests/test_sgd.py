import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from kd.sgd import Sgd


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


def groups(net: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
    parameters = list(net.parameters())
    return [([one for one in parameters if one.ndim > 1], 0.01), ([one for one in parameters if one.ndim == 1], 0.0)]


def gradients(net: nn.Module, step: int) -> None:
    images = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
    net(images).square().mean().backward()


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_one_step_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = Sgd([([weight], 0.5)], lr=0.1, momentum=0.9)
    weight.grad = torch.tensor([2.0])
    optimizer.step()
    # gradient with decay 2.5, velocity 2.5, Nesterov's direction 2.5 + 0.9 * 2.5 = 4.75
    assert weight.item() == pytest.approx(1 - 0.1 * 4.75)
    weight.grad = torch.tensor([0.0])
    optimizer.step()
    # gradient 0.2625, velocity 0.9 * 2.5 + 0.2625 = 2.5125, direction 0.2625 + 0.9 * 2.5125 = 2.52375
    assert weight.item() == pytest.approx(0.525 - 0.1 * 2.52375)


def test_it_is_torchs_own_bit_for_bit_at_any_rate(net: nn.Module) -> None:
    other = deepcopy(net)
    optimizer = Sgd(groups(net), lr=0.1, momentum=0.9)
    reference = torch.optim.SGD(
        [{"params": parameters, "weight_decay": decay} for parameters, decay in groups(other)],
        lr=0.1,
        momentum=0.9,
        nesterov=True,
        fused=True,
    )
    for step in range(5):
        optimizer.lr = 0.1 * (step + 1)
        for group in reference.param_groups:
            group["lr"] = optimizer.lr
        gradients(net, step)
        gradients(other, step)
        optimizer.step()
        reference.step()
        reference.zero_grad()
        assert same(net, other)


def test_gradients_are_let_go_and_a_parameter_without_one_stays(net: nn.Module) -> None:
    before = [parameter.clone() for parameter in net.parameters()]
    optimizer = Sgd(groups(net), lr=0.1, momentum=0.9)
    first = next(net.parameters())
    first.grad = torch.ones_like(first)
    optimizer.step()
    assert all(parameter.grad is None for parameter in net.parameters())
    moved = [not torch.equal(parameter, old) for parameter, old in zip(net.parameters(), before, strict=True)]
    assert moved == [True, False, False, False]


def test_a_restored_state_goes_on_as_if_never_stopped(net: nn.Module) -> None:
    optimizer = Sgd(groups(net), lr=0.1, momentum=0.9)
    gradients(net, 0)
    optimizer.step()
    resumed = deepcopy(net)
    state: dict[str, list[Tensor]] = deepcopy(optimizer.state_dict())
    other = Sgd(groups(resumed), lr=0.1, momentum=0.9)
    other.load_state_dict(state)
    for step in (1, 2):
        for one, of in ((net, optimizer), (resumed, other)):
            gradients(one, step)
            of.step()
    assert same(net, resumed)


def test_a_state_of_other_parameters_is_refused(net: nn.Module) -> None:
    state = Sgd(groups(net)[:1], lr=0.1, momentum=0.9).state_dict()
    with pytest.raises(ValueError, match="shorter"):
        Sgd(groups(net), lr=0.1, momentum=0.9).load_state_dict(state)


def test_it_does_without_torchs_compiler() -> None:
    program = """
import sys
import torch
from kd.sgd import Sgd
weight = torch.nn.Parameter(torch.ones(3))
optimizer = Sgd([([weight], 0.0)], lr=0.1, momentum=0.9)
weight.sum().backward()
optimizer.step()
print("torch._dynamo" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.strip() == "False"
