"""Image files as a model sees them, in batches: all of them once and in order, and few in memory at once."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kd.data import prepared as module
from kd.data.prepared import MAX_BATCH, WAITING, prepared_batches
from kd.errors import UserError


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return pictures of 1000 brightnesses, modulo 251; the file of number 77 is damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{number}.png" for number in range(1000)]
    for number, path in enumerate(paths):
        Image.new("L", (4, 4), number % 251).save(path)
    paths[77].write_bytes(b"no image")
    return paths


def test_all_images_come_once_and_in_order(paths: list[Path]) -> None:
    batches = list(prepared_batches(paths, (1, 4, 4), 16))
    assert [place for batch in batches for place in batch.places] == [*range(77), *range(78, 1000)]
    images = np.concatenate([batch.images for batch in batches])
    assert images.shape == (999, 1, 4, 4)
    assert images[:, 0, 2, 2].tolist() == [number % 251 for number in range(1000) if number != 77]
    [[place, why]] = [item for batch in batches for item in batch.bad.items()]
    assert (place, why) == (77, "it is no image in a format that kd reads")


def test_few_images_are_decoded_ahead(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    class Noted(ThreadPoolExecutor):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:  # noqa: ANN401
            begun.append(len(arguments[1]))
            return super().submit(function, *arguments, **named)

    monkeypatch.setattr(module, "ThreadPoolExecutor", Noted)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    batches = prepared_batches(paths, (1, 4, 4), 16)
    next(batches)
    assert sum(begun) == (2 * WAITING + 1) * MAX_BATCH < len(paths)
    batches.close()  # type: ignore[attr-defined] # it is a generator


def test_images_of_another_form_than_a_square_are_refused(paths: list[Path]) -> None:
    with pytest.raises(UserError, match=r"images of 6 x 4 px are not read from files; give an array$"):
        next(prepared_batches(paths, (1, 4, 6), 16))
    assert list(prepared_batches([], (1, 4, 6), 16)) == []
