import gzip
import hashlib
import io
import os
import pickle
import re
import socket
import struct
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
from torchvision.datasets import CIFAR10, MNIST
from torchvision.datasets.utils import download_url

from kd.data import idx as idx_files
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
    "data_batch_1": pickle.dumps({"data": TRAIN_ROWS[:2], "labels": [0, 1]}),
    "data_batch_2": pickle.dumps({"data": TRAIN_ROWS[2:3], "labels": [0]}, protocol=2),
    "data_batch_3": pickle.dumps({"data": TRAIN_ROWS[3:4], "labels": [1]}, protocol=0),
    "data_batch_4": pickle.dumps({"data": TRAIN_ROWS[4:5], "labels": [1], "filenames": ["a.png"]}, protocol=4),
    "data_batch_5": pickle.dumps({"data": np.asfortranarray(TRAIN_ROWS[5:]), "labels": [0]}, protocol=5),
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
    """Ten images in the format of CIFAR-10."""

    url = "http://127.0.0.1:9/cifar-10-python.tar.gz"  # nobody listens on the discard port
    tgz_md5 = md5(ARCHIVE)


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
    with pytest.raises(
        UserError, match=r"^cifar10: files in .* are damaged \(.*no pickle.*127.0.0.1:9.*refused.*; remove them, and put .*$"
    ) as caught:
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


def test_nothing_is_said_on_stdout(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def talkative(*arguments: str) -> None:
        sys.stdout.write("Downloading\n")  # as torchvision did up to version 0.20
        download_url(*arguments)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", talkative)
    (server / "cifar-10-python.tar.gz").write_bytes(ARCHIVE)
    assert_small_cifar(tmp_path)
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
from typing import ClassVar
from kd.errors import UserError
from kd.data import idx as idx_files
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


class NoNetwork(MNIST):  # type: ignore[misc]  # torchvision is untyped
    """MNIST, from an address at which nobody listens."""

    mirrors: ClassVar = ["http://127.0.0.1:9/"]


read_mnist = partial(read_or_fetch, NoNetwork, "mnist", TORCHVISION_SETS["mnist"])
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
    else:
        images.write_bytes(idx(MNIST_IMAGES[:4]))


@pytest.mark.parametrize("kind", ["truncated", "empty", "fewer images than labels"])
def test_damaged_mnist_files_are_one_line(tmp_path: Path, kind: str) -> None:
    damage_mnist(write_mnist(tmp_path / "MNIST" / "raw"), kind)
    with pytest.raises(
        UserError, match=r"^mnist: files in .* are damaged \(.*\) and could not .*; remove them, and put .*$"
    ) as caught:
        read_mnist(tmp_path)
    assert caught.value.field == "data"


def test_mnist_label_out_of_range_is_one_line(tmp_path: Path) -> None:
    write_mnist(tmp_path / "MNIST" / "raw", labels=MNIST_LABELS + 1)
    with pytest.raises(UserError, match=r"damaged \(.*a label outside 0..9\)"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("folder", ["MNIST/raw", "MNIST", "raw", ".", "mnist", "mnist/raw"])
@pytest.mark.parametrize("spelling", ["{}", "{}.gz", "dotted", "gzip without .gz", "plain with .gz"])
def test_mnist_files_are_read_wherever_and_however_they_were_packed(tmp_path: Path, folder: str, spelling: str) -> None:
    write_mnist(tmp_path / "plain")
    (tmp_path / "root" / folder).mkdir(parents=True)
    for file in (tmp_path / "plain").iterdir():
        packed = gzip.compress(file.read_bytes(), compresslevel=1, mtime=1)  # another header than the original's
        name, content = {
            "{}": (file.name, file.read_bytes()),
            "{}.gz": (f"{file.name}.gz", packed),
            "dotted": (f"{file.name.replace('-idx', '.idx')}.gz", packed),
            "gzip without .gz": (file.name, packed),
            "plain with .gz": (f"{file.name}.gz", file.read_bytes()),
        }[spelling]
        (tmp_path / "root" / folder / name).write_bytes(content)
    assert read_mnist(tmp_path / "root").train.labels.tolist() == MNIST_LABELS.tolist()


def test_a_damaged_file_beside_a_good_one_is_passed_over(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path / "MNIST" / "raw")
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    damage_mnist(folder, "truncated")
    assert len(read_mnist(tmp_path).train.labels) == 5


def test_the_advice_of_the_message_works(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be fetched") as caught:
        read_mnist(tmp_path / "data")
    named, folder = re.findall(r"put (.*) into (.*) by hand", str(caught.value))[0]
    write_mnist(tmp_path / "plain")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in named.split(", "):
        content = (tmp_path / "plain" / name.removesuffix(".gz")).read_bytes()
        (Path(folder) / name).write_bytes(gzip.compress(content))
    assert len(read_mnist(tmp_path / "data").train.labels) == 5


def test_a_gzip_file_that_unpacks_to_too_much_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx_files, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="larger than any such file"):
        idx_files.read_idx(gzip.compress(idx(np.zeros((2, 28, 28), np.uint8))), axes=3)


class Payload:
    """Runs a function of the system when it is unpickled by pickle itself."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


def hostile(marker: Path) -> dict[str, bytes]:
    """Return pickles that run something, or change what reads them."""
    call = f"(S'{marker}'\ntR."
    return {
        "reduce": pickle.dumps({"data": Payload(marker), "labels": [0]}),
        "a name of os": b"cos\nmkdir\n" + call.encode(),
        "a builtin": f"cbuiltins\nexec\n(S'import os; os.mkdir(\"{marker}\")'\ntR.".encode(),
        "numpy's loader": f"cnumpy\nload\n(S'{marker}'\ntR.".encode(),
        "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x13dtype.__reduce__.call\x93.",
        "a changed name": b"\x80\x02cnumpy\ndtype\n}X\x05\0\0\0_makeK\x01sb.",
        "changed slots": b"\x80\x02cnumpy\ndtype\nN}X\x05\0\0\0_makeK\x01s\x86b.",
        "an instance": f"(S'{marker}'\nios\nmkdir\n.".encode(),
        "a persistent name": b"Pos.mkdir\n.",
        "objects": pickle.dumps({"data": np.array([Payload(marker)], dtype=object), "labels": [0]}),
        "text": b"I am no pickle",
        "nothing": b"",
    }


@pytest.mark.parametrize("name", hostile(Path()))
def test_nothing_in_a_pickle_is_run(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "ran"
    folder = write_files(tmp_path / "root")
    (folder / "data_batch_1").write_bytes(hostile(marker)[name])
    with pytest.raises(UserError, match=r"^cifar10: files in .* are damaged"):
        read_small(tmp_path / "root")
    assert not marker.exists()
    (tmp_path / "root" / "cifar-10-python.tar.gz").write_bytes(ARCHIVE)  # a good one beside it is read
    assert_small_cifar(tmp_path / "root")


@pytest.mark.parametrize(
    "batch",
    [
        {"data": TRAIN_ROWS[:1]},
        {"data": TRAIN_ROWS[:1], "labels": [0, 1]},
        {"data": TRAIN_ROWS[:1], "labels": ["0"]},
        {"data": TRAIN_ROWS[:1].astype(np.int64), "labels": [0]},
        {"data": TRAIN_ROWS[:1, :100], "labels": [0]},
        {"data": TRAIN_ROWS[:1], "labels": [2]},
        {"data": TRAIN_ROWS[:1], "labels": [2**70]},
        [1, 2],
    ],
)
def test_a_pickle_of_something_else_is_one_line(tmp_path: Path, batch: object) -> None:
    (write_files(tmp_path) / "data_batch_1").write_bytes(pickle.dumps(batch))
    with pytest.raises(UserError, match=r"^cifar10: files in .* are damaged") as caught:
        read_small(tmp_path)
    assert "\n" not in str(caught.value)


def python_2_pickle(rows: np.ndarray, labels: list[int]) -> bytes:
    """Return a batch as the original archive has it: written by Python 2, whose bytes were text."""
    dtype = b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    shape = b"K" + bytes([len(rows)]) + b"M" + struct.pack("<H", rows.shape[1]) + b"\x86"
    values = b"T" + struct.pack("<I", rows.size) + rows.tobytes()
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\x01btR"
    array = empty + b"(K\x01" + shape + dtype + b"\x89" + values + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels" + numbers + b"u."


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    content = python_2_pickle(TRAIN_ROWS[:2], [0, 1])
    expected = pickle.loads(content, encoding="latin1")  # noqa: S301 - the oracle, of our own pickle
    assert np.array_equal(expected["data"], TRAIN_ROWS[:2])
    (write_files(tmp_path) / "data_batch_1").write_bytes(content)
    assert_small_cifar(tmp_path)


def test_a_batch_that_is_missing_is_not_passed_over(tmp_path: Path) -> None:
    (write_files(tmp_path) / "data_batch_3").unlink()
    with pytest.raises(UserError, match=r"^cifar10: files are missing in "):
        read_small(tmp_path)


def test_a_pickle_of_cifar100_has_fine_labels(tmp_path: Path) -> None:
    files = {
        "train": {"data": TRAIN_ROWS, "fine_labels": [0, 1, 0, 1, 1, 0], "coarse_labels": [0] * 6},
        "test": {"data": TEST_ROWS, "fine_labels": [1, 1, 0, 0]},
        "meta": {"fine_label_names": ["apple", "bear"]},
    }
    for name, content in files.items():
        (tmp_path / "cifar-100-python").mkdir(exist_ok=True)
        (tmp_path / "cifar-100-python" / name).write_bytes(pickle.dumps(content, protocol=2))
    source = read_or_fetch(SmallCifar, "cifar100", TORCHVISION_SETS["cifar100"], tmp_path)
    assert source.classes == ("apple", "bear")
    assert source.train.labels.tolist() == [0, 1, 0, 1, 1, 0]
