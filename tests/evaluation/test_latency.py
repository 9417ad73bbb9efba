"""The time of a pass: warmed up, the median with its middle half, of so many passes as there is time for."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from kd.evaluation import latency as module
from kd.evaluation.latency import BATCHES, MAX_PASSES, WARM_UP, Latency, latencies, latency

IMAGES = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)


class Clock:
    """A clock that a model moves on."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Slow(nn.Module):
    """A model whose passes take times of a list, in milliseconds, the last one again and again."""

    def __init__(self, clock: Clock, times: Sequence[float]) -> None:
        super().__init__()
        self.clock, self.times, self.seen = clock, list(times), list[tuple[int, ...]]()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, images: Tensor) -> Tensor:
        assert not self.norm.training
        assert torch.is_inference_mode_enabled()
        self.clock.now += self.times[min(len(self.seen), len(self.times) - 1)] / 1000
        self.seen.append(tuple(images.shape))
        return images.float().mean(dim=(1, 2, 3))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_warm_up_is_left_out_and_slow_passes_are_few(clock: Clock) -> None:
    model = Slow(clock, [900, 900, 50, 10, 40, 20, 30])
    measured = latency(model, IMAGES, 1)
    assert len(model.seen) == WARM_UP + 5
    assert (measured.low_ms, measured.median_ms, measured.high_ms) == pytest.approx((20, 30, 40))
    assert model.norm.training, "as it was"


def test_fast_passes_are_many(clock: Clock) -> None:
    model = Slow(clock, [0.001])
    latency(model, IMAGES, 1)
    assert len(model.seen) == WARM_UP + MAX_PASSES
    model = Slow(clock, [2])
    latency(model, IMAGES, 1)
    assert len(model.seen) - WARM_UP == pytest.approx(25, abs=1)  # 50 ms


def test_both_sizes_of_batches_are_full_though_there_are_fewer_images(clock: Clock) -> None:
    model = Slow(clock, [100])
    found = latencies(model, IMAGES)
    assert [one.batch for one in found] == list(BATCHES)
    assert set(model.seen) == {(1, 1, 2, 2), (32, 1, 2, 2)}
    threads = torch.get_num_threads()
    assert {one.place for one in found} == {f"cpu, {threads} thread{'s' * (threads > 1)}"}


def test_times_have_three_digits() -> None:
    assert str(Latency(1, 0.51234, 0.5, 12.345, "")) == "0.512 ms [0.5, 12.3]"
    assert str(Latency(1, 1234.5, 99.96, 1500, "")) == "1234 ms [100, 1500]"
