"""The operators that a stored program may have: arithmetic on tensors, and nothing that touches a file, a process or code."""

import operator
from collections.abc import Callable
from typing import Any, Final

import torch

_ATEN = """
__and__ __or__ __xor__ _log_softmax _softmax _to_copy _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa
_upsample_nearest_exact2d _weight_norm _weight_norm_interface abs absolute acos acosh adaptive_avg_pool1d adaptive_avg_pool2d
adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d add add_ addbmm addcdiv addcmul addmm addmv
addr adjoint affine_grid_generator all alpha_dropout amax amin aminmax angle any arange argmax argmin argsort argwhere asin
asinh atan atan2 atanh atleast_1d atleast_2d atleast_3d avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bilinear
bitwise_and bitwise_not bitwise_or bitwise_xor block_diag bmm broadcast_tensors broadcast_to bucketize cartesian_prod cat
cdist ceil celu celu_ chain_matmul channel_shuffle cholesky_solve chunk clamp clamp_ clamp_max clamp_min clamp_min_ clip clip_
clone col2im column_stack complex concat conj constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d
conv_transpose2d conv_transpose3d convolution copy_ copysign corrcoef cos cosh cosine_similarity count_nonzero cov cross
cummax cummin cumprod cumsum deg2rad det detach detach_ detach_copy diag_embed diagonal diff digamma dist div div_ divide dot
dropout dropout_ dsplit dstack einsum elu elu_ embedding empty empty_like eq erf erfc erfinv exp exp2 exp_ expand expand_as
expand_copy expm1 expm1_ eye feature_alpha_dropout feature_dropout fft_fft fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_ifft
fft_ifft2 fft_ifftn fft_ifftshift fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn fill fill_ flatten
flip fliplr flipud floor floor_ floor_divide fmax fmin fmod frac frobenius_norm full full_like gather ge gelu glu greater
greater_equal grid_sampler grid_sampler_2d group_norm gru gt hardshrink hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh
hardtanh_ heaviside hsplit hstack hypot i0 im2col imag index index_add index_copy index_fill index_put index_select inner
instance_norm inverse isclose isfinite isin isinf isnan isneginf isposinf isreal kron kthvalue l1_loss layer_norm le
leaky_relu leaky_relu_ lerp less less_equal lgamma lift_fresh lift_fresh_copy linalg_cholesky linalg_cholesky_ex linalg_cross
linalg_det linalg_eigh linalg_eigvalsh linalg_inv linalg_matmul linalg_matrix_exp linalg_matrix_norm linalg_matrix_power
linalg_multi_dot linalg_norm linalg_pinv linalg_qr linalg_slogdet linalg_solve linalg_solve_ex linalg_solve_triangular
linalg_svd linalg_svdvals linalg_vecdot linalg_vector_norm linear linspace log log10 log1p log2 log_sigmoid log_softmax
logaddexp logaddexp2 logcumsumexp logical_and logical_not logical_or logical_xor logit logspace logsumexp lstm lt mH mT
masked_fill masked_fill_ masked_scatter masked_select matmul matrix_H matrix_exp matrix_power max max_pool1d max_pool2d
max_pool2d_with_indices max_pool3d maximum mean median meshgrid min minimum mish mish_ mm moveaxis movedim mse_loss msort mul
mul_ multiply mv mvlgamma nan_to_num nan_to_num_ nanmean nanmedian nanquantile nansum narrow native_batch_norm
native_channel_shuffle native_group_norm native_layer_norm ne neg neg_ negative new_empty new_full new_ones new_zeros nonzero
norm norm_except_dim not_equal numpy_T one_hot ones ones_like outer pad pairwise_distance pdist permute permute_copy
pixel_shuffle pixel_unshuffle polar polygamma positive pow pow_ prelu prod put quantile rad2deg ravel real reciprocal
reciprocal_ reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 relu6_ relu_ remainder repeat repeat_interleave
replication_pad1d replication_pad2d replication_pad3d reshape resolve_conj resolve_neg rms_norm rnn_relu rnn_tanh roll rot90
round row_stack rrelu rsqrt rsqrt_ rsub scalar_tensor scaled_dot_product_attention scatter scatter_add scatter_reduce
searchsorted select select_copy select_scatter selu selu_ sgn sigmoid sigmoid_ sign signbit silu silu_ sin sinc sinh slice
slice_copy slice_scatter slogdet softmax softplus softshrink sort special_entr special_erf special_expit special_log_softmax
special_logit special_logsumexp special_softmax special_xlogy split split_with_sizes sqrt sqrt_ square square_ squeeze
squeeze_ squeeze_copy stack std std_mean sub sub_ subtract sum swapaxes swapdims sym_numel sym_size sym_stride t take
take_along_dim tan tanh tanh_ tensor_split tensordot threshold threshold_ tile to topk trace transpose transpose_copy
trapezoid tril tril_indices triu triu_indices true_divide trunc type_as unbind unflatten unfold unsafe_chunk unsafe_split
unsqueeze unsqueeze_ unsqueeze_copy upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_trilinear3d vander var var_mean vdot view view_as view_as_complex view_as_real
view_copy vsplit vstack where xlogy zero_ zeros zeros_like
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
    if packet is None or overload not in packet.overloads() or not _is_on_tensors(getattr(packet, overload)):
        raise ValueError(f"the operator {target[:80]!r} is not one that kd runs")
    found: Callable[..., Any] = getattr(packet, overload)
    return found


def _is_on_tensors(operator: torch._ops.OpOverload) -> bool:
    """Return whether an operator takes or makes tensors: some have forms for texts, lists and named dimensions too."""
    schema = operator._schema  # noqa: SLF001 - nothing else tells it
    by_name = any("str" in str(part.type) and ("dim" in part.name or part.name == "names") for part in schema.arguments)
    return not by_name and any("Tensor" in str(part.type) for part in [*schema.arguments, *schema.returns])


def _aten_name(target: str) -> str:
    """Return the name between ``torch.ops.aten.`` and the overload; empty where it is of another kind."""
    parts = target.split(".")
    return parts[3] if len(parts) == 5 and parts[:3] == ["torch", "ops", "aten"] else ""  # noqa: PLR2004 - the parts of a name
