"""The file of an exported program (pt2): a zip archive with a graph as JSON, weights as raw bytes, and texts beside them."""

import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch
from torch import Tensor

from kd.nets.program import DTYPES, STRIDED, Program

_PROGRAM = "models/model.json"
_WEIGHTS = "data/weights"
_CONSTANTS = "data/constants"
_TEXTS = "extra"
_INDEX = {_WEIGHTS: "model_weights_config.json", _CONSTANTS: "model_constants_config.json"}


class Archive:
    """An open archive; what is in it is read as numbers and text alone."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Take an archive.

        Raises:
            ValueError: it is not the file of one program.
            zipfile.BadZipFile: a checksum of it does not hold.
        """
        self._archive = archive
        names = archive.namelist()
        # Before a byte is read: what is compressed, or lies twice in the same place, may be of any size.
        if len(set(names)) != len(names) or not _is_stored(archive):
            raise ValueError("it is not an archive that torch wrote")
        damaged = archive.testzip()  # torch itself checks no checksum
        if damaged is not None:
            raise zipfile.BadZipFile(f"{PurePosixPath(damaged).name} is damaged")
        folders = {name.partition("/")[0] for name in names}
        if len(folders) != 1:
            raise ValueError("it holds no program")
        (self._folder,) = folders
        self._names = set(names)

    def text(self, name: str) -> str:
        """Return a text beside the program; empty where there is none of that name."""
        return self._read(f"{_TEXTS}/{name}").decode() if self._has(f"{_TEXTS}/{name}") else ""

    def program(self) -> Program:
        """Return the program with its weights.

        Raises:
            ValueError: it has a part that a program may not have, or lacks one that it needs.
        """
        if not self._has(_PROGRAM):
            raise ValueError("it holds no program")
        return Program(json.loads(self._read(_PROGRAM)), self._tensors(_WEIGHTS), self._tensors(_CONSTANTS))

    def _tensors(self, folder: str) -> dict[str, Tensor]:
        index = f"{folder}/{_INDEX[folder]}"
        stored = json.loads(self._read(index))["config"] if self._has(index) else {}
        return {name: self._tensor(f"{folder}/{entry['path_name']}", entry) for name, entry in stored.items()}

    def _tensor(self, path: str, entry: Mapping[str, Any]) -> Tensor:
        """Return a tensor from the raw bytes of its numbers.

        Raises:
            ValueError: it is pickled, of an unknown type, or longer than its bytes.
        """
        about = entry["tensor_meta"]
        if entry.get("use_pickle") or about is None or about["dtype"] not in DTYPES or about["layout"] != STRIDED:
            raise ValueError(f"its tensor {path[:80]} is not stored as plain numbers")
        sizes, strides = ([int(size["as_int"]) for size in about[name]] for name in ("sizes", "strides"))
        offset = int(about["storage_offset"]["as_int"])
        if min([*sizes, *strides, offset], default=0) < 0 or len(sizes) != len(strides):
            raise ValueError(f"its tensor {path[:80]} has no such shape")
        dtype = DTYPES[about["dtype"]]
        if math.prod(sizes) == 0:
            return torch.empty(sizes, dtype=dtype)
        content = bytearray(self._read(path))
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if (last + 1) * dtype.itemsize > len(content):
            raise ValueError(f"its tensor {path[:80]} is longer than its bytes")
        stored = torch.frombuffer(content, dtype=dtype).as_strided(sizes, strides, offset)
        # A copy is aligned, which kernels like; one of an expanded tensor could have any size.
        return stored.clone() if stored.nbytes <= len(content) else stored

    def _has(self, name: str) -> bool:
        return f"{self._folder}/{name}" in self._names

    def _read(self, name: str) -> bytes:
        return self._archive.read(f"{self._folder}/{name}")


@contextmanager
def open_archive(file: Path | IO[bytes]) -> Iterator[Archive]:
    """Open the file of a program, all of whose bytes are as they were written.

    Raises:
        ValueError: it is not the file of one program.
        zipfile.BadZipFile: it is no archive, or it is damaged.
        OSError: it can't be read.
    """
    with zipfile.ZipFile(file) as archive:
        yield Archive(archive)


def _is_stored(archive: zipfile.ZipFile) -> bool:
    """Return whether all files in an archive are stored as they are, one after the other."""
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    ends = [*(entry.header_offset for entry in entries[1:]), archive.start_dir]
    return all(
        entry.compress_type == zipfile.ZIP_STORED
        and entry.file_size == entry.compress_size
        and entry.header_offset + entry.file_size <= end
        for entry, end in zip(entries, ends, strict=True)
    )
