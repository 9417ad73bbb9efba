"""Models that others trained: read as data, their answers those of the net that was written, or refused in one line."""

import logging
import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from foreign_models import MEAN, STD, Small, expected, onnx_model, small, write_program
from onnx import TensorProto, helper
from torch import Tensor, nn

import kd
from kd.data.dataset import Dataset
from kd.distillation.as_teacher import as_teacher
from kd.distillation.saved import SavedModel
from kd.distillation.target_cache import agrees, targets_from_file, weights_digest
from kd.errors import UserError
from kd.nets.cost import count_parameters

CPU = torch.device("cpu")
KNOWN = {"mean": MEAN, "std": STD}
Writer = Callable[[Path], Path]


def _state_dict(folder: Path) -> Path:
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in small(10).state_dict().items()}},
        folder / "a.pth",
    )
    return folder / "a.pth"


def _safetensors(folder: Path) -> Path:
    save = pytest.importorskip("safetensors.torch").save_file
    save(small(10).state_dict(), folder / "a.safetensors")
    return folder / "a.safetensors"


def _program(folder: Path) -> Path:
    return write_program(small(10), folder / "a.pt2")


def _program_of_one(folder: Path) -> Path:
    return write_program(small(10), folder / "one.pt2", batch=1)


def _onnx(folder: Path) -> Path:
    onnx.save(onnx_model(small(10)), folder / "a.onnx")
    return folder / "a.onnx"


def _onnx_of_four(folder: Path) -> Path:
    onnx.save(onnx_model(small(10), batch=4), folder / "four.onnx")
    return folder / "four.onnx"


def _onnx_in_two_files(folder: Path) -> Path:
    onnx.save(onnx_model(small(10)), folder / "two.onnx", save_as_external_data=True, location="two.data", size_threshold=0)
    assert (folder / "two.data").stat().st_size > 100
    return folder / "two.onnx"


WRITERS = [_state_dict, _safetensors, _program, _program_of_one, _onnx, _onnx_of_four, _onnx_in_two_files]


def loaded(path: Path, **known: object) -> SavedModel:
    """Load a model as a user would who knows its net and its normalisation."""
    net = (
        {"net": _create, "px": 8, "classes": [f"c{number}" for number in range(10)]}
        if path.suffix in {".pth", ".safetensors"}
        else {}
    )
    return kd.load(path, **{**KNOWN, **net, **known})  # type: ignore[arg-type] # as they come


def _create(num_classes: int, _channels: int) -> nn.Module:
    return Small(num_classes)


@pytest.mark.parametrize("write", WRITERS)
def test_its_answers_are_those_of_the_net_that_was_written(write: Writer, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (7, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    model = loaded(write(tmp_path))
    torch.testing.assert_close(model.logits(images), expected(small(10), images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.logits(images[:1]), expected(small(10), images[:1]), rtol=1e-4, atol=1e-5)
    assert model.image_shape == (3, 8, 8)
    weights = 4 * 3 * 9 + 4 + 4 + 4 + 4 * 10 + 10
    assert count_parameters(model.module) in {weights, weights + 8}  # ONNX does not tell running means from parameters


@pytest.mark.parametrize("write", [_program_of_one, _onnx_of_four])
def test_its_targets_are_cached_and_provably_its_own(write: Writer, tmp_path: Path, tiny_digits: Dataset) -> None:
    path = write(tmp_path)
    teacher = as_teacher(loaded(path), tiny_digits, CPU)
    augmentation = tiny_digits.augmentation(0)
    key = {"views": 2, "data_digest": tiny_digits.digest, "split_name": "train", "root": tmp_path, "device": CPU}
    targets = targets_from_file(teacher.model, tiny_digits.train, augmentation, **key)  # type: ignore[arg-type] # as they come
    view = augmentation(tiny_digits.train.images, tiny_digits.train.index, 1)
    torch.testing.assert_close(targets.lookup(tiny_digits.train.index, 1), expected(small(10), view), rtol=2e-3, atol=2e-3)
    other = small(10)
    other.head.bias.data += 1
    onnx.save(onnx_model(other), tmp_path / "other.onnx")
    altered = as_teacher(loaded(tmp_path / "other.onnx"), tiny_digits, CPU)
    assert not agrees(targets, altered.model, tiny_digits.train, augmentation, CPU)
    again = as_teacher(loaded(path), tiny_digits, CPU)
    assert again.digest == teacher.digest != altered.digest
    assert len(list(tmp_path.glob("*.targets"))) == 1
    targets_from_file(again.model, tiny_digits.train, augmentation, **key)  # type: ignore[arg-type] # as above
    assert len(list(tmp_path.glob("*.targets"))) == 1


def test_another_graph_with_the_same_weights_is_another_teacher(tmp_path: Path) -> None:
    class Doubled(Small):
        def forward(self, images: Tensor) -> Tensor:
            return 2 * super().forward(images)

    doubled = Doubled(10).eval()
    doubled.load_state_dict(small(10).state_dict())
    one, two = loaded(_program(tmp_path)), loaded(write_program(doubled, tmp_path / "b.pt2"))
    assert weights_digest(one.module) != weights_digest(two.module)


def test_other_weights_beside_an_onnx_file_are_another_teacher(tmp_path: Path) -> None:
    path, data = _onnx_in_two_files(tmp_path), tmp_path / "two.data"
    content = path.read_bytes()
    before = weights_digest(loaded(path).module)
    data.write_bytes(data.read_bytes()[:-4] + np.float32(7).tobytes())
    assert path.read_bytes() == content
    assert weights_digest(loaded(path).module) != before


def test_a_state_dict_in_a_net_of_other_code_is_another_teacher(tmp_path: Path) -> None:
    code = "def net(num_classes):\n    made = small(num_classes)\n    return made\n"
    file = tmp_path / "theirs.py"
    digests = []
    for more in ("", "    made.norm.eps = 0.1\n"):
        file.write_text("from foreign_models import small\n" + code.replace("    return", f"{more}    return"))
        digests.append(weights_digest(loaded(_state_dict(tmp_path), net=f"{file}:net").module))
    assert digests[0] != digests[1]
    assert digests[1] == weights_digest(loaded(_state_dict(tmp_path), net=f"{file}:net").module)


def test_a_student_learns_from_an_onnx_teacher_in_five_lines(tmp_path: Path, tiny_digits: Dataset) -> None:
    teacher = kd.load(_onnx(tmp_path), mean=MEAN, std=STD)
    student = kd.distil(teacher, "resnet", tiny_digits, kd.Recipe(epochs=1, batch_size=64), depth=1, width=2, control=False)
    assert student.teacher_agreement is not None
    assert teacher.predict(np.zeros((1, 3, 8, 8), np.uint8))[0].name in {str(number) for number in range(10)}


def test_classes_are_matched_by_name_or_by_number_or_refused(
    tmp_path: Path, tiny_digits: Dataset, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("kd"), "propagate", True)
    caplog.set_level(logging.INFO, "kd")
    path = _onnx(tmp_path)
    images = tiny_digits.test.images
    by_number = as_teacher(loaded(path), tiny_digits, CPU)
    torch.testing.assert_close(by_number.test_logits, expected(small(10), images), rtol=1e-4, atol=1e-4)
    assert "its 10 outputs are taken for the classes of digits in their order" in caplog.text
    backwards = as_teacher(loaded(path, classes=list("9876543210")), tiny_digits, CPU)
    torch.testing.assert_close(backwards.test_logits, expected(small(10), images).flip(1), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match=r"its classes \(a, b, c, d, \.\.\.\) are not those of digits \(0, 1, 2, 3, \.\.\.\)"):
        as_teacher(loaded(path, classes=list("abcdefghij")), tiny_digits, CPU)
    some = replace(tiny_digits, classes=("3", "7"), name="two")
    with pytest.raises(UserError, match=r"it gives 10 numbers per image, and two has 2 classes \(3, 7\); name its own"):
        as_teacher(loaded(path), some, CPU)


def test_it_sees_images_at_its_own_size(tmp_path: Path, tiny_digits: Dataset) -> None:
    onnx.save(onnx_model(small(10), px=16), tmp_path / "large.onnx")
    teacher = as_teacher(loaded(tmp_path / "large.onnx"), tiny_digits, CPU)
    images = tiny_digits.test.images
    seen = nn.functional.interpolate(images.float(), size=(16, 16), mode="bilinear", antialias=True).round()
    torch.testing.assert_close(teacher.test_logits, expected(small(10), seen), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("write", [_program, _onnx])
def test_probabilities_are_taken_for_their_logarithms(write: Writer, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (7, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    if write is _program:
        path = write_program(nn.Sequential(small(10), nn.Softmax(dim=1)), tmp_path / "p.pt2")
    else:
        model = onnx_model(small(10))
        model.graph.node[-1].output[0] = "last"
        model.graph.node.append(helper.make_node("Softmax", ["last"], ["logits"]))
        path = tmp_path / "p.onnx"
        onnx.save(model, path)
    logits = loaded(path).logits(images)
    torch.testing.assert_close(logits.softmax(dim=1), expected(small(10), images).softmax(dim=1), rtol=1e-4, atol=1e-5)
    assert logits.min() < 0


def test_a_program_of_raw_pixels_needs_no_normalisation(tmp_path: Path) -> None:
    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small(10)

        def forward(self, images: Tensor) -> Tensor:
            answer: Tensor = self.net(images.float() / 255)
            return answer

    path = write_program(Raw().eval(), tmp_path / "raw.pt2", dtype=torch.uint8)
    images = torch.randint(0, 256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(kd.load(path).logits(images), small(10)(images.float() / 255), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="it takes raw pixels, which are not normalised"):
        kd.load(path, mean=0.5, std=0.5)


def test_torchvision_knows_how_its_own_nets_are_normalised(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    net = torchvision.models.squeezenet1_1(num_classes=2).eval()
    torch.save(net.state_dict(), tmp_path / "s.pt")
    images = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    known = {"net": "torchvision:squeezenet1_1", "classes": ["a", "b"], "px": 32}
    model = kd.load(tmp_path / "s.pt", **known)  # type: ignore[arg-type] # as they come
    imagenet = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        by_hand = net((images / 255 - imagenet[0]) / imagenet[1])
    torch.testing.assert_close(model.logits(images), by_hand, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match=r"its classifier\.1\.weight, classifier\.1\.bias are not of .* with 3 classes"):
        kd.load(tmp_path / "s.pt", **{**known, "classes": ["a", "b", "c"]})  # type: ignore[arg-type] # the same


def test_a_model_of_kds_own_knows_all_that_is_said_of_others(tmp_path: Path, tiny_digits: Dataset) -> None:
    trained = kd.train("resnet", tiny_digits, kd.Recipe(epochs=1, batch_size=64), depth=1, width=2)
    path = kd.save(trained, tmp_path / "own.pt2")
    assert kd.load(path, px=8).classes == tiny_digits.classes
    for said in ({"mean": 0.5}, {"classes": ["a", "b"]}, {"px": 16}, {"net": "resnet"}):
        with pytest.raises(UserError, match="kd wrote it, with its net, its classes, their normalisation and a height of 8 px"):
            kd.load(path, **said)


@pytest.mark.parametrize(
    ("write", "known", "told"),
    [
        (_onnx, {"mean": ()}, "how its images are normalised is not known; give mean and std"),
        (_onnx, {"mean": (1, 2)}, "its images have 3 channels, and its mean 2 values"),
        (_onnx, {"px": 16}, "its images are 8 px high, not 16"),
        (_onnx, {"classes": ["a", "b"]}, "it gives 10 numbers per image, and 2 classes are named"),
        (_onnx, {"classes": ["a", "a"]}, "a stands there twice"),
        (_onnx, {"classes": ["a"]}, "holds no names of two or more classes"),
        (_onnx, {"net": _create}, "it has its net in itself"),
        (_program, {"px": 16}, "its images are 8 px high, not 16"),
        (_state_dict, {"net": None}, "holds weights alone; name their net too"),
        (_state_dict, {"classes": None}, "the number of its classes is not known"),
        (_state_dict, {"classes": ["a", "b"]}, r"its head\.weight, head\.bias are not of _create with 2 classes"),
        (_state_dict, {"px": 0}, r"the size of its images is not known; give their height"),
        (_state_dict, {"net": "resnet"}, r"none of its 9 tensors \(.*\) fits resnet; name the net"),
    ],
)
def test_what_must_be_known_and_is_not_is_asked_for(write: Writer, known: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as refused:
        loaded(write(tmp_path), **known)
    assert "\n" not in str(refused.value)


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path) -> None:
    tensors = small(10).state_dict()
    del tensors["norm.running_var"], tensors["norm.num_batches_tracked"]
    torch.save(tensors, tmp_path / "less.pth")
    with pytest.raises(UserError, match=r"it lacks norm\.running_var of _create; name the net that it is of"):
        loaded(tmp_path / "less.pth")
    torch.save({**small(10).state_dict(), "norm.running_var": torch.full((4,), torch.nan)}, tmp_path / "nan.pth")
    with pytest.raises(UserError, match="it answers noise with numbers that are not finite"):
        loaded(tmp_path / "nan.pth")


def test_a_program_in_training_mode_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_program(small(10).train(), tmp_path / "t.pt2")
    with pytest.raises(UserError, match=r"it answers an image differently in another batch; export it in evaluation mode"):
        loaded(path)


def test_what_a_pickle_would_do_is_not_done(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (tmp_path / "ran",)

    for name in ("a.pt", "b.pth", "c.ckpt", "d.bin"):
        torch.save({"state_dict": small(10).state_dict(), "more": Evil()}, tmp_path / name)
        (tmp_path / f"old-{name}").write_bytes(pickle.dumps(Evil()))
        for path in (tmp_path / name, tmp_path / f"old-{name}"):
            with pytest.raises(UserError, match="holds other things than tensors, or is damaged"):
                kd.load(path, net=_create, classes=["a", "b"], mean=MEAN, std=STD, px=8)
    assert not (tmp_path / "ran").exists()


def test_compressed_weights_which_may_be_of_any_size_are_refused(tmp_path: Path) -> None:
    torch.save(small(10).state_dict(), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as stored, zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in stored.namelist():
            bomb.writestr(name, stored.read(name))
    with pytest.raises(UserError, match="it is compressed, as torch writes none"):
        kd.load(tmp_path / "bomb.pt", net=_create, classes=list("0123456789"), mean=MEAN, std=STD, px=8)


def _in_another_file(location: str) -> onnx.ModelProto:
    model = onnx_model(small(10))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return model


def _endless() -> onnx.ModelProto:
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    number = helper.make_tensor_value_info("number", TensorProto.INT64, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["flag"], ["on"])],
        "body",
        [number, flag],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )
    return onnx_model(small(10), nodes=[helper.make_node("Loop", ["", ""], [], body=body)])


def _of_last_channels() -> onnx.ModelProto:
    model = onnx_model(small(10))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 8, 8, 3]))
    return model


def _of_two_inputs() -> onnx.ModelProto:
    model = onnx_model(small(10))
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    return model


def _of_words() -> onnx.ModelProto:
    model = onnx_model(small(10))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.INT64, ["batch", 12]))
    return model


def _custom() -> onnx.ModelProto:
    return onnx_model(small(10), nodes=[helper.make_node("Steal", ["images"], ["x"], domain="evil.ops")], domain="evil.ops")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (_in_another_file("../../../../../../../../etc/passwd"), r"its weights lie in \.\./.*etc/passwd, outside its folder"),
        (_in_another_file("/etc/passwd"), "its weights lie in /etc/passwd, outside its folder"),
        (_in_another_file("link"), "its weights lie in link, outside its folder"),
        (_in_another_file("a.data"), r"its weights lie in a\.data, which is not beside it; put it there"),
        (_custom(), r"operators that are not of the ONNX standard \(evil\.ops:Steal\)"),
        (_endless(), "an operator Loop, which may never end"),
        (_of_last_channels(), "its images have 8 channels"),
        (_of_two_inputs(), "it has 2 inputs and 1 outputs"),
        (_of_words(), "its input is no batch of images"),
        (onnx_model(small(10), px=10**6), "a batch of its images has more than 268,435,456 values"),
        (onnx_model(small(10), batch=10**7), "a batch of its images has more than 268,435,456 values"),
        (onnx.ModelProto(), "it has 0 inputs and 0 outputs"),
    ],
)
def test_a_model_of_onnx_that_is_none_or_reaches_out_is_refused(model: onnx.ModelProto, told: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=told) as refused:
        loaded(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 1000, b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".pth"])
def test_bytes_that_are_no_model_are_refused_in_one_line(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"bad{suffix}: ") as refused:
        loaded(path)
    assert "\n" not in str(refused.value)


def test_without_its_package_an_onnx_file_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _onnx(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"needs the packages onnx and onnxruntime: pip install 'kd\[onnx\]'"):
        loaded(path)
