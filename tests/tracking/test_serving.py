"""A logged model under MLflow's own server: pictures and arrays in, names of classes out, and one line for what is neither."""

import base64
import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import mlflow
import mlflow.pytorch
import numpy as np
import numpy.typing as npt
import pytest
import torch
import uvicorn
from mlflow.pyfunc import PyFuncModel, scoring_server
from mlflow_server import free_port
from PIL import Image
from torch import Tensor, nn

import kd
from kd.data.dataset import Dataset
from kd.distillation.results import Trained
from kd.distillation.saved import SavedModel
from kd.tracking import requirements
from kd.tracking.checkout import published
from kd.tracking.serving import SIGNATURE, ServedModel

PX = 12
RECIPE = kd.Recipe(epochs=1, batch_size=32)
SEND = (
    "the bytes of a JPEG or PNG file in base64, or an array of whole numbers from 0 to 255 of the shape [3, 12, 12] "
    "(channels, height, width)"
)


def dataset() -> Dataset:
    """Return two classes of colour images, one reddish, one bluish."""
    images = np.random.default_rng(0).integers(0, 200, (80, 3, PX, PX)).astype(np.uint8)
    labels = np.arange(80) % 2
    images[labels == 0, 0] += 55
    images[labels == 1, 2] += 55
    return kd.Dataset.from_arrays(images, labels, ["red, 'very'", "bleu é"])


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Callable[..., str]) -> Iterator[tuple[Trained, Path]]:
    """Return a tracked training, and the folder of its logged model."""
    folder = tmp_path_factory.mktemp("logged")
    mlflow.set_tracking_uri(mlflow_store(folder))
    with kd.track("by hand", output_dir=folder):
        net = kd.train("resnet", dataset(), RECIPE, depth=1, width=2)
    [path] = folder.glob("mlruns/**/MLmodel")
    yield net, path.parent
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type] # what it is before it is set: the environment decides


@contextmanager
def server(model: PyFuncModel) -> Iterator[Callable[..., tuple[int, Any]]]:
    """Serve a model as ``mlflow models serve`` does, and return what sends a body to it, and returns code and answer."""
    port = free_port()
    serving = uvicorn.Server(uvicorn.Config(scoring_server.init(model), port=port, log_level="error"))
    thread = threading.Thread(target=serving.run)
    thread.start()
    while not serving.started:
        assert thread.is_alive()
        time.sleep(0.01)

    def send(body: object, **params: object) -> tuple[int, Any]:
        content = json.dumps({**body, "params": params} if params and isinstance(body, dict) else body).encode()
        address, header = f"http://127.0.0.1:{port}/invocations", {"Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(address, content, header), timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with closing(error):
                return error.code, json.load(error)

    try:
        yield send
    finally:
        serving.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def send(logged: tuple[Trained, Path]) -> Iterator[Callable[..., tuple[int, Any]]]:
    net, _ = logged
    with server(mlflow.pyfunc.load_model(f"runs:/{net.run_id}/teacher")) as ask:
        yield ask


def told(model: SavedModel, images: list[Path] | npt.NDArray[np.uint8]) -> list[Any]:
    """Return what is to be answered to images, by the model in a file."""
    every = [sorted(one.probabilities.items(), key=lambda item: -item[1]) for one in model.predict(images)]
    return [
        {"classes": [{"class": name, "probability": pytest.approx(value, abs=1e-5)} for name, value in ranked]}
        for ranked in every
    ]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a photograph on its side, twice as wide as it is high, whose left half is another colour."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40, 0] = pixels[:, 40:, 2] = np.random.default_rng(1).integers(100, 256, (40, 40))
    path = tmp_path_factory.mktemp("pictures") / "picture.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def text(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


FORMS: dict[str, Callable[[Any], object]] = {
    "inputs": lambda image: {"inputs": [image, image]},
    "inputs by name": lambda image: {"inputs": {"image": [image, image]}},
    "inputs as records": lambda image: {"inputs": [{"image": image}, {"image": image}]},
    "instances": lambda image: {"instances": [image, image]},
    "instances as records": lambda image: {"instances": [{"image": image}, {"image": image}]},
    "a table": lambda image: {"dataframe_split": {"columns": ["image"], "data": [[image], [image]]}},
    "records": lambda image: {"dataframe_records": [{"image": image}, {"image": image}]},
}


@pytest.mark.parametrize("form", FORMS)
def test_pictures_and_arrays_get_the_answers_of_the_models_file_in_every_form_of_mlflows(
    form: str, send: Callable[..., tuple[int, Any]], logged: tuple[Trained, Path], picture: Path
) -> None:
    net, _ = logged
    model = kd.load(net.run.model_file if net.run and net.run.model_file else "")
    pixels = net.dataset.test.images[:1].numpy()
    for image, expected in ((text(picture), told(model, [picture])), (pixels[0].tolist(), told(model, pixels))):
        assert send(FORMS[form](image)) == (200, {"predictions": expected * 2})


@pytest.mark.parametrize(
    "of",
    [
        lambda pixels: pixels.transpose(1, 2, 0).tolist(),
        lambda pixels: pixels.astype(float).tolist(),
        lambda pixels: pixels.ravel().tolist(),
    ],
    ids=["channels last", "whole numbers with a point", "flat"],
)
def test_an_array_may_have_other_usual_forms(
    of: Callable[[Any], Any], send: Callable[..., tuple[int, Any]], logged: tuple[Trained, Path]
) -> None:
    pixels = logged[0].dataset.test.images[0].numpy()
    assert send(FORMS["a table"](of(pixels))) == send(FORMS["inputs"](pixels.tolist()))


def test_pictures_and_arrays_may_stand_beside_each_other(
    send: Callable[..., tuple[int, Any]], logged: tuple[Trained, Path], picture: Path
) -> None:
    pixels = logged[0].dataset.test.images[0].tolist()
    as_data_url = f"data:image/jpeg;base64,{text(picture)}"
    in_lines = base64.encodebytes(picture.read_bytes()).decode()
    code, answer = send({"inputs": [as_data_url, pixels, in_lines]})
    first, second, third = ({one["class"]: one["probability"] for one in each["classes"]} for each in answer["predictions"])
    [alone] = kd.load(logged[1] / "data" / "model.pt2").predict(np.array([pixels], np.uint8))
    assert (code, first) == (200, third)
    assert second == pytest.approx(alone.probabilities, abs=1e-5)


def test_as_many_classes_are_told_as_are_asked_for(send: Callable[..., tuple[int, Any]], picture: Path) -> None:
    body = {"inputs": [text(picture)]}
    assert [len(send(body, top=top)[1]["predictions"][0]["classes"]) for top in (1, 2, 99, None)] == [1, 2, 2, 2]


def test_many_at_once_get_the_answers_that_each_gets_alone(
    send: Callable[..., tuple[int, Any]], logged: tuple[Trained, Path]
) -> None:
    bodies = [{"inputs": [pixels.tolist()]} for pixels in logged[0].dataset.test.images[:8]]
    alone, at_once = [send(body) for body in bodies], [(0, None)] * len(bodies)

    def ask(place: int) -> None:
        at_once[place] = send(bodies[place])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert at_once == alone


GOOD = np.zeros((3, PX, PX), int).tolist()
WRONG = {
    "a name of a file": ({"inputs": ["cat.jpg"]}, f"image 1 of 1: cat.jpg is not base64; send {SEND}"),
    "no picture": ({"inputs": [GOOD, "photo+12"]}, f"image 2 of 2: it is no image in a format that kd reads; send {SEND}"),
    "an empty text": ({"inputs": [""]}, f"image 1 of 1: it is no image in a format that kd reads; send {SEND}"),
    "what acts on a terminal": ({"inputs": ["a\nb\x1b[31m"]}, f"image 1 of 1: a\\nb\\x1b[31m is not base64; send {SEND}"),
    "a long text": ({"inputs": ["é" * 9999]}, f"image 1 of 1: {'é' * 37}... is not base64; send {SEND}"),
    "a number": ({"inputs": [5]}, f"image 1 of 1: 5 is neither text nor an array; send {SEND}"),
    "null": ({"instances": [None]}, f"image 1 of 1: None is neither text nor an array; send {SEND}"),
    "another shape": (
        {"inputs": np.zeros((1, 3, PX, PX + 1), int).tolist()},
        f"image 1 of 1: an array has the shape [3, 12, 13]; send {SEND}",
    ),
    "rows of several lengths": (
        {"inputs": [[[1, 2], [3]]]},
        f"image 1 of 1: the rows of an array differ in length; send {SEND}",
    ),
    **{
        name: (
            {"inputs": [np.full((3, PX, PX), value).tolist()]},
            f"image 1 of 1: an array holds something other than whole numbers from 0 to 255; send {SEND}",
        )
        for name, value in {
            "256": 256,
            "-1": -1,
            "a half": 0.5,
            "NaN": np.nan,
            "infinity": np.inf,
            "truth": True,
            "text": "0",
        }.items()
    },
    **{
        name: (body, f'no images; send {{"inputs": [IMAGE, ...]}}, each {SEND}')
        for name, body in {
            "an empty list": {"inputs": []},
            "an empty object": {"inputs": {}},
            "empty instances": {"instances": []},
            "an empty table": {"dataframe_split": {"columns": ["image"], "data": []}},
            "another column": {"dataframe_split": {"columns": ["photo"], "data": [["AA=="]]}},
            "no records": {"dataframe_records": []},
            "a text without a list": {"inputs": "AA=="},
        }.items()
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_image_is_one_line_with_code_400(name: str, send: Callable[..., tuple[int, Any]]) -> None:
    body, line = WRONG[name]
    assert send(body) == (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": line, "sqlstate": ANY, "error_class": ANY})


def test_half_of_a_picture_is_named_so(send: Callable[..., tuple[int, Any]], picture: Path) -> None:
    half = base64.b64encode(picture.read_bytes()[: picture.stat().st_size // 2]).decode()
    code, answer = send({"inputs": [text(picture), half]})
    assert code == 400
    assert re.fullmatch(r"image 2 of 2: image file is truncated( \(\d+ bytes not processed\))?; send .*", answer["message"])


def test_no_classes_asked_for_is_one_line(send: Callable[..., tuple[int, Any]]) -> None:
    code, answer = send({"inputs": [GOOD]}, top=0)
    assert (code, answer["message"]) == (400, "top is 0; give the number of classes to be told of each image, 1 or more")


def test_a_file_of_the_server_is_not_read(send: Callable[..., tuple[int, Any]], picture: Path) -> None:
    path = picture.rename(picture.with_name("picture"))  # its name has letters of base64 alone
    code, answer = send({"inputs": [str(path)]})
    path.rename(picture)
    assert (code, answer["message"].startswith("image 1 of 1: ")) == (400, True)


class Broken(nn.Module):
    def forward(self, images: Tensor) -> Tensor:  # noqa: ARG002 - as every net has it
        raise RuntimeError("no memory is left\nand more")


def test_a_model_that_fails_says_one_line_and_leaves_the_rest_to_the_servers_log(caplog: pytest.LogCaptureFixture) -> None:
    meta = mlflow.models.Model(signature=SIGNATURE)
    with server(PyFuncModel(meta, ServedModel(SavedModel(Broken(), ["a", "b"], (3, PX, PX), "")))) as send:
        code, answer = send({"inputs": [GOOD]})
    line = "the model failed (no memory is left); what its server wrote has the rest"
    assert (code, answer) == (500, {"error_code": "INTERNAL_ERROR", "message": line, "sqlstate": ANY, "error_class": ANY})
    assert "Traceback" in caplog.text


def test_a_logged_model_has_neither_code_nor_pickle(logged: tuple[Trained, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    net, folder = logged
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    facts = {"MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml", "input_example.json", "serving_input_example.json"}
    assert files == {"data/model.pt2", *facts}
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    bare = mlflow.pytorch.load_model(f"runs:/{net.run_id}/teacher")
    with torch.inference_mode():
        assert torch.allclose(bare(net.dataset.test.images), net.test_logits, atol=1e-4)


def test_the_example_beside_a_logged_model_is_answered(
    logged: tuple[Trained, Path], send: Callable[..., tuple[int, Any]]
) -> None:
    net, folder = logged
    [black] = kd.load(folder / "data" / "model.pt2").predict(np.zeros((1, 3, PX, PX), np.uint8))
    code, answer = send(json.loads((folder / "serving_input_example.json").read_text(encoding="utf-8")))
    assert (code, [one["classes"][0]["class"] for one in answer["predictions"]]) == (200, [black.name])
    model = mlflow.pyfunc.load_model(f"runs:/{net.run_id}/teacher")
    assert model.predict(model.input_example) == answer["predictions"]


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, origin: str | None) -> None:
    """Have kd lie in a folder as pip installs it, with what pip writes of where it came from."""
    about = folder / "kd-9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: kd\nVersion: 9+cpu\n", encoding="utf-8")
    if origin is not None:
        (about / "direct_url.json").write_text(origin, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(kd, "__file__", str(folder / "kd" / "__init__.py"))


@pytest.mark.parametrize(
    ("origin", "required"),
    [
        (None, f"kd=={kd.__version__}"),
        ('{"url": "file:///tmp/kd-9.whl", "archive_info": {}}', "kd @ file:///tmp/kd-9.whl"),
        (
            '{"url": "https://example.org/kd.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}',
            "kd @ git+https://example.org/kd.git@c0ffee",
        ),
    ],
)
def test_where_a_model_is_served_kd_is_installed_from_where_it_came_from(
    origin: str | None, required: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch, origin)
    assert requirements.requirements()[-1] == required


def test_a_version_that_no_index_has_is_asked_for_as_the_one_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch, None)
    assert requirements.pinned("kd") == "9"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Have kd lie in a checkout of one commit, and return what asks git about it."""
    project = tmp_path / "project"
    (project / "kd").mkdir(parents=True)
    for name in ("pyproject.toml", "kd/__init__.py"):
        (project / name).touch()

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(project), *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", "--all")
    git("-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--message=m")
    monkeypatch.setattr(kd, "__file__", str(project / "kd" / "__init__.py"))
    return git


def test_a_checkout_that_others_can_fetch_is_installed_from_there_without_its_owners_token(
    checkout: Callable[..., str], tmp_path: Path
) -> None:
    folder, commit = f"kd @ {(tmp_path / 'project').as_uri()}", checkout("rev-parse", "HEAD")
    checkout("remote", "add", "origin", "https://me:ghp_secret@example.org:8443/me/kd.git")
    assert requirements.requirements()[-1] == folder, "it was not pushed"
    checkout("update-ref", "refs/remotes/origin/main", "HEAD")
    assert requirements.requirements()[-1] == f"kd @ git+https://example.org:8443/me/kd.git@{commit}"
    checkout("remote", "set-url", "origin", "/home/me/kd.git")
    assert requirements.requirements()[-1] == folder, "others can't fetch it"
    checkout("remote", "set-url", "origin", "https://example.org/me/kd.git")
    (tmp_path / "project" / "kd" / "more.py").touch()
    assert requirements.requirements()[-1] == folder, "it has changed since"


def test_a_checkout_within_another_one_is_installed_from_its_folder(
    checkout: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "project" / "libraries"
    (inner / "kd").mkdir(parents=True)
    for name in ("pyproject.toml", "kd/__init__.py"):
        (inner / name).touch()
    checkout("add", "--all")
    checkout("-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--message=m")
    checkout("remote", "add", "origin", "https://example.org/me/all.git")
    checkout("update-ref", "refs/remotes/origin/main", "HEAD")
    monkeypatch.setattr(kd, "__file__", str(inner / "kd" / "__init__.py"))
    assert requirements.requirements()[-1] == f"kd @ {inner.as_uri()}"


def test_a_logged_model_names_the_kd_that_wrote_it(root: Path, logged: tuple[Trained, Path]) -> None:
    needed = (logged[1] / "requirements.txt").read_text(encoding="utf-8").split("\n")
    assert needed[-1] == f"kd @ {published() or root.as_uri()}"
    assert [line.partition("==")[0] for line in needed[:-1]] == ["mlflow", "torch", "numpy", "pillow"]
