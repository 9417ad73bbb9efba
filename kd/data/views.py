"""Augmentation of a whole batch as a function of (seed, view, image index) alone.

An image's view is the same in any batch, in any order and on any device, so that a teacher's targets computed once per
(image, view) belong to exactly the pixels that the student sees (Beyer et al. 2022, "consistent teaching").
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", figure 16), as signed 64 bits.
_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - 2**64
_MULTIPLIER_2 = 0x94D049BB133111EB - 2**64


@dataclass(frozen=True)
class Augmentation:
    """Shifted crop with reflection padding, and a horizontal flip that alternates from view to view.

    Every integer is a valid seed and a valid view; both count modulo 2^64.
    """

    shift_px: int
    """Largest shift in pixels, in both directions and on both axes; every shift is equally likely."""
    flip: bool
    """Whether images are mirrored, in every second view each.

    Half of all images start flipped, so that over two views each image is seen both ways (Jordan 2024, "94% on CIFAR-10 in
    3.29 seconds on a single GPU", section 3.6).
    """
    seed: int

    def __post_init__(self) -> None:
        if self.shift_px < 0:
            raise ValueError(f"shift_px is {self.shift_px}, must be 0 or more")

    def __call__(self, images: Tensor, index: Tensor, view: int) -> Tensor:
        """Return one view of each image of a batch.

        Args:
            images: (B, C, H, W) of any dtype.
            index: each image's ``Split.index``, (B,) int64.
            view: number of the view.

        Raises:
            ValueError: the shift is not smaller than the image, which reflection can't fill beyond that.
        """
        height, width = images.shape[-2:]
        if self.shift_px >= min(height, width):
            raise ValueError(f"shift_px is {self.shift_px}, must be below the image's {height} x {width} px")
        if self.shift_px == 0 and not self.flip:
            return images
        down, right = self.shifts(index, view)
        rows = _reflect(torch.arange(height, device=images.device) + down[:, None], height)  # (B, H)
        columns = torch.arange(width, device=images.device).expand(len(images), width)  # (B, W)
        flipped = self.flipped(index, view)[:, None]  # (B, 1)
        columns = torch.where(flipped, width - 1 - columns, columns)
        columns = _reflect(columns + right[:, None], width)  # (B, W)
        return _take(images, rows, columns)

    def shifts(self, index: Tensor, view: int) -> tuple[Tensor, Tensor]:
        """Return how far the crop of each image moves down and right, each (B,) int64 in [-shift_px, shift_px]."""
        bits = counter_hash(self.seed, view, index=index)  # (B,)
        choices = 2 * self.shift_px + 1
        low, high = bits & 0xFFFFFFFF, _shift_right(bits, 32)
        # 32 random bits times n, divided by 2^32, is uniform on 0..n-1 up to n / 2^32 (Lemire 2019).
        return (low * choices >> 32) - self.shift_px, (high * choices >> 32) - self.shift_px

    def flipped(self, index: Tensor, view: int) -> Tensor:
        """Return which images of a batch are mirrored in this view, (B,) bool."""
        if not self.flip:
            return torch.zeros_like(index, dtype=torch.bool)
        first = counter_hash(self.seed, index=index) & 1  # (B,)
        return (first + view % 2) % 2 == 1


def counter_hash(*keys: int, index: Tensor) -> Tensor:
    """Hash (keys..., index) to 64 random bits for each element of index, (B,) int64: a counter-based generator.

    The keys are mixed in one after another by the finaliser of SplitMix64, a bijection of 64 bits, so that distinct
    indices never collide under the same keys.
    """
    state = torch.zeros((), dtype=torch.int64)
    for key in keys:
        state = _mix(state ^ _signed(key))
    return _mix(state ^ index)


def _signed(number: int) -> int:
    """Return the number modulo 2^64, in the range of int64."""
    return (number + 2**63) % 2**64 - 2**63


def _mix(state: Tensor) -> Tensor:
    """Advance SplitMix64 by one step: int64 tensors wrap around in + and *."""
    state = state + _GAMMA
    state = (state ^ _shift_right(state, 30)) * _MULTIPLIER_1
    state = (state ^ _shift_right(state, 27)) * _MULTIPLIER_2
    return state ^ _shift_right(state, 31)


def _shift_right(state: Tensor, bits: int) -> Tensor:
    """Shift right without copying the sign bit, as for unsigned numbers."""
    return torch.bitwise_and(state >> bits, 2 ** (64 - bits) - 1)


def _reflect(position: Tensor, size: int) -> Tensor:
    """Mirror positions in (-size, 2 * size - 1) at the edge pixels back to [0, size), the edge itself not repeated."""
    return (size - 1) - ((size - 1) - position.abs()).abs()


def _take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return out[b, c, y, x] = images[b, c, rows[b, y], columns[b, x]]."""
    batch, channels, height, width = images.shape
    pixels = rows[:, :, None] * width + columns[:, None, :]  # (B, H, W)
    pixels = pixels.view(batch, 1, height * width).expand(batch, channels, height * width)
    return images.reshape(batch, channels, height * width).gather(2, pixels).view(images.shape)
