"""A model's answers to image files of any number: decoded while others are answered, a batch at a time."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kd.data.pixels import no_warnings
from kd.data.prepared import Prepared, prepared_batches
from kd.errors import UserError
from kd.evaluation.predict import EVAL_BATCH_SIZE, answers
from kd.machine.activity import counted, doing
from kd.machine.progress import bar
from kd.machine.text import listed, printable

log = logging.getLogger("kd")


class Answered(NamedTuple):
    """The answers to some of many files, in their order."""

    places: Sequence[int]
    """The place among all files of each answer."""
    probabilities: Tensor
    """(N, classes) float32, on the CPU."""


def answer_files(
    model: nn.Module,
    paths: Sequence[Path],
    image_shape: tuple[int, int, int],
    bit_depth: int,
    *,
    skip_bad_images: bool | None = None,
) -> Iterator[Answered]:
    """Yield a model's answers to image files, a batch at a time, with a progress bar on a terminal.

    Args:
        model: maps uint8 images (B, C, H, W) to logits (B, classes), on any device.
        paths: the files.
        image_shape: (C, H, W) of the model's images.
        bit_depth: bits that the values of files of 16 bits have, as in the data set that it was trained on.
        skip_bad_images: whether files that can't be decoded are left out, with a warning; otherwise they are refused once all
            are known. None: they are refused, and can't be left out.

    Raises:
        UserError: files can't be decoded, or images of the model's shape are not read from files.
        KeyboardInterrupt: as :func:`kd.machine.signals.check_stop`.
    """
    what = f"predicting {len(paths):,} images"
    bad: dict[int, str] = {}
    prepared = prepared_batches(paths, image_shape, bit_depth)
    with (
        doing(what, has_bar=len(paths) > EVAL_BATCH_SIZE),
        bar(what, len(paths), "img", shown=len(paths) > EVAL_BATCH_SIZE) as progress,
        no_warnings(),
    ):
        for batch in counted(_joined(prepared), -(-len(paths) // EVAL_BATCH_SIZE)):
            bad.update(batch.bad)
            if batch.places and (skip_bad_images or not bad):
                yield Answered(batch.places, answers(model, torch.from_numpy(batch.images)).softmax(dim=1))
            progress.update(len(batch.places) + len(batch.bad))
    if bad and skip_bad_images:
        log.warning("%d images can't be read and are left out: %s", len(bad), _named(paths, bad))
    elif bad:
        raise UserError(_refusal(paths, bad, or_skipped=skip_bad_images is not None))


def _joined(batches: Iterator[Prepared]) -> Iterator[Prepared]:
    """Yield batches of as many images as a model is best asked for at once."""
    waiting: list[Prepared] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += len(batch.places)
        if count >= EVAL_BATCH_SIZE:
            yield _as_one(waiting)
            waiting, count = [], 0
    if waiting:
        yield _as_one(waiting)


def _as_one(batches: Sequence[Prepared]) -> Prepared:
    if len(batches) == 1:
        return batches[0]
    bad = {place: why for batch in batches for place, why in batch.bad.items()}
    places = [place for batch in batches for place in batch.places]
    return Prepared(places, np.concatenate([batch.images for batch in batches]), bad)


def _refusal(paths: Sequence[Path], bad: Mapping[int, str], *, or_skipped: bool) -> str:
    if len(bad) == 1:
        [(place, why)] = bad.items()
        what = f"cannot read the image {printable(paths[place])}: {why}; repair or remove it"
    else:
        what = f"cannot read {len(bad)} of {len(paths)} images: {_named(paths, bad)}; repair or remove them"
    return f"{what}, or leave out what can't be read (--skip-bad-images)" if or_skipped else what


def _named(paths: Sequence[Path], bad: Mapping[int, str]) -> str:
    return listed(f"{paths[place]} ({bad[place]})" for place in sorted(bad))
