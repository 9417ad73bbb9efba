"""``kd export``: which images a model is checked on, what is said of it, and one line for what is wrong."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import mlflow
import numpy as np
import pytest
from brightness import write_brightness
from PIL import Image

import kd
from kd.commands.export import export, smaller, speed
from kd.config import ExportConfig
from kd.errors import UserError
from kd.evaluation.latency import Latency

Main = Callable[[Sequence[str]], None]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a model of which no images are known."""
    return str(write_brightness(tmp_path_factory.mktemp("model") / "student.pt2"))


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Callable[..., str]) -> Iterator[Path]:
    """Return the folder of a model below ``models/``, whose run tells of a folder of images."""
    folder = tmp_path_factory.mktemp("tracked")
    for number in range(24):
        path = folder / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 10 * number, dtype=np.uint8)).save(path)
    mlflow.set_tracking_uri(mlflow_store(folder))
    data = {"data": "folder", "data_root": str(folder / "photos"), "image_px": 8}
    photos = kd.load_dataset("folder", folder / "photos", image_px=8)
    with kd.track("by hand", folder) as block:
        kd.train("resnet", photos, kd.Recipe(epochs=1, batch_size=4), depth=1, width=2)
        block.run.log_settings(data)
    [found] = (folder / "models").iterdir()
    yield found
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type] # what it is before it is set: the environment decides


def test_a_tracked_model_is_checked_on_the_test_images_of_its_run(tracked: Path) -> None:
    answer = export(ExportConfig(model=str(tracked)))
    assert answer.record["file"] == str(tracked / "model.onnx")
    n = answer.record["n"]
    assert answer.record["images"] == f"{n} test images of photos"
    before, after = answer.record["systems"]
    assert (before["accuracy"], before["equal_answers"]) == (after["accuracy"], after["equal_answers"])
    assert after["equal_answers"] == n
    assert after["bytes"] == (tracked / "model.onnx").stat().st_size
    lines = [line for line, _ in answer.lines]
    assert lines[0] == f"onnx (opset 18, batches of any size), checked on {n} test images of photos:"
    assert lines[-1] == f"written: {tracked}/model.onnx"


def test_images_that_changed_are_not_taken_for_those_of_the_model(
    tracked: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture = tracked.parents[1] / "photos" / "a" / "0.png"
    content = picture.read_bytes()
    Image.fromarray(np.full((8, 8), 99, dtype=np.uint8)).save(picture)
    try:
        answer = export(ExportConfig(model=str(tracked), format="safetensors", output=str(tmp_path / "w.safetensors")))
    finally:
        picture.write_bytes(content)
    assert answer.record["images"] == "64 random images, as no real ones are known"
    assert "(those of photos are others now): checked on random ones; --images FOLDER names real ones" in caplog.text


def test_weights_alone_are_said_to_be_compared_and_not_to_be_asked(model: str, tmp_path: Path) -> None:
    answer = export(ExportConfig(model=model, format="safetensors", output=str(tmp_path / "w.safetensors")))
    assert answer.lines[0] == ("safetensors, weights alone, equal to the model's:", "")
    _, weights = answer.record["systems"]
    assert [weights[name] for name in ("accuracy", "interval", "equal_answers", "largest_difference")] == [None] * 4


def test_what_is_no_program_is_refused_before_images_are_read(
    tracked: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kd")
    export(ExportConfig(model=str(tracked), output=str(tmp_path / "new.onnx")))
    assert "test images" in caplog.text
    caplog.clear()
    for given, line in (
        ({"model": str(tmp_path / "new.onnx"), "int8": True}, "is an ONNX file already, of which no other is made; name the"),
        ({"model": str(tracked), "format": "pt2", "int8": True}, "pt2: 8 bits are for onnx alone"),
    ):
        with pytest.raises(UserError) as caught:
            export(ExportConfig.parse(given))
        assert str(caught.value).startswith(line)
        assert "test images" not in caplog.text


def test_a_folder_of_images_will_do(model: str, cli: Main, capsys: Capture) -> None:
    for number in range(3):
        path = Path(f"photos/{number}.png")
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (10, 10), 100 * number).save(path)
    Path("photos/bad.png").write_bytes(b"no image")
    cli(["export", model, "--images", "photos", "--output", "new.onnx", "--json"])
    printed = capsys.readouterr()
    assert f"{Path.cwd()}/photos: 1 of its images can't be read, and are left out\n" in printed.err
    told = json.loads(printed.out)
    assert (told["images"], told["opset"], told["verdict"]) == ("3 images of photos", 18, None)
    cli(["predict", "new.onnx", "photos/2.png"])
    assert capsys.readouterr().out.startswith("photos/2.png  high ")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"format": "safetensors", "int8": True}, "safetensors: 8 bits are for onnx alone"),
        ({"int8": True}, "the ranges of 8 bits are taken from real images; name some (--images FOLDER)"),
        ({"format": "pt2"}, "{model}: is the model itself; name another file (--output FILE)"),
        ({"output": "folder"}, "{cwd}/folder: is a folder; name another file"),
        ({"output": "net.bin"}, "{cwd}/net.bin: does not end in .onnx, by which its format is known; name it so"),
        ({"images": "gone"}, "gone: is not a folder; name one with images"),
        ({"images": "folder"}, "{cwd}/folder: holds no images that can be read; name another folder"),
        ({"model": "gone.pt2"}, "{cwd}/gone.pt2: can't be read"),
        ({"model": ""}, "names no model"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(given: dict[str, str], line: str, model: str) -> None:
    Path("folder").mkdir()
    with pytest.raises(UserError) as caught:
        export(ExportConfig.parse({"model": model, **given}))
    assert str(caught.value).startswith(line.format(model=model, cwd=Path.cwd()))
    assert [path.name for path in Path(model).parent.iterdir()] == ["student.pt2"]


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (500, ("2.0 times smaller than onnx", True)),
        (990, ("not smaller than onnx (990 bytes against 1,000)", False)),
        (1010, ("not smaller than onnx (1,010 bytes against 1,000)", False)),
    ],
)
def test_a_file_is_smaller_where_a_reader_sees_it(after: int, told: tuple[str, bool]) -> None:
    assert smaller(after, 1000) == told


@pytest.mark.parametrize(
    ("median", "high", "told"),
    [
        (1.0, 1.8, ("2.0 times as fast as onnx", True)),
        (1.0, 1.9, ("not clearly faster than onnx (2.0 times as fast, less than passes differ)", False)),
        (4.0, 4.5, ("not faster than onnx (0.5 times as fast)", False)),
    ],
)
def test_a_model_is_faster_where_the_middle_halves_of_passes_do_not_meet(
    median: float, high: float, told: tuple[str, bool]
) -> None:
    floats = Latency(1, median_ms=2.0, low_ms=1.9, high_ms=2.1, place="cpu, 1 thread")
    assert speed(Latency(1, median, 0.9 * median, high, "cpu, 1 thread"), floats) == told
