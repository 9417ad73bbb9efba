"""Stems of nets for large images, made fit for small ones."""

import pytest
import torch
import torchvision
from torch import nn

from kd.errors import UserError
from kd.nets.registry import net_spec
from kd.nets.small_stem import with_small_stem


def test_the_first_convolution_keeps_the_size_and_the_pooling_behind_it_goes() -> None:
    net = torchvision.models.resnet18(num_classes=5)
    done = with_small_stem(net, "resnet18")
    assert done == "conv1 7 x 7 of stride 2 became 3 x 3 of stride 1, maxpool was taken away"
    assert tuple(net.conv1.weight.shape) == (64, 3, 3, 3)
    assert isinstance(net.maxpool, nn.Identity)
    features = nn.Sequential(*list(net.children())[:-2])
    assert features(torch.rand(2, 3, 32, 32)).shape[-2:] == (4, 4)  # 32 px halved three times, as in ResNets for CIFAR


def test_a_bias_and_the_rest_of_the_net_stay_as_they_were() -> None:
    net = torchvision.models.squeezenet1_1(num_classes=5)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items() if not name.startswith("features.0.")}
    with_small_stem(net, "squeezenet1_1")
    assert net.features[0].bias is not None
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("name", "told"), [("vit_b_32", "patches"), ("convnext_tiny", "patches"), ("vgg11", "no first convolution")]
)
def test_a_net_without_such_a_stem_is_refused(name: str, told: str) -> None:
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None, num_classes=5)
    with pytest.raises(UserError, match=told):
        with_small_stem(net, name)


def test_it_is_asked_for_by_a_setting_and_is_part_of_what_the_net_is() -> None:
    plain, small = (net_spec("torchvision:resnet18", {"small_stem": small}) for small in (False, True))
    assert plain.create(5, 3).conv1.stride == (2, 2)
    assert small.create(5, 3).conv1.stride == (1, 1)
    assert plain.facts(5, 3) != small.facts(5, 3)
