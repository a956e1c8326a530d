"""Checks of the factors of a product, as users give them, and their form for the code that multiplies them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike

from jaxsat.checks import Shown, real_array, refusal
from jaxsat.jax_compat import Tracer
from jaxsat.linalg.graded_steps import Factor


def stacks(where: str, weights: Any, log_abs_slopes: Any, slope_signs: Any) -> list[Factor]:
    """Return the factors as stacks: one for each run of equal square factors, one for each factor of another shape.

    Args:
        where: what the user called, for errors.
        weights: an array (L, n, n), or a sequence of matrices whose shapes chain, h = W x.
        log_abs_slopes, slope_signs: arrays (L, n), or sequences; None: ln 1, and 1. A sign of 0 makes a slope 0.

    Raises:
        TypeError: not real numbers.
        ValueError: shapes that do not chain or fit; weights that are not finite; slopes of NaN or +inf; other signs.
    """
    if getattr(weights, "ndim", 0) == 3:
        matrices = finite_array(where, "weights", weights, 3)
        if matrices.shape[1] == matrices.shape[2]:
            slopes = _slopes(where, log_abs_slopes, slope_signs, matrices.shape[:2], matrices.dtype)
            return [Factor(matrices, *slopes)]
    if not isinstance(weights, Sequence) and getattr(weights, "ndim", 0) == 0:
        rule = "be an array (L, n, n) or a sequence of matrices"
        raise TypeError(refusal(where, "weights", rule, Shown(type(weights).__name__)))
    factors = [finite_array(where, f"weights[{i}]", w, 2) for i, w in enumerate(weights)]
    _check_chain(where, factors)
    for name, given in (("log_abs_slopes", log_abs_slopes), ("slope_signs", slope_signs)):
        if given is not None and (not hasattr(given, "__len__") or len(given) != len(factors)):
            count = Shown(len(given)) if hasattr(given, "__len__") else given
            raise ValueError(refusal(where, name, f"have one entry for each of {len(factors)} weights", count))
    dtype, parts = jnp.result_type(*factors), []
    for i, w in enumerate(factors):
        own = [None if given is None else given[i] for given in (log_abs_slopes, slope_signs)]
        parts.append(Factor(w.astype(dtype), *_slopes(where, *own, w.shape[:1], dtype)))
    groups = itertools.groupby(parts, key=lambda p: p.weight.shape if _is_square(p) else (id(p),))
    return [jax.tree.map(lambda *a: jnp.stack(a), *group) for _, group in groups]


def _check_chain(where: str, factors: list[Array]) -> None:
    if not factors:
        raise ValueError(refusal(where, "weights", "have at least one matrix", Shown("none")))
    for i, (below, above) in enumerate(itertools.pairwise(factors)):
        if above.shape[1] != below.shape[0]:
            shapes = Shown(f"shapes {below.shape} at index {i} and then {above.shape}")
            remedy = "The factor that acts first comes first; weights stored for x @ w must be transposed."
            raise ValueError(refusal(where, "weights", "chain, columns of W_(l+1) = rows of W_l", shapes, remedy))


def _slopes(where: str, log_abs: Any, signs: Any, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[Array, Array]:
    log_abs = jnp.zeros(shape, dtype) if log_abs is None else real_array(where, "log_abs_slopes", log_abs)
    signs = jnp.ones(shape, dtype) if signs is None else real_array(where, "slope_signs", signs)
    for name, array in (("log_abs_slopes", log_abs), ("slope_signs", signs)):
        if array.shape != shape:
            rule = f"have shape {shape}, one entry for each row of `weights`"
            raise ValueError(refusal(where, name, rule, Shown(array.shape)))
    if not isinstance(log_abs, Tracer) and not np.all(np.asarray(log_abs) < np.inf):
        raise ValueError(refusal(where, "log_abs_slopes", "be finite or -inf", Shown("NaN or +inf")))
    if not isinstance(signs, Tracer) and not np.isin(np.asarray(signs), (-1, 0, 1)).all():
        remedy = "Magnitudes go to `log_abs_slopes`."
        raise ValueError(refusal(where, "slope_signs", "be -1, 0 or 1", Shown("other values"), remedy))
    log_abs, signs = log_abs.astype(dtype), signs.astype(dtype)
    return jnp.where(signs == 0, -jnp.inf, log_abs), signs


def finite_array(where: str, name: str, given: Any, ndim: int) -> Array:
    """Return a real, finite array with the given number of dimensions, not empty; traced values pass unseen."""
    array = real_array(where, name, given)
    if array.ndim != ndim or array.size == 0:
        rule = f"have {ndim} dimensions, none of them empty"
        raise ValueError(refusal(where, name, rule, Shown(f"shape {array.shape}"), "Batches go through jax.vmap."))
    if not isinstance(array, Tracer) and not np.isfinite(np.asarray(array)).all():
        count = np.count_nonzero(~np.isfinite(np.asarray(array)))
        raise ValueError(refusal(where, name, "be finite", Shown(f"{count} entries that are not")))
    return array


def _is_square(factor: Factor) -> bool:
    return factor.weight.shape[0] == factor.weight.shape[1]
