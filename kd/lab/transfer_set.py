"""Transfer sets that are a part of the labelled images."""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from kd.data.dataset import Dataset


def part_of(dataset: Dataset, rows: Tensor) -> Dataset:
    """Return a data set that has only some rows of train, (M,) int64 or (N,) bool; val, test and views are the same.

    It has no images without labels: nobody knows of which class these are.
    """
    train = dataset.train.select(rows)
    kept = train.index.cpu().numpy().astype("<i8").tobytes()
    digest = hashlib.sha256(f"{dataset.digest} ".encode() + kept).hexdigest()[:32]
    return replace(dataset, train=train, unlabelled=None, digest=digest, full_train=dataset.full_train or len(dataset.train))


def share_of(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Return a data set that has a share of each class of train, one image or more.

    Of two shares with one seed the smaller one is part of the larger one.
    """
    labels, generator = dataset.train.labels.cpu(), torch.Generator().manual_seed(seed)
    kept = []
    for label in sorted(set(labels.tolist())):
        rows = (labels == label).nonzero()[:, 0]
        kept.append(rows[torch.randperm(len(rows), generator=generator)][: max(1, round(share * len(rows)))])
    return part_of(dataset, torch.cat(kept).sort().values)
