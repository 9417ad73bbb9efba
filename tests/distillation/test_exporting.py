"""Models in other formats: the same answers in any batch, and no file where the answers differ."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from brightness import Brightness, write_brightness

import kd
from kd.data.dataset import Dataset
from kd.distillation import exporting as module
from kd.distillation.exporting import ExportedModel, Format, Images, export, images_of, noise
from kd.distillation.results import Trained
from kd.distillation.saved import SavedModel
from kd.errors import RunError, UserError
from kd.nets.onnx_export import write_onnx
from kd.nets.weights import read_weights

RECIPE = kd.Recipe(epochs=2, batch_size=30)


@pytest.fixture(scope="module")
def trained(tiny_digits: Dataset) -> Trained:
    return kd.train("resnet", tiny_digits, RECIPE, depth=1, width=2)


@pytest.fixture(scope="module")
def model(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    return kd.load(kd.save(trained, tmp_path_factory.mktemp("saved") / "net.pt2"))


@pytest.fixture(scope="module")
def small(model: SavedModel, tiny_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """Return the model with 8 bits, which was made of one in floats."""
    path = tmp_path_factory.mktemp("exported") / "new" / "net.onnx"
    return export(model, path, Format.ONNX, images_of(model, tiny_digits), int8=True)


def test_a_combination_has_8_bits_but_for_eq_5(trained: Trained, tiny_digits: Dataset, tmp_path: Path) -> None:
    specialists = kd.specialise(trained, [(3, 5), (1, 8)], "resnet", None, RECIPE, depth=1, width=2, views=1, control=False)
    combined = kd.load(kd.save(kd.combine(trained, specialists), tmp_path / "combined.pt2"))
    made = export(combined, tmp_path / "combined.onnx", Format.ONNX, images_of(combined, tiny_digits), int8=True)
    _, floats, small = made.systems
    assert made.equal_answers(floats) == len(tiny_digits.test)
    assert made.largest_difference(floats) < made.largest_difference(small) < 1
    assert small.logits.exp().sum(dim=1).sub(1).abs().max() < 1e-5


def test_onnx_answers_as_the_model_does_in_any_batch(model: SavedModel, tiny_digits: Dataset, tmp_path: Path) -> None:
    made = export(model, tmp_path / "net.onnx", Format.ONNX, images_of(model, tiny_digits))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert made.equal_answers(made.written) == 40
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    for count in (1, 3, 40):
        images = tiny_digits.test.images[:count]
        [logits] = session.run(["logits"], {"images": images.numpy()})
        np.testing.assert_allclose(logits, model.logits(images).numpy(), rtol=1e-4, atol=1e-4)
    held = onnx.load_model(str(made.path))
    assert [(one.domain, one.version) for one in held.opset_import] == [("", 18)]
    facts = json.loads(next(entry.value for entry in held.metadata_props if entry.key == "kd.json"))
    assert facts["classes"] == list(tiny_digits.classes)
    again = kd.load(made.path)
    assert (again.classes, again.image_shape, again.data_digest) == (model.classes, (1, 8, 8), model.data_digest)
    assert torch.allclose(again.logits(tiny_digits.test.images), made.written.logits)


def test_8_bits_are_unsigned_for_activations_and_signed_per_channel_for_weights(small: ExportedModel) -> None:
    held = onnx.load_model(str(small.path))
    tensors = {one.name: one for one in held.graph.initializer}
    convolutions = [node for node in held.graph.node if node.op_type == "Conv"]
    made_by = {name: node for node in held.graph.node for name in node.output}
    assert convolutions
    for node in convolutions:
        activations, weights = (made_by[name] for name in node.input[:2])
        assert tensors[activations.input[2]].data_type == onnx.TensorProto.UINT8
        stored, scale = tensors[weights.input[0]], tensors[weights.input[1]]
        assert stored.data_type == onnx.TensorProto.INT8
        assert list(scale.dims) == [stored.dims[0]], "a scale per channel"
    assert {node.domain for node in held.graph.node} == {""}


def test_8_bits_are_scored_beside_the_floats_on_the_same_images(small: ExportedModel, trained: Trained) -> None:
    assert [system.name for system in small.systems] == ["pt2 (torch)", "onnx (onnxruntime)", "onnx int8 (onnxruntime)"]
    before, _, after = small.systems
    assert small.images.told == "40 test images of digits"
    assert small.images.calibration_told == "120 train images"
    correct = small.correct(before)
    assert correct is not None
    assert correct.double().mean().item() == trained.test.accuracy
    assert after.size_bytes == small.path.stat().st_size
    assert 0 < small.largest_difference(after) < before.logits.abs().max().item() / 2
    assert [one.batch for one in after.latencies] == [1, 32]
    for one in after.latencies:
        assert 0 < one.low_ms <= one.median_ms <= one.high_ms
        assert one.place.startswith("cpu, 1 thread")


def test_a_program_and_weights_are_those_of_the_model(
    model: SavedModel, trained: Trained, tiny_digits: Dataset, tmp_path: Path
) -> None:
    images = images_of(model, tiny_digits)
    program = export(model, tmp_path / "again.pt2", Format.PT2, images)
    assert program.largest_difference(program.written) == 0
    assert kd.load(program.path).classes == model.classes
    weights = read_weights(export(model, tmp_path / "net.safetensors", Format.SAFETENSORS, images).path)
    assert weights.keys() == trained.model.state_dict().keys()
    for name, value in trained.model.state_dict().items():
        assert torch.equal(weights[name], value), name
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0o044}, "others may read them"


def test_nothing_is_left_of_a_model_that_answers_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = kd.load(write_brightness(tmp_path / "net.pt2"))
    old = tmp_path / "out" / "net.onnx"
    old.parent.mkdir()
    old.write_bytes(b"an older one")

    def write_another(_: object, shape: tuple[int, int, int], path: Path, texts: dict[str, str]) -> None:
        other = Brightness()
        other.factors.mul_(1.01)
        write_onnx(other, shape, path, texts)

    monkeypatch.setattr(module, "write_onnx", write_another)
    with pytest.raises(RunError, match=r"^the exported model answers otherwise than the model, by up to 0\.01\d* in a logit"):
        export(model, old, Format.ONNX, Images("one", torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)))
    assert [path.name for path in old.parent.iterdir()] == ["net.onnx"]
    assert old.read_bytes() == b"an older one"


def test_what_can_not_be_exported_is_refused_in_one_line(
    model: SavedModel, tiny_digits: Dataset, small: ExportedModel, tmp_path: Path
) -> None:
    images, target = images_of(model, tiny_digits), tmp_path / "out" / "net"
    for one, form, int8, line in (
        (model, Format.PT2, True, r"^pt2: 8 bits are for onnx alone"),
        (kd.load(small.path), Format.ONNX, True, r"^is an ONNX file already"),
    ):
        with pytest.raises(UserError, match=line):
            export(one, target, form, images, int8=int8)
    with pytest.raises(UserError, match=r"^the ranges of 8 bits are taken from real images"):
        export(model, target, Format.ONNX, noise(model), int8=True)
    assert not target.parent.exists()


def test_a_specialist_is_scored_among_its_own_classes(tiny_digits: Dataset) -> None:
    names = ("3", "5", "dustbin")
    specialist = SavedModel(torch.nn.Identity(), names, (1, 8, 8), "")
    images = images_of(specialist, tiny_digits)
    labels = tiny_digits.test.labels
    assert images.labels is not None
    assert (images.labels == 0).equal(labels == 3)
    assert (images.labels == 1).equal(labels == 5)
    assert int((images.labels < 0).sum()) == int(((labels != 3) & (labels != 5)).sum())
    logits = torch.tensor([0.0, 1.0, 2.0]).expand(len(labels), 3)  # the dustbin, then 5
    system = module.System("one", 1, logits, ())
    correct = ExportedModel(Path("x"), images, (system,)).correct(system)
    assert correct is not None
    assert correct.tolist() == [label == 5 for label in labels.tolist() if label in {3, 5}]
