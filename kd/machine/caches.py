"""What kd leaves on the disk to be quick the next time: where it lies, how large it is, what is wrong with it, its clearing.

Teachers' targets and checkpoints of stopped trainings lie below the output folder, decoded pixels below ``~/.cache/kd``.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from kd.machine.files import open_array
from kd.machine.locks import acquire, held

TARGETS = "targets"
PIXELS = "pixels"
CHECKPOINTS = "checkpoints"
STALE_DAYS = 7
"""Days after which nobody is likely to resume a training that was stopped."""
LEFT_OVER_SECONDS = 3600.0
"""Age of a file that is not whole, or of a lock that nobody holds, after which its process is gone."""
CHECK_SECONDS = 1.0
"""For looking at all bytes of files; what is left after that is looked at by its header alone."""
_DAY = 86400


@dataclass(frozen=True)
class CacheFile:
    """A file of a cache."""

    kind: str
    path: Path
    size_bytes: int
    wrong: str = ""
    """What is wrong with it; empty: nothing."""


def pixels_folder() -> Path:
    """Return where decoded pixels are cached: $KD_CACHE, else $XDG_CACHE_HOME/kd, else ~/.cache/kd."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  no error without a home
    return Path(os.environ.get("KD_CACHE") or os.path.join(base, "kd"))  # noqa: PTH118


def folders(output_dir: Path) -> dict[str, Path]:
    """Return the folder of each cache, by its kind."""
    return {TARGETS: output_dir / "targets", PIXELS: pixels_folder(), CHECKPOINTS: output_dir / "checkpoints"}


def list_caches(output_dir: Path) -> list[CacheFile]:
    """Return all files of caches, each with what is wrong with it, within a second or two."""
    until = time.monotonic() + CHECK_SECONDS
    found = []
    for kind, path in _files(output_dir):
        with suppress(FileNotFoundError):  # another process has cleared it meanwhile
            found.append(CacheFile(kind, path, path.stat().st_size, _wrong(kind, path, until)))
    return found


def clear_caches(output_dir: Path) -> list[CacheFile]:
    """Delete all files of caches but those that are being written, and return them.

    A process that has targets or pixels open can still read them. A training whose checkpoint is deleted begins anew.

    Raises:
        OSError: one of them can't be deleted.
    """
    cleared = []
    for kind, path in _files(output_dir):
        lock = path if path.suffix == ".lock" else path.with_name(f"{path.name}.lock")
        with suppress(Timeout, FileNotFoundError):
            size = path.stat().st_size
            if path.suffix == ".tmp" and not _is_old(path):
                continue
            with _claimed(lock):
                path.unlink(missing_ok=True)
            cleared.append(CacheFile(kind, path, size))
    return cleared


class _claimed:  # noqa: N801 - reads as what it does
    """The lock of a file, held by nobody else, as a context."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def __enter__(self) -> None:
        acquire(self._lock)
        self._held = held(self._lock)
        self._held.__enter__()

    def __exit__(self, *_: object) -> None:
        self._held.__exit__(None, None, None)


def _files(output_dir: Path) -> Iterator[tuple[str, Path]]:
    patterns: dict[str, Sequence[str]] = {
        TARGETS: ("*.targets", "*.targets.*tmp", "*.targets.lock"),
        PIXELS: ("folder-*px.bin", "folder-*px.bin.*tmp"),
        CHECKPOINTS: (
            *("unfinished-*.pt", "*.pt.*tmp", "unfinished-*.pt.lock"),
            *("unfinished-*/*.pt", "unfinished-*/*.pt.*tmp", "unfinished-*/*.pt.lock"),  # of an experiment's many nets
        ),
    }
    for kind, folder in folders(output_dir).items():
        for pattern in patterns[kind]:
            yield from ((kind, path) for path in sorted(folder.glob(pattern)) if path.is_file())


def _wrong(kind: str, path: Path, until: float) -> str:
    """Return what is wrong with a file; empty: nothing, as far as there was time to look."""
    if path.suffix == ".tmp":
        return "left by a process that was killed" if _is_old(path) else ""
    if path.suffix == ".lock":
        return "a lock that nobody holds" if _is_old(path) and not _is_held(path) else ""
    if kind == CHECKPOINTS:
        days = int((time.time() - path.stat().st_mtime) / _DAY)
        return f"of a training that was stopped {days} days ago" if days >= STALE_DAYS else ""
    return "" if _is_sound(path, until) else "damaged"


def _is_sound(path: Path, until: float) -> bool:
    """Return whether an array file has a header and, if there is time to look, the bytes that belong to it."""
    try:
        content = open_array(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError):  # ValueError: an empty file can't be mapped
        return False
    return content is not None and (time.monotonic() > until or content.is_sound(until))


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > LEFT_OVER_SECONDS


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return True
    lock.release()
    return False
