"""Models as others write them, of a small net whose answers a test knows: state dict, exported program, ONNX file."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.export import Dim

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 0.5)


class Small(nn.Module):
    """A net of images of three channels and any size."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.head(self.norm(self.features(images)).relu().mean(dim=(2, 3)))
        return answer


def small(num_classes: int) -> Small:
    """Return a net of weights that are always the same, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = Small(num_classes)
        net.norm.running_mean = torch.rand(4)
        net.norm.running_var = torch.rand(4) + 0.5
    return net.eval()


def expected(net: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of uint8 images, grey or of three channels, each step as one would write it down."""
    pixels = images.expand(-1, 3, -1, -1).double() / 255
    normalised = (pixels - torch.tensor(MEAN).double().view(1, 3, 1, 1)) / torch.tensor(STD).double().view(1, 3, 1, 1)
    with torch.no_grad():
        answer: Tensor = net(normalised.float())
    return answer


def write_program(
    net: nn.Module, path: Path, *, batch: int | None = None, px: int = 8, dtype: torch.dtype = torch.float32
) -> Path:
    """Export a net as its owner would; a batch of None is one of any size."""
    example = torch.zeros(batch or 2, 3, px, px, dtype=dtype)
    shapes = None if batch else ({0: Dim("batch")},)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=shapes), path)
    return path


def onnx_model(
    net: Small, *, batch: int | str = "batch", px: int | str = 8, nodes: Sequence[onnx.NodeProto] = (), domain: str = ""
) -> onnx.ModelProto:
    """Return the net as a model of ONNX, put together by hand; further nodes stand before the others."""
    weights = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    parts = [
        helper.make_node("Conv", ["images", "features.weight", "features.bias"], ["conv"]),
        helper.make_node(
            "BatchNormalization",
            ["conv", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"],
            ["normed"],
            epsilon=1e-5,
        ),
        helper.make_node("Relu", ["normed"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        [*nodes, *parts],
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, px, px])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, net.head.out_features])],
        [numpy_helper.from_array(array, name) for name, array in weights.items() if not name.endswith("tracked")],
    )
    imports = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)
