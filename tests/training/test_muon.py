"""Muon against the singular value decomposition and a slow version in float64, and what it promises of the filters' norm."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kd.training.muon import Muon, orthogonalised


def slow_orthogonalised(matrix: np.ndarray) -> np.ndarray:
    """Iterate on the singular values alone: the polynomial is odd, so that it leaves the singular vectors as they are."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((matrix**2).sum())
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    moved: np.ndarray = left @ np.diag(values) @ right
    return moved


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), scale=st.sampled_from([1e-6, 1.0, 1e4]), seed=st.integers(0, 999))
@settings(max_examples=60)
def test_the_iteration_moves_the_singular_values_alone(rows: int, columns: int, scale: float, seed: int) -> None:
    matrix = scale * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    found = orthogonalised(matrix)
    assert found.shape == matrix.shape
    np.testing.assert_allclose(found.numpy(), slow_orthogonalised(matrix.double().numpy()), atol=2e-3)


@pytest.mark.parametrize("shape", [(64, 27), (64, 576), (576, 64)])
def test_singular_values_end_near_one(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalised(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.65
    assert values.max() < 1.25


def test_a_matrix_of_zeros_stays_one() -> None:
    assert torch.equal(orthogonalised(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_filters_that_begin_as_zeros_take_a_finite_first_step() -> None:
    filters = nn.Parameter(torch.zeros(16, 3, 3, 3))
    filters.grad = torch.randn(16, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    Muon([filters], lr=0.5, momentum=0.8).step()
    expected = -0.5 * orthogonalised(filters.grad.flatten(1)).view_as(filters)
    torch.testing.assert_close(filters.detach(), expected, atol=1e-4, rtol=0)


def test_steps_are_nesterov_momentum_orthogonalised_from_filters_of_norm_sqrt_out() -> None:
    generator = torch.Generator().manual_seed(1)
    filters = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64))
    gradients = [torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64) for _ in range(3)]
    optimizer = Muon([filters], lr=0.1, momentum=0.8)
    slow, moving = filters.detach().numpy().reshape(4, 27).copy(), np.zeros((4, 27))
    for step, gradient in enumerate(gradients, start=1):
        optimizer.param_groups[0]["lr"] = 0.1 * step
        filters.grad = gradient.clone()
        optimizer.step()
        g = gradient.numpy().reshape(4, 27)
        moving = 0.8 * moving + g
        slow = slow * 2 / np.sqrt((slow**2).sum()) - 0.1 * step * slow_orthogonalised(g + 0.8 * moving)
        np.testing.assert_allclose(filters.detach().numpy().reshape(4, 27), slow, atol=1e-9)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_is_no_matter(memory_format: torch.memory_format) -> None:
    def stepped(layout: torch.memory_format) -> Tensor:
        generator = torch.Generator().manual_seed(2)
        filters = nn.Parameter(torch.randn(5, 3, 3, 3, generator=generator).contiguous(memory_format=layout))
        filters.grad = torch.randn(5, 3, 3, 3, generator=generator).contiguous(memory_format=layout)
        Muon([filters], lr=0.1, momentum=0.8).step()
        return filters.detach()

    torch.testing.assert_close(stepped(memory_format), stepped(torch.contiguous_format))


def test_filters_without_a_gradient_are_left_alone() -> None:
    filters = nn.Parameter(torch.ones(2, 1, 3, 3))
    Muon([filters], lr=0.1, momentum=0.8).step()
    assert torch.equal(filters, torch.ones(2, 1, 3, 3))
