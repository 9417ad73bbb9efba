"""A net is tried before anything costly: it answers, learns, and can be exported."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd.data.dataset import Dataset
from kd.distillation.net_check import check_net
from kd.errors import UserError
from kd.nets.registry import net_spec

CPU = torch.device("cpu")


class Net(nn.Module):
    """A net of one layer, with something wrong with it where it is asked to."""

    def __init__(self, wrong: str = "") -> None:
        super().__init__()
        self.wrong = wrong
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Any:  # noqa: ANN401, PLR0911 - what is wrong
        logits = self.layer(images.flatten(1))
        match self.wrong:
            case "two answers":
                return logits, logits
            case "a size":
                return logits[:, :7]
            case "numbers of its own":
                return torch.zeros(len(images), 10).requires_grad_()
            case "nan":
                return logits / 0 * 0
            case "a batch of one":
                return logits if len(images) == 1 else logits[:1]
            case "a look at its numbers":
                return logits if float(images.sum()) > 0 else -logits
            case "training alone":
                return logits.detach() if self.training else logits
        return logits


def test_a_net_that_is_right_passes_and_leaves_the_random_state(tiny_digits: Dataset) -> None:
    net = net_spec(Net())
    before = torch.get_rng_state()
    check_net(net, tiny_digits, 10, CPU, "student", exported=True)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("two answers", "can't take images"),
        ("a size", r"answers an image with \(7,\), not with 10 logits"),
        ("numbers of its own", "has no parameter that its logits depend on"),
        ("nan", "logits that are not finite"),
        ("a batch of one", "can't learn from a batch"),
        ("a look at its numbers", "can't be exported"),
        ("training alone", "can't learn from a batch"),
    ],
)
def test_a_net_that_is_wrong_is_refused_in_one_line(wrong: str, told: str, tiny_digits: Dataset) -> None:
    with pytest.raises(UserError, match=told) as refused:
        check_net(net_spec(Net(wrong)), tiny_digits, 10, CPU, "student", exported=True)
    assert "\n" not in str(refused.value)


def test_grey_images_repeated_are_said(tiny_digits: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kd")
    check_net(net_spec("torchvision:shufflenet_v2_x0_5", {"small_stem": True}), tiny_digits, 10, CPU, "student", exported=True)
    assert "grey images are repeated into 3 channels" in caplog.text


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("torchvision:shufflenet_v2_x0_5", {}, "images of 8 x 8 px are 1 x 1 behind its last convolution"),
        ("torchvision:shufflenet_v2_x0_5", {"small_stem": True, "px": 24}, ""),
        ("torchvision:shufflenet_v2_x0_5", {"px": 48}, "images of 48 x 48 px are 2 x 2 behind its last convolution"),
        ("torchvision:shufflenet_v2_x0_5", {"px": 64}, ""),
        ("resnet", {"px": 16}, ""),  # kd's own, which is tried since its size was changed
    ],
)
def test_a_net_that_halves_small_images_too_often_is_told_with_what_to_do(
    name: str, settings: dict[str, Any], told: str, tiny_digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kd")
    check_net(net_spec(name, settings), tiny_digits, 10, CPU, "student", exported=False)
    hints = [message for message in caplog.messages if "behind its last convolution" in message]
    assert hints == (
        [f"{name}: {told}: it was made for larger ones; --small-stem (small_stem=True) fits its first layers"] if told else []
    )


def test_a_net_of_ones_own_for_small_images_is_not_told_of_its_stem(
    tiny_digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kd")

    def net(stages: int) -> nn.Module:
        layers = [nn.Conv2d(1 if not stage else 2, 2, 3, stride=2, padding=1) for stage in range(stages)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10))

    check_net(net_spec(net(1)), tiny_digits, 10, CPU, "student", exported=False)  # 4 x 4 is left
    assert caplog.messages == []
    check_net(net_spec(net(2)), tiny_digits, 10, CPU, "student", exported=False)
    assert caplog.messages[-1].endswith(
        "are 2 x 2 behind its last convolution: it was made for larger ones; look at its first layers"
    )
