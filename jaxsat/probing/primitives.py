"""What the primitives of a jaxpr do, as far as finding activations needs it: which are elementwise, which nonlinear.

``NUMPY`` gives elementwise primitives a second meaning, in NumPy's float64, so that a chain can be evaluated on a grid
and compared with the catalogue without compiling anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


AFFINE = words(
    "neg add sub convert_element_type copy copy_p name optimization_barrier reduce_precision add_any real pvary pcast"
)
AFFINE_BESIDE_COEFFICIENTS = frozenset({"mul", "div"})
NONLINEAR = words(
    "tanh logistic erf erfc erf_inv sin cos tan sinh cosh asinh acosh atanh atan asin acos atan2 exp exp2 expm1 log log1p "
    "sqrt rsqrt cbrt square integer_pow pow abs sign floor ceil round max min clamp select_n rem eq ne lt le gt ge and or "
    "not xor is_finite nextafter lgamma digamma"
)
ELEMENTWISE = AFFINE | AFFINE_BESIDE_COEFFICIENTS | NONLINEAR

# A chain made of these only is a loss, a normaliser or a guard, unless it feeds a linear map.
PLAIN = words(
    "exp exp2 log log1p sqrt rsqrt square integer_pow pow abs sign floor ceil round rem eq ne lt le gt ge and or not xor "
    "is_finite mul nextafter"
)
INLINE = frozenset({"jit", "pjit", "closed_call", "core_call", "core_closed_call", "custom_lin"})
CHECKPOINT = frozenset({"checkpoint", "remat", "remat2"})
CUSTOM = frozenset({"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"})
SHAPE = frozenset({"reshape", "transpose", "squeeze", "expand_dims", "rev", "copy_to_layout", "sharding_constraint"})
PIECES = words("slice dynamic_slice split unstack")
PARTS = PIECES | words("gather concatenate pad")
REDUCTIONS = frozenset({"reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "argmax", "argmin", "reduce_prod"})
LINEAR = frozenset({"dot_general", "conv_general_dilated"})
OTHER = words(
    "broadcast_in_dim iota dynamic_update_slice sort top_k cumsum cumlogsumexp cummax cummin cumprod reduce_and reduce_or "
    "reduce_window reduce_window_max reduce_window_min reduce_window_sum select_and_scatter_add select_and_gather_add "
    "scatter scatter-add scatter_add scatter_mul scatter_min scatter_max random_bits random_seed random_wrap random_unwrap "
    "random_fold_in random_split random_gamma threefry2x32 philox4x32 bitcast_convert_type shift_left shift_right_logical "
    "shift_right_arithmetic population_count clz device_put fft cholesky triangular_solve lu qr eigh svd "
    "platform_index random_clone conj imag complex argsort empty full create_token mul_hi stop_gradient reduce_xor stack unstack tile mesh_cast axis_index"
)
KNOWN = ELEMENTWISE | SHAPE | PARTS | REDUCTIONS | LINEAR | OTHER

_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])


def _logistic(x: Any) -> Any:
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


def _select(which: Any, *cases: Any) -> Any:
    return np.choose(np.asarray(which).astype(int), np.broadcast_arrays(which, *cases)[1:])


NUMPY: dict[str, Callable[..., Any]] = {
    "neg": np.negative, "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "tanh": np.tanh, "logistic": _logistic, "erf": _erf, "erfc": _erfc, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "atan": np.arctan, "atan2": np.arctan2, "exp": np.exp,
    "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt, "cbrt": np.cbrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "square": np.square, "integer_pow": lambda x, y: np.asarray(x, float) ** y,
    "pow": np.power, "abs": np.abs, "sign": np.sign, "max": np.maximum, "min": np.minimum,
    "clamp": lambda low, x, high: np.clip(x, low, high), "select_n": _select, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "and": np.logical_and,
    "or": np.logical_or, "not": np.logical_not, "is_finite": np.isfinite, "broadcast_in_dim": lambda x, *_: x,
} | dict.fromkeys(
    ("convert_element_type", "copy", "copy_p", "name", "optimization_barrier", "reduce_precision", "pvary"),
    lambda x: x,
)  # fmt: skip
