"""The record of an experiment: what was run, what came out, and where; written as a small JSON file."""

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch

import kd
from kd.errors import UserError, reason
from kd.evaluation.comparisons import judged_text
from kd.evaluation.intervals import Interval, share_interval, verdict, wilson_interval
from kd.machine.files import file_digest, write_whole
from kd.machine.paths import open_file

log = logging.getLogger("kd")

MAX_BYTES = 2**20
BEFORE = "before"
"""Folder of the records that others have taken the place of."""
PART = ": "
"""Stands between a system and the part of the images that it is scored on, in the name of its row."""


@dataclass(frozen=True)
class Row:
    """A system, with its test errors."""

    system: str
    images: int
    """Test images that it is scored on."""
    errors: tuple[int, ...]
    """Per seed."""
    parameters: int | None
    published: str
    """The paper's own result; empty: it has none."""
    chosen_on_test: bool = False
    """Whether something of it was chosen on test: it shows what comes of that, and is no result."""

    @property
    def accuracy(self) -> Interval:
        """Return its accuracy: over seeds, or over images where there is one seed."""
        if len(self.errors) == 1:
            return wilson_interval(self.images - self.errors[0], self.images)
        return share_interval([1 - errors / self.images for errors in self.errors])


@dataclass(frozen=True)
class Difference:
    """The difference in accuracy of two systems, and what the paper claims of it."""

    after: str
    before: str
    expected: str | None
    """gain or loss; None: the paper claims nothing."""
    points: Interval
    """A fraction, over seeds or images."""
    over: str
    adjusted_p: float | None
    """Its p-value among all comparisons of the experiment (Holm 1979), by which the verdict is given."""

    @property
    def compared(self) -> str:
        """Return what was compared; what both systems are scored on stands in front, where that is a part of the images."""
        (after, *of), (before, *same) = self.after.split(PART), self.before.split(PART)
        return f"{of[0]}: {after} against {before}" if of and of == same else f"{self.after} against {self.before}"

    @property
    def verdict(self) -> str:
        """Return gain, loss, null result or no interval."""
        return verdict(self.points, self.adjusted_p)

    @property
    def in_words(self) -> str:
        """Return what came out, and what it says of the paper's claim."""
        told = f"{self.compared}: {judged_text(self.points, self.over, self.adjusted_p)}"
        return told if self.expected is None else f"{told}, {self.of_claim}"

    @property
    def of_claim(self) -> str:
        """Return whether the paper's claim holds here."""
        if self.verdict == self.expected:
            return "as the paper has it"
        if self.verdict in {"gain", "loss"}:
            return "against the paper"
        return "so the paper's claim is neither shown nor refuted"


@dataclass(frozen=True)
class Figure:
    """Another number of an experiment, over its seeds."""

    name: str
    value: Interval
    published: str


@dataclass(frozen=True)
class Record:
    """What came out of an experiment."""

    experiment: str
    title: str
    section: str
    claim: str
    command: str
    """Empty: it was called from Python."""
    data: str
    data_digest: str
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    figures: tuple[Figure, ...]
    machine: str
    seconds: float
    kd: str = kd.__version__
    tried: str = ""
    """What was trained here, and compared."""
    published_on: str = ""
    """The images, or other data, of the paper's own results; empty: it has none."""

    @property
    def told(self) -> tuple[Difference, ...]:
        """Return the differences that tell something: those that the paper claims, then others that are shown."""
        claimed = [one for one in self.differences if one.expected is not None]
        shown = [one for one in self.differences if one.expected is None and one.verdict in {"gain", "loss"}]
        return tuple(claimed + shown)

    @property
    def conclusion(self) -> tuple[Difference, ...]:
        """Return the differences that say what came out: those that tell something, or else all."""
        return self.told or self.differences

    @property
    def file_name(self) -> str:
        """Return the name of its file."""
        return f"{self.experiment}-{self.data}.json"

    def write(self, folder: Path) -> Path:
        """Write it to its file in a folder, whole or not at all, and return the path.

        What lies there of other seeds, settings or images is kept below ``before/``, and that is said.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.file_name
        text = json.dumps(_without_nan(asdict(self)), indent=1, ensure_ascii=False)
        if path.is_file() and not self._repeats(path):
            aside = folder / BEFORE / f"{path.stem}-{file_digest(path)[:8]}.json"
            aside.parent.mkdir(exist_ok=True)
            path.replace(aside)
            log.warning("%s was of other seeds, settings or images: it is kept as %s", path, aside)
        write_whole(path, f"{text}\n".encode())
        return path

    def _repeats(self, path: Path) -> bool:
        """Return whether a file holds a record of the same seeds, settings and images."""
        try:
            other = self.read(path)
        except UserError:
            return False
        own = json.loads(json.dumps(self.settings))
        return (other.seeds, other.settings, other.data_digest) == (self.seeds, own, self.data_digest)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record from its file.

        Raises:
            UserError: it can't be read, or is not a record.
        """
        try:
            with open_file(path) as file:
                found = json.loads(file.read(MAX_BYTES))
            record = cls(
                **{
                    **found,
                    "seeds": tuple(found["seeds"]),
                    "rows": tuple(Row(**{**row, "errors": tuple(row["errors"])}) for row in found["rows"]),
                    "differences": tuple(
                        Difference(**{**one, "points": _interval(one["points"])}) for one in found["differences"]
                    ),
                    "figures": tuple(Figure(**{**one, "value": _interval(one["value"])}) for one in found["figures"]),
                }
            )
            record.check()
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"{path}: is no record of an experiment ({reason(error)}); kd paper writes them") from None
        return record

    def check(self) -> None:
        """Check what a page of it needs.

        Raises:
            ValueError: it lacks systems, differences or seeds, or its errors are not as many as its seeds and images allow.
            TypeError: something in it is of another type.
        """
        if not self.rows or not self.differences or not self.seeds:
            raise ValueError("it lacks systems, differences or seeds")
        if not isinstance(self.settings, Mapping):
            raise TypeError("its settings have no names")
        for row in self.rows:
            if len(row.errors) != len(self.seeds) or not all(0 <= errors <= row.images > 0 for errors in row.errors):
                raise ValueError(f"{row.system}: errors {row.errors} of {row.images} images")


def machine(device: torch.device) -> str:
    """Return what a record says of the machine: its cores, the kind of its processor, threads, and torch."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    return f"{where}, {os.cpu_count()} cores, {threads} thread{'s' * (threads != 1)}, torch {torch.__version__}"


def _without_nan(value: object) -> object:
    """Return a value in which null stands for NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _interval(found: Mapping[str, Any]) -> Interval:
    numbers = {name: math.nan if found[name] is None else float(found[name]) for name in ("mean", "low", "high")}
    return Interval(**numbers, n=int(found["n"]))
