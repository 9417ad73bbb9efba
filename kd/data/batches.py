"""The batches of an epoch, in an order that is a function of seed and epoch alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kd.data.dataset import Split
from kd.data.views import Augmentation

_WALK = 1
"""Tells the generators of walks from those of epochs."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Augmented images (B, C, H, W) uint8, labels (B,) and index (B,) int64, and the view that they show."""

    images: Tensor
    labels: Tensor
    index: Tensor
    view: int


def batches(  # noqa: PLR0913  what an epoch is a function of
    split: Split,
    augmentation: Augmentation,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    view: int,
    rows: Tensor | None = None,
    skip: int = 0,
) -> Iterator[Batch]:
    """Yield one epoch of a split in an order that is a function of (seed, epoch) alone, augmented, on its device.

    The epoch is cut into :func:`count_batches` batches of nearly equal size, so that no tiny one is left at the end.

    Args:
        split: the images.
        augmentation: makes the view of each image.
        batch_size: images per batch at most; where the last pair would leave one image alone, three are put together.
        seed: seed of the order.
        epoch: number of the epoch.
        view: number of the view that every image is shown in.
        rows: the rows that make up this epoch, (M,) int64, repeats allowed; None: each row once.
        skip: number of the first batches to leave out, which a resumed training has seen.

    Raises:
        ValueError: there are no rows, or ``batch_size`` is below 1.
    """
    if rows is None:
        rows = torch.arange(len(split))
    if batch_size < 1 or len(rows) == 0:
        raise ValueError(f"cannot make batches of {batch_size} from {len(rows)} rows")
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.randperm(len(rows), generator=generator)  # on the CPU: the same order for every device
    shuffled = rows.cpu()[order].to(split.labels.device)
    for chosen in shuffled.tensor_split(count_batches(len(shuffled), batch_size))[skip:]:
        part = split.select(chosen)
        yield Batch(augmentation(part.images, part.index, view), part.labels, part.index, view)


def count_batches(images: int, batch_size: int) -> int:
    """Return into how many batches an epoch of some images is cut.

    No batch is of one image where ``batch_size`` is larger: a net may have no spread to divide a single image by.
    """
    least = images // 2 if batch_size > 1 else images
    return max(1, min(-(-images // batch_size), least))


def cycled_rows(split_size: int, epoch_size: int, *, seed: int, epoch: int) -> Tensor:
    """Return the rows of one epoch of an endless walk through a split, each time in another order.

    After any number of epochs each row was taken equally often, give or take once. The rows are a function of their
    arguments, so that a walk can be resumed at any epoch.

    Args:
        split_size: images of the split, 1 or more.
        epoch_size: rows of an epoch, fewer or more than that.
        seed: seed of the orders.
        epoch: number of the epoch, from 0.

    Returns:
        (epoch_size,) int64.
    """
    begin, end = epoch * epoch_size, (epoch + 1) * epoch_size
    first = begin // split_size
    walks = range(first, -(-end // split_size))
    rows = torch.cat([torch.randperm(split_size, generator=_walk_generator(seed, walk)) for walk in walks])
    return rows[begin - first * split_size :][:epoch_size]


def _walk_generator(seed: int, walk: int) -> torch.Generator:
    """Return the generator of the order of one walk through a split: another one than that of any epoch's batches."""
    state = np.random.SeedSequence([seed % 2**64, walk, _WALK]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def epoch_seed(seed: int, epoch: int) -> int:
    """Return a seed that is a function of (seed, epoch); a sum of the two would be the same for several pairs."""
    return int(np.random.SeedSequence([seed % 2**64, epoch % 2**64]).generate_state(1, np.uint64)[0])
