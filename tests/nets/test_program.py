"""Stored programs: the same answers as torch's own reader of them gives, and nothing that lies in the file is run."""

import copy
import io
import json
import pickle
import re
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from kd.errors import UserError
from kd.nets.archive import open_archive
from kd.nets.classifier import Classifier
from kd.nets.exported import read_model, write_program
from kd.nets.operators import ALLOWED, find_operator
from kd.nets.pooled import PooledResNet
from kd.nets.program import Program
from kd.nets.resnet import ResNet
from kd.specialists.combined import CombinedModel, Specialist
from kd.specialists.kind import TaskKind

PX = 16
SHAPE = (3, PX, PX)
CLASSES = 5


class Scaled(nn.Module):
    """Takes bytes, as all of kd's models do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.net(images.float() / 255)
        return answer


class Function(nn.Module):
    """A function of images, and a linear layer above it."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.last = nn.LazyLinear(CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.last(self.function(images).flatten(1))
        return answer


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTM(PX, 4, bidirectional=True, batch_first=True), nn.GRU(8, CLASSES, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.second(self.first(images.flatten(1, 2))[0])[0][:, -1]
        return answer


class Held(nn.Module):
    """Tensors of every kind that a module can hold: tied, expanded, transposed, not saved, never used, without a dimension."""

    expanded: Tensor
    transposed: Tensor
    unsaved: Tensor
    scalar: Tensor

    def __init__(self) -> None:
        super().__init__()
        inputs = 3 * PX * PX
        self.one, self.other = nn.Linear(inputs, inputs), nn.Linear(inputs, inputs)
        self.other.weight = self.one.weight
        self.last = nn.Linear(inputs, CLASSES)
        self.constant = torch.randn(inputs)
        self.register_buffer("expanded", torch.full((1,), 2.0).expand(inputs))
        self.register_buffer("transposed", torch.randn(inputs, 2).t())
        self.register_buffer("unsaved", torch.randn(inputs), persistent=False)
        self.register_buffer("unused", torch.randn(3))
        self.register_buffer("scalar", torch.tensor(0.5))
        self.register_buffer("none", torch.empty(0, 3))

    def forward(self, images: Tensor) -> Tensor:
        scaled = images.flatten(1) * self.expanded * self.scalar + self.transposed[1] + self.unsaved + self.constant
        answer: Tensor = self.last(self.other(self.one(scaled)))
        return answer


def convolutional(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(CLASSES))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    return nn.Sequential(nn.Flatten(1, 2), nn.Linear(PX, 8), nn.TransformerEncoder(layer, 1), Function(lambda x: x[:, 0]))


def functions(x: Tensor) -> Tensor:
    x = F.normalize(x.roll(1, 2).rot90(1, (2, 3)).flip(3), dim=1).clamp(0.1, 1).lerp(x, 0.5)
    x = (
        torch.einsum("bchw,bdhw->bcdh", x, x)
        + torch.linspace(0, 1, PX)
        + torch.atan2(x, x + 1).mean(1, keepdim=True)[..., :3, :]
    )
    x = torch.where(x > x.median(dim=1, keepdim=True)[0], x.logaddexp(x).nan_to_num(), torch.fft.fft2(x).abs())
    return torch.cat([x.topk(3)[0], F.one_hot(x.argmax(3), PX).float(), x.std(3, keepdim=True), x.cumsum(1)], dim=3)


NETS: Mapping[str, Callable[[], nn.Module]] = {
    "norms": lambda: convolutional(
        *(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.LocalResponseNorm(2), nn.RMSNorm([14, 14])),
        *(nn.BatchNorm2d(8), nn.LayerNorm([14, 14]), nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))),
    ),
    "activations": lambda: convolutional(
        *(nn.CELU(), nn.SELU(), nn.Hardshrink(), nn.Softshrink(), nn.Tanhshrink(), nn.LogSigmoid(), nn.PReLU(), nn.RReLU()),
        *(nn.Threshold(0.1, 0), nn.Softmax2d(), nn.Mish(), nn.Softsign(), nn.Hardswish(), nn.GELU("tanh"), nn.SiLU()),
    ),
    "shapes": lambda: convolutional(
        *(nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.CircularPad2d(1), nn.Conv2d(3, 12, 3, stride=2, groups=3)),
        *(nn.ChannelShuffle(3), nn.PixelShuffle(2), nn.ConvTranspose2d(3, 4, 2), nn.Upsample(size=12, mode="bicubic")),
        *(nn.AvgPool2d(3, ceil_mode=True), nn.Upsample(scale_factor=3), nn.MaxPool2d(2), nn.Unfold(2), nn.Unflatten(2, (5, 5))),
    ),
    "drops": lambda: convolutional(
        *(nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), nn.FeatureAlphaDropout()),
        *(torchvision.ops.StochasticDepth(0.3, "row"), torchvision.ops.SqueezeExcitation(3, 2)),
    ),
    "functions": lambda: Function(functions),
    "recurrent": Recurrent,
    "transformer": transformer,
    "held": Held,
    "resnet18": lambda: torchvision.models.resnet18(num_classes=CLASSES),
    "vision transformer": lambda: torchvision.models.VisionTransformer(PX, 8, 2, 2, 16, 32, num_classes=CLASSES),
    "kd's resnet": lambda: Classifier(ResNet(CLASSES, 3, 1, 4), (0.5,) * 3, (0.2,) * 3),
    "kd's pooled": lambda: Classifier(PooledResNet(CLASSES, 3, 1, 4), (0.5,) * 3, (0.2,) * 3),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = NETS[name]()
    model = net if isinstance(net, Classifier) else Scaled(net)
    with torch.no_grad():
        model.eval()(images(2))  # makes lazy layers
    return model


def images(count: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(count))


def exported(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> io.BytesIO:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)  # at each export on the CPU
        torch.export.save(torch.export.export(model, (images(2, shape),), dynamic_shapes=({0: Dim.DYNAMIC},)), content)
    return content


def read(content: io.BytesIO) -> Program:
    with open_archive(content) as archive:
        return archive.program()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NETS)
def test_a_program_answers_as_torch_has_it_and_its_weights_have_their_names(name: str) -> None:
    model = made(name)
    content = exported(model)
    program, by_torch = read(content), torch.export.load(io.BytesIO(content.getvalue())).module()
    assert all(torch.equal(weight, program.state_dict()[key]) for key, weight in by_torch.state_dict().items())
    with torch.inference_mode():
        for count in (1, 2, 5):
            answer = program(images(count))
            # The same kernels on the same numbers: the place of a tensor in memory can decide a last bit.
            assert torch.allclose(answer, by_torch(images(count)), rtol=1e-6, atol=1e-6)
            assert torch.allclose(answer, model(images(count)), rtol=1e-4, atol=1e-5)
    before, after = model.state_dict(), program.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def grey(outputs: int) -> Classifier:
    return Classifier(ResNet(outputs, 1, 1, 2), (0.5,), (0.2,))


@pytest.fixture(scope="module")
def combined() -> CombinedModel:
    torch.manual_seed(0)
    parts = [
        Specialist(grey(3), (0, 1), TaskKind.DUSTBIN, 0.3),
        Specialist(grey(CLASSES), (1, 4), TaskKind.FULL),
    ]
    return CombinedModel(grey(CLASSES), parts, CLASSES, top_n=2).eval()


def test_a_combined_model_with_its_loop_can_be_stored_read_and_stored_again(combined: CombinedModel) -> None:
    shape = (1, 8, 8)
    once = read(exported(combined, shape))
    twice = read(exported(once, shape))
    with torch.inference_mode():
        for count in (1, 3, 8):
            expected = combined(images(count, shape))
            assert torch.equal(once(images(count, shape)), expected)
            assert torch.equal(twice(images(count, shape)), expected)
    assert once.state_dict().keys() == combined.state_dict().keys()


def test_a_program_computes_on_the_device_of_its_images() -> None:
    class Made(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :2] + torch.ones(2, device=images.device) + torch.arange(2.0)

    program = read(exported(Made()))
    assert torch.equal(program(torch.zeros(2, *SHAPE, dtype=torch.uint8)), torch.tensor([[1.0, 2.0]] * 2))
    assert program(torch.empty(7, *SHAPE, dtype=torch.uint8, device="meta")).device.type == "meta"


# What a program may not do, each as it would be called.
FORBIDDEN = (
    *("torch.ops.aten.from_file.default", "torch.ops.aten.set_.source_Storage", "torch.ops.aten.as_strided.default"),
    *("torch.ops.aten.resize_.default", "torch.ops.aten.data_ptr.default", "torch.ops.aten._print.default", "torch.load"),
    *(
        "torch.ops.aten.conv2d",
        "torch.ops.aten.conv2d.__init__",
        "torch.ops.aten.conv2d.__class__",
        "torch.ops.aten.conv2d._op",
    ),
    *("torch.ops.aten.relu.default.__call__", "torch.ops.aten.__loader__.default", "torch.ops.aten.name.default"),
    *("torch.ops.prims.convert_element_type.default", "torch.ops.load_library", "torch.ops.profiler._record_function_enter"),
    *(
        "torch.ops.higher_order.call_torchbind",
        "torch.ops.higher_order.cond",
        "torch.ops.higher_order.triton_kernel_wrapper_mutation",
    ),
    *("builtins.eval", "builtins.getattr", "_operator.attrgetter", "_operator.methodcaller", "_operator.call", "_operator.pow"),
    *("os.system", "eval", "", ".", "torch.ops.aten.relu.default;import os", "torch.sym_sum", "math.ceil", "torch.hub.load"),
)


@pytest.mark.parametrize("target", FORBIDDEN)
def test_no_operator_that_does_more_than_compute_is_found(target: str) -> None:
    with pytest.raises(ValueError, match="is not one that kd runs"):
        find_operator(target)


# Tensors, numbers, lists of them, types and devices; texts only as names of ways to compute.
_KINDS = re.compile(r"(Optional\[|List\[)*(Tensor|int|SymInt|float|number|bool|complex|Device|str|Generator)\]*")
_TEXTS = {
    *("UPLO", "approximate", "driver", "equation", "indexing", "interpolation", "mode", "norm", "ord", "padding", "reduce"),
    *("rounding_mode", "side"),
}


def test_every_allowed_operator_computes_from_its_arguments_alone() -> None:
    found = 0
    for name in ALLOWED:
        packet = getattr(torch.ops.aten, name, None)  # other versions of torch lack some
        for overload in packet.overloads() if packet is not None else []:
            try:
                schema = find_operator(f"torch.ops.aten.{name}.{overload}")._schema  # type: ignore[attr-defined]
            except ValueError:  # it is of texts or lists
                continue
            kinds = {argument.name: str(argument.type) for argument in schema.arguments}
            assert all(_KINDS.fullmatch(kind) for kind in kinds.values()), schema
            assert {argument for argument, kind in kinds.items() if "str" in kind} <= _TEXTS, schema
            found += 1
    assert found > len(ALLOWED)


ANSWER = torch.tensor([[3.0, 0.0]])
CODE = "__import__('pathlib').Path('sprung').touch()"
Entries = dict[str, bytes]


class Counted(nn.Module):
    """Gives three and nothing by a weight, a constant and a buffer."""

    zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 0.0]))
        self.one = torch.tensor([1.0, 0.0])
        self.register_buffer("zero", torch.tensor([1.0, 0.0]))

    def forward(self, images: Tensor) -> Tensor:
        nothing = (images.flatten(1).sum(1, keepdim=True) * 0).float()
        return torch.cat([nothing, nothing], 1) + self.weight + self.one + self.zero


class Trap:
    """Touches a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (CODE,)


def torch_trap() -> bytes:
    content = io.BytesIO()
    torch.save({"0": Trap()}, content)
    return content.getvalue()


@pytest.fixture(scope="module")
def stored() -> Entries:
    """Return the files of a model of kd's, in their order."""
    with zipfile.ZipFile(exported(Counted())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(entries: Entries | list[tuple[str, bytes]], path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of two files of one name
        for name, content in list(entries.items()) if isinstance(entries, dict) else entries:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return path


def answer(path: Path) -> Tensor:
    with torch.inference_mode():
        found: Tensor = read_model(path, SHAPE, 2, logarithm=False)(images(1))
    return found


def edited(name: str, edit: Callable[[Any], object]) -> Callable[[Entries], Entries]:
    """Return what edits a JSON file of a model."""

    def alter(entries: Entries) -> Entries:
        held = json.loads(entries[f"archive/{name}"])
        edit(held)
        return {**entries, f"archive/{name}": json.dumps(held).encode()}

    return alter


def program(edit: Callable[[Any], object]) -> Callable[[Entries], Entries]:
    return edited("models/model.json", edit)


def graph(edit: Callable[[Any], object]) -> Callable[[Entries], Entries]:
    return program(lambda held: edit(held["graph_module"]["graph"]))


def node(**parts: object) -> Callable[[Entries], Entries]:
    return graph(lambda held: held["nodes"][0].update(parts))


def argument(value: object) -> Callable[[Entries], Entries]:
    return graph(lambda held: held["nodes"][0]["inputs"][0].update(arg=value))


def beside(name: str, content: bytes) -> Callable[[Entries], Entries]:
    return lambda entries: {**entries, name: content}


def pickled(folder: str, index: str) -> Callable[[Entries], Entries]:
    """Return what has a tensor of a model read from a pickle."""

    def alter(entries: Entries) -> Entries:
        held = json.loads(entries[f"archive/{folder}/{index}"])["config"]
        name = next(iter(held))
        held[name] |= {"use_pickle": True, "path_name": "trap"}
        return {
            **entries,
            f"archive/{folder}/{index}": json.dumps({"config": held}).encode(),
            f"archive/{folder}/trap": torch_trap().ljust(4096, b"\0"),  # which could be read as numbers
        }

    return alter


WEIGHTS = ("data/weights", "model_weights_config.json")
CONSTANTS = ("data/constants", "model_constants_config.json")
EXPRESSION = {"as_expr": {"expr_str": CODE, "hint": {"as_int": 2}}}
GRAPH = {"inputs": [], "outputs": [], "nodes": [{"target": "os.system", "inputs": [], "outputs": []}]}
PAYLOADS: Mapping[str, Callable[[Entries], Entries]] = {
    "pickled example": lambda entries: {**entries, "archive/data/sample_inputs/model.pt": torch_trap()},
    "bare pickle as example": lambda entries: {**entries, "archive/data/sample_inputs/model.pt": pickle.dumps(Trap())},
    "pickled weight": pickled(*WEIGHTS),
    "pickled constant": pickled(*CONSTANTS),
    "pickle in place of weights": lambda entries: {
        name: pickle.dumps(Trap()) if "/weights/weight_" in name else content for name, content in entries.items()
    },
    "weights elsewhere": edited(
        "data/weights/model_weights_config.json",
        lambda held: held["config"]["weight"].update(path_name="../../../../etc/passwd"),
    ),
    "weights longer than their bytes": edited(
        "data/weights/model_weights_config.json",
        lambda held: held["config"]["weight"]["tensor_meta"].update(sizes=[{"as_int": 10**6}]),
    ),
    "weights before their bytes": edited(
        "data/weights/model_weights_config.json",
        lambda held: held["config"]["weight"]["tensor_meta"].update(storage_offset={"as_int": -1}),
    ),
    "weights of an expression": edited(
        "data/weights/model_weights_config.json",
        lambda held: held["config"]["weight"]["tensor_meta"].update(sizes=[EXPRESSION]),
    ),
    "weights of no size": edited(
        "data/weights/model_weights_config.json",
        lambda held: held["config"]["weight"]["tensor_meta"].update(strides=[{"as_int": 0}], sizes=[{"as_int": 10**12}]),
    ),
    "weights of another layout": edited(
        "data/weights/model_weights_config.json", lambda held: held["config"]["weight"]["tensor_meta"].update(layout=1)
    ),
    "constant of code": edited(
        "data/constants/model_constants_config.json",
        lambda held: held["config"].update(
            x={"path_name": "custom_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
        ),
    ),
    "custom object": beside("archive/data/constants/custom_obj_0", torch_trap()),
    "custom object as input": program(
        lambda held: held["graph_module"]["signature"]["input_specs"].append(
            {"custom_obj": {"arg": {"name": "x", "class_fqn": "os.system"}, "custom_obj_name": "x"}}
        )
    ),
    "token as input": program(
        lambda held: held["graph_module"]["signature"]["input_specs"].append({"token": {"arg": {"name": "x"}}})
    ),
    "two batches of images": program(
        lambda held: held["graph_module"]["signature"]["input_specs"].append(
            {"user_input": {"arg": {"as_tensor": {"name": "x"}}}}
        )
    ),
    "pickle as text beside it": beside("archive/extra/kd.json", pickle.dumps(Trap())),
    "legacy model": beside("archive/data.pkl", pickle.dumps(Trap())),
    "TorchScript": lambda entries: {
        **entries,
        "archive/constants.pkl": pickle.dumps(Trap()),
        "archive/code/__torch__.py": CODE.encode(),
    },
    "library": lambda entries: {
        **entries,
        "archive/data/aotinductor/model/m.so": b"\x7fELF",
        "archive/data/aotinductor/model/m.cpp": CODE.encode(),
    },
    "module": beside("archive/sympy.py", CODE.encode()),
    "expression as size of a value": graph(
        lambda held: [value.update(sizes=[EXPRESSION] * 2) for value in held["tensor_values"].values()]
    ),
    "expression as symbol": graph(lambda held: held["sym_int_values"].update({"s": EXPRESSION})),
    "expression as truth": graph(lambda held: held["sym_bool_values"].update({"s": EXPRESSION})),
    "expression as range": program(lambda held: held["range_constraints"].update({CODE: {"min_val": 0, "max_val": 5}})),
    "expression as guard": program(lambda held: held.update(guards_code=[CODE])),
    "expression as argument": argument({"as_expr": {"expr_str": CODE}}),
    "expression as number": argument({"as_sym_int": EXPRESSION}),
    "expression as name": argument({"as_tensor": {"name": CODE}}),
    "expression as tree": program(
        lambda held: held["graph_module"]["module_call_graph"][0]["signature"].update(
            in_spec=json.dumps([1, {"type": "os.system", "context": CODE, "children_spec": []}])
        )
    ),
    "expression as named tuple": program(
        lambda held: held["graph_module"].update(treespec_namedtuple_fields={CODE: {"field_names": [CODE]}})
    ),
    "expression as place in the source": node(metadata={"stack_trace": CODE, "nn_module_stack": CODE, "torch_fn": CODE}),
    "expression as verifier": program(lambda held: held.update(verifiers=[CODE], torch_version=CODE)),
    "method of the module as name of a weight": program(
        lambda held: held["graph_module"]["signature"]["input_specs"][0]["parameter"].update(parameter_name="forward")
    ),
    "own part of the module as name of a weight": lambda entries: renamed(entries, "_graph"),
    "no graph but text": argument({"as_graph": {"graph": CODE}}),
    "graph of something else": argument({"as_graph": {"name": "g", "graph": GRAPH}}),
    "operator that draws from a generator object": argument({"as_custom_obj": {"name": "x", "class_fqn": "os.system"}}),
    "device as code": argument({"as_device": {"type": CODE, "index": None}}),
    "type of numbers as code": argument({"as_scalar_type": CODE}),
    "list as kind of argument": argument({"as_int": [["os"]]}),
    "loop of texts": node(target="torch.ops.higher_order.while_loop", inputs=[{"name": "", "arg": {"as_string": CODE}}] * 4),
    "gradients of texts": node(
        target="torch.ops.higher_order.wrap_with_set_grad_enabled", inputs=[{"name": "", "arg": {"as_string": CODE}}] * 2
    ),
    "result that is no name": node(outputs=[{"as_string": CODE}]),
    "result over a weight": graph(lambda held: held["nodes"][-1].update(outputs=[{"as_tensor": {"name": "p_weight"}}])),
    "output that nobody computes": graph(lambda held: held.update(outputs=[{"as_tensor": {"name": "nothing"}}])),
    "output that is a number": graph(lambda held: held.update(outputs=[{"as_int": 3}])),
    "no nodes": graph(lambda held: held.update(nodes=[])),
    "nodes that are text": graph(lambda held: held.update(nodes=CODE)),
    "a program that is a list": beside("archive/models/model.json", b"[]"),
    "a program that is nothing": beside("archive/models/model.json", b""),
    "a program that is deep": beside("archive/models/model.json", b"[" * 100_000),
    "a number of 5,000 digits": lambda entries: {
        **entries,
        "archive/models/model.json": entries["archive/models/model.json"].replace(b'"as_int": 1', b'"as_int": ' + b"1" * 5000),
    },
    "two programs": lambda entries: {
        **entries,
        **{name.replace("archive/", "other/"): content for name, content in entries.items()},
    },
    "a file outside": beside("../../sprung", b"x"),
    "an absolute file": beside("/sprung", b"x"),
    "a folder": beside("archive/sprung/", b""),
    "a nested archive": beside("archive/archive/models/model.json", b"{}"),
    **{f"operator {target!r}": node(target=target) for target in FORBIDDEN},
}


def renamed(entries: Entries, name: str) -> Entries:
    """Return a model one of whose weights has another name, which is dotted."""
    altered = program(
        lambda held: held["graph_module"]["signature"]["input_specs"][0]["parameter"].update(parameter_name=f"{name}.x")
    )(entries)
    return edited(
        "data/weights/model_weights_config.json",
        lambda held: held["config"].update({f"{name}.x": held["config"].pop("weight")}),
    )(altered)


def line(path: Path) -> str:
    """Return the line with which a model is refused; empty: it answers as it did."""
    try:
        answered = answer(path)
    except UserError as error:
        return str(error)
    assert torch.equal(answered, ANSWER)
    return ""


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_in_a_model_is_run(payload: str, stored: Entries, tmp_path: Path) -> None:
    path = written(PAYLOADS[payload](stored), tmp_path / "model.pt2")
    search_path = sys.path[:]
    told = line(path)
    assert not told or told.startswith(f"{path}: can't be read as a model (")
    assert "\n" not in told
    assert list(tmp_path.iterdir()) == [path]
    assert sys.path == search_path


def test_the_traps_are_set_for_whoever_unpickles_them(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap()))  # noqa: S301 - that is the trap
    (tmp_path / "sprung").unlink()
    torch.load(io.BytesIO(torch_trap()), weights_only=False)
    (tmp_path / "sprung").unlink()


def test_a_model_is_read_from_a_file_that_holds_more_than_it_and_answers_as_before(stored: Entries, tmp_path: Path) -> None:
    assert torch.equal(answer(written(stored, tmp_path / "model.pt2")), ANSWER)
    assert torch.equal(answer(written(PAYLOADS["pickled example"](stored), tmp_path / "model.pt2")), ANSWER)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_when_written_and_when_read(
    value: float, stored: Entries, tmp_path: Path
) -> None:
    held = struct.pack("<2f", 1, value)
    path = written({**stored, "archive/data/weights/weight_0": held}, tmp_path / "model.pt2")
    with pytest.raises(UserError, match=r"its parameter 'weight' holds values that are not finite numbers"):
        answer(path)
    linear = nn.Linear(4, 2)
    with torch.no_grad():
        linear.weight[0, 0] = value
    net = nn.Sequential(nn.Flatten(), linear)
    with pytest.raises(UserError, match=r"could not be read again .its parameter 'net\.1\.weight' holds values"):
        write_program(Scaled(net), (1, 2, 2), tmp_path / "net.pt2", {})


def test_a_mask_may_hide_places_by_negative_infinity() -> None:
    class Masked(nn.Module):
        mask: Tensor

        def __init__(self, hidden: float) -> None:
            super().__init__()
            self.register_buffer("mask", torch.tensor([0.0, hidden]))

        def forward(self, images: Tensor) -> Tensor:
            return (images.float().flatten(1)[:, :2] + self.mask).softmax(1)

    answer = read(exported(Masked(float("-inf"))))(images(2))
    assert answer.tolist() == [[1, 0], [1, 0]]
    with pytest.raises(ValueError, match="its buffer 'mask' holds values"):
        read(exported(Masked(float("nan"))))


def test_an_archive_that_torch_did_not_write_is_not_unpacked(stored: Entries, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    twice = [*stored.items(), ("archive/models/model.json", b"{}")]
    for entries, compression in (
        (twice, zipfile.ZIP_STORED),
        (list(stored.items()), zipfile.ZIP_DEFLATED),
        (list(stored.items()), zipfile.ZIP_LZMA),
    ):
        written(entries, path, compression)
        with pytest.raises(UserError, match=r"\(it is not an archive that torch wrote\); save it again with kd.save$"):
            answer(path)


def test_an_archive_is_refused_before_what_it_holds_is_unpacked(stored: Entries, tmp_path: Path) -> None:
    path = written({**stored, "archive/zeros": bytes(1 << 20)}, tmp_path / "model.pt2", zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    content[content.index(b"archive/models/model.json") + 40] ^= 1  # a checksum that nobody comes to
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"it is not an archive that torch wrote"):
        answer(path)


def test_files_of_an_archive_that_lie_in_the_same_place_are_refused(stored: Entries, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in stored.items():
            archive.writestr(name, content)
        again = copy.copy(archive.getinfo("archive/models/model.json"))
        again.filename = "archive/again"
        archive.filelist.append(again)
    with pytest.raises(UserError, match=r"it is not an archive that torch wrote"):
        answer(path)


def test_a_loop_without_an_end_ends(stored: Entries, tmp_path: Path) -> None:
    true = {"inputs": [{"as_tensor": {"name": "x"}}], "outputs": [{"as_bool": True}], "nodes": []}
    same = {"inputs": [{"as_tensor": {"name": "x"}}], "outputs": [{"as_tensor": {"name": "x"}}], "nodes": []}
    loop = node(
        target="torch.ops.higher_order.while_loop",
        inputs=[
            {"name": "", "arg": {"as_graph": {"name": "to_do", "graph": true}}},
            {"name": "", "arg": {"as_graph": {"name": "step", "graph": same}}},
            {"name": "", "arg": {"as_tensors": [{"name": "images"}]}},
            {"name": "", "arg": {"as_tensors": []}},
        ],
    )
    with pytest.raises(UserError, match=r"\(its loop does not end within 10000 rounds\)"):
        answer(written(loop(stored), tmp_path / "model.pt2"))


@pytest.fixture(scope="module")
def whole(stored: Entries, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(stored, tmp_path_factory.mktemp("whole") / "model.pt2").read_bytes()


@given(data=st.data())
@settings(max_examples=300)
def test_a_damaged_model_is_refused_or_answers_as_before(
    data: st.DataObject, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) * 8 - 1), min_size=1, max_size=3)):
        damaged[place // 8] ^= 1 << place % 8
    path = tmp_path_factory.getbasetemp() / "damaged.pt2"
    path.write_bytes(damaged[: data.draw(st.just(len(whole)) | st.integers(0, len(whole)))])
    assert "\n" not in line(path)
