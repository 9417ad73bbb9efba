"""Each distinct net of a command is tried once, before any run is opened."""

from collections.abc import Callable
from pathlib import Path

import pytest

import kd
from kd.config import StudentConfig
from kd.data.dataset import Dataset
from kd.from_config import check_nets, prepare

FILE = """
from pathlib import Path
from torch import nn
def net(num_classes, in_channels):
    with open(Path(__file__).with_name("made"), "a") as file:
        file.write(f"{num_classes} ")
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(64 * in_channels, num_classes))
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(FILE)
    return f"{tmp_path / 'own.py'}:net"


def test_a_teacher_of_the_same_net_as_its_students_is_not_tried_again(
    net: str, tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    settings = {"net": net, "teacher_net": net, "output_dir": str(tmp_path)}
    workspace = prepare("student", StudentConfig.parse(settings))
    check_nets(StudentConfig.parse(settings), workspace)
    assert (tmp_path / "made").read_text() == "10 "
    check_nets(StudentConfig.parse({**settings, "teacher_px": 16}), workspace)  # at another size it is another net
    assert (tmp_path / "made").read_text() == "10 10 10 "


def test_specialists_of_groups_of_one_size_are_tried_once(net: str, tmp_path: Path, tiny_digits: Dataset) -> None:
    teacher = kd.train("resnet", tiny_digits, kd.Recipe(epochs=1, batch_size=60), depth=1, width=1)
    kd.specialise(teacher, [(0, 1), (2, 3), (4, 5, 6)], net, None, kd.Recipe(epochs=1, batch_size=60), views=1, control=False)
    tried, compared, trained = ["3", "4"], ["3"], ["3", "3", "4"]  # with a dustbin each; one is compared with the generalist's
    assert (tmp_path / "made").read_text().split() == tried + compared + trained
