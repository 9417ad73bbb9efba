"""Fixtures of the tests of the search: a real database with a study, a run above it, a teacher."""

from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import torch

from kd.data.dataset import Dataset
from kd.distillation.targets import LiveTargets
from kd.distillation.teacher import Teacher
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet
from kd.search.candidate import Guide
from kd.search.storage import opened
from kd.search.study import open_study
from kd.tracking import store as tracking
from kd.tracking.workspace import Workspace


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: Callable[..., str]) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    return f"sqlite:///{tmp_path}/optuna.db"


@pytest.fixture
def study(url: str) -> Iterator[optuna.Study]:
    with opened(url) as storage:
        yield open_study(storage, "s", {"objective": "specialist"}, {}, pareto=False)


@pytest.fixture
def parent_run(url: str, tmp_path: Path) -> Iterator[str]:
    assert url
    with tracking.run("study", output_dir=tmp_path, tags={}) as parent:
        yield parent.id


@pytest.fixture(scope="module")
def guide(tiny_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Guide:
    torch.manual_seed(0)
    model = Classifier(ResNet(10, 1, 1, 4), tiny_digits.mean, tiny_digits.std).eval()
    teacher = Teacher(model, tiny_digits)
    workspace = Workspace("tune", tiny_digits, torch.device("cpu"), tmp_path_factory.mktemp("out"), {})
    return Guide(workspace, teacher, LiveTargets(model), {0: (0, 1, 2), 1: (3, 4)})
