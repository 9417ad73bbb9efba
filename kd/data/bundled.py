"""Raw image sets as uint8 arrays: scikit-learn's bundled digits, and the sets that torchvision fetches.

The files of these sets are known by their names and read by their contents: whoever packed them, and with which version of
gzip, is no matter. torchvision fetches what is missing and checks what it fetched.
"""

import contextlib
import http.client
import io
import socket
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd.data import cifar, idx
from kd.data.source import LabelledImages, Source
from kd.errors import UserError, reason
from kd.machine.signals import raised_at_once
from kd.machine.text import listed, printable

# Raised by torchvision and tarfile without a network and on damaged files.
_FAILURES = (
    OSError,  # also URLError, timeouts, BadGzipFile
    RuntimeError,
    ValueError,
    EOFError,
    http.client.HTTPException,
    tarfile.TarError,
    zlib.error,
)
_NETWORK_TIMEOUT_SECONDS = 20.0
_MAX_MEMBER_BYTES = 1 << 28
"""A file in an archive that is larger is none of these sets."""

MAX_DAMAGED = 4
"""Damaged files named at most."""


@dataclass(frozen=True)
class CifarFiles:
    """The archive of a CIFAR set, the folder in it, its files, and the keys of labels and of names in them."""

    archive: str
    folder: str
    train: Sequence[str]
    test: Sequence[str]
    names: str
    labels_key: str
    names_key: str


@dataclass(frozen=True)
class TorchvisionSet:
    """A data set of torchvision: its class, where its files lie below the root, and what is in them."""

    class_name: str
    folder: str
    flip: bool
    other_names: Sequence[str]
    """What its folder is called by others."""
    licence: str
    cifar: CifarFiles | None = None
    """None: the set has the files of MNIST."""

    @property
    def files(self) -> str:
        """Return the files that a user can put into the folder by hand, gzipped or not."""
        return self.cifar.archive if self.cifar else ", ".join(f"{name}.gz" for name in _IDX_FILES)


_IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_CIFAR10 = CifarFiles(
    "cifar-10-python.tar.gz",
    "cifar-10-batches-py",
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    ("test_batch",),
    "batches.meta",
    "labels",
    "label_names",
)
_CIFAR100 = CifarFiles(
    "cifar-100-python.tar.gz", "cifar-100-python", ("train",), ("test",), "meta", "fine_labels", "fine_label_names"
)
_FASHION_NAMES = ("fashion_mnist", "fashion-mnist", "fashionmnist", "Fashion-MNIST")

_DIGITS_LICENCE = (
    "the images come with scikit-learn (BSD 3-Clause), which has them from UCI's Optical Recognition of Handwritten Digits"
)
_CIFAR_LICENCE = (
    "its authors state none; they ask to cite A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
)
_FASHION_LICENCE = "MIT, copyright of Zalando SE"
_MNIST_LICENCE = (
    "copyright of Y. LeCun and C. Cortes; the documentation of Keras names Creative Commons Attribution-Share Alike 3.0"
)

TORCHVISION_SETS = {
    "cifar10": TorchvisionSet(
        "CIFAR10", ".", flip=True, other_names=("cifar10", "cifar-10"), licence=_CIFAR_LICENCE, cifar=_CIFAR10
    ),
    "cifar100": TorchvisionSet(
        "CIFAR100", ".", flip=True, other_names=("cifar100", "cifar-100"), licence=_CIFAR_LICENCE, cifar=_CIFAR100
    ),
    "fashion_mnist": TorchvisionSet(
        "FashionMNIST", "FashionMNIST/raw", flip=True, other_names=_FASHION_NAMES, licence=_FASHION_LICENCE
    ),
    "mnist": TorchvisionSet("MNIST", "MNIST/raw", flip=False, other_names=("mnist",), licence=_MNIST_LICENCE),
}


def load_digits_source() -> Source:
    """Load scikit-learn's UCI digits: 1,797 images (1, 8, 8), their values 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  a slow import, needed for this data set alone

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    classes = tuple(str(name) for name in bunch.target_names)
    return Source(
        classes, LabelledImages(pixels, bunch.target.astype(np.int64)), test=None, flip=False, licence=_DIGITS_LICENCE
    )


def load_torchvision_source(name: str, root: Path) -> Source:
    """Load a set of TORCHVISION_SETS from the files under root, fetching what is missing with a progress bar.

    Raises:
        UserError: the files can neither be read nor fetched.
    """
    import torchvision.datasets  # noqa: PLC0415  a slow import, needed for these data sets alone

    entry = TORCHVISION_SETS[name]
    return read_or_fetch(getattr(torchvision.datasets, entry.class_name), name, entry, root)


def read_or_fetch(dataset_class: Any, name: str, entry: TorchvisionSet, root: Path) -> Source:  # noqa: ANN401
    """Read the files of a torchvision data set class from root, fetching what is missing; see :func:`load_torchvision_source`.

    Damaged files are fetched too. Where that is not possible, the error says why they can't be read.
    """
    damaged: list[str] = []
    source = _read(dataset_class, entry, root, damaged)
    if source is not None:
        return source
    try:
        _fetch(dataset_class, entry, root)
    except _FAILURES as error:
        where = printable(root.absolute())
        found = f"files in {where} are damaged ({listed(damaged, MAX_DAMAGED)})" if damaged else f"files are missing in {where}"
        put = f"put {entry.files} into {printable((root / entry.folder).absolute())} by hand"
        advice = f"remove them, and {put}" if damaged else put
        raise UserError(
            f"{name}: {found} and could not be fetched from {_address(dataset_class)} ({reason(error)}); {advice}, or use "
            "digits, which needs no download",
            field="data",
        ) from error
    damaged.clear()
    source = _read(dataset_class, entry, root, damaged)
    if source is None:
        why = listed(damaged, MAX_DAMAGED) or "they are missing"
        message = f"{name}: the files that were fetched can't be read ({why}); use digits, which needs no download"
        raise UserError(message, field="data")
    return source


def _read(dataset_class: Any, entry: TorchvisionSet, root: Path, damaged: list[str]) -> Source | None:  # noqa: ANN401
    """Return what the files under root hold; None where some are missing, or damaged: those are added to the list."""
    for folder in _folders(entry, root):
        for contents in _file_sets(entry, folder, damaged):
            try:
                source = _source(dataset_class, entry, contents)
                for split in (source.train, source.test):
                    _check_labels(split, len(source.classes))
            except ValueError as error:
                damaged.append(_why(folder, error))
            else:
                return source
    return None


def _folders(entry: TorchvisionSet, root: Path) -> list[Path]:
    """Return the folders in which a set's files may lie, that of torchvision first."""
    names = (entry.class_name, *entry.other_names)
    inner = (entry.cifar.folder, ".") if entry.cifar else ("raw", ".")
    places = [root / entry.folder, *(root / name / folder for name in (*names, ".") for folder in inner)]
    return [folder for folder in dict.fromkeys(places) if folder.is_dir()]


def _file_sets(entry: TorchvisionSet, folder: Path, damaged: list[str]) -> Iterator[Mapping[str, bytes]]:
    """Yield the contents of all files of a set, by name, from each place in a folder that has them all."""
    if entry.cifar is None:
        yield from _complete(_IDX_FILES, lambda name: _first(folder, _spellings(name), damaged))
        return
    needed = [*entry.cifar.train, *entry.cifar.test, entry.cifar.names]
    yield from _complete(needed, lambda name: _first(folder, [name], damaged))
    members = _archive_members(folder / entry.cifar.archive, needed, damaged)
    yield from _complete(needed, members.get)


def _complete(names: Sequence[str], content: Callable[[str], bytes | None]) -> Iterator[dict[str, bytes]]:
    found: dict[str, bytes] = {}
    for name in names:
        read = content(name)
        if read is None:
            return
        found[name] = read
    yield found


def _spellings(name: str) -> list[str]:
    """Return the names that an IDX file is given: with a dot as on Kaggle, gzipped or not."""
    dotted = name.replace("-idx", ".idx")
    return [name, f"{name}.gz", dotted, f"{dotted}.gz"]


def _first(folder: Path, names: Sequence[str], damaged: list[str]) -> bytes | None:
    """Return the first file of some names that is there and, if it is an IDX file, whole."""
    for name in names:
        path = folder / name
        try:
            content = path.read_bytes() if path.is_file() else None
            if content is not None and "idx" in name:
                idx.read_idx(content, axes=3 if "idx3" in name else 1)
        except (OSError, ValueError) as error:
            damaged.append(_why(path, error))
        else:
            if content is not None:
                return content
    return None


def _archive_members(path: Path, names: Sequence[str], damaged: list[str]) -> dict[str, bytes]:
    """Return files of an archive by name, wherever they lie in it; nothing is unpacked to the disk."""
    found: dict[str, bytes] = {}
    if not path.is_file():
        return found
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in names and member.isfile() and member.size <= _MAX_MEMBER_BYTES:
                    file = archive.extractfile(member)
                    found[name] = file.read() if file else b""
    except _FAILURES as error:
        damaged.append(_why(path, error))
        return {}
    if len(found) < len(names):
        damaged.append(f"{path}: it lacks {', '.join(name for name in names if name not in found)}")
    return found


def _source(dataset_class: Any, entry: TorchvisionSet, contents: Mapping[str, bytes]) -> Source:  # noqa: ANN401
    if entry.cifar is None:
        train, test = (idx.labelled_images(*(contents[name] for name in names)) for names in (_IDX_FILES[:2], _IDX_FILES[2:]))
        classes = tuple(str(label).split(" - ")[0] for label in dataset_class.classes)  # MNIST: "0 - zero"
        return Source(classes, train, test, entry.flip, licence=entry.licence)
    files = entry.cifar
    train, test = (
        cifar.labelled_images([contents[name] for name in names], files.labels_key) for names in (files.train, files.test)
    )
    return Source(cifar.class_names(contents[files.names], files.names_key), train, test, entry.flip, licence=entry.licence)


def _why(path: Path, error: Exception) -> str:
    return f"{path}: {error.strerror if isinstance(error, OSError) and error.strerror else reason(error)}"


def _check_labels(data: LabelledImages | None, num_classes: int) -> None:
    if data is not None and (data.labels.min() < 0 or data.labels.max() >= num_classes):
        raise ValueError(f"a label outside 0..{num_classes - 1}")


def _fetch(dataset_class: Any, entry: TorchvisionSet, root: Path) -> None:  # noqa: ANN401
    """Fetch what torchvision's class names, without what it prints on stdout; its progress bar is on stderr."""
    from torchvision.datasets.utils import download_url  # noqa: PLC0415  the same

    folder = str(root / entry.folder)
    with contextlib.redirect_stdout(io.StringIO()), _socket_timeout(), raised_at_once():
        if entry.cifar:
            download_url(dataset_class.url, folder, entry.cifar.archive, dataset_class.tgz_md5)
            return
        for name, md5 in dataset_class.resources:
            _fetch_from_any(dataset_class.mirrors, name, folder, md5)


def _fetch_from_any(mirrors: Sequence[str], name: str, folder: str, md5: str) -> None:
    from torchvision.datasets.utils import download_url  # noqa: PLC0415  the same

    for number, mirror in enumerate(mirrors, 1):
        try:
            download_url(f"{mirror}{name}", folder, name, md5)
        except (OSError, RuntimeError):
            if number == len(mirrors):
                raise
        else:
            return


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
