"""A model in a file: the same answers in any batch, from arrays and from pictures, and one line for a file that is no model."""

import math
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import kd
from kd.data.dataset import Dataset
from kd.distillation.combination import Combination
from kd.distillation.exporting import Format, export, noise
from kd.distillation.results import Trained
from kd.distillation.saved import SavedModel
from kd.errors import UserError

RECIPE = kd.Recipe(epochs=1, batch_size=30)


@pytest.fixture(scope="module")
def student(tiny_digits: Dataset) -> Trained:
    return kd.train("resnet", tiny_digits, RECIPE, name="student", depth=1, width=4)


@pytest.fixture(scope="module")
def specialist(student: Trained) -> Trained:
    [one] = kd.specialise(student, [(3, 5)], "resnet", None, RECIPE, views=1, control=False, width=2)
    return one


@pytest.fixture(scope="module")
def combination(student: Trained, specialist: Trained) -> Combination:
    return kd.combine(student, [specialist])


@pytest.fixture(scope="module")
def saved(student: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kd.save(student, tmp_path_factory.mktemp("saved") / "student.pt2")


def close(one: Tensor, other: Tensor) -> bool:
    """Return whether logits differ by rounding alone, which other batches and kernels bring."""
    return one.shape == other.shape and bool(torch.allclose(one, other, rtol=1e-4, atol=1e-4))


@pytest.mark.parametrize("images", [1, 2, 3, 39, 40])
def test_a_loaded_model_gives_the_same_logits_for_any_number_of_images(
    images: int, saved: Path, student: Trained, tiny_digits: Dataset
) -> None:
    loaded = kd.load(saved)
    assert (loaded.classes, loaded.image_shape) == (tiny_digits.classes, (1, 8, 8))
    assert close(loaded.logits(tiny_digits.test.images[:images]), student.test_logits[:images])


def test_a_loaded_model_says_names_with_probabilities(saved: Path, student: Trained, tiny_digits: Dataset) -> None:
    told = kd.load(saved).predict(tiny_digits.test.images.numpy())
    expected = student.test_logits.softmax(dim=1)  # (N, C)
    for prediction, row in zip(told, expected, strict=True):
        assert list(prediction.probabilities) == list(tiny_digits.classes)
        assert close(torch.tensor(list(prediction.probabilities.values())), row)
        assert prediction.probability == max(prediction.probabilities.values())
        assert prediction.probabilities[prediction.name] == prediction.probability


def test_a_specialist_names_its_classes_and_its_dustbin(specialist: Trained, tiny_digits: Dataset, tmp_path: Path) -> None:
    loaded = kd.load(kd.save(specialist, tmp_path / "specialist.pt2"))
    assert loaded.classes == ("3", "5", "dustbin")
    assert close(loaded.logits(tiny_digits.test.images), specialist.test_logits)


def test_a_combination_is_one_model(combination: Combination, tiny_digits: Dataset, tmp_path: Path) -> None:
    loaded = kd.load(kd.save(combination, tmp_path / "combined.pt2"))
    assert loaded.classes == tiny_digits.classes
    assert close(loaded.logits(tiny_digits.test.images).softmax(dim=1), combination.test_probabilities)
    written = export(loaded, tmp_path / "combined.onnx", Format.ONNX, noise(loaded))
    assert written.largest_difference(written.written) < 1e-5
    again = kd.load(tmp_path / "combined.onnx")
    assert close(again.logits(tiny_digits.test.images).softmax(dim=1), combination.test_probabilities)


def test_onnx_is_refused_where_specialists_may_answer_together(student: Trained, specialist: Trained, tmp_path: Path) -> None:
    loaded = kd.load(kd.save(kd.combine(student, [specialist], top_n=2), tmp_path / "combined.pt2"))
    with pytest.raises(
        UserError, match=r"^onnx: this combined model solves Eq\. 5 by Cholesky's .* combine anew with --top-n 1"
    ):
        export(loaded, tmp_path / "combined.onnx", Format.ONNX, noise(loaded))
    assert [path.name for path in tmp_path.iterdir()] == ["combined.pt2"]


def test_a_file_tells_nothing_of_the_folders_that_it_was_made_in(combination: Combination, tmp_path: Path) -> None:
    loaded = kd.load(kd.save(combination, tmp_path / "combined.pt2"))
    export(loaded, tmp_path / "combined.onnx", Format.ONNX, noise(loaded))
    with zipfile.ZipFile(tmp_path / "combined.pt2") as archive:
        parts = [archive.read(name) for name in archive.namelist()]
    for part in (*parts, (tmp_path / "combined.onnx").read_bytes()):
        assert b".py" not in part
        assert str(Path(kd.__file__).parent).encode() not in part


def test_what_was_saved_is_used_as_it_was(student: Trained, saved: Path) -> None:
    assert saved.is_file()
    assert [file.name for file in saved.parent.iterdir()] == ["student.pt2"]
    assert not student.model.training
    assert {parameter.device.type for parameter in student.model.parameters()} == {"cpu"}


def test_a_model_is_loaded_without_the_code_of_its_net(saved: Path) -> None:
    code = (
        "import sys, kd\n"
        "model = kd.load(sys.argv[1])\n"
        "assert 'kd.nets.resnet' not in sys.modules\n"
        "import numpy\n"
        "print(model.predict(numpy.zeros((1, 8, 8), numpy.uint8))[0].name in model.classes)"
    )
    result = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True, check=True, timeout=120)
    assert (result.stdout.strip(), result.stderr) == ("True", "")


@pytest.fixture(scope="module")
def by_mean(tmp_path_factory: pytest.TempPathFactory) -> dict[int, SavedModel]:
    """Return models of grey and of colour images whose logits are the mean of the first channel and that of the last."""

    class Means(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            means = images.mean(dim=(2, 3))
            return torch.stack([means[:, 0], means[:, -1]], dim=1)

    models = {}
    for channels in (1, 3):
        images = np.zeros((20, channels, 8, 8), dtype=np.uint8)
        images[::2] = 255
        data = kd.Dataset.from_arrays(images, np.arange(20) % 2, ["first", "last"])
        layer = nn.Linear(2, 2)
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        trained = kd.train(nn.Sequential(Means(), layer), data, kd.Recipe(epochs=1, batch_size=14, lr=0.0))
        models[channels] = kd.load(kd.save(trained, tmp_path_factory.mktemp("means") / "means.pt2"))
    return models


def first_less_last(model: SavedModel, path: Path) -> float:
    """Return the difference of the two logits of a picture: that of its channels, in units of a standard deviation."""
    [prediction] = model.predict([path])
    first, last = prediction.probabilities.values()
    return math.log(first / last)


def test_pictures_are_brought_to_the_models_size_and_channels(by_mean: dict[int, SavedModel], tmp_path: Path) -> None:
    grey, red = tmp_path / "grey.png", tmp_path / "red.png"
    Image.new("L", (16, 12), 200).save(grey)
    Image.new("RGB", (12, 16), (255, 0, 0)).save(red)
    for model, path in ((by_mean[1], grey), (by_mean[1], red), (by_mean[3], grey)):
        assert first_less_last(model, path) == 0.0  # one channel, or three equal ones
    # Black is one standard deviation below the mean, white and full red one above it.
    assert first_less_last(by_mean[3], red) == pytest.approx(2.0, abs=1e-3)


def test_a_picture_is_answered_as_its_pixels_are(saved: Path, tiny_digits: Dataset, tmp_path: Path) -> None:
    model, paths = kd.load(saved), []
    for number in range(5):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(tiny_digits.test.images[number, 0].numpy()).save(paths[-1])
    from_files, from_array = model.predict(paths), model.predict(tiny_digits.test.images[:5].numpy())
    assert from_files == from_array
    assert model.predict([str(path) for path in paths]) == from_files


def test_no_images_have_no_answers(saved: Path) -> None:
    model = kd.load(saved)
    assert model.predict([]) == []
    assert model.predict(np.zeros((0, 8, 8), dtype=np.uint8)) == []


def test_a_picture_of_12_bits_in_16_is_scaled_as_in_training(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        values = np.full((8, 8), 372 * number, dtype=np.uint16)
        Image.fromarray(values).save(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png")
    photos = kd.load_dataset("folder", tmp_path / "photos", image_px=8)
    trained = kd.train("resnet", photos, kd.Recipe(epochs=1, batch_size=4), depth=1, width=2)
    loaded = kd.load(kd.save(trained, tmp_path / "net.pt2"))
    [of_file] = loaded.predict([tmp_path / "photos" / "a" / "6.png"])
    [of_array] = loaded.predict(np.full((1, 8, 8), round(372 * 6 / 4095 * 255), dtype=np.uint8))
    assert of_file == of_array


def test_images_that_do_not_fit_are_refused(saved: Path, tmp_path: Path) -> None:
    model, note = kd.load(saved), tmp_path / "note.txt"
    note.write_text("no picture", encoding="utf-8")
    for images, message in (
        (np.zeros((2, 9, 8), np.uint8), "images are (1, 9, 8) and the model's (1, 8, 8) (channels, height, width)"),
        (np.zeros((2, 3, 8, 8), np.uint8), "images are (3, 8, 8) and the model's (1, 8, 8) (channels, height, width)"),
        (np.zeros((2, 8, 8)), "images are float64; give uint8, 0 to 255, or paths of files"),
        ("cat.jpg", "cat.jpg: give a list of images, as in predict(['cat.jpg'])"),
        (Path("cat.jpg"), "cat.jpg: give a list of images, as in predict(['cat.jpg'])"),
        ([note], f"cannot read the image {note}: it is no image in a format that kd reads; repair or remove it"),
    ):
        with pytest.raises(UserError) as caught:
            model.predict(images)  # type: ignore[arg-type]
        assert str(caught.value) == message


@pytest.mark.parametrize("size", [0, 10, 2000, -1000])
def test_a_file_that_was_cut_short_is_refused_in_one_line(
    size: int, saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.pt2"
    path.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(UserError) as caught:
        kd.load(path)
    assert one_line(path, caught.value)
    assert capfd.readouterr() == ("", "")


def one_line(path: Path, error: UserError) -> bool:
    return str(error).startswith(f"{path}: ") and "; save it again" in str(error) and "\n" not in str(error)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_file_with_one_bit_changed_is_refused_or_gives_the_same_answers(
    place: float, bit: int, saved: Path, student: Trained, tmp_path: Path
) -> None:
    data, path = bytearray(saved.read_bytes()), tmp_path / "damaged.pt2"
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        loaded = kd.load(path)
    except UserError as error:
        assert one_line(path, error)  # noqa: PT017 - or there is none
    else:
        assert close(loaded.logits(student.dataset.test.images), student.test_logits)


def test_files_of_others_are_refused_and_nothing_of_them_is_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    state, program, missing = (tmp_path / name for name in ("state.pt", "program.pt2", "missing.pt2"))
    net = nn.Linear(2, 2)
    torch.save(net.state_dict(), state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(net, (torch.zeros(2, 2),)), program)
        torch.export.save(torch.export.export(net, (torch.zeros(2, 2),)), tmp_path / "told.pt2", extra_files={"kd.json": "[]"})
    capfd.readouterr()
    refused(state, f"{state}: holds weights alone; name their net too (--teacher-net NAME, net=NAME in Python)")
    refused(program, f"{program}: it does not take batches of images (B, C, H, W); export it for such")
    refused(tmp_path / "told.pt2", f"{tmp_path}/told.pt2: not a model that kd.save wrote; save it again with kd.save")
    refused(missing, f"{missing}: can't be read (No such file or directory); name the file of a model")
    refused(tmp_path, f"{tmp_path}: can't be read (Is a directory); name the file of a model")
    assert capfd.readouterr() == ("", "")


def refused(path: Path, message: str) -> None:
    with pytest.raises(UserError) as caught:
        kd.load(path)
    assert str(caught.value) == message


def test_a_model_is_written_whole_or_not_at_all(student: Trained, tmp_path: Path) -> None:
    taken, below = tmp_path / "taken", tmp_path / "file" / "student.pt2"
    taken.mkdir()
    below.parent.write_text("", encoding="utf-8")
    for path, why in ((taken, "Is a directory"), (below, "File exists")):
        with pytest.raises(UserError) as caught:
            kd.save(student, path)
        assert str(caught.value) == f"{path}: can't be written ({why}); name another file"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "taken"]
    assert list(taken.iterdir()) == []
    assert kd.save(student, tmp_path / "new" / "folder" / "student.pt2").is_file()


def test_a_net_that_can_not_be_exported_is_refused(tiny_digits: Dataset, tmp_path: Path) -> None:
    class Torn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.layer(images.flatten(1))
            return logits if logits.sum() > 0 else -logits

    trained = kd.train(Torn(), tiny_digits, RECIPE)
    with pytest.raises(UserError, match=r"^the net can't be exported \(.+\)$") as caught:
        kd.save(trained, tmp_path / "torn.pt2")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
