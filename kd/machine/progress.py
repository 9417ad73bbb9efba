"""The progress of a training: a bar on a terminal, one line per epoch otherwise."""

import logging
import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

from kd.machine.text import printable

log = logging.getLogger("kd")


class Progress:
    """The epochs of one training, shown as they end."""

    def __init__(self, name: str, epochs: int, done: int = 0) -> None:
        self._name = name
        self._epochs = epochs
        self._bar = tqdm(
            desc=printable(name), total=epochs, initial=done, unit="epoch", dynamic_ncols=True, disable=not sys.stderr.isatty()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()

    def update(self, number: int, *, loss: float, val_accuracy: float, images_per_second: float) -> None:
        """Show epoch ``number``, from 1; the accuracy is a fraction."""
        figures = f"loss {loss:.3f}, val accuracy {val_accuracy:.2%}, {images_per_second:.0f} images/s"
        if self._bar.disable:
            log.info("%s: epoch %d/%d: %s", self._name, number, self._epochs, figures)
        else:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update()
