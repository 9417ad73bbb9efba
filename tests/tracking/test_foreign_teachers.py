"""Teachers of others: in a file, in a run and in the registry, each with what is said of it; what makes no sense is refused."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import onnx
import pytest
import torch
from foreign_models import expected, onnx_model, small, write_program
from mlflow.entities.model_registry import ModelVersion

import kd
from kd.commands.parent import guided_by_teacher
from kd.config import SpecialistConfig, StudentConfig, TuneConfig
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.from_config import about_teacher, check_teacher, named_teacher, prepare
from kd.search.shared import Shared, load_guide
from kd.tracking.workspace import Workspace

SAID = {"teacher_mean": "0.5,0.25,0.125", "teacher_std": "0.5,0.25,0.5"}
NET = """
from torch import nn

def net(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
"""


@pytest.fixture
def workspace(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    return prepare("student", StudentConfig(output_dir=str(tmp_path)))


def teacher(name: object, workspace: Workspace, **said: object) -> Teacher:
    return named_teacher(StudentConfig.parse({"teacher": str(name), **SAID, **said}), workspace)


def logged(files: dict[str, Path], folder: str = "data") -> str:
    """Log files as others do, in a run, and return its id."""
    client = mlflow.MlflowClient()
    run_id = str(client.create_run("0").info.run_id)
    for path in files.values():
        client.log_artifact(run_id, str(path), folder)
    client.set_terminated(run_id)
    return run_id


def registered(name: str, run_id: str, folder: str = "data") -> ModelVersion:
    client = mlflow.MlflowClient()
    client.create_registered_model(name)
    source = f"{client.get_run(run_id).info.artifact_uri}/{folder}"
    return client.create_model_version(name, source, run_id=run_id)


def test_a_model_of_others_is_found_in_a_run_and_in_the_registry(workspace: Workspace, tmp_path: Path) -> None:
    images = workspace.dataset.test.images
    program = write_program(small(10), tmp_path / "theirs.pt2")
    run_id = logged({"pt2": program})
    registered("theirs", run_id)
    of_file = teacher(program, workspace)
    torch.testing.assert_close(of_file.test_logits, expected(small(10), images), rtol=1e-4, atol=1e-4)
    assert of_file.run_id == ""
    for name in (f"runs:/{run_id}/data/theirs.pt2", f"runs:/{run_id}/data", "models:/theirs/1"):
        found = teacher(name, workspace)
        assert found.run_id == run_id
        assert found.digest == of_file.digest
    assert not list(tmp_path.rglob("kd.json"))


def test_a_command_whose_teacher_was_written_anew_is_not_resumed(workspace: Workspace, tmp_path: Path) -> None:
    path = write_program(small(10), tmp_path / "theirs.pt2")
    config = StudentConfig.parse({"teacher": str(path), **SAID, "epochs": 1, "output_dir": str(tmp_path)})

    def stopped() -> str:
        with pytest.raises(KeyboardInterrupt), guided_by_teacher("student", config, workspace) as guided:
            raise KeyboardInterrupt
        return guided.parent.id

    first = stopped()
    assert stopped() == first
    other = small(10)
    torch.nn.init.ones_(other.head.bias)
    write_program(other, path)
    assert stopped() != first


def test_the_files_of_a_model_are_looked_through_and_those_that_say_nothing_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    onnx.save(onnx_model(small(10)), tmp_path / "a.onnx")
    onnx.save(onnx_model(small(10)), tmp_path / "b.onnx")
    (tmp_path / "readme.md").write_text("theirs")
    two = logged({"a": tmp_path / "a.onnx", "b": tmp_path / "b.onnx"})
    with pytest.raises(UserError, match=r"it has several models \(a\.onnx, b\.onnx\); name one"):
        teacher(f"runs:/{two}/data", workspace)
    none = logged({"a": tmp_path / "readme.md"})
    with pytest.raises(UserError, match=r"none of its files \(readme\.md\) is a model that kd reads"):
        teacher(f"runs:/{none}/data", workspace)
    for name in (f"runs:/{two}/data/../../../../etc/passwd", f"runs:/{two}/nothing.onnx", "runs:/1/a.onnx"):
        with pytest.raises(UserError, match="no such file of a run"):
            teacher(name, workspace)


def test_a_run_of_kds_own_whose_facts_were_taken_away_is_no_model_of_others(workspace: Workspace, tmp_path: Path) -> None:
    run_id = logged({"pt2": write_program(small(10), tmp_path / "model.pt2")})
    mlflow.MlflowClient().set_tag(run_id, "kd.model_sha256", "0" * 64)
    registered("own", run_id)
    with pytest.raises(UserError, match=r"its model's file model\.pt2 is missing"):
        teacher("models:/own/1", workspace)


def test_a_state_dict_teaches_with_the_net_that_is_named_and_is_recorded(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NET)
    config = StudentConfig.parse(
        {"teacher": "w.pt", "teacher_net": "nets.py:net", "output_dir": str(tmp_path), "epochs": 1, "teacher_px": 16, **SAID}
    )
    with torch.random.fork_rng(devices=[]):
        spec = about_teacher(config).net
        assert spec is not None
        net = spec.create(10, 3).eval()
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with guided_by_teacher("student", config, workspace) as guided:
        seen = torch.nn.functional.interpolate(
            workspace.dataset.test.images.float(), size=(16, 16), mode="bilinear", antialias=True
        ).round()
        torch.testing.assert_close(guided.teacher.test_logits, expected(net, seen), rtol=1e-4, atol=1e-4)
    run = mlflow.get_run(guided.parent.id).data
    told = {name: value for name, value in run.params.items() if name.startswith("teacher")}
    assert told == {
        "teacher": "w.pt",
        "teacher_net": "nets.py:net",
        "teacher_net_args": "",
        "teacher_small_stem": "false",
        "teacher_px": "16",
        "teacher_chosen": "it was named",
        **SAID,
    }
    assert run.tags["kd.teacher_digest"] == guided.teacher.digest


def test_an_ensemble_may_have_models_of_kd_and_of_others(workspace: Workspace, tmp_path: Path) -> None:
    onnx.save(onnx_model(small(10)), tmp_path / "a.onnx")
    trained = kd.train("resnet", workspace.dataset, kd.Recipe(epochs=1), depth=1, width=1)
    kd.save(trained, tmp_path / "own.pt2")
    both = teacher("own.pt2, a.onnx", workspace)
    theirs = expected(small(10), workspace.dataset.test.images).softmax(dim=1)
    mean = (trained.test_logits.softmax(dim=1) + theirs) / 2
    torch.testing.assert_close(both.test_logits.softmax(dim=1), mean, rtol=1e-3, atol=1e-4)
    with pytest.raises(UserError, match=r"own\.pt2: kd wrote it, with its net"):
        teacher("own.pt2", workspace)


@pytest.mark.parametrize(
    ("settings", "field", "told"),
    [
        ({"teacher_mean": "0.5"}, "teacher_mean", "tells of a teacher that exists"),
        ({"teacher": "new", "teacher_classes": "names"}, "teacher_classes", "tells of a teacher that exists"),
        ({"teacher": "a.onnx", "teacher_net": "torchvision:resnet18"}, "teacher_net", "has its own net and weights"),
        ({"teacher": "a" * 32, "teacher_net_args": "a=1"}, "teacher_net_args", "has its own net and weights"),
        ({"teacher": "a.pt", "teacher_weights": "b.pt"}, "teacher_weights", "has its own net and weights"),
        ({"teacher": "a.onnx", "teacher_mean": "0.5,x"}, "teacher_mean", "expected one number"),
        ({"teacher": "a.onnx", "teacher_mean": "nan"}, "teacher_mean", "expected one number"),
        ({"teacher": "a.onnx", "teacher_std": "0.5,0"}, "teacher_std", "give numbers above 0"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused_before_any_image_is_read(
    settings: dict[str, object], field: str, told: str
) -> None:
    with pytest.raises(UserError, match=told) as refused:
        prepare("student", StudentConfig.parse({**settings, "data": "folder", "data_root": "nowhere"}))
    assert refused.value.field == field


def test_names_of_classes_are_read_from_lines_or_json(workspace: Workspace, tmp_path: Path) -> None:
    onnx.save(onnx_model(small(10)), tmp_path / "a.onnx")
    whole = expected(small(10), workspace.dataset.test.images)
    (tmp_path / "lines").write_text("\n".join("9876543210") + "\n\n")
    (tmp_path / "json").write_text(str(list("9876543210")).replace("'", '"'))
    for name in ("lines", "json"):
        found = teacher("a.onnx", workspace, teacher_classes=name)
        torch.testing.assert_close(found.test_logits, whole.flip(1), rtol=1e-4, atol=1e-4)
    for text, told in (
        ("", "holds no names"),
        ("[1, 2]", "holds no names"),
        ("[", "can't be read"),
        ("a\na", "a stands there twice"),
    ):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(UserError, match=told) as refused:
            teacher("a.onnx", workspace, teacher_classes="bad")
        assert refused.value.field == "teacher_classes"


def test_what_can_not_be_exported_is_not_combined_and_said_before_anything_is_trained(
    workspace: Workspace, tmp_path: Path
) -> None:
    onnx.save(onnx_model(small(10)), tmp_path / "a.onnx")
    write_program(small(10), tmp_path / "a.pt2")
    with pytest.raises(UserError, match=r"a\.onnx: it can't be exported .*, so it can't be combined with specialists"):
        check_teacher(SpecialistConfig.parse({"teacher": "a.onnx", **SAID}), workspace)
    check_teacher(SpecialistConfig.parse({"teacher": "a.pt2", **SAID}), workspace)
    check_teacher(TuneConfig.parse({"teacher": "a.onnx", **SAID}), workspace)


def test_workers_of_a_search_take_a_file_that_the_user_named_and_none_that_a_study_names(
    workspace: Workspace, tmp_path: Path
) -> None:
    onnx.save(onnx_model(small(10)), tmp_path / "a.onnx")
    config = TuneConfig.parse({"teacher": "a.onnx", "study_name": "s", "views": 0, **SAID})
    digest = named_teacher(config, workspace).digest
    shared = Shared("", digest, {})
    assert load_guide(config, workspace, shared).teacher.digest == digest
    onnx.save(onnx_model(small(10)), tmp_path / "a.onnx", save_as_external_data=False)
    other = small(10)
    other.head.bias.data += 1
    onnx.save(onnx_model(other), tmp_path / "a.onnx")
    with pytest.raises(UserError, match=r"a\.onnx: not the teacher of study s, whose weights were others"):
        load_guide(config, workspace, shared)
    with pytest.raises(UserError, match="the teacher of study s is a file; name it"):
        load_guide(TuneConfig.parse({"study_name": "s"}), workspace, shared)
