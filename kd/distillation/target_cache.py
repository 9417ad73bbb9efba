"""The teacher's logits for every image in every view, computed once, provably of this teacher and these views.

A teacher's forward pass costs more than a small student's whole step, and the same views of (seed, view, index) come back
in later epochs, other students, seeds and trials. :class:`CachedTargets` looks their logits up;
:class:`LiveTargets` computes those of a fresh view each epoch. To a training loop both are :class:`TeacherTargets`.

What is cached is raw logits, before any temperature, one array file per :class:`TargetsKey`: its header holds the key
and the number of classes, its array is (K, N, C). The file's name is the key's digest. Nothing is reused silently:

- a file of another key, or with other logits than this teacher's, is an error;
- a damaged file (torn, or with bits flipped) is computed again, with a warning in the log.

The first process that needs a file computes it under a lock while the others wait; the kernel takes the lock from a
process that dies, and the next one computes. Readers take no lock and share the pages.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from kd.data.dataset import Split
from kd.data.views import Augmentation
from kd.distillation.targets import CachedTargets, compute_targets, view_logits
from kd.errors import UserError, is_full, reason
from kd.evaluation.predict import evaluating
from kd.machine.files import ArrayFile, open_array, write_array
from kd.machine.locks import acquire, held, wait_for

PREPROCESSING_VERSION = 1
"""Raised when a view of an image becomes another picture although seed, view and index stay the same."""


PROBE_IMAGES = 32
"""Images whose cached logits are compared with the teacher's, over all views together; some are of each view."""


PROBE_TOLERANCE = 0.003
"""Share of the largest logit by which cached and live may differ: float16 (0.0005) and another device's kernels stay below."""


FORMAT = "kd-targets-1"


StoreType = Literal["float16", "float32"]


LITTLE_ENDIAN = {"float16": "<f2", "float32": "<f4"}


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TargetsKey:
    """All that decides the cached logits; two keys that differ anywhere have two files."""

    teacher: str
    """:func:`weights_digest` of the teacher."""
    data: str
    """``Dataset.digest``."""
    split: str
    images: int
    rows: str
    """Digest of ``Split.index``: the images, in their order."""
    augmentation: dict[str, Any]
    """Every field of the augmentation, its seed among them."""
    views: int
    dtype: StoreType
    preprocessing: int = PREPROCESSING_VERSION

    def file_name(self) -> str:
        """Return the name of the key's file."""
        text = json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))
        return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.targets"


_KEY_TYPES = {
    **dict.fromkeys(("teacher", "data", "split", "rows", "dtype"), str),
    **dict.fromkeys(("images", "views", "preprocessing"), int),
    "augmentation": dict,
}
"""The types of a key's fields, as JSON gives them."""


@dataclass(frozen=True)
class TargetsInfo:
    """A file of cached targets, as a listing shows it; its key is None where the file is damaged."""

    path: Path
    size_bytes: int
    key: TargetsKey | None


@dataclass(frozen=True)
class _TargetsFile:
    """A file of targets whose header was read."""

    key: TargetsKey
    num_classes: int
    content: ArrayFile

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, N, C)."""
        return self.key.views, self.key.images, self.num_classes

    def is_whole(self) -> bool:
        """Return whether the file has the length that its header names."""
        return self.content.has_room_for(LITTLE_ENDIAN[self.key.dtype], self.shape)

    def logits(self) -> Tensor | None:
        """Return the logits (K, N, C), all of them checked, or None where the file is damaged."""
        logits = self.content.array(LITTLE_ENDIAN[self.key.dtype], self.shape)
        return None if logits is None else torch.from_numpy(logits)


def targets_from_file(  # noqa: PLR0913 - what decides the key, and where to compute and store
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

    Any number of processes may call this at once: the first one computes, and makes the folder if it is missing. A batch may
    later hold any images of the split, in any order.

    Args:
        model: the teacher, on ``device``.
        split: the images.
        augmentation: makes the views.
        views: number of views, 1 or more.
        data_digest: digest of the data set that the split is of.
        split_name: train, val or test.
        root: folder of the file.
        device: where the logits are computed.
        dtype: type of the cached logits; float16 rounds a logit by at most one part in 2048.
        progress: whether a terminal shows a bar.

    Raises:
        OSError: the disk is full.
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
                logits = _store(path, key, computed)
    targets = CachedTargets(logits, split.index)
    if not agrees(targets, model, split, augmentation, device):
        raise UserError(
            f"{path} holds other logits than this teacher gives, although its weights and views are the same: "
            "delete it if the code has changed"
        )
    return targets


def computed_targets(  # noqa: PLR0913 - who computes what, where and how
    model: nn.Module,
    split: Split,
    augmentation: Augmentation,
    views: int,
    *,
    device: torch.device | str,
    progress: bool = False,
) -> CachedTargets:
    """Return the same logits as :func:`targets_from_file`, in memory alone.

    Raises:
        UserError: a logit is not finite or too large for float16.
    """
    computed = compute_targets(model, split, augmentation, views, device=device, progress=progress)
    _check_range(computed, "float16")
    return CachedTargets(computed.to(torch.float16), split.index)


def agrees(
    targets: CachedTargets, model: nn.Module, split: Split, augmentation: Augmentation, device: torch.device | str
) -> bool:
    """Return whether some cached logits of each view are the model's: the same weights in other code are another teacher."""
    rows = torch.arange(0, len(split), -(-len(split) // max(PROBE_IMAGES, targets.views)))
    for view in range(targets.views):
        some = split.select(rows[view % len(rows) :: targets.views])
        with evaluating(model):
            live = view_logits(model, some, augmentation, view, device)  # (B, C)
        try:
            cached = targets.lookup(some.index.cpu(), view)  # (B, C)
        except IndexError:  # they are of other images
            return False
        if cached.shape != live.shape or (cached - live).abs().max() > PROBE_TOLERANCE * live.abs().max():
            return False
    return True


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 over a model's state: names, types, shapes, values; any device and memory format agree."""
    return _tensors_digest(model.state_dict())


def list_targets(root: Path) -> list[TargetsInfo]:
    """Return the files of cached targets in a folder, by name; none where there is no such folder.

    Raises:
        UserError: a file there can't be read.
    """
    listed = []
    for path in sorted(path for path in root.glob("*.targets") if path.is_file()):
        try:
            found = _read(path)
            key = found.key if found and found.is_whole() else None
            listed.append(TargetsInfo(path, path.stat().st_size, key))
        except FileNotFoundError:
            continue  # cleared by another process meanwhile
        except OSError as error:
            raise _unusable(path, error) from error
    return listed


def prune_targets(root: Path) -> list[TargetsInfo]:
    """Delete the cached targets in a folder, and what killed processes left there, and return the targets deleted.

    Targets that are being computed are left alone. A process that has its targets open can still read them.
    """
    listed = {info.path: info for info in list_targets(root)}
    names = {path.name.partition(".")[0] for path in root.glob("*.targets*")}
    removed = []
    for path in sorted(root / f"{name}.targets" for name in names):
        lock = FileLock(f"{path}.lock")
        try:
            with suppress(Timeout):
                acquire(lock)
                with held(lock):
                    for file in (path, *root.glob(f"{path.name}.*tmp")):
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


def _check_range(logits: Tensor, dtype: StoreType) -> None:
    """Refuse logits that are not finite, or too large for ``dtype``."""
    if not logits.isfinite().all():
        raise UserError("the teacher's logits are not finite for some image: train the teacher again at a lower learning rate")
    largest = logits.abs().max()
    if dtype == "float16" and largest > torch.finfo(torch.float16).max:
        raise UserError(f"the teacher's largest logit is {largest:.4g}, beyond float16: set views to 0, a live teacher")


@contextmanager
def _filling(path: Path) -> Iterator[None]:
    """Be the only process that fills a file; wait while another one does."""
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            acquire(lock)
        except Timeout:
            logger.info("another process computes the teacher's targets in %s: waiting", path)
            wait_for(lock)
    except OSError as error:
        if is_full(error):
            raise
        raise _unusable(path, error) from error
    with held(lock):
        yield


def _store(path: Path, key: TargetsKey, logits: Tensor) -> Tensor:
    """Write logits (K, N, C) under the key's lock, or leave all as it was; return them as :func:`_load` does."""
    _check_range(logits, key.dtype)
    facts = {"format": FORMAT, "key": asdict(key), "num_classes": logits.shape[2]}
    try:
        write_array(path, logits.numpy().astype(LITTLE_ENDIAN[key.dtype]), facts)
    except OSError as error:
        if is_full(error):
            raise
        raise _unusable(path, error) from error
    stored = _load(path, key)
    if stored is None:
        raise _unusable(path, OSError("what was written does not read back"))
    return stored


def _unusable(path: Path, error: OSError) -> UserError:
    return UserError(f"no place for the teacher's targets in {path.parent} ({reason(error)}): mend that or name another folder")


def _load(path: Path, key: TargetsKey) -> Tensor | None:
    """Map a file's logits (K, N, C) into memory, all of them checked; None: it is missing or damaged.

    Raises :class:`~kd.errors.UserError` for a file of another key, or without the right to read it.
    """
    try:
        found = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    if found is None:
        return None
    differing = [field.name for field in fields(key) if getattr(found.key, field.name) != getattr(key, field.name)]
    if differing:
        names = ", ".join(differing)
        raise UserError(f"{path} is of another {names} than asked for: delete it")
    return found.logits()


def _read(path: Path) -> _TargetsFile | None:
    """Open a file of targets; None where it has no header of one. Raises :class:`OSError`: it is missing, or can't be read."""
    found = open_array(path)
    if found is None or found.facts.keys() != {"format", "key", "num_classes"} or found.facts["format"] != FORMAT:
        return None
    key, num_classes = _key(found.facts["key"]), found.facts["num_classes"]
    return _TargetsFile(key, num_classes, found) if key and isinstance(num_classes, int) else None


def _key(held: object) -> TargetsKey | None:
    """Return the key that a header holds; None where a field is missing, unknown, of another type or out of bounds."""
    if not isinstance(held, dict) or {name: type(value) for name, value in held.items()} != _KEY_TYPES:
        return None
    key = TargetsKey(**held)
    return key if min(key.images, key.views) >= 1 and key.dtype in LITTLE_ENDIAN else None
