"""Raw image sets as uint8 arrays: scikit-learn's bundled digits, and the sets that torchvision fetches."""

import contextlib
import gzip
import http.client
import importlib.util
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
import numpy.typing as npt

from kd.errors import UserError

# What torchvision, tarfile, gzip and pickle raise on a network that is not there and on files that are damaged.
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
DIGITS_FILE = "datasets/data/digits.csv.gz"
"""Below scikit-learn."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images (N, C, H, W) uint8 with their labels (N,) int64."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as it comes: `test` is None where it has no test split; `flip` where a mirrored image is as good."""

    classes: tuple[str, ...]
    train: LabelledImages
    test: LabelledImages | None
    flip: bool


@dataclass(frozen=True)
class TorchvisionSet:
    """A data set of torchvision: the name of its class, and which files a user can put by hand where under the root."""

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
    table = _digits_table()  # (N, 65): the pixels, row by row, and the label
    pixels = np.rint(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    classes = tuple(str(digit) for digit in range(10))
    return Source(classes, LabelledImages(pixels, table[:, -1].astype(np.int64)), test=None, flip=False)


def _digits_table() -> npt.NDArray[np.float64]:
    """Read the file of the digits itself where it is: importing scikit-learn takes longer than all else that is read."""
    package = importlib.util.find_spec("sklearn")  # looks, but does not import
    file = Path(package.origin if package and package.origin else "").parent / DIGITS_FILE
    if file.is_file():
        with gzip.open(file, "rt") as stream:
            return np.loadtxt(stream, delimiter=",")
    from sklearn.datasets import load_digits  # noqa: PLC0415  a slow import

    bunch = load_digits()
    return np.column_stack((bunch.data, bunch.target)).astype(np.float64)


def load_torchvision_source(name: str, root: Path) -> Source:
    """Load a set of TORCHVISION_SETS from the files under root, fetching what is not there with a progress bar.

    Raises UserError where they can neither be read nor fetched.
    """
    import torchvision.datasets  # noqa: PLC0415  a slow import, needed for these data sets alone

    entry = TORCHVISION_SETS[name]
    return read_or_fetch(getattr(torchvision.datasets, entry.class_name), name, entry, root)


def read_or_fetch(dataset_class: Any, name: str, entry: TorchvisionSet, root: Path) -> Source:  # noqa: ANN401
    """Read a torchvision data set class from root, fetching what is missing; see load_torchvision_source."""
    try:
        return _read(dataset_class, entry, root, download=False)
    except _FAILURES as error:
        if "not found" not in str(error):  # torchvision's words for: files are missing, or their checksum is wrong
            raise UserError(
                f"--data {name}: the files under {root} are damaged ({_reason(error)}); "
                f"remove them to have them fetched again, or use --data digits, which needs none"
            ) from error
    try:
        return _read(dataset_class, entry, root, download=True)
    except _FAILURES as error:
        raise UserError(
            f"--data {name}: files are missing or damaged in {root} and could not be fetched from "
            f"{_address(dataset_class)} ({_reason(error)}); put {entry.files} into {root / entry.folder} by hand, "
            f"or use --data digits, which needs no download"
        ) from error


def _read(dataset_class: Any, entry: TorchvisionSet, root: Path, *, download: bool) -> Source:  # noqa: ANN401
    """Read both splits of a torchvision data set, with its talk on stdout silenced; the progress bar is on stderr."""
    with contextlib.redirect_stdout(io.StringIO()), _socket_timeout():
        train = dataset_class(str(root), train=True, download=download)
        test = dataset_class(str(root), train=False, download=download)
    classes = tuple(str(label).split(" - ")[0] for label in train.classes)  # MNIST: "0 - zero"
    return Source(classes, _labelled(train, len(classes)), _labelled(test, len(classes)), entry.flip)


def _labelled(dataset: Any, num_classes: int) -> LabelledImages:  # noqa: ANN401
    """Turn (N, H, W) or (N, H, W, C) into (N, C, H, W); ValueError where images and labels do not belong together."""
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
    """Return an error in a few words on one line."""
    words = " ".join(str(error).split()).rpartition(" got: ")[2]  # of several mirrors the last
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
