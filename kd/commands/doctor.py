"""``kd doctor``: versions, device, store and caches, and what is wrong with them."""

import importlib.metadata
import os
import platform
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import kd
from kd.commands.answer import Answer
from kd.config import DoctorConfig
from kd.errors import EXIT_FAILED, UserError, reason
from kd.machine.caches import CHECKPOINTS, PIXELS, TARGETS, CacheFile, clear_caches, folders, list_caches
from kd.machine.paths import user_path
from kd.tracking.reach import Reached, reach, registry_address, size, tracking_address

PACKAGES = ("torch", "torchvision", "mlflow", "optuna", "numpy", "scipy", "scikit-learn", "matplotlib", "pillow", "pydantic")
LEAST_FREE = 500 * 10**6
"""Bytes on a disk below which the next command may find it full."""
NAMES = {
    TARGETS: "teachers' targets",
    PIXELS: "decoded pixels",
    CHECKPOINTS: "checkpoints of stopped trainings",
}
CLEAR = "`kd doctor --clear-caches` deletes it"


@dataclass(frozen=True)
class Finding:
    """A line of the report, and what is wrong with what it tells."""

    name: str
    told: str
    wrong: Sequence[str] = ()


def doctor(config: DoctorConfig) -> Answer:
    """Tell what kd runs on, and what is wrong with it; the exit code is 1 where something is."""
    output_dir = user_path(config.output_dir, "output_dir")
    cleared = _clear(output_dir) if config.clear_caches else []
    found = [*_findings(output_dir)]
    wrong = [line for finding in found for line in finding.wrong]
    lines = [(f"{finding.name}: {finding.told}", "red" if finding.wrong else "") for finding in found]
    lines += [(f"deleted {file.path}, {size(file.size_bytes)}", "") for file in cleared]
    lines += [(f"wrong: {line}", "red") for line in wrong] or [("all is fine", "green")]
    record = {
        "is_fine": not wrong,
        "wrong": wrong,
        "findings": {finding.name: finding.told for finding in found},
        "deleted": [str(file.path) for file in cleared],
    }
    return Answer(lines, record, code=EXIT_FAILED if wrong else 0, is_report=True)


def _findings(output_dir: Path) -> Iterator[Finding]:
    yield Finding("kd", f"{kd.__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield _versions()
    yield _device()
    store = reach(tracking_address())
    yield _store("tracking store", store, "MLFLOW_TRACKING_URI")
    registry = registry_address()
    yield (
        Finding("model registry", "the same")
        if registry == tracking_address()
        else _store("model registry", reach(registry), "MLFLOW_REGISTRY_URI")
    )
    yield _disk("output folder", output_dir)
    listed = list_caches(output_dir)
    for kind, folder in folders(output_dir).items():
        yield _cache(kind, folder, [file for file in listed if file.kind == kind])


def _versions() -> Finding:
    told = {name: _version(name) for name in PACKAGES}
    missing = [f"{name} is not installed: pip install {name}" for name, version in told.items() if version is None]
    listed = ", ".join(f"{name} {version or 'missing'}" for name, version in told.items())
    return Finding("packages", listed, [*missing, *_too_old()])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _too_old() -> list[str]:
    """Return which installed packages are not of a version that kd says it needs; none where that can't be known."""
    try:
        from packaging.requirements import Requirement  # noqa: PLC0415 - MLflow brings it; this has to work without

        needed = [Requirement(text) for text in importlib.metadata.requires("kd") or [] if "extra ==" not in text]
    except (ImportError, ValueError, importlib.metadata.PackageNotFoundError):
        return []
    versions = {one.name: _version(one.name) for one in needed}
    return [
        f"{one.name} {version} is not what kd needs ({one.specifier}): pip install '{one}'"
        for one in needed
        for version in [versions[one.name]]
        if version is not None and not one.specifier.contains(re.sub(r"\+.*", "", version), prereleases=True)
    ]


def _device() -> Finding:
    try:
        import torch  # noqa: PLC0415 - it takes seconds, and may be what is broken
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        return Finding("device", "unknown", [f"torch can't be imported ({reason(error)}): install it again"])
    processor = platform.processor() or platform.machine()
    threads = f"cpu ({processor}, threads: {torch.get_num_threads()}, cores: {os.cpu_count()})"
    if not torch.cuda.is_available():
        return Finding("device", f"{threads}, no CUDA device")
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return Finding("device", f"cuda ({', '.join(devices)}), {threads}")


def _store(name: str, found: Reached, variable: str) -> Finding:
    told = f"{found.address} ({found.kind}): {found.state}"
    advice = f"set {variable} to another one" if found.kind in {"sqlite", "file", "folder"} else f"start it, or set {variable}"
    return Finding(name, told, [f"{name} {found.address}: {found.state}; {advice}"] if found.wrong else [])


def _disk(name: str, folder: Path) -> Finding:
    present = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(present).free
    wrong = []
    if not (present.is_dir() and os.access(present, os.W_OK | os.X_OK)):
        wrong.append(f"{name} {folder}: {present} is no folder that can be written to; give another --output-dir")
    if free < LEAST_FREE:
        wrong.append(f"{name} {folder}: {size(free)} are left on the disk; free some space")
    return Finding(name, f"{folder}, {size(free)} left on the disk", wrong)


def _cache(kind: str, folder: Path, files: Sequence[CacheFile]) -> Finding:
    """Return what a cache holds; files of which the same is wrong are told together."""
    wrong = Counter(file.wrong for file in files if file.wrong)
    first = {file.wrong: file.path for file in reversed(files)}
    lines = []
    for what, count in wrong.items():
        more = f" and {count - 1} more" if count > 1 else ""
        lines.append(f"{first[what]}{more}: {what}; {CLEAR if count == 1 else CLEAR.replace('it', 'them')}")
    in_all = f"{len(files)} file{'s' * (len(files) != 1)}, {size(sum(file.size_bytes for file in files))}"
    return Finding(NAMES[kind], f"{in_all}, in {folder}", lines)


def _clear(output_dir: Path) -> list[CacheFile]:
    try:
        return clear_caches(output_dir)
    except OSError as error:
        raise UserError(f"{output_dir}: its caches can't be cleared ({reason(error)})", field="output_dir") from None
