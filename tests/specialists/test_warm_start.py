"""First weights of specialists."""

import pytest
import torch

from kd.specialists.kind import TaskKind
from kd.specialists.warm_start import inherited_weights

GENERALIST = {
    "hidden.weight": torch.tensor([[1.0], [2.0], [3.0]]),  # as many rows as there are classes
    "head.weight": torch.tensor([[10.0, 11.0, 12.0], [20.0, 21.0, 22.0], [30.0, 31.0, 32.0]]),
    "head.bias": torch.tensor([0.1, 0.2, 0.3]),
}


def own(rows: int) -> dict[str, torch.Tensor]:
    """Return fresh weights of a net with so many outputs."""
    return {name: torch.zeros(rows if "head" in name else 3, *weight.shape[1:]) for name, weight in GENERALIST.items()}


def test_a_dustbin_in_place_of_the_one_class_outside_takes_the_row_of_that_class() -> None:
    inherited = inherited_weights(GENERALIST, own(3), (0, 2), 3, TaskKind.DUSTBIN)
    assert inherited is not None
    assert inherited["head.bias"].tolist() == pytest.approx([0.1, 0.3, 0.2])
    assert inherited["head.weight"][:, 0].tolist() == [10, 30, 20]
    assert inherited["hidden.weight"].flatten().tolist() == [1, 2, 3]


def test_a_specialist_of_all_classes_takes_every_row_in_its_place() -> None:
    inherited = inherited_weights(GENERALIST, own(3), (0, 2), 3, TaskKind.FULL)
    assert inherited is not None
    assert inherited["head.bias"].tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_without_a_dustbin_the_rows_of_the_group_alone_are_taken() -> None:
    inherited = inherited_weights(GENERALIST, own(2), (1, 2), 3, TaskKind.OWN)
    assert inherited is not None
    assert inherited["head.bias"].tolist() == pytest.approx([0.2, 0.3])
    assert inherited["hidden.weight"].flatten().tolist() == [1, 2, 3]


def test_a_net_that_always_has_a_row_for_each_class_of_the_generalist_inherits_nothing() -> None:
    assert inherited_weights(GENERALIST, own(3), (1, 2), 3, TaskKind.OWN) is None
