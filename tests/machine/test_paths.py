"""Paths that a user names: what can be none, and what is no file."""

import os
from pathlib import Path

import pytest

from kd.errors import UserError
from kd.machine.paths import exists, open_file, user_path


@pytest.mark.parametrize(
    ("path", "why"), [("x" * 300, "File name too long"), ("a/" * 3000, "File name too long"), ("a\0b", "embedded null byte")]
)
def test_a_path_that_can_not_be_is_refused_in_one_line(path: str, why: str) -> None:
    with pytest.raises(UserError, match=rf"can't be used \({why}\); give another path$") as caught:
        user_path(path, "data_root")
    assert caught.value.field == "data_root"


def test_links_to_each_other_are_refused_and_one_to_nowhere_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "nowhere").symlink_to("missing")
    assert user_path("nowhere", "output_dir") == tmp_path / "nowhere"
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(UserError, match="symbolic links"):
        user_path("one", "output_dir")


def test_a_file_below_a_file_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert exists(tmp_path / "file")
    assert not exists(tmp_path / "file" / "below")


def test_a_pipe_a_device_and_a_folder_are_no_file_and_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path, tmp_path / "pipe"):
        with pytest.raises(OSError, match=r"no file|Is a directory"):
            open_file(path)
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_file(tmp_path / "link") as file:
        assert file.read() == b"content"
