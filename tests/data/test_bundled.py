import gzip
import hashlib
import io
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from kd.data.bundled import TORCHVISION_SETS, load_digits_source, load_torchvision_source, read_or_fetch
from kd.errors import UserError

PIXELS = np.random.default_rng(0)


def test_digits_are_scaled_from_17_levels_to_8_bit() -> None:
    source = load_digits_source()
    levels = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    assert np.unique(source.train.images).tolist() == levels
    assert source.train.images.shape == (1797, 1, 8, 8)
    assert source.test is None
    assert not source.flip


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


TRAIN_ROWS = PIXELS.integers(0, 256, (6, 3072), dtype=np.uint8)
TEST_ROWS = PIXELS.integers(0, 256, (4, 3072), dtype=np.uint8)
FILES = {
    "data_batch_1": pickle.dumps({"data": TRAIN_ROWS[:4], "labels": [0, 1, 0, 1]}),
    "data_batch_2": pickle.dumps({"data": TRAIN_ROWS[4:], "labels": [1, 0]}),
    "test_batch": pickle.dumps({"data": TEST_ROWS, "labels": [1, 1, 0, 0]}),
    "batches.meta": pickle.dumps({"label_names": ["cat", "dog"]}),
}


def archive() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


ARCHIVE = archive()


class SmallCifar(CIFAR10):  # type: ignore[misc]  # torchvision is untyped
    """Ten images in the format of CIFAR-10, described to torchvision as it describes CIFAR-100."""

    url = "http://127.0.0.1:9/cifar-10-python.tar.gz"  # nobody listens on the discard port
    tgz_md5 = md5(ARCHIVE)
    train_list: ClassVar = [[name, md5(FILES[name])] for name in ("data_batch_1", "data_batch_2")]
    test_list: ClassVar = [["test_batch", md5(FILES["test_batch"])]]
    meta: ClassVar = {"filename": "batches.meta", "key": "label_names", "md5": md5(FILES["batches.meta"])}


read_small = partial(read_or_fetch, SmallCifar, "cifar10", TORCHVISION_SETS["cifar10"])


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """Serve a folder, which it returns, where SmallCifar looks for its archive."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder))) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        before = SmallCifar.url
        SmallCifar.url = f"http://127.0.0.1:{http_server.server_port}/cifar-10-python.tar.gz"
        yield folder
        SmallCifar.url = before
        http_server.shutdown()
        thread.join()


class TalkativeCifar(SmallCifar):
    """Says on stdout what torchvision said up to version 0.20."""

    def download(self) -> None:
        super().download()
        sys.stdout.write("Files already downloaded and verified\n")


def write_files(root: Path) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def assert_small_cifar(root: Path) -> None:
    source = read_small(root)
    assert source.classes == ("cat", "dog")
    assert source.flip
    assert np.array_equal(source.train.images, TRAIN_ROWS.reshape(6, 3, 32, 32))
    assert source.train.labels.tolist() == [0, 1, 0, 1, 1, 0]
    assert source.test is not None
    assert np.array_equal(source.test.images, TEST_ROWS.reshape(4, 3, 32, 32))
    assert source.test.labels.tolist() == [1, 1, 0, 0]


def test_files_that_are_there_are_read_without_a_network(tmp_path: Path) -> None:
    write_files(tmp_path)
    assert_small_cifar(tmp_path)


def test_archive_put_by_hand_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(ARCHIVE)
    assert_small_cifar(tmp_path)


def test_missing_files_are_fetched(tmp_path: Path, server: Path) -> None:
    (server / "cifar-10-python.tar.gz").write_bytes(ARCHIVE)
    assert_small_cifar(tmp_path / "new" / "root")
    assert (tmp_path / "new" / "root" / "cifar-10-python.tar.gz").read_bytes() == ARCHIVE


def test_damaged_file_is_fetched_again(tmp_path: Path, server: Path) -> None:
    (server / "cifar-10-python.tar.gz").write_bytes(ARCHIVE)
    (write_files(tmp_path) / "data_batch_2").write_bytes(FILES["data_batch_2"][:-10])
    assert_small_cifar(tmp_path)


def test_damaged_file_without_a_network_is_one_line(tmp_path: Path) -> None:
    (write_files(tmp_path) / "test_batch").write_bytes(b"not a pickle")
    with pytest.raises(UserError, match=r"^cifar10: files are missing or damaged in .*127.0.0.1:9.*refused.*$") as caught:
        read_small(tmp_path)
    assert caught.value.field == "data"


def test_damaged_download_is_one_line(tmp_path: Path, server: Path) -> None:
    (server / "cifar-10-python.tar.gz").write_bytes(ARCHIVE[:-100])
    with pytest.raises(UserError, match=r"^cifar10: .*\(File not found or corrupted\).*$"):
        read_small(tmp_path)


def test_address_that_is_not_there_is_one_line(tmp_path: Path, server: Path) -> None:
    assert server.is_dir()
    with pytest.raises(UserError, match=r"^cifar10: .*HTTP Error 404.*$"):
        read_small(tmp_path)


def test_root_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(UserError, match=r"^cifar10: .*root.*$"):
        read_small(tmp_path / "root")


def test_nothing_is_said_on_stdout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(ARCHIVE)
    read_or_fetch(TalkativeCifar, "cifar10", TORCHVISION_SETS["cifar10"], tmp_path)
    assert capfd.readouterr().out == ""


def test_socket_timeout_is_as_it_was(tmp_path: Path) -> None:
    socket.setdefaulttimeout(33)
    try:
        with pytest.raises(UserError):
            read_small(tmp_path)
        assert socket.getdefaulttimeout() == 33
    finally:
        socket.setdefaulttimeout(None)


OFFLINE = """
import sys
from pathlib import Path
from kd.errors import UserError
from kd.data.bundled import TORCHVISION_SETS, load_digits_source, load_torchvision_source
for name in TORCHVISION_SETS:
    try:
        load_torchvision_source(name, Path(sys.argv[1]))
    except UserError as error:
        print(error)
"""


def test_without_a_network_each_set_says_in_one_line_what_to_put_where(tmp_path: Path) -> None:
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **dead, "no_proxy": "", "NO_PROXY": ""}
    command = [sys.executable, "-W", "error", "-c", OFFLINE, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    folders = {"cifar10": "", "cifar100": "", "fashion_mnist": "/FashionMNIST/raw", "mnist": "/MNIST/raw"}
    assert len(lines) == len(folders) == len(TORCHVISION_SETS)
    for line, (name, folder) in zip(lines, folders.items(), strict=False):
        assert line.startswith(f"{name}: ")
        assert "could not be fetched from http" in line
        assert "refused" in line
        assert line.count("http") == (2 if name == "mnist" else 1)  # each mirror once
        assert f"put {TORCHVISION_SETS[name].files} into {tmp_path}{folder} by hand" in line
        assert "use digits" in line


def idx(array: np.ndarray) -> bytes:
    """Return the IDX format of MNIST: 0, 0, 8 for unsigned bytes, the number of axes, the sizes, the values."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes() + array.tobytes()


MNIST_IMAGES = PIXELS.integers(0, 256, (5, 28, 28), dtype=np.uint8)
MNIST_LABELS = np.array([3, 0, 9, 9, 1], dtype=np.uint8)


def write_mnist(folder: Path, labels: np.ndarray = MNIST_LABELS) -> Path:
    folder.mkdir(parents=True)
    for name in ("train", "t10k"):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(MNIST_IMAGES))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


@pytest.mark.parametrize(
    ("name", "folder", "flip", "classes"),
    [
        ("mnist", "MNIST", False, tuple("0123456789")),
        (
            "fashion_mnist",
            "FashionMNIST",
            True,
            ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ],
)
def test_mnist_files_are_read(tmp_path: Path, name: str, folder: str, *, flip: bool, classes: tuple[str, ...]) -> None:
    write_mnist(tmp_path / folder / "raw")
    source = load_torchvision_source(name, tmp_path)
    assert source.classes == classes
    assert source.flip == flip
    assert source.test is not None
    for split in (source.train, source.test):
        assert np.array_equal(split.images, MNIST_IMAGES[:, None])
        assert split.labels.tolist() == MNIST_LABELS.tolist()


def damage_mnist(folder: Path, kind: str) -> None:
    images = folder / "train-images-idx3-ubyte"
    if kind == "truncated":
        images.write_bytes(images.read_bytes()[:-100])
    elif kind == "empty":
        images.write_bytes(b"")
    elif kind == "compressed":
        images.write_bytes(gzip.compress(images.read_bytes()))
    else:
        images.write_bytes(idx(MNIST_IMAGES[:4]))


@pytest.mark.parametrize("kind", ["truncated", "empty", "compressed", "fewer images than labels"])
def test_damaged_mnist_files_are_one_line(tmp_path: Path, kind: str) -> None:
    damage_mnist(write_mnist(tmp_path / "MNIST" / "raw"), kind)
    with pytest.raises(UserError, match=r"^mnist: the files under .* are damaged \(.*\); remove .*$") as caught:
        load_torchvision_source("mnist", tmp_path)
    assert caught.value.field == "data"


def test_mnist_label_out_of_range_is_one_line(tmp_path: Path) -> None:
    write_mnist(tmp_path / "MNIST" / "raw", labels=MNIST_LABELS + 1)
    with pytest.raises(UserError, match=r"damaged \(a label outside 0..9\)"):
        load_torchvision_source("mnist", tmp_path)
