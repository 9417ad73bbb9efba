"""Checkpoints: whole or absent whatever happens to the writer or the file, and fingerprints over all that matters."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from full_disk import file_size_limit, small_disk
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import kd
from kd.distillation.fingerprint import fingerprint
from kd.machine.failure import failure_line
from kd.training.checkpoints import load, save

SECONDS = 60  # longest that a test waits for another process
KILLS = 20
SIZE = 500_000  # numbers in a checkpoint: most of a writer's time goes into writing them


def state(number: int = 1) -> dict[str, object]:
    weights = {"w": torch.arange(50.0), "steps": torch.tensor(number)}
    return {"trainer": {"model": weights, "epochs_done": number}, "history": json.dumps([{"loss": 0.5}]), "rate": 0.1}


def equal(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other


def test_what_was_saved_is_loaded_and_the_newest_wins(tmp_path: Path) -> None:
    path = tmp_path / "folders" / "made" / "for it.pt"
    assert load(path) is None
    for number in (1, 2):
        save(path, state(number))
        assert equal(load(path), state(number))
    assert [file.name for file in path.parent.iterdir()] == ["for it.pt"]


def test_a_full_disk_is_told_in_one_line_and_leaves_the_last_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save(path, state())
    with pytest.raises(OSError, match="File too large") as caught, file_size_limit(1000):
        save(path, state(2))
    assert failure_line(caught.value) == (
        f"the disk is full (File too large: {path}): free some space, and run the same command again, which resumes"
    )
    assert equal(load(path), state())
    assert list(tmp_path.iterdir()) == [path]


def test_on_a_real_disk_without_room_the_last_checkpoint_stays_and_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with small_disk(tmp_path, 64):
        save(path, state())
        with pytest.raises(OSError, match="No space left on device") as caught:
            save(path, {"weights": torch.zeros(50_000)})
        assert f"the disk is full (No space left on device: {path}): free some space" in failure_line(caught.value)
        assert equal(load(path), state())
        assert list(tmp_path.iterdir()) == [path]


# For each line that it reads: tells of a new process that saves one checkpoint after another until it is killed.
WRITERS = """
import os, sys
from pathlib import Path
import torch
from kd.training.checkpoints import save

torch.set_num_threads(1)
path, size = Path(sys.argv[1]), int(sys.argv[2])
for _ in sys.stdin:
    writer = os.fork()
    if writer == 0:
        for number in range(10_000):  # some end, should nobody be left to kill it
            weights = {"w": torch.arange(float(size)), "steps": torch.tensor(number)}
            save(path, {"weights": weights, "number": number})
        os._exit(0)
    print(writer, flush=True)
    os.waitpid(writer, 0)
"""


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITERS, str(tmp_path / "checkpoint.pt"), str(SIZE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(SECONDS) == 0


def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(tmp_path: Path, writers: subprocess.Popen[str]) -> None:
    path = tmp_path / "checkpoint.pt"
    assert writers.stdin is not None
    assert writers.stdout is not None
    for kill in range(KILLS):
        path.unlink(missing_ok=True)
        writers.stdin.write("\n")
        writers.stdin.flush()
        writer = int(writers.stdout.readline())
        try:
            deadline = time.monotonic() + SECONDS
            while not path.exists():
                assert time.monotonic() < deadline, "no checkpoint was written"
            for _ in range(5):
                assert load(path) is not None, "a reader met half a checkpoint"
            time.sleep(0.001 * kill)  # each kill meets another moment
        finally:
            os.kill(writer, signal.SIGKILL)
        left = load(path)
        assert left is not None, "the kill left half a checkpoint"
        weights = {"w": torch.arange(float(SIZE)), "steps": torch.tensor(left["number"])}
        assert equal(left["weights"], weights)
    for left_over in tmp_path.glob("*.tmp"):
        os.utime(left_over, (0, 0))  # long ago
    save(path, state())
    assert list(tmp_path.iterdir()) == [path], "something is left of the writers that were killed"


def test_a_state_that_cannot_be_written_leaves_the_last_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save(path, state())
    with pytest.raises((AttributeError, TypeError)):
        save(path, {**state(2), "objective": lambda: None})
    assert equal(load(path), state())
    assert list(tmp_path.iterdir()) == [path]


def test_a_torn_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save(path, state())
    whole = path.read_bytes()
    for size in range(0, len(whole), 20):
        path.write_bytes(whole[:size])
        assert load(path) is None, f"{size} of {len(whole)} bytes"


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save(path, state())
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert load(path) is None, f"bit {place % 8} of byte {place}"


def test_other_weights_in_a_whole_archive_are_noticed(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint.pt", state())
    save(tmp_path / "other.pt", state(2))
    with zipfile.ZipFile(tmp_path / "checkpoint.pt") as archive, zipfile.ZipFile(tmp_path / "other.pt", "w") as other:
        other.comment = archive.comment
        for name in archive.namelist():
            content = archive.read(name)
            other.writestr(name, content[::-1] if name.endswith("data/0") else content)
    assert torch.load(tmp_path / "other.pt")["trainer"]["model"]["w"].shape == (50,)  # torch takes it
    assert load(tmp_path / "other.pt") is None


def test_torch_reads_a_checkpoint_as_any_file_of_its_own(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint.pt", state())
    assert equal(torch.load(tmp_path / "checkpoint.pt"), state())


def test_a_pipe_is_none_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "checkpoint.pt")
    assert load(tmp_path / "checkpoint.pt") is None


@given(content=st.binary(max_size=200))
@example(content=b"PK")
@example(content=b"\x80\x02.")
@settings(max_examples=50)
def test_a_file_of_something_else_is_none(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "else.pt"
    path.write_bytes(content)
    assert load(path) is None


@pytest.mark.parametrize("content", [torch.ones(3), [1, 2], 5, "text"], ids=["tensor", "list", "number", "text"])
def test_a_file_of_torch_that_is_no_checkpoint_is_none(content: object, tmp_path: Path) -> None:
    archive = io.BytesIO()
    torch.save(content, archive)
    whole = archive.getvalue()[:-2]
    digest = hashlib.sha256(whole).hexdigest().encode()
    (tmp_path / "other.pt").write_bytes(whole + b"\x40\0" + digest)
    assert torch.load(tmp_path / "other.pt") is not None
    assert load(tmp_path / "other.pt") is None


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_no_code_of_a_checkpoint_is_run(tmp_path: Path) -> None:
    save(tmp_path / "trap.pt", {"model": Trap(tmp_path / "sprung")})
    assert load(tmp_path / "trap.pt") is None
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "trap.pt", weights_only=False)
    assert (tmp_path / "sprung").exists()  # the trap works


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FACTS = st.dictionaries(st.text(min_size=1, max_size=6).filter(lambda name: name != "code"), VALUES, min_size=1, max_size=4)


@given(facts=FACTS, data=st.data())
@settings(max_examples=40)
def test_the_fingerprint_is_of_the_facts_and_not_of_their_order(facts: dict[str, object], data: st.DataObject) -> None:
    digits = fingerprint(facts)
    assert len(digits) == 32
    assert set(digits) <= set("0123456789abcdef")
    assert fingerprint(dict(data.draw(st.permutations(list(facts.items()))))) == digits
    other = data.draw(FACTS)
    same = json.dumps(facts, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint(other) == digits) is same


@given(facts=FACTS, value=VALUES, data=st.data())
@settings(max_examples=40)
def test_any_value_added_changed_or_left_out_changes_the_fingerprint(
    facts: dict[str, object], value: object, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(facts)))
    without = {other: fact for other, fact in facts.items() if other != name}
    assert fingerprint(without) != fingerprint(facts)
    same = json.dumps(facts[name]) == json.dumps(value)
    assert (fingerprint({**facts, name: value}) == fingerprint(facts)) is same


# What turns images, a teacher's logits and a seed into weights, and chooses among those of the epochs.
TRAINING_CODE = [
    *("data/views", "data/load", "data/folder", "losses/soft_targets", "nets/resnet", "training/loop", "specialists/sampling"),
    *("evaluation/scores", "distillation/targets", "distillation/task"),
]


@pytest.mark.parametrize("module", TRAINING_CODE)
def test_another_version_of_the_code_that_trains_has_another_fingerprint(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "kd"
    shutil.copytree(Path(kd.__file__).parent, copy)
    before = fingerprint({"seed": 0})
    monkeypatch.setattr(kd, "__file__", str(copy / "__init__.py"))
    assert fingerprint({"seed": 0}) == before
    with (copy / f"{module}.py").open("a", encoding="utf-8") as file:
        file.write("\n# another version\n")
    assert fingerprint({"seed": 0}) != before
