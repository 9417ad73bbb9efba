"""Models in the tracking store: read as data, checked by their digests, and nothing that lies beside them is run."""

import re
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import mlflow.pytorch
import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from kd.data.dataset import Dataset
from kd.errors import UserError
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet
from kd.tracking import store
from kd.tracking.models import load_model
from kd.tracking.outbox.delivery import FACTS_DIGEST

CODE = "__import__('pathlib').Path('sprung').touch()"
MODULE = f"{CODE}\n"
TRAP = b"cbuiltins\neval\n(S" + repr(CODE).encode() + b"\ntR."
"""A pickle that touches a file."""
FACTS = {"role": "teacher", "kind": "all", "outputs": "logits", "image_shape": [1, 8, 8], "data_digest": "0" * 32}


@pytest.fixture(scope="module")
def logged(
    tiny_digits: Dataset, tmp_path_factory: pytest.TempPathFactory, mlflow_store: Callable[..., str]
) -> Iterator[tuple[str, Path, torch.nn.Module]]:
    """Return the run of a model without digests, as earlier versions logged it, the folder of its files, and the net."""
    folder = tmp_path_factory.mktemp("logged")
    torch.manual_seed(0)
    net = Classifier(ResNet(10, 1, 1, 2), tiny_digits.mean, tiny_digits.std).eval()
    mlflow.set_tracking_uri(mlflow_store(folder))
    with store.run("teacher", output_dir=folder, tags={}) as run:
        run.log_model(net, (1, 8, 8), {**FACTS, "classes": list(tiny_digits.classes)}, page="", texts={})
    [path] = folder.glob("mlruns/**/MLmodel")
    yield run.id, path.parent, net
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type] # what it is before it is set: the environment decides


def test_its_page_tells_the_size_of_its_file(logged: tuple[str, Path, torch.nn.Module]) -> None:
    run_id, folder, _ = logged
    size = next(folder.rglob("model.pt2")).stat().st_size
    for shown in (mlflow.get_run(run_id).data.tags, mlflow.get_logged_model(folder.parent.name).tags):
        assert shown["mlflow.note.content"].strip() == f"**Size**: {size / 1000:.0f} kB."


@pytest.fixture
def model(logged: tuple[str, Path, torch.nn.Module], tmp_path: Path) -> Iterator[Path]:
    """Return the folder of the model's files, which is put back after the test; digests that it has are taken away."""
    _, folder, _ = logged
    whole = shutil.copytree(folder, tmp_path.parent / f"{tmp_path.name}-whole")
    yield folder
    shutil.rmtree(folder)
    shutil.move(whole, folder)


@pytest.fixture
def without_digests(logged: tuple[str, Path, torch.nn.Module]) -> Iterator[None]:
    """Have the run be one of before kd wrote digests: nothing but the check of the parts is left."""
    client = mlflow.MlflowClient()
    tags = {name: client.get_run(logged[0]).data.tags[name] for name in (store.MODEL_DIGEST, FACTS_DIGEST)}
    for name in tags:
        client.delete_tag(logged[0], name)
    yield
    for name, value in tags.items():
        client.set_tag(logged[0], name, value)


def line(logged: tuple[str, Path, torch.nn.Module]) -> str:
    """Return the line with which the model is refused; empty: it answers as the net does."""
    run_id, _, net = logged
    images = torch.arange(3 * 64, dtype=torch.uint8).reshape(3, 1, 8, 8)
    try:
        found = load_model(run_id, "teacher")
    except UserError as error:
        return str(error).removeprefix(f"{run_id}: ")
    with torch.inference_mode():
        assert torch.allclose(found.module(images), net(images), rtol=1e-4, atol=1e-5)
    return ""


def facts(**changed: object) -> Callable[[Path], None]:
    """Return what changes facts in the file MLmodel; those that are None are taken out."""

    def alter(folder: Path) -> None:
        path = folder / "MLmodel"
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        held["metadata"] |= changed
        held["metadata"] = {name: value for name, value in held["metadata"].items() if value is not None}
        path.write_text(yaml.safe_dump(held), encoding="utf-8")

    return alter


def flavour(name: str, **changed: object) -> Callable[[Path], None]:
    """Return what changes how MLflow would load the model."""

    def alter(folder: Path) -> None:
        path = folder / "MLmodel"
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        held["flavors"].setdefault(name, {}).update(changed)
        path.write_text(yaml.safe_dump(held), encoding="utf-8")

    return alter


def appended(text: str) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        with (folder / "MLmodel").open("a", encoding="utf-8") as file:
            file.write(text)

    return alter


def beside(*names: str, content: bytes = MODULE.encode()) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    return alter


def both(*alterations: Callable[[Path], None]) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        for alteration in alterations:
            alteration(folder)

    return alter


def pickled_example(folder: Path) -> None:
    path = folder / store.MODEL_FILE
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, TRAP if "sample_inputs" in name else content)


SHADOWS = (
    "sympy.py",
    "torch.py",
    "numpy.py",
    "yaml.py",
    "code/sympy.py",
    "code/torch/__init__.py",
    "data/sympy.py",
    "mlflow.py",
)
HARMLESS = {
    "modules that shadow others": beside(*SHADOWS),
    "code within": both(
        beside("code/evil.py", "code/__init__.py"), flavour("pytorch", code="code"), flavour("python_function", code="code")
    ),
    "code outside": both(
        beside("../evil/evil.py"), flavour("pytorch", code="../../evil"), flavour("python_function", code="/")
    ),
    "a loader of its own": flavour("python_function", loader_module="os", data=CODE, python_model="evil.pkl"),
    "a module to unpickle with": flavour("pytorch", pickle_module_name="evil", model_data="/etc", pytorch_version="0"),
    "a pickled model": beside("data/model.pth", "data/pickle_module_info.txt", "python_model.pkl", content=TRAP),
    "a pickled state": both(
        beside("state_dict.pth", "data/state.pkl", content=TRAP), flavour("pytorch", state_dict="state_dict.pth")
    ),
    "a pickled example in the program": pickled_example,
    "an environment to install": beside("requirements.txt", "conda.yaml", "python_env.yaml", content=b"-e git+file:///evil"),
    "a setup": beside("setup.py", "sitecustomize.py", "conftest.py", "data/evil.pth"),
    "a pickled example beside": beside("input_example.json", "serving_input_example.json", content=TRAP),
    "functions for names": facts(
        net="os:system", loss="evil:loss", data="evil:make", code="evil.py", width="__import__('evil')"
    ),
    "an absolute place": flavour("pytorch", model_data="/etc/passwd"),
    "a resource": flavour("python_function", resources="resources.yaml", auth_policy=CODE, env={"virtualenv": CODE}),
}
REFUSED = {
    "YAML tag": (appended(f'\nx: !!python/object/apply:eval ["{CODE}"]\n'), "its file MLmodel can't be read ("),
    "YAML name": (appended("\nx: !!python/name:os.system\n"), "its file MLmodel can't be read ("),
    "YAML module": (appended("\nx: !!python/module:evil\n"), "its file MLmodel can't be read ("),
    "no truth": (appended("\nx: !!bool maybe\n"), "its file MLmodel can't be read ("),
    "no date": (appended("\nx: !!timestamp maybe\n"), "its file MLmodel can't be read ("),
    "no number": (appended("\nx: 0x_\n"), "its file MLmodel can't be read ("),
    "brackets": (appended("\nx: " + "[" * 5000), "its file MLmodel can't be read ("),
    "not of one encoding": (
        beside("MLmodel", content=b"\xff\xfea"),
        "its file MLmodel can't be read (",
    ),
    "empty": (beside("MLmodel", content=b""), "not a model that kd logged; "),
    "a list": (beside("MLmodel", content=b"[1]"), "not a model that kd logged; "),
    "no facts": (beside("MLmodel", content=b"metadata: 5"), "not a model that kd logged; "),
    "no MLmodel": (
        lambda folder: (folder / "MLmodel").unlink(),
        "its model's file MLmodel is missing (No such file or directory); ",
    ),
    "no program": (
        lambda folder: (folder / store.MODEL_FILE).unlink(),
        "its model's file model.pt2 is missing (No such file or directory); ",
    ),
    "a pickle for a program": (beside(store.MODEL_FILE, content=TRAP), "its model can't be read (File is not a zip file); "),
    "classes that are text": (facts(classes=CODE), "its file MLmodel has no classes of a model of kd's; "),
    "classes that are numbers": (facts(classes=[1, 2]), "its file MLmodel has no classes of a model of kd's; "),
    "a class less": (
        facts(classes=["a", "b"]),
        "its model can't be read (it does not give 2 numbers for an image of shape [1, 8, 8]); ",
    ),
    "other images": (facts(image_shape=[3, 8, 8]), "its model can't be read ("),
    "images without an end": (facts(image_shape=[1, 8]), "its file MLmodel has no image_shape of a model of kd's; "),
    "images of no size": (facts(image_shape=[1, -8, 8]), "its file MLmodel has no image_shape of a model of kd's; "),
    "a list as kind": (facts(kind=["all"]), "its file MLmodel has no kind of a model of kd's; "),
    "another kind": (facts(kind="code"), "its file MLmodel has no kind of a model of kd's; "),
    "no group": (facts(kind="dustbin", own_fraction=0.5), "its file MLmodel has no group of a model of kd's; "),
    "a group beyond": (
        facts(kind="own", own_fraction=0.5, group=[1, 99]),
        "its file MLmodel has no group of a model of kd's; ",
    ),
    "a share of text": (
        facts(kind="own", own_fraction="1", group=[1, 2]),
        "its file MLmodel has no own_fraction of a model of kd's; ",
    ),
    "fewer outputs": (facts(kind="own", own_fraction=1.0, group=[1, 2]), "its model can't be read (it does not give 2 numbers"),
    "outputs of code": (facts(outputs=CODE), "its file MLmodel has no outputs of a model of kd's; "),
    "no digest of the data": (facts(data_digest=None), "its file MLmodel has no data_digest of a model of kd's; "),
    "a role that is a number": (facts(role=5), "its file MLmodel has no role of a model of kd's; "),
}


@pytest.mark.usefixtures("without_digests")
@pytest.mark.parametrize("name", HARMLESS)
def test_what_lies_beside_a_model_is_not_run(
    name: str, model: Path, logged: tuple[str, Path, torch.nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    HARMLESS[name](model)
    monkeypatch.setattr(sys, "path", sys.path[:])
    search_path = sys.path[:]
    assert not line(logged)
    assert sys.path == search_path
    assert "evil" not in sys.modules
    assert not (tmp_path / "sprung").exists()


@pytest.mark.usefixtures("without_digests")
@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_kd_did_not_log_so_is_refused_in_one_line(
    name: str, model: Path, logged: tuple[str, Path, torch.nn.Module], tmp_path: Path
) -> None:
    alter, told = REFUSED[name]
    alter(model)
    found = line(logged)
    assert found.startswith(told)
    assert "\n" not in found
    assert "; name a" in found
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["modules that shadow others", "a loader of its own", "a pickled example in the program"])
def test_a_model_with_digests_has_the_files_that_were_logged(
    name: str, model: Path, logged: tuple[str, Path, torch.nn.Module]
) -> None:
    HARMLESS[name](model)
    file = {"a loader of its own": "MLmodel", "a pickled example in the program": "model.pt2"}.get(name)
    assert line(logged) == (f"its model's file {file} is not the one that was logged; name another run" if file else "")


@pytest.mark.parametrize(
    "named", ["../../etc", "x", "", "models:/evil@champion", f"{'0' * 32}\n", "file:///tmp/evil", "0" * 32, "s3://evil/model"]
)
def test_a_tag_leads_to_no_other_place_than_a_run(named: str, logged: tuple[str, Path, torch.nn.Module]) -> None:
    with store.run("parent", output_dir=Path(), tags={"kd.model_run": named}) as parent:
        pass
    told = "its tag kd.model_run is no id of a run; name another run" if named != "0" * 32 else "no such run or model"
    assert logged
    with pytest.raises(UserError, match=f"^{parent.id}: {re.escape(told)}"):
        load_model(parent.id, "teacher")


@pytest.mark.parametrize(
    "address", ["file:///tmp/evil", "s3://evil/model", "runs:/x/model", "/etc", "mlflow-artifacts:/x", "code"]
)
def test_a_model_has_no_other_address_than_a_run_and_the_registry(
    address: str, logged: tuple[str, Path, torch.nn.Module]
) -> None:
    assert logged
    with pytest.raises(
        UserError, match=r"neither a run, by its id, the first 8 characters of it or its name, nor models:/NAME@ALIAS$"
    ):
        load_model(address, "teacher")


def test_a_model_is_named_by_what_it_is(logged: tuple[str, Path, torch.nn.Module]) -> None:
    found = mlflow.search_logged_models(["0"], filter_string=f"source_run_id = '{logged[0]}'", output_format="list")
    assert [model.name for model in found] == ["teacher"]


@pytest.fixture
def early_store(request: pytest.FixtureRequest, logged: tuple[str, Path, torch.nn.Module], tmp_path: Path) -> Iterator[None]:
    """Have a copy of the store in which the model is called as every model was, after one more change to its database."""
    address = mlflow.get_tracking_uri()
    copy = shutil.copy(address.removeprefix("sqlite:///"), tmp_path)
    with closing(sqlite3.connect(copy)) as connection, connection:
        for change in ("UPDATE logged_models SET name = 'model'", *request.param):
            assert connection.execute(change).rowcount, logged[0]
    mlflow.set_tracking_uri(f"sqlite:///{copy}")
    yield
    mlflow.set_tracking_uri(address)


@pytest.mark.usefixtures("early_store")
@pytest.mark.parametrize("early_store", [[], ["DELETE FROM inputs"]], indirect=True, ids=["of its outputs", "without outputs"])
def test_a_model_of_an_early_version_is_read_too(logged: tuple[str, Path, torch.nn.Module]) -> None:
    assert line(logged) == ""


@pytest.mark.filterwarnings("ignore:No complete tensor found in the group:UserWarning")
def test_a_model_that_mlflows_own_loader_served_is_read_too(logged: tuple[str, Path, torch.nn.Module]) -> None:
    """As kd logged models before they answered for pictures."""
    images = np.zeros((2, 1, 8, 8), np.uint8)
    with mlflow.start_run() as run:
        mlflow.pytorch.log_model(
            logged[2],
            name="teacher",
            signature=ModelSignature(Schema([TensorSpec(images.dtype, (-1, 1, 8, 8))])),
            input_example=images,
            pip_requirements=["mlflow", "torch", "numpy"],
            serialization_format="pt2",
            metadata={**FACTS, "classes": [str(number) for number in range(10)]},
        )
    assert line((run.info.run_id, *logged[1:])) == ""


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_model_is_named_in_one_line(
    data: st.DataObject, model: Path, logged: tuple[str, Path, torch.nn.Module]
) -> None:
    path = model / data.draw(st.sampled_from(["MLmodel", store.MODEL_FILE]))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) * 8 - 1), min_size=1, max_size=3, unique=True)):
        damaged[place // 8] ^= 1 << place % 8
    path.write_bytes(damaged)
    try:
        assert line(logged) == f"its model's file {path.name} is not the one that was logged; name another run"
    finally:
        path.write_bytes(whole)
