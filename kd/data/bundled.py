"""Raw image sets as uint8 arrays: scikit-learn's bundled digits, and the sets that torchvision fetches."""

import contextlib
import http.client
import io
import pickle
import socket
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd.data.source import LabelledImages, Source
from kd.errors import UserError, reason
from kd.machine.signals import raised_at_once

# Raised by torchvision, tarfile, gzip and pickle without a network and on damaged files.
_FAILURES = (
    OSError,  # also URLError, timeouts, BadGzipFile
    RuntimeError,
    ValueError,
    AssertionError,
    EOFError,
    http.client.HTTPException,
    pickle.UnpicklingError,
    tarfile.TarError,
    zlib.error,
)


_NETWORK_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class TorchvisionSet:
    """A data set of torchvision: its class, and the files that a user can put into a folder below the root by hand."""

    class_name: str
    folder: str
    files: str
    flip: bool


_IDX_FILES = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz"


TORCHVISION_SETS = {
    "cifar10": TorchvisionSet("CIFAR10", ".", "cifar-10-python.tar.gz", flip=True),
    "cifar100": TorchvisionSet("CIFAR100", ".", "cifar-100-python.tar.gz", flip=True),
    "fashion_mnist": TorchvisionSet("FashionMNIST", "FashionMNIST/raw", _IDX_FILES, flip=True),
    "mnist": TorchvisionSet("MNIST", "MNIST/raw", _IDX_FILES, flip=False),
}


def load_digits_source() -> Source:
    """Load scikit-learn's UCI digits: 1,797 images (1, 8, 8), their values 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  a slow import, needed for this data set alone

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    classes = tuple(str(name) for name in bunch.target_names)
    return Source(classes, LabelledImages(pixels, bunch.target.astype(np.int64)), test=None, flip=False)


def load_torchvision_source(name: str, root: Path) -> Source:
    """Load a set of TORCHVISION_SETS from the files under root, fetching what is missing with a progress bar.

    Raises:
        UserError: the files can neither be read nor fetched.
    """
    import torchvision.datasets  # noqa: PLC0415  a slow import, needed for these data sets alone

    entry = TORCHVISION_SETS[name]
    return read_or_fetch(getattr(torchvision.datasets, entry.class_name), name, entry, root)


def read_or_fetch(dataset_class: Any, name: str, entry: TorchvisionSet, root: Path) -> Source:  # noqa: ANN401
    """Read a torchvision data set class from root, fetching what is missing; see :func:`load_torchvision_source`."""
    try:
        return _read(dataset_class, entry, root, download=False)
    except _FAILURES as error:
        if "not found" not in str(error):  # torchvision says so of missing files and wrong checksums
            raise UserError(
                f"{name}: the files under {root} are damaged ({_reason(error)}); "
                f"remove them to fetch them again, or use digits, which needs none",
                field="data",
            ) from error
    try:
        return _read(dataset_class, entry, root, download=True)
    except _FAILURES as error:
        raise UserError(
            f"{name}: files are missing or damaged in {root} and could not be fetched from "
            f"{_address(dataset_class)} ({_reason(error)}); put {entry.files} into {root / entry.folder} by hand, "
            f"or use digits, which needs no download",
            field="data",
        ) from error


def _read(dataset_class: Any, entry: TorchvisionSet, root: Path, *, download: bool) -> Source:  # noqa: ANN401
    """Read both splits of a torchvision data set without what it prints on stdout; its progress bar is on stderr."""
    with contextlib.redirect_stdout(io.StringIO()), _socket_timeout(), raised_at_once():
        train = dataset_class(str(root), train=True, download=download)
        test = dataset_class(str(root), train=False, download=download)
    classes = tuple(str(label).split(" - ")[0] for label in train.classes)  # MNIST: "0 - zero"
    return Source(classes, _labelled(train, len(classes)), _labelled(test, len(classes)), entry.flip)


def _labelled(dataset: Any, num_classes: int) -> LabelledImages:  # noqa: ANN401
    """Turn (N, H, W) or (N, H, W, C) into (N, C, H, W).

    Raises:
        ValueError: images and labels do not belong together.
    """
    pixels = np.asarray(dataset.data, dtype=np.uint8)
    labels = np.asarray(dataset.targets, dtype=np.int64)
    if len(pixels) != len(labels) or len(labels) == 0:
        raise ValueError(f"{len(pixels)} images with {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"a label outside 0..{num_classes - 1}")
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)  # noqa: PLR2004  (N, H, W)
    return LabelledImages(np.ascontiguousarray(pixels), labels)


@contextlib.contextmanager
def _socket_timeout() -> Iterator[None]:
    """Bound every wait for the network: torchvision sets no timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _address(dataset_class: Any) -> str:  # noqa: ANN401
    """Return where torchvision fetches the data set from."""
    return str(dataset_class.url) if hasattr(dataset_class, "url") else " or ".join(dataset_class.mirrors)


def _reason(error: BaseException) -> str:
    """Return why a set can't be loaded: the answer of the last mirror, where torchvision tried several."""
    _, tried, answer = str(error).rpartition(" got:")
    return answer.strip() if tried else reason(error)
