"""Files that are whole or not there, whoever is killed, and arrays whose every bit is checked."""

import hashlib
import json
import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from full_disk import file_size_limit
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from kd.machine.files import open_array, write_array, write_whole

# Written whole


def test_the_parts_are_written_one_after_the_other_and_the_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "name"
    write_whole(path, b"one ", memoryview(b"two"))
    assert path.read_bytes() == b"one two"
    write_whole(path, b"3")
    assert path.read_bytes() == b"3"
    assert list(path.parent.iterdir()) == [path]


def test_who_may_read_the_file_is_left_to_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "name", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "name").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "name"
    write_whole(path, b"old")
    with pytest.raises(OSError, match="File too large") as caught, file_size_limit(1000):
        write_whole(path, b"new", bytes(2000))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe or a device, and no file"):
        write_whole(tmp_path / "pipe", b"content")
    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]


def test_who_has_the_old_file_open_reads_on_in_it(tmp_path: Path) -> None:
    path = tmp_path / "name"
    write_whole(path, b"old")
    with path.open("rb") as file:
        write_whole(path, b"new")
        assert file.read() == b"old"


def test_what_killed_writers_left_an_hour_ago_goes_with_the_next_file_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "name[1].pt"
    left = ["name[1].pt.0123abcd.tmp", "name[1].pt.fedcba98.tmp"]
    others = ["name[1].pt.tmp", "name1.pt.0123abcd.tmp", "other.0123abcd.tmp", "name[1].pt.0123abcd.tmp.gz", "name[1].pt.lock"]
    for name in (*left, *others):
        (tmp_path / name).write_bytes(b"half of a f")
        os.utime(tmp_path / name, (0, 0))
    others.append("name[1].pt.76543210.tmp")  # which somebody may just be writing
    (tmp_path / others[-1]).write_bytes(b"half of a f")
    write_whole(path, b"whole")
    assert {file.name for file in tmp_path.iterdir()} == {path.name, *others}


def during_the_write(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act once, at the moment when the next file is written, and not yet moved to its place."""
    sync = os.fsync

    def act_and_sync(number: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        act()
        sync(number)

    monkeypatch.setattr(os, "fsync", act_and_sync)


def test_of_two_that_write_at_once_the_last_one_to_end_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "name"
    during_the_write(monkeypatch, lambda: write_whole(path, b"written meanwhile, and whole"))
    write_whole(path, b"begun before")
    assert path.read_bytes() == b"begun before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_taken_away_while_it_is_written_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def take_away() -> None:
        [partial] = tmp_path.iterdir()
        partial.unlink()

    during_the_write(monkeypatch, take_away)
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "name", b"")


def test_an_interrupt_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    write_whole(tmp_path / "name", b"old")
    during_the_write(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "name", b"new")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_many_writers_and_a_reader_never_meet_half_a_file(tmp_path: Path) -> None:
    path, size = tmp_path / "name", 10_000

    def write(number: int) -> None:
        write_whole(path, *[bytes([number])] * size)

    write(0)
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(write, number) for number in range(100)]
        while not all(each.done() for each in writes):
            content = path.read_bytes()
            assert content == content[:1] * size
        for each in writes:
            each.result()
    assert list(tmp_path.iterdir()) == [path]


# Arrays


def as_stored(array: NDArray[Any]) -> np.dtype[Any]:
    return array.dtype.newbyteorder("<")


@given(
    array=npst.arrays(
        st.sampled_from(["u1", "?", "<i8", "<f2", "<f4", ">f4", ">i2"]),
        npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    facts=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3) | st.booleans(), max_size=3),
)
def test_an_array_and_its_facts_come_back(
    array: NDArray[Any], facts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "array"
    write_array(path, array.T, facts)
    found = open_array(path)
    assert found is not None
    assert found.facts == facts
    back = found.array(as_stored(array), array.T.shape)
    assert back is not None
    np.testing.assert_array_equal(back, array.T)


def test_the_file_is_a_line_of_json_padded_to_64_bytes_and_the_numbers(tmp_path: Path) -> None:
    write_array(tmp_path / "array", np.array([[1.5, -2.0], [3.0, 0.25]], dtype=">f4"), {"of": "Grün", "size": 4})
    content = (tmp_path / "array").read_bytes()
    payload = struct.pack("<4f", 1.5, -2.0, 3.0, 0.25)
    line = content.removesuffix(payload)
    assert len(line) % 64 == 0
    assert line.index(b"\n") == len(line) - 1
    digest = hashlib.sha256(payload).hexdigest()
    of_facts = hashlib.sha256('{"of":"Grün","size":4}'.encode()).hexdigest()
    told = f'{{"of":"Grün","size":4,"facts_sha256":"{of_facts}","payload_sha256":"{digest}"}}'
    assert line.decode().rstrip() == told
    (tmp_path / "array").write_bytes(content.replace(b'"size":4', b'"size":5'))
    assert open_array(tmp_path / "array") is None


@pytest.fixture
def array_file(tmp_path: Path) -> Path:
    """Write a file of the numbers 0 to 11."""
    write_array(tmp_path / "array", np.arange(12, dtype=np.int16).reshape(3, 4), {"of": "test"})
    return tmp_path / "array"


def read(path: Path) -> NDArray[Any] | None:
    found = open_array(path)
    return None if found is None else found.array("<i2", (3, 4))


def test_a_bit_changed_in_any_number_is_noticed(array_file: Path) -> None:
    assert read(array_file) is not None
    whole = array_file.read_bytes()
    for place in range(len(whole) - 24, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        array_file.write_bytes(damaged)
        assert read(array_file) is None, f"bit {place % 8} of byte {place}"


def test_a_file_of_another_length_is_noticed(array_file: Path) -> None:
    whole = array_file.read_bytes()
    for content in (*(whole[:size] for size in range(len(whole))), whole + b"\0"):
        array_file.write_bytes(content)
        assert read(array_file) is None, f"{len(content)} of {len(whole)} bytes"


@pytest.mark.parametrize(("dtype", "shape"), [("<i2", (3, 5)), ("<i4", (3, 4)), ("<i2", (12, 0)), ("<i2", ())])
def test_another_shape_or_type_than_was_written_is_noticed(array_file: Path, dtype: str, shape: tuple[int, ...]) -> None:
    found = open_array(array_file)
    assert found is not None
    assert not found.has_room_for(dtype, shape)
    assert found.array(dtype, shape) is None
    assert found.has_room_for("<i2", (3, 4))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"text\n", b"\xff\n", b"null\n", b"[]\n", b"5\n", b"{}\n", b'{"payload_sha256": 5}\n', b"{"),
        *(b"[" * 70_000, b" " * 70_000 + b"{}\n"),
    ],
)
def test_a_file_of_something_else_has_no_header(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "else").write_bytes(content)
    assert open_array(tmp_path / "else") is None


def test_a_file_that_is_not_there_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_array(tmp_path / "missing")


def test_an_array_can_be_written_to_without_a_trace_in_the_file(array_file: Path) -> None:
    before = array_file.read_bytes()
    mine, others = read(array_file), read(array_file)
    assert mine is not None
    assert others is not None
    mine[:] = 0
    assert others.tolist() == np.arange(12).reshape(3, 4).tolist()
    assert array_file.read_bytes() == before


def test_an_array_stays_as_it_was_when_another_takes_its_place(array_file: Path) -> None:
    first = open_array(array_file)
    assert first is not None
    write_array(array_file, np.zeros((3, 4), dtype=np.int16), {"of": "another"})
    array = first.array("<i2", (3, 4))
    assert array is not None
    assert array.tolist() == np.arange(12).reshape(3, 4).tolist()
    assert json.loads(array_file.read_bytes().partition(b"\n")[0])["of"] == "another"
