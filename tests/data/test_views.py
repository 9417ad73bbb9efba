from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from kd.data.views import Augmentation, counter_hash

MANY = torch.arange(40_000)
ANY_INTEGER = st.integers(-(2**70), 2**70)


def random_images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def slow_view(augmentation: Augmentation, images: torch.Tensor, index: torch.Tensor, view: int) -> torch.Tensor:
    """Pad, crop and mirror one image after another with numpy."""
    pad = augmentation.shift_px
    height, width = images.shape[-2:]
    down, right = augmentation.shifts(index, view)
    flipped = augmentation.flipped(index, view)
    views = []
    for row, image in enumerate(images.numpy()):
        padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
        top, left = pad + int(down[row]), pad + int(right[row])
        crop = padded[:, top : top + height, left : left + width]
        views.append(crop[..., ::-1] if flipped[row] else crop)
    return torch.from_numpy(np.stack(views))


@given(
    batch=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    data=st.data(),
    flip=st.booleans(),
    seed=ANY_INTEGER,
    view=ANY_INTEGER,
)
def test_view_equals_padding_cropping_and_mirroring_one_by_one(  # noqa: PLR0913  drawn by hypothesis
    batch: int, channels: int, height: int, width: int, data: st.DataObject, *, flip: bool, seed: int, view: int
) -> None:
    shift_px = data.draw(st.integers(0, min(height, width) - 1))
    augmentation = Augmentation(shift_px, flip, seed)
    images = random_images(batch, channels, height, width)
    index = torch.tensor(data.draw(st.lists(st.integers(0, 2**62), min_size=batch, max_size=batch)))
    before = images.clone()
    result = augmentation(images, index, view)
    assert result.dtype == torch.uint8
    assert torch.equal(result, slow_view(augmentation, images, index, view))
    assert torch.equal(images, before)


@given(order=st.permutations(range(12)), size=st.integers(1, 12), view=ANY_INTEGER)
def test_view_of_an_image_does_not_depend_on_the_batch(order: list[int], size: int, view: int) -> None:
    augmentation = Augmentation(2, flip=True, seed=5)
    images, index = random_images(12, 3, 8, 8), torch.arange(100, 112)
    rows = torch.tensor(order[:size])
    assert torch.equal(augmentation(images[rows], index[rows], view), augmentation(images, index, view)[rows])


def test_images_that_are_not_contiguous_are_read_in_their_own_order() -> None:
    augmentation = Augmentation(2, flip=True, seed=5)
    images, index = random_images(6, 3, 8, 8), torch.arange(6)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(augmentation(channels_last, index, 1), augmentation(images, index, 1))


def test_nothing_to_do_leaves_the_images_as_they_are() -> None:
    images = random_images(4, 1, 8, 8)
    assert torch.equal(Augmentation(0, flip=False, seed=0)(images, torch.arange(4), 7), images)


def test_flip_alternates_from_view_to_view_and_half_of_the_images_start_flipped() -> None:
    augmentation = Augmentation(0, flip=True, seed=3)
    images, index = random_images(200, 3, 8, 8), torch.arange(200)
    views = [augmentation(images, index, view) for view in range(-1, 4)]
    assert all(torch.equal(later, earlier.flip(-1)) for earlier, later in pairwise(views))
    started_flipped = (views[1] == images.flip(-1)).flatten(1).all(1)
    assert 70 <= int(started_flipped.sum()) <= 130
    assert torch.equal(views[1][~started_flipped], images[~started_flipped])


def test_no_flip_where_it_is_not_allowed() -> None:
    assert not any(Augmentation(1, flip=False, seed=3).flipped(torch.arange(100), view).any() for view in range(2))


def test_hash_is_splitmix64() -> None:
    # The first number of the published generator seeded with 0, 1 and 2 times its increment.
    increment = 0x9E3779B97F4A7C15
    index = torch.tensor([0, increment - 2**64, 2 * increment % 2**64])
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [number % 2**64 for number in counter_hash(index=index).tolist()] == expected


def chi_square_p(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the p-value of two integer variables being independent."""
    pairs, counts = torch.unique(torch.stack([first, second]).long(), dim=1, return_counts=True)
    table = np.zeros((9, 9))
    table[pairs[0].numpy(), pairs[1].numpy()] = counts.numpy()
    table = table[table.any(1)][:, table.any(0)]
    return float(chi2_contingency(table).pvalue)


@pytest.mark.parametrize(("seed", "view"), [(0, 0), (0, 1), (1, 0), (2**31, 1000), (-1, -1)])
def test_every_shift_is_equally_likely(seed: int, view: int) -> None:
    down, right = Augmentation(4, flip=True, seed=seed).shifts(MANY, view)
    counts = torch.bincount((down + 4) * 9 + right + 4, minlength=81)
    assert len(counts) == 81
    assert chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("seed", [0, 12345])
def test_shifts_are_independent_over_axes_views_seeds_and_neighbouring_images(seed: int) -> None:
    augmentation = Augmentation(4, flip=True, seed=seed)
    down, right = (shift + 4 for shift in augmentation.shifts(MANY, 0))
    others = [
        right,
        augmentation.shifts(MANY, 1)[0] + 4,
        augmentation.shifts(MANY, 2)[0] + 4,
        Augmentation(4, flip=True, seed=seed + 1).shifts(MANY, 0)[0] + 4,
        augmentation.shifts(MANY + 1, 0)[0] + 4,
        augmentation.shifts(MANY + 128, 0)[0] + 4,
        augmentation.flipped(MANY, 0),
    ]
    assert min(chi_square_p(down, other) for other in others) > 1e-3
    flipped = augmentation.flipped(MANY, 0)
    assert chi_square_p(flipped, Augmentation(4, flip=True, seed=seed + 1).flipped(MANY, 0)) > 1e-3
    assert chi_square_p(flipped, augmentation.flipped(MANY + 1, 0)) > 1e-3


def test_an_image_goes_through_all_shifts_over_the_views() -> None:
    augmentation = Augmentation(1, flip=False, seed=0)
    shifts = torch.stack([torch.stack(augmentation.shifts(torch.tensor([17]), view)) for view in range(900)])
    _, counts = np.unique(shifts.squeeze(-1).numpy(), axis=0, return_counts=True)
    assert chisquare(counts).pvalue > 1e-3
    assert len(counts) == 9


def test_seed_and_view_do_not_stand_for_one_another() -> None:
    index = torch.arange(1000)
    assert not torch.equal(counter_hash(1, 2, index=index), counter_hash(2, 1, index=index))
    assert not torch.equal(counter_hash(-1, 0, index=index), counter_hash(1, 0, index=index))
    assert torch.equal(counter_hash(2**64 + 1, -(2**64), index=index), counter_hash(1, 0, index=index))


@pytest.mark.parametrize("shape", [(2, 1, 4, 9), (2, 1, 9, 4)])
def test_shift_as_large_as_the_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shift_px is 4"):
        Augmentation(4, flip=False, seed=0)(random_images(*shape), torch.arange(2), 0)


def test_negative_shift_is_refused() -> None:
    with pytest.raises(ValueError, match="shift_px is -1"):
        Augmentation(-1, flip=False, seed=0)
