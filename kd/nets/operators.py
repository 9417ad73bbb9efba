"""The operators that a stored program may have: arithmetic on tensors, and nothing that touches a file, a process or code."""

import operator
from collections.abc import Callable
from typing import Any, Final

import torch

_ATEN = """
abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool2d add add_ addcdiv addcmul addmm all alpha_dropout amax amin any
arange argmax argmin argsort atan avg_pool1d avg_pool2d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm cat ceil
celu channel_shuffle cholesky_solve chunk clamp_ clamp clamp_max clamp_min clone concat constant_pad_nd contiguous conv1d
conv2d conv3d conv_transpose2d convolution copy_ cos cumsum detach_ detach diag_embed diagonal div_ div dot dropout dropout_
einsum elu elu_ embedding empty empty_like eq erf exp_ exp expand expand_as expm1 eye feature_dropout fill fill_ flatten flip
floor floor_divide frobenius_norm full full_like gather ge gelu glu group_norm gt hardsigmoid hardsigmoid_ hardswish_
hardswish hardtanh_ hardtanh index index_add index_copy index_put index_select instance_norm isfinite isinf isnan layer_norm
le leaky_relu leaky_relu_ lift_fresh_copy linalg_cholesky_ex linalg_norm linalg_solve linalg_solve_ex linalg_solve_triangular
linalg_vector_norm linear log log1p log2 log_sigmoid log_softmax logical_and logical_not logical_or logsumexp lt masked_fill
masked_fill_ matmul max max_pool1d max_pool2d max_pool2d_with_indices maximum mean min minimum mish mish_ mm movedim mul mul_
mv narrow native_batch_norm native_group_norm native_layer_norm ne neg new_empty new_full new_ones new_zeros nonzero norm
numpy_T one_hot ones ones_like pad permute pixel_shuffle pixel_unshuffle pow prelu prod reciprocal reflection_pad2d relu relu_
relu6_ relu6 remainder repeat repeat_interleave replication_pad2d reshape rms_norm roll round rrelu rsqrt rsub scalar_tensor
scaled_dot_product_attention scatter scatter_add select select_scatter selu_ selu sigmoid sigmoid_ sign silu_ silu sin slice
slice_scatter softmax softplus softsign sort split split_with_sizes sqrt square squeeze stack std std_mean sub sub_ sum
swapaxes sym_numel sym_size sym_stride t tanh_ tanh threshold tile to topk transpose tril triu type_as unbind unflatten unfold
unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_nearest2d var var_mean view view_as where zero_ zeros zeros_like
__and__ _log_softmax __or__ _softmax _to_copy _unsafe_view __xor__
"""
ALLOWED: Final = frozenset(_ATEN.split())
"""Operators of ``torch.ops.aten``; ``from_file``, which maps any file, is the kind that must never stand here."""

CHECKS: Final = frozenset({"_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size"})
"""Operators that only check, such as that images lie on the device of the export: they are left out."""

_ON_SIZES: Final[dict[str, Callable[..., Any]]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge")
}
"""Arithmetic on sizes, such as the number of images in a batch."""


def is_check(target: str) -> bool:
    """Return whether an operator only checks its input."""
    return _aten_name(target) in CHECKS


def find_operator(target: str) -> Callable[..., Any]:
    """Return the operator of a name such as ``torch.ops.aten.conv2d.default``.

    Raises:
        ValueError: it is not one of those that a program may have, or torch does not have it.
    """
    if target in _ON_SIZES:
        return _ON_SIZES[target]
    name, overload = _aten_name(target), target.rpartition(".")[2]
    packet = getattr(torch.ops.aten, name, None) if name in ALLOWED else None
    if packet is None or overload not in packet.overloads():
        raise ValueError(f"the operator {target[:80]!r} is not one that kd runs")
    found: Callable[..., Any] = getattr(packet, overload)
    return found


def _aten_name(target: str) -> str:
    """Return the name between ``torch.ops.aten.`` and the overload; empty where it is of another kind."""
    parts = target.split(".")
    return parts[3] if len(parts) == 5 and parts[:3] == ["torch", "ops", "aten"] else ""  # noqa: PLR2004 - the parts of a name
