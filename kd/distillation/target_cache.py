"""The teacher's logits for every image in every view, computed once, provably of this teacher and these views.

A teacher's forward costs more than a small student's whole step, and views that are functions of (seed, view, index)
alone come back in later epochs, other students, seeds and trials. :class:`CachedTargets` looks their logits up;
:class:`LiveTargets` computes those of a fresh view each epoch. To a training loop both are :class:`TeacherTargets`.

What is kept is raw logits, before any temperature, one file a :class:`TargetsKey`: a line of JSON (the key, the number
of classes, the payload's SHA-256), padded with spaces to a multiple of 64 bytes, then the (K, N, C) array, row by row,
little-endian. The file's name is the key's digest. Nothing is reused silently:

- a file that tells of another key, or of other logits than the teacher at hand gives, is an error;
- a damaged file (torn, or bits flipped) holds nothing worth keeping: it is logged as a warning, and computed again.

Files appear whole, by rename. The first process that needs one computes it under a lock while the others wait; the
kernel takes the lock from a process that dies, and the next one computes. Readers take no lock and share the pages.
"""

import hashlib
import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from torch import Tensor, nn

from kd.data.dataset import Split
from kd.data.views import Augmentation
from kd.distillation.targets import CachedTargets, compute_targets, evaluating, view_logits
from kd.errors import UserError
from kd.machine.locks import wait_for

PREPROCESSING_VERSION = 1
"""Raised when a view of an image becomes another picture although seed, view and index stay the same."""


PROBE_IMAGES = 32
"""Of all views together; each view is looked at."""


PROBE_TOLERANCE = 0.003
"""Share of the largest logit by which kept and live may differ: float16 (0.0005) and another device's kernels are below it."""


HEADER_ALIGNMENT = 64


HEADER_LIMIT = 65536


StoreType = Literal["float16", "float32"]


LITTLE_ENDIAN = {"float16": "<f2", "float32": "<f4"}


logger = logging.getLogger(__name__)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TargetsKey(_Record):
    """All that decides the kept logits; two keys that differ anywhere have two files."""

    teacher: str
    """:func:`weights_digest` of the teacher."""
    data: str
    """``Dataset.digest``."""
    split: str
    images: int = Field(ge=1)
    rows: str
    """Digest of ``Split.index``: which images, in which order."""
    augmentation: dict[str, JsonValue]
    """Every field of the augmentation, its seed among them."""
    views: int = Field(ge=1)
    dtype: StoreType
    preprocessing: int = PREPROCESSING_VERSION

    def file_name(self) -> str:
        """Return the name of the key's file."""
        return f"{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]}.targets"


@dataclass(frozen=True)
class TargetsInfo:
    """One file of kept targets, as a listing shows it; without a key where it is no such file, or not a whole one."""

    path: Path
    size_bytes: int
    key: TargetsKey | None


class _Header(_Record):
    format: Literal["kd-targets-1"] = "kd-targets-1"
    key: TargetsKey
    num_classes: int = Field(ge=1)
    payload_sha256: str


def cached_targets(  # noqa: PLR0913 - what decides the key, and where to compute and keep
    model: nn.Module,
    split: Split,
    augmentation: Augmentation,
    *,
    views: int,
    data_digest: str,
    split_name: str,
    root: Path,
    device: torch.device | str,
    dtype: StoreType = "float16",
    progress: bool = False,
) -> CachedTargets:
    """Return a teacher's logits for ``views`` (1 or more) views of each image, from their file in ``root``.

    Any number of processes may call this at once: the first one computes, on ``device``, where the model is, and makes
    the folder if it is missing. A batch may later hold any images of the split, in any order. ``data_digest`` is that
    of the data set from which the split is, ``split_name`` one of train, val and test. float16 rounds a logit by at
    most one part in 2048. ``progress`` shows a bar on a terminal.

    Raises:
        UserError: the file is of another key or teacher, the folder can't be read or written, or a logit is not
            finite or too large for ``dtype``.
    """
    key = TargetsKey(
        teacher=weights_digest(model),
        data=data_digest,
        split=split_name,
        images=len(split),
        rows=_tensors_digest({"index": split.index}),
        augmentation=asdict(augmentation),
        views=views,
        dtype=dtype,
    )
    path = root / key.file_name()
    logits = _load(path, key)
    if logits is None:
        with _filling(path):
            logits = _load(path, key)  # another process may have come first
            if logits is None:
                if path.exists():
                    logger.warning("the teacher's targets in %s are damaged: computing them again", path)
                computed = compute_targets(model, split, augmentation, views, device=device, progress=progress)
                logits = _store(path, key, _rounded(computed, dtype))
    targets = CachedTargets(logits, split.index)
    if not _agrees(targets, model, split, augmentation, device):
        raise UserError(
            f"{path} holds other logits than this teacher gives, although its weights and views are the same: "
            f"clear it with '{_pruning(path)}' if the code has changed"
        )
    return targets


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 over a model's state: names, types, shapes, values; any device and memory format agree."""
    return _tensors_digest(model.state_dict())


def list_targets(root: Path) -> list[TargetsInfo]:
    """Return what is kept in a folder, by file name; nothing where there is no such folder.

    Raises:
        UserError: a file there can't be read.
    """
    listed = []
    for path in sorted(path for path in root.glob("*.targets") if path.is_file()):
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                header = _read_header(file)
                listed.append(TargetsInfo(path, size, header.key if header and _is_whole(file, header) else None))
        except FileNotFoundError:
            continue  # cleared by another process meanwhile
        except OSError as error:
            raise _unusable(path, error) from error
    return listed


def prune_targets(root: Path) -> list[TargetsInfo]:
    """Delete all that is kept in a folder, and what killed processes left there, and return the targets deleted.

    What is just being computed is left alone. A process that has its targets open goes on with them.
    """
    listed = {info.path: info for info in list_targets(root)}
    names = {path.name.partition(".")[0] for path in root.glob("*.targets*")}
    removed = []
    for path in sorted(root / f"{name}.targets" for name in names):
        lock = Path(f"{path}.lock")
        try:
            with suppress(Timeout), FileLock(lock).acquire(blocking=False):
                for file in (path, Path(f"{path}.tmp"), lock):
                    file.unlink(missing_ok=True)
                removed += [listed[path]] if path in listed else []
        except OSError as error:
            raise _unusable(path, error) from error
    return removed


def _tensors_digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        flat = tensor.detach().cpu().reshape(-1)
        digest.update(f"{name!r} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _rounded(logits: Tensor, dtype: StoreType) -> NDArray[np.generic]:
    """Return the logits (K, N, C) as they are kept."""
    if not logits.isfinite().all():
        raise UserError("the teacher's logits are not finite for some image: train the teacher again at a lower learning rate")
    if dtype == "float16" and logits.abs().max() > torch.finfo(torch.float16).max:
        largest = logits.abs().max()
        raise UserError(f"the teacher's largest logit is {largest:.4g}, beyond float16: use --views 0, a live teacher")
    return logits.numpy().astype(LITTLE_ENDIAN[dtype])


def _agrees(
    targets: CachedTargets, model: nn.Module, split: Split, augmentation: Augmentation, device: torch.device | str
) -> bool:
    """Tell whether some kept logits of each view are the model's: the same weights in other code are another teacher."""
    rows = torch.arange(0, len(split), -(-len(split) // max(PROBE_IMAGES, targets.views)))
    for view in range(targets.views):
        some = split.select(rows[view % len(rows) :: targets.views])
        with evaluating(model):
            live = view_logits(model, some, augmentation, view, device)  # (B, C)
        kept = targets.lookup(some.index.cpu(), view)  # (B, C)
        if kept.shape != live.shape or (kept - live).abs().max() > PROBE_TOLERANCE * live.abs().max():
            return False
    return True


@contextmanager
def _filling(path: Path) -> Iterator[None]:
    """Be the only process that fills a file; wait for another that does."""
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = lock.acquire(blocking=False)
        except Timeout:
            logger.info("another process computes the teacher's targets in %s: waiting", path)
            held = wait_for(lock)
    except OSError as error:
        raise _unusable(path, error) from error
    with held:
        yield


def _store(path: Path, key: TargetsKey, logits: NDArray[np.generic]) -> Tensor:
    """Write a file whole, or leave all as it was, under the key's lock; return its logits as :func:`_load` does."""
    digest = hashlib.sha256(logits.data).hexdigest()
    line = _Header(key=key, num_classes=logits.shape[2], payload_sha256=digest).model_dump_json().encode()
    line += b" " * (-(len(line) + 1) % HEADER_ALIGNMENT) + b"\n"
    temporary = Path(f"{path}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(line)
            file.write(logits.data)  # not tofile, which keeps a full disk to itself
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    stored = _load(path, key)
    if stored is None:
        raise _unusable(path, OSError("what was written does not read back"))
    return stored


def _pruning(path: Path) -> str:
    """Return the command that clears what is kept beside a file."""
    return f"kd targets --prune --output-dir {shlex.quote(str(path.parent.parent))}"


def _unusable(path: Path, error: OSError) -> UserError:
    return UserError(f"no place for the teacher's targets in {path.parent} ({error}): mend that or name another folder")


def _load(path: Path, key: TargetsKey) -> Tensor | None:
    """Map a file's logits (K, N, C) into memory, all of them checked; None: it is missing or damaged.

    Raises :class:`~kd.errors.UserError` for a file of another key, or without the right to read it.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    with file:
        header = _read_header(file)
        if header is None:
            return None
        differing = [name for name in TargetsKey.model_fields if getattr(header.key, name) != getattr(key, name)]
        if differing:
            fields = ", ".join(differing)
            raise UserError(f"{path} tells of another {fields} than asked for: clear it with '{_pruning(path)}'")
        shape = (key.views, key.images, header.num_classes)
        dtype = np.dtype(LITTLE_ENDIAN[key.dtype])
        if not _is_whole(file, header):
            return None
        # copy-on-write: torch wants memory that it could write to; pages that nobody writes to stay shared
        logits = np.memmap(file, dtype, mode="c", offset=file.tell(), shape=shape)
    digest = hashlib.sha256(logits.data).hexdigest()
    return torch.from_numpy(logits) if digest == header.payload_sha256 else None


def _is_whole(file: IO[bytes], header: _Header) -> bool:
    """Tell whether a file, read to the end of its header, has the length that this tells."""
    numbers = header.key.views * header.key.images * header.num_classes
    return os.fstat(file.fileno()).st_size == file.tell() + numbers * np.dtype(LITTLE_ENDIAN[header.key.dtype]).itemsize


def _read_header(file: IO[bytes]) -> _Header | None:
    with suppress(ValidationError):
        return _Header.model_validate_json(file.readline(HEADER_LIMIT))
    return None
