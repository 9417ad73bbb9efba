"""What a report shows: plain records, whoever fills them."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kd.evaluation.intervals import Interval, wilson_interval
from kd.reports.note import MODELS_HEAD

MAX_PICTURE = 20_000_000
"""Bytes of a picture at most."""
WITH_DUSTBIN = "test/accuracy_with_dustbin"
"""Metric that a net with a dustbin alone has."""
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class ClassRow:
    """The answers on the test images of one class."""

    name: str
    images: int
    right: int


@dataclass(frozen=True)
class System:
    """A trained net, or a combination, as its run recorded it."""

    name: str
    role: str
    seed: str
    verdict: str
    """What its difference to its control is called, with its interval; empty: it was compared with nothing."""
    metrics: Mapping[str, float]
    classes: Sequence[ClassRow] = ()
    right: Mapping[int, bool] | None = None
    """Whether it is right on each test image, by the image's number; None: it is not known."""
    figures: Mapping[str, bytes] | None = None
    """Pictures (PNG) by their names; None: they were not asked for."""
    state: str = ""
    """How its run ended where it did not come to its end, in words."""

    @property
    def has_dustbin(self) -> bool:
        """Return whether the last of its classes is a dustbin, for the images of all others."""
        return WITH_DUSTBIN in self.metrics

    @property
    def accuracy(self) -> Interval | None:
        """Return its accuracy on the test images of its own classes, and among these; None: it is not known."""
        rows = self.classes[:-1] if self.has_dustbin else self.classes
        images, right = sum(row.images for row in rows), sum(row.right for row in rows)
        if self.has_dustbin and "test/own_accuracy" in self.metrics:  # the rows count the dustbin among the answers
            right = round(self.metrics["test/own_accuracy"] * images)
        return wilson_interval(right, images) if images else None

    def cost(self, name: str) -> float | None:
        """Return a metric of what it costs; None: it was not measured."""
        return self.metrics.get(f"cost/{name}")


@dataclass(frozen=True)
class Contents:
    """A command's run, as it was recorded."""

    title: str
    verdict: str
    """Empty: nothing was compared."""
    command: str
    """The command that does the same; empty: it is not known."""
    note: str
    """Its note, in Markdown."""
    settings: str
    """Its whole configuration, as a text in YAML."""
    lineage: Mapping[str, str]
    """From the images and the code to the model: what was used, by what it is called."""
    systems: Sequence[System]
    figures: Mapping[str, bytes]
    """Its own pictures (PNG) by their names."""
    state: str = ""
    """How it ended where it did not come to its end, in words."""
    run_id: str = ""

    @property
    def listed(self) -> Sequence[System]:
        """Return the systems that stand in a table of their own: none where its note has one, and no trials of a search."""
        if f"\n{MODELS_HEAD}\n" in f"\n{self.note}":
            return ()
        return [system for system in self.systems if system.role != "trial"] or self.systems

    @property
    def missing(self) -> list[str]:
        """Return what it has not recorded, of that which each command of kd records."""
        parts = {"note": self.note or self.verdict, "settings": self.settings, "command": self.command, "systems": self.systems}
        return [name for name, recorded in parts.items() if not recorded]


def is_picture(content: bytes) -> bool:
    """Return whether bytes are a whole PNG that a page can hold: its chunks in order, each with the sum that it says."""
    if len(content) > MAX_PICTURE or not content.startswith(_PNG):
        return False
    place = len(_PNG)
    while place + 12 <= len(content):  # length, kind and sum, 4 bytes each
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        body = content[place + 4 : end]
        if zlib.crc32(body) != int.from_bytes(content[end : end + 4], "big"):
            return False
        if body[:4] == b"IEND":
            return True
        place = end + 4
    return False
