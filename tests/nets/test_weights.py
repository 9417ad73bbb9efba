"""Weights from files of others: read as data, put where names and shapes agree, and what did not is said."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from kd.errors import UserError
from kd.nets.notes import notes
from kd.nets.registry import net_spec
from kd.nets.weights import put_weights, read_weights


class Net(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, classes)


FILE = Path("x.pth")


@pytest.fixture
def source() -> Net:
    torch.manual_seed(3)
    return Net(5)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.module."])
@pytest.mark.parametrize("wrapper", ["", "state_dict", "model"])
def test_wrappers_and_prefixes_are_understood(prefix: str, wrapper: str, source: Net, tmp_path: Path) -> None:
    state: dict[str, Any] = {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "x.pth")
    net = Net(5)
    done = put_weights(net, read_weights(tmp_path / "x.pth"), FILE)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), source.state_dict().values(), strict=True))
    assert done.told(FILE) == "9 tensors of x.pth loaded"


def test_safetensors_are_read(source: Net, tmp_path: Path) -> None:
    save_file(source.state_dict(), tmp_path / "x.safetensors")
    assert torch.equal(read_weights(tmp_path / "x.safetensors")["head.weight"], source.head.weight)


def test_a_head_of_another_number_of_classes_is_begun_anew_and_said(source: Net) -> None:
    net = Net(7)
    before = net.head.weight.clone()
    done = put_weights(net, source.state_dict(), FILE)
    assert torch.equal(net.head.weight, before)
    assert torch.equal(net.body[0].weight, source.body[0].weight)  # type: ignore[arg-type]
    assert done.told(FILE) == "7 tensors of x.pth loaded; of another shape, so begun anew: head.weight, head.bias"


def test_what_does_not_match_is_listed(source: Net) -> None:
    state = source.state_dict()
    state["fc.weight"] = state.pop("head.weight")
    done = put_weights(Net(5), state, FILE)
    assert done.told(FILE) == "8 tensors of x.pth loaded; not in the file: head.weight; not in the net: fc.weight"


def test_weights_of_another_net_are_refused_with_both_lists(source: Net) -> None:
    with pytest.raises(
        UserError, match=r"none of its 2 tensors \(a, b\) fits the net, whose tensors are body\.0\.weight"
    ) as refused:
        put_weights(source, {"a": torch.zeros(1), "b": torch.zeros(1)}, FILE)
    assert "\n" not in str(refused.value)


class Payload:
    def __reduce__(self) -> Any:  # noqa: ANN401 - as pickle has it
        return (Path.touch, (Path("marker"),))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (pickle.dumps({"a": Payload()}), "holds other things than tensors"),
        (b"", "holds other things than tensors, or is damaged"),
        (b"PK\x03\x04 cut", "holds other things than tensors, or is damaged"),
    ],
)
def test_nothing_in_a_file_is_run_and_a_damaged_one_is_told_in_one_line(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(UserError, match=told) as refused:
        read_weights(tmp_path / "x.pth")
    assert "\n" not in str(refused.value)
    assert not Path("marker").exists()


def test_a_payload_that_torch_wrote_is_not_run(tmp_path: Path) -> None:
    torch.save({"a": Payload()}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="holds other things than tensors"):
        read_weights(tmp_path / "x.pth")
    assert not Path("marker").exists()


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="holds no tensors by name"):
        read_weights(tmp_path / "x.pth")
    (tmp_path / "x.safetensors").write_bytes(b"12345678{}")
    with pytest.raises(UserError, match="can't be read"):
        read_weights(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="can't be read"):
        read_weights(tmp_path / "none.pth")


def test_a_net_by_name_begins_with_the_weights_of_a_file_and_is_another_net_for_it(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = torchvision.models.squeezenet1_1(num_classes=8)
    torch.save(net.state_dict(), tmp_path / "x.pth")
    plain = net_spec("torchvision:squeezenet1_1")
    begun = net_spec("torchvision:squeezenet1_1", {"weights": tmp_path / "x.pth"})
    created = begun.create(5, 1)  # grey images and other classes than those of the file
    assert torch.equal(created.net.features[0].weight, net.features[0].weight)  # type: ignore[union-attr, index]
    assert notes(created) == [
        "grey images are repeated into 3 channels",
        "50 tensors of x.pth loaded; of another shape, so begun anew: classifier.1.weight, classifier.1.bias",
    ]
    assert begun.facts(5, 1) != plain.facts(5, 1)
    own = net_spec("resnet", {"depth": 1, "width": 2}).create(5, 1)
    torch.save(own.state_dict(), tmp_path / "own.pth")
    facts = net_spec("resnet", {"depth": 1, "width": 2, "weights": tmp_path / "own.pth"}).facts(5, 1)
    torch.save({name: tensor + 1 for name, tensor in own.state_dict().items()}, tmp_path / "own.pth")
    assert net_spec("resnet", {"depth": 1, "width": 2, "weights": tmp_path / "own.pth"}).facts(5, 1) != facts


def test_default_weights_are_torchvisions_from_where_it_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    net = torchvision.models.squeezenet1_1(num_classes=1000)
    place = tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"  # as torchvision names it
    place.parent.mkdir()
    torch.save(net.state_dict(), place)
    created = net_spec("torchvision:squeezenet1_1", {"weights": "default"}).create(5, 3)
    assert torch.equal(created.features[0].weight, net.features[0].weight)  # type: ignore[union-attr, index]


def test_default_weights_that_can_not_be_fetched_are_told_with_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(UserError) as refused:
        net_spec("torchvision:squeezenet1_1", {"weights": "default"})
    told = str(refused.value)
    assert "can't be fetched (" in told
    assert told.endswith(
        f"fetch https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth elsewhere and put it into {tmp_path}/checkpoints"
    )
    with pytest.raises(UserError, match="kd knows no weights of it"):
        net_spec("resnet", {"weights": "default"})
