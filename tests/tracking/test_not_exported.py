"""``--no-export``: a net that can't be exported is trained, and its weights are kept alone."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import kd
from kd.commands.found import training_answer
from kd.config import SpecialistConfig, StudentConfig, TuneConfig
from kd.data.dataset import Dataset
from kd.distillation.results import Trained
from kd.errors import UserError
from kd.from_config import check_nets, prepare, train_teacher
from kd.nets.registry import net_spec
from kd.nets.weights import put_weights, read_weights
from kd.tracking import store
from kd.tracking.models import load_model

RECIPE = kd.Recipe(epochs=1, batch_size=32)
FILE = """
from torch import nn
class Looks(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.layer = nn.Linear(channels * 64, classes)
    def forward(self, images):
        logits = self.layer(images.flatten(1))
        return logits if float(images.sum()) > -1e9 else -logits
def net(num_classes, in_channels):
    return Looks(num_classes, in_channels)
"""


class Looks(nn.Module):
    """A net that looks at its numbers, and so can't be exported."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.layer = nn.Linear(channels * 64, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits if float(images.sum()) > -1e9 else -logits


@pytest.fixture
def _store(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))


@pytest.mark.usefixtures("_store")
def test_weights_are_kept_as_a_state_dict_and_no_model_is_logged(tiny_digits: Dataset, tmp_path: Path) -> None:
    with kd.track("odd", tmp_path, export=False) as tracked:
        teacher = kd.train(Looks, tiny_digits, RECIPE)
        student = kd.distil(teacher, Looks, None, RECIPE, views=1, control=False)
        [specialist] = kd.specialise(teacher, [(0, 1)], Looks, None, RECIPE, views=1, control=False)
        combination = kd.combine(teacher, [specialist])
        tracked.summarise(teacher, [student, specialist], [combination])
    for trained in (teacher, student, specialist):
        assert_kept(trained, tmp_path)
    assert combination.run is not None
    assert (combination.run.model_file, combination.run.weights_file) == (None, None)
    assert not list(tmp_path.glob("**/*.pt2"))
    assert mlflow.search_logged_models(["0"], output_format="list") == []
    for run in (teacher.run_id, combination.run_id):
        with pytest.raises(UserError, match=r"its model was not exported \(--no-export\), so it can't be loaded by its run"):
            load_model(run, "teacher")
    lines = [line for line, _ in training_answer(teacher).lines]
    assert any(line.startswith(f"weights: {tmp_path / 'models' / 'teacher-'}") for line in lines)
    assert training_answer(teacher).record["model"] is None


def assert_kept(trained: Trained, folder: Path) -> None:
    assert trained.run is not None
    assert trained.run.model_file is None
    file = trained.run.weights_file
    assert file is not None
    assert file.parent.parent == folder / "models"
    fresh = Looks(len(trained.task.classes), 1)
    put_weights(fresh, read_weights(file), file)
    images = trained.task.test.images
    again = kd.Classifier(fresh, trained.dataset.mean, trained.dataset.std).eval()
    torch.testing.assert_close(again(images), trained.test_logits, rtol=1e-5, atol=1e-5)
    client = mlflow.MlflowClient()
    assert [one.path for one in client.list_artifacts(trained.run_id, "weights")] == [f"weights/{file.name}"]
    note = client.get_run(trained.run_id).data.tags[store.NOTE]
    assert "**Not exported**" in note
    assert f"--weights models/{file.parent.name}/{file.name}" in note
    assert client.get_run(trained.run_id).data.metrics["test/nll"] == trained.test.nll


@pytest.mark.usefixtures("_store")
def test_without_the_flag_it_is_refused_before_the_first_epoch_and_torch_says_nothing(
    tiny_digits: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(UserError, match=r"can't be exported, .* or train it all the same with --no-export"),
        kd.track("x", tmp_path),
    ):
        kd.train(Looks, tiny_digits, RECIPE)
    assert "forward" not in capfd.readouterr().err
    kd.train(Looks, tiny_digits, RECIPE)  # without a tracker nothing is kept


@pytest.mark.usefixtures("_store")
def test_what_is_not_exported_is_not_registered(tmp_path: Path) -> None:
    told = "digits: a model that is not exported can't be registered; leave out --no-export"
    with pytest.raises(UserError, match=told), kd.track("x", tmp_path, register_as="digits", export=False):
        pass
    with pytest.raises(UserError, match=told) as refused:
        prepare("specialist", SpecialistConfig(export=False, register_as="digits", output_dir=str(tmp_path)))
    assert refused.value.field == "register_as"


@pytest.mark.usefixtures("_store")
def test_a_command_takes_such_nets_and_a_search_keeps_its_teacher_whole(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FILE)
    net = {"net": f"{tmp_path / 'own.py'}:net", "output_dir": str(tmp_path)}
    workspace = prepare("student", StudentConfig.parse(net))
    with pytest.raises(UserError, match="can't be exported"):
        check_nets(StudentConfig.parse(net), workspace)
    check_nets(StudentConfig.parse({**net, "export": False}), workspace)
    search = {**net, "export": False, "objective": "student", "teacher_epochs": 1, "teacher_depth": 1, "teacher_width": 1}
    check_nets(TuneConfig.parse(search), workspace)
    with pytest.raises(UserError, match="can't be exported"):  # its workers load the teacher
        check_nets(TuneConfig.parse({**net, "export": False, "objective": "student", "teacher_net": net["net"]}), workspace)
    with store.run("tune", output_dir=tmp_path, tags={}):
        teacher = train_teacher(TuneConfig.parse(search), workspace)
    assert load_model(teacher.run_id, "teacher").run_id == teacher.run_id


def code_of(card: Path) -> str:
    found = re.search(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.usefixtures("_store")
@pytest.mark.parametrize("kind", ["named", "own", "px"])
def test_the_lines_of_the_card_beside_weights_answer_as_the_net_did(
    tiny_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with kd.track("odd", tmp_path, export=False):
        if kind == "own":
            trained = kd.train(Looks, tiny_digits, RECIPE)
        else:
            trained = kd.train("resnet", tiny_digits, RECIPE, depth=1, width=2, px=12 if kind == "px" else 0)
    assert trained.run is not None
    assert trained.run.weights_file is not None
    folder = trained.run.weights_file.parent
    assert {path.name for path in folder.iterdir()} == {"model.pt", "README.md", "classes.json"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"`model.pt` has {trained.run.weights_file.stat().st_size:,} bytes" in card
    assert "**Images**: digits, 10 classes, 120 train, 40 val, 40 test" in card
    code = code_of(folder / "README.md")
    monkeypatch.chdir(tmp_path)
    Image.new("L", (9, 9), 100).save("picture.png")
    names: dict[str, Any] = {}
    made = {"own": "Looks(10, 1)", "px": "net_spec('resnet', {'depth': 1, 'width': 2, 'px': 12}).create(10, 1)", "named": "..."}
    exec(code.replace("net = ...", f"net = {made[kind]}"), {"Looks": Looks, "net_spec": net_spec}, names)  # noqa: S102 - ours
    model, images = names["model"], trained.task.test.images
    answers = model.logits(images) if kind == "named" else model(images)
    torch.testing.assert_close(answers, trained.test_logits, rtol=1e-5, atol=1e-5)
    if kind == "named":
        assert model.predict(["picture.png"])[0].name in trained.task.classes
