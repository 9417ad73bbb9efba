"""The nets: sizes against He et al. (2015) and formulas of their own, any input size, and the normalisation in front."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kd.nets.classifier import Classifier
from kd.nets.cost import count_multiply_adds, count_parameters
from kd.nets.pooled import PooledResNet
from kd.nets.resnet import ResidualBlock, ResNet


def convolutions(in_channels: int, depth: int, width: int) -> list[tuple[int, int, int]]:
    """List (in, out, stride) of each 3x3 convolution: He et al., section 4.2, a stem and 2 n layers a stage."""
    layers = [(in_channels, width, 1)]
    for stage, channels in enumerate((width, 2 * width, 4 * width)):
        before = channels if stage == 0 else channels // 2
        layers.append((before, channels, 1 if stage == 0 else 2))
        layers += [(channels, channels, 1)] * (2 * depth - 1)
    return layers


def test_resnet_20_has_the_parameters_of_the_paper() -> None:
    net = ResNet(10, 3, depth=3, width=16)
    layers = convolutions(3, 3, 16)
    assert len(layers) + 1 == 20
    weights = sum(9 * before * after for before, after, _ in layers)
    norms = sum(2 * after for _, after, _ in layers)
    assert count_parameters(net) == weights + norms + 64 * 10 + 10 == 269_722
    assert f"{count_parameters(net) / 1e6:.2f}" == "0.27"  # He et al., table 6


@given(depth=st.integers(1, 3), width=st.integers(1, 6), channels=st.integers(1, 3), classes=st.integers(2, 11))
@settings(max_examples=15)
def test_parameters_by_formula(depth: int, width: int, channels: int, classes: int) -> None:
    layers = convolutions(channels, depth, width)
    expected = sum(9 * before * after + 2 * after for before, after, _ in layers) + (4 * width + 1) * classes
    assert count_parameters(ResNet(classes, channels, depth, width)) == expected


@pytest.mark.parametrize("side", [8, 9, 32])
@pytest.mark.parametrize(("depth", "width", "channels"), [(1, 4, 1), (2, 3, 3)])
def test_multiply_adds_by_formula(side: int, depth: int, width: int, channels: int) -> None:
    model = Classifier(ResNet(5, channels, depth, width), [0.5] * channels, [0.2] * channels)
    pixels, expected = side, 0
    for before, after, stride in convolutions(channels, depth, width):
        pixels = math.ceil(pixels / stride)
        expected += 9 * before * after * pixels**2
    expected += 4 * width * 5
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert count_multiply_adds(model, (channels, side, side)) == expected
    # The model that was counted is as it was.
    assert model.training
    assert all(value.device.type == "cpu" and torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_multiply_adds_of_a_net_that_looks_at_its_own_numbers() -> None:
    class Torn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 3)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.layer(images.flatten(1) + torch.ones(16))
            return logits if logits.sum() > 0 else -logits

    assert count_multiply_adds(Classifier(Torn(), [0.5], [0.2]), (1, 4, 4)) == 16 * 3


@given(height=st.integers(1, 33), width=st.integers(1, 33), channels=st.integers(1, 4), images=st.integers(1, 3))
@settings(max_examples=25)
def test_any_input_size_gives_logits(height: int, width: int, channels: int, images: int) -> None:
    net = ResNet(7, channels, 1, 2).eval()
    model = Classifier(net, [0.5] * channels, [0.25] * channels)
    with torch.no_grad():
        logits = model(torch.randint(0, 256, (images, channels, height, width), dtype=torch.uint8))
    assert logits.shape == (images, 7)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def dead_block(in_channels: int, out_channels: int, stride: int) -> ResidualBlock:
    """Make a block whose convolutions give zero, so that only its shortcut is left."""
    block = ResidualBlock(in_channels, out_channels, stride).eval()
    nn.init.zeros_(block.conv2.weight)
    return block


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 1)])
def test_the_shortcut_takes_every_second_pixel_and_adds_channels_of_zeros(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size) + 1
    out = dead_block(3, 6, 2)(x)
    assert torch.equal(out[:, :3], x[:, :, ::2, ::2])
    assert torch.equal(out[:, 3:], torch.zeros_like(out[:, :3]))
    assert torch.equal(dead_block(3, 3, 1)(x), x)


def test_a_block_does_not_change_its_input_and_is_the_sum_of_both_ways() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(2, 4, 2).double().eval()  # float64 has digits to spare for sums in another order
    for norm in (block.norm1, block.norm2):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias)
        assert norm.running_mean is not None
        norm.running_mean.uniform_()
    x = torch.randn(3, 2, 5, 5, dtype=torch.float64)
    before = x.clone()
    with torch.no_grad():
        out = block(x)
        first = block.norm1(nn.functional.conv2d(x, block.conv1.weight, stride=2, padding=1)).clamp(min=0)
        second = block.norm2(nn.functional.conv2d(first, block.conv2.weight, padding=1))
    assert torch.equal(x, before)
    shortcut = torch.cat([x[:, :, ::2, ::2], torch.zeros(3, 2, 3, 3, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(out, (second + shortcut).clamp(min=0))


def test_the_stages_halve_the_image_and_double_the_channels() -> None:
    net = ResNet(10, 3, depth=2, width=4)
    shapes: list[tuple[int, ...]] = []
    for module in net.modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    net(torch.zeros(2, 3, 20, 13))
    assert shapes == [(4, 20, 13)] * 2 + [(8, 10, 7)] * 2 + [(16, 5, 4)] * 2


def test_a_pooled_net_pools_before_each_stage_and_has_a_shortcut_around_each_further_layer() -> None:
    torch.manual_seed(0)
    net = PooledResNet(10, 3, depth=2, width=4).double().eval()
    convolved = [2, 4, 4, 4, 8, 8, 8, 16, 16, 16]  # channels after each convolution: stem, then three a stage
    before = [3, 2, 4, 4, 4, 8, 8, 8, 16, 16]
    weights = sum(9 * inside * outside for inside, outside in zip(before, convolved, strict=True))
    assert count_parameters(net) == weights + 2 * sum(convolved) + 16 * 10 + 10
    x = torch.randn(2, 3, 20, 13, dtype=torch.float64)
    layers = iter([module for module in net.modules() if isinstance(module, nn.Conv2d)])

    def convolution(images: Tensor) -> Tensor:  # fresh norms leave all but their epsilon as it is
        out: Tensor = next(layers)(images)
        return out.clamp(min=0) / math.sqrt(1 + 1e-5)

    with torch.no_grad():
        found = net(x)
        slow = convolution(x)  # a ReLU and a norm that divides by one number change no order: pooled before or after
        for height, width in [(10, 7), (5, 4), (3, 2)]:
            slow = convolution(nn.functional.max_pool2d(slow, 2, ceil_mode=True))
            assert slow.shape[-2:] == (height, width)
            for _ in range(2):
                slow = slow + convolution(slow)
        assert isinstance(net.head, nn.Linear)
        expected = net.head(slow.mean(dim=(2, 3)))
    torch.testing.assert_close(found, expected)


@given(height=st.integers(1, 33), width=st.integers(1, 33), channels=st.integers(1, 4))
@settings(max_examples=15)
def test_a_pooled_net_takes_any_input_size(height: int, width: int, channels: int) -> None:
    net = PooledResNet(7, channels, 1, 1).eval()
    with torch.no_grad():
        assert net(torch.randn(2, channels, height, width)).isfinite().all()


@given(
    mean=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    std=st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30)
def test_the_classifier_normalises_by_the_channels_of_its_data_set(mean: list[float], std: list[float], seed: int) -> None:
    std = std[: len(mean)]
    images = torch.randint(0, 256, (2, len(mean), 3, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    by_channel = [(images[:, channel].double() / 255 - mean[channel]) / std[channel] for channel in range(len(mean))]
    normalised: Tensor = Classifier(nn.Identity(), mean, std)(images)
    torch.testing.assert_close(normalised.double(), torch.stack(by_channel, dim=1), rtol=1e-4, atol=1e-4)


def test_bytes_and_floats_of_the_same_pixels_give_the_same_logits() -> None:
    model = Classifier(ResNet(4, 3, 1, 2), [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]).eval()
    images = torch.randint(0, 256, (5, 3, 9, 9), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(images)
        for dtype in (torch.float32, torch.float64, torch.int64):
            assert torch.equal(model(images.to(dtype)), expected)
        assert torch.equal(model(images.contiguous(memory_format=torch.channels_last)), expected)


def test_the_normalisation_is_saved_with_the_weights_and_is_not_trained() -> None:
    model = Classifier(ResNet(4, 1, 1, 2), [0.4], [0.2])
    other = Classifier(ResNet(4, 1, 1, 2), [0.9], [0.7])
    other.load_state_dict(model.state_dict())
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(model.eval()(images), other.eval()(images))
    assert count_parameters(model) == count_parameters(model.net)


def test_weights_are_drawn_from_the_seed_with_the_variance_of_he() -> None:
    def create(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return ResNet(10, 3, depth=1, width=64)

    one, same, other = (create(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["stem.weight"], other["stem.weight"])
    for name, weight in one.items():
        if weight.ndim == 4:
            # He et al. (2015, "Delving deep into rectifiers", Eq. 14): variance 2 / (k^2 out)
            assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * weight.shape[0])), rel=0.05), name
            assert abs(weight.mean().item()) < 0.01
