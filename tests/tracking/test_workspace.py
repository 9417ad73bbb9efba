"""The output folder: found as a shell would find it, and refused before any work where it can't be used."""

import shutil
from pathlib import Path

import pytest

from kd.errors import UserError
from kd.tracking.workspace import check_space, output_folder


def test_the_home_folder_is_meant_by_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert output_folder("~/kd out") == tmp_path / "home" / "kd out"
    assert (tmp_path / "home" / "kd out").is_dir()
    assert not (tmp_path / "~").exists()
    with pytest.raises(UserError, match=r"^~nobody-of-that-name/x: no user has such a home"):
        output_folder("~nobody-of-that-name/x")


def test_a_folder_is_absolute_wherever_it_is_named_from(tmp_path: Path) -> None:
    assert output_folder(".") == tmp_path
    assert output_folder("été") == tmp_path / "été"


@pytest.mark.parametrize("taken", ["models", "checkpoints", "figures", "targets"])
def test_a_file_in_the_place_of_a_folder_that_is_written_to_is_refused(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).touch()
    with pytest.raises(UserError, match=f"^{tmp_path}/{taken}: no folder that can be written to") as caught:
        output_folder(tmp_path)
    assert caught.value.field == "output_dir"


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(tmp_path / "absent")
    with pytest.raises(UserError, match=f"^{tmp_path}/models: no folder"):
        output_folder(tmp_path)


def test_a_disk_with_less_room_than_will_be_written_is_refused(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    check_space(tmp_path, free // 2)
    with pytest.raises(UserError, match=f"^{tmp_path}: [0-9,]+ bytes are left on the disk, and at least "):
        check_space(tmp_path, free * 2)
