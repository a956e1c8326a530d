"""Singular values: of a matrix, with what can be trusted of them; of a long product, all of them, in the log domain.

A dense singular value decomposition is right to eps times the *largest* singular value. The Jacobian of a deep network
spreads its singular values exponentially with depth, so below that floor `svd(jacfwd(f)(x))` is rounding noise: in
float32 that is the lower half of the spectrum after 28 tanh layers of width 64 at sigma_w = 1, after 8 at sigma_w = 2.5
(gaussian weights; measured). Products of layers are therefore kept in factors and logarithms (see ``graded``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxsat.jax_compat import Tracer
from jaxsat.linalg import graded
from jaxsat.linalg.graded import Factor
from jaxsat.linalg.krylov import check_positive, largest_singular_values
from jaxsat.linalg.lapack import after

__all__ = [
    "LyapunovExponents",
    "SingularValues",
    "decomposed",
    "effective_dimension",
    "effective_rank",
    "is_resolved",
    "isometry_gap",
    "largest_singular_values",
    "log_condition_number",
    "log_singular_values_of_product",
    "lyapunov_exponents",
    "participation_ratio",
    "singular_values",
    "stable_rank",
]


class SingularValues(NamedTuple):
    """Singular values of a matrix, descending; `floor` = eps * values[0]; `resolved`: above max(shape) * floor."""

    values: Float[Array, " k"]
    floor: Float[Array, ""]
    resolved: Bool[Array, " k"]


class LyapunovExponents(NamedTuple):
    """Growth per layer of a product, in nats, descending.

    Attributes:
        exponents: ln s_i / layers.
        by_qr: mean over layers of the growth of the i-th diagonal entry of R, the product being Q R.
        standard_error: of `by_qr`, from the means of about sqrt(layers) batches of layers; NaN for fewer than 4 layers.
    """

    exponents: Float[Array, " r"]
    by_qr: Float[Array, " r"]
    standard_error: Float[Array, " r"]


def singular_values(matrix: ArrayLike) -> SingularValues:
    """Singular values of one matrix by LAPACK or its like, and which of them are more than rounding noise.

    Args:
        matrix: (m, n), real and finite.

    Returns: values (min(m, n),), descending; their floor eps * s_1; and flags, true where s > max(m, n) * floor.
        NaN throughout, and nothing resolved, if an entry is NaN under jit.

    Raises:
        ValueError: another number of dimensions, an empty matrix, non-finite entries.
        TypeError: complex entries.

    Accuracy: absolute, some eps * s_1 (Golub & Van Loan 2013, section 8.6). A matrix that was itself computed, such as
        a Jacobian, brings its own error, which `resolved` does not know.

    >>> found = singular_values(jnp.diag(jnp.array([2.0, 1e-3, 1e-12], jnp.float32)))
    >>> found.resolved.tolist()
    [True, True, False]
    """
    array = _checked("singular_values: `matrix`", matrix, 2)
    values = decomposed(array)
    return SingularValues(values, jnp.finfo(array.dtype).eps * values[0], is_resolved(values, max(array.shape)))


def decomposed(matrix: Float[Array, "m n"]) -> Float[Array, " k"]:
    """The values of :func:`singular_values`, without its checks: NaN throughout where the matrix is not finite.

    >>> decomposed(jnp.array([[jnp.inf, 0.0], [0.0, 1.0]])).tolist()
    [nan, nan]
    """
    wide = matrix if matrix.dtype.itemsize >= 4 else matrix.astype(jnp.float32)  # no library decomposes half precision
    return jnp.linalg.svd(wide, compute_uv=False).astype(matrix.dtype)


def is_resolved(values: Float[Array, "*batch k"], size: int) -> Bool[Array, "*batch k"]:
    """Whether singular values of a dense decomposition, descending, are more than rounding noise: s > size eps s_1.

    Args:
        values: along the last axis; eps is that of their dtype.
        size: the larger side of the matrix.

    >>> is_resolved(jnp.array([1.0, 1e-6, 1e-7], jnp.float32), 3).tolist()
    [True, True, False]
    """
    return values > size * jnp.finfo(values.dtype).eps * values[..., :1]


def log_singular_values_of_product(
    weights: ArrayLike | Sequence[ArrayLike],
    log_abs_slopes: ArrayLike | Sequence[ArrayLike] | None = None,
    slope_signs: ArrayLike | Sequence[ArrayLike] | None = None,
    *,
    every_depth: bool = False,
) -> Float[Array, "*layers k"]:
    """ln of every singular value of D_L W_L ... D_1 W_1, to high relative accuracy, however long and graded it is.

    Args:
        weights: W_1 .. W_L: an array (L, n, n), or a sequence of matrices whose shapes chain.
        log_abs_slopes: ln of the absolute diagonals of D_1 .. D_L: (L, n), or a sequence; -inf is a slope of exactly 0.
            None: no D.
        slope_signs: -1, 0 or 1 of the same shapes; None: all 1.
        every_depth: also of every partial product D_l W_l ... D_1 W_1: shape (L, k); all widths after the input's must
            be equal.

    Returns: natural logarithms, descending, k = min(rows, columns) of the product; -inf for those that are exactly zero
        because slopes are (a ReLU network's rank), or because the product passes a narrower layer. Rank that a single
        weight matrix lacks is seen only to eps: about 36 below its largest. The dtype is that of the weights.

    Raises:
        ValueError: an empty product, shapes that do not chain, non-finite weights, slopes that are NaN or +inf, signs
            other than -1, 0, 1. Under jit values are unknown: NaN anywhere gives NaN throughout.
        TypeError: complex input.

    Accuracy: given its input exactly, within 1e-9 in every ln s in float64 and 1e-3 in float32 (there the arithmetic is
        float64 too): see tests/test_graded.py for products of up to 400 layers and spreads beyond exp(1000).
        Weights with many exact zeros (sparse or structured) lose digits where slopes of one layer are widely different:
        elimination leaves rounding where there ought to be zeros. Half of the entries zero, float64: 1e-12 for tanh at
        pre-activations of standard deviation up to 3, 1e-6 at 12; where slopes go in steps of exp(-6) or more, some values
        are lost altogether. Derivatives in both modes, for simple singular values; not with every_depth.
    Cost: some 5 L n^3 floating-point operations, in float32, where two layers share a decomposition, some 3 L n^3 (the
        dense product alone: 2 L n^3), plus one or two singular value decompositions. With every_depth, one decomposition
        for each depth.
    Source: Demmel et al. 1999, Linear Algebra Appl. 299; Drmac & Veselic 2008, SIAM J. Matrix Anal. Appl. 29.

    >>> slopes = jnp.log(jnp.array([[1e-3, 1.0], [1e-3, 1.0]])) * 100.0  # 1e-300, twice
    >>> [round(float(v), 1) for v in log_singular_values_of_product(jnp.stack([jnp.eye(2)] * 2), slopes)]
    [0.0, -1381.6]
    """
    stacks = _stacks("log_singular_values_of_product", weights, log_abs_slopes, slope_signs)
    if not every_depth:
        return graded.log_singular_values(stacks)
    if len({stack.weight.shape[-2] for stack in stacks}) > 1:
        raise ValueError("log_singular_values_of_product: every_depth needs layers of one width; got several.")
    return jnp.concatenate(graded.log_singular_values_of_every_layer(stacks))


def lyapunov_exponents(
    weights: ArrayLike, log_abs_slopes: ArrayLike | None = None, slope_signs: ArrayLike | None = None
) -> LyapunovExponents:
    """Exponents at which the directions of a product of square factors grow or shrink per layer.

    Args, raises: as :func:`log_singular_values_of_product`, of (L, n, n) and (L, n) only.

    ln s_i / L is what the product has done; it differs from the limit by O(1 / L). The estimate by QR (Benettin et al.
    1980) is a mean over layers, so that an error bar can be given; for gaussian weights without slopes it has no bias.
    Its R are found by LU decompositions, which bear slopes of any grading.

    >>> halves = lyapunov_exponents(jnp.stack([jnp.eye(3) / 2] * 10))
    >>> [round(float(v), 4) for v in halves.exponents], float(halves.standard_error.max()) < 1e-7
    ([-0.6931, -0.6931, -0.6931], True)
    """
    stacks = _stacks("lyapunov_exponents", weights, log_abs_slopes, slope_signs)
    if len(stacks) > 1 or stacks[0].weight.shape[-1] != stacks[0].weight.shape[-2]:
        raise ValueError("lyapunov_exponents: `weights` must be square and of one size; got several shapes.")
    layers, n, _ = stacks[0].weight.shape
    values = graded.log_singular_values(stacks)
    increments = graded.log_growth_by_qr(stacks[0]._replace(weight=after(values, stacks[0].weight)))
    by_qr = jnp.mean(increments, axis=0)
    batches = math.isqrt(layers)  # one alone, of fewer than 4 layers, has no deviation: NaN
    means = jnp.mean(increments[: layers - layers % batches].reshape(batches, -1, n), axis=1)
    error = jnp.std(means, axis=0, ddof=1) / batches**0.5
    order = jnp.argsort(-by_qr)
    return LyapunovExponents(values / layers, by_qr[order], error[order])


# --- what a spectrum says ----------------------------------------------------------------------------------------


def log_condition_number(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """ln s_1 - ln s_k; inf where rank is lacking, NaN for the zero matrix.

    >>> float(log_condition_number(jnp.array([2.0, -100.0])))
    102.0
    """
    values = _spectrum(log_singular_values)
    return values[0] - values[-1]


def stable_rank(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """sum s_i^2 / s_1^2, between 1 and k (Rudelson & Vershynin 2007); NaN for the zero matrix.

    >>> float(stable_rank(jnp.zeros(5)))
    5.0
    """
    return jnp.sum(_relative_squares(log_singular_values))


def participation_ratio(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """(sum s_i^2)^2 / sum s_i^4, between 1 and k: how many directions carry the variance.

    >>> float(participation_ratio(jnp.array([0.0, 0.0, -50.0])))
    2.0
    """
    squares = _relative_squares(log_singular_values)
    return jnp.sum(squares) ** 2 / jnp.sum(squares**2)


def effective_rank(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """exp of the entropy of s_i / sum s (Roy & Vetterli 2007), between 1 and k.

    >>> round(float(effective_rank(jnp.array([0.0, 0.0, -jnp.inf]))), 6)
    2.0
    """
    values = _spectrum(log_singular_values)
    logs = values - jax.nn.logsumexp(values)
    return jnp.exp(-jnp.sum(jnp.where(jnp.isneginf(logs), 0, jnp.exp(logs) * logs)))


def effective_dimension(log_singular_values: Float[ArrayLike, " k"], ridge: ArrayLike = 1.0) -> Float[Array, ""]:
    """sum s_i^2 / (s_i^2 + ridge): with ridge 1, about how many directions the network does not shrink.

    The effective dimension (degrees of freedom) of ridge regression on the Jacobian (Zhang 2005).

    >>> round(float(effective_dimension(jnp.array([20.0, 0.0, -20.0]))), 6)
    1.5
    """
    values = _spectrum(log_singular_values)
    check_positive("effective_dimension: `ridge`", ridge)
    return jnp.sum(jax.nn.sigmoid(2 * values - jnp.log(jnp.asarray(ridge, values.dtype))))


def isometry_gap(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """ln of the mean of s_i^2 less the mean of ln s_i^2: 0 for a multiple of an isometry, else positive (Joudaki et al. 2023).

    >>> float(isometry_gap(jnp.full(4, -7.0)))
    0.0
    """
    squares = 2 * _spectrum(log_singular_values)
    return jax.nn.logsumexp(squares) - jnp.log(jnp.asarray(squares.size, squares.dtype)) - jnp.mean(squares)


def _spectrum(log_singular_values: ArrayLike) -> Float[Array, " k"]:
    values = _real("`log_singular_values`", log_singular_values)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"`log_singular_values` must be those of one matrix, (k,), k >= 1; got shape {values.shape}.")
    return values


def _relative_squares(log_singular_values: ArrayLike) -> Array:
    values = _spectrum(log_singular_values)
    return jnp.exp(2 * (values - values[0]))


# --- input -------------------------------------------------------------------------------------------------------


def _stacks(where: str, weights: Any, log_abs_slopes: Any, slope_signs: Any) -> list[Factor]:
    """The factors as stacks: a scan for each run of equal square ones, one stack for each that changes the width."""
    if getattr(weights, "ndim", 0) == 3:
        matrices = _checked(f"{where}: `weights`", weights, 3)
        if matrices.shape[1] == matrices.shape[2]:
            slopes = _slopes(where, log_abs_slopes, slope_signs, matrices.shape[:2], matrices.dtype)
            return [Factor(matrices, *slopes)]
    if not isinstance(weights, Sequence) and getattr(weights, "ndim", 0) == 0:
        raise TypeError(
            f"{where}: `weights` must be an array (L, n, n) or a sequence of matrices; got {type(weights).__name__}."
        )
    factors = [_checked(f"{where}: `weights[{i}]`", w, 2) for i, w in enumerate(weights)]
    if not factors:
        raise ValueError(f"{where}: `weights` must have at least one matrix; got none.")
    dtype = jnp.result_type(*factors)
    for i, (below, above) in enumerate(itertools.pairwise(factors)):
        if above.shape[1] != below.shape[0]:
            raise ValueError(
                f"{where}: `weights` must chain, columns of W_(l+1) = rows of W_l; got shapes {below.shape} at index {i} "
                f"and then {above.shape}. The first factor applied comes first."
            )
    for name, given in (("log_abs_slopes", log_abs_slopes), ("slope_signs", slope_signs)):
        if given is not None and (not hasattr(given, "__len__") or len(given) != len(factors)):
            raise ValueError(
                f"{where}: `{name}` must have one entry for each of {len(factors)} weights; got {len(given) if hasattr(given, '__len__') else given}."
            )
    parts = []
    for i, w in enumerate(factors):
        own = [None if given is None else given[i] for given in (log_abs_slopes, slope_signs)]
        parts.append(Factor(w.astype(dtype), *_slopes(where, *own, w.shape[:1], dtype)))
    groups = itertools.groupby(parts, key=lambda p: p.weight.shape if _is_square(p) else (id(p),))
    return [jax.tree.map(lambda *a: jnp.stack(a), *group) for _, group in groups]


def _slopes(where: str, log_abs: Any, signs: Any, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
    log_abs = jnp.zeros(shape, dtype) if log_abs is None else _real(f"{where}: `log_abs_slopes`", log_abs)
    signs = jnp.ones(shape, dtype) if signs is None else _real(f"{where}: `slope_signs`", signs)
    for name, array in (("log_abs_slopes", log_abs), ("slope_signs", signs)):
        if array.shape != shape:
            raise ValueError(
                f"{where}: `{name}` must have shape {shape}, one for each row of `weights`; got {array.shape}."
            )
    if not isinstance(log_abs, Tracer) and not np.all(np.asarray(log_abs) < np.inf):
        raise ValueError(f"{where}: `log_abs_slopes` must be finite or -inf; got NaN or +inf.")
    if not isinstance(signs, Tracer) and not np.isin(np.asarray(signs), (-1, 0, 1)).all():
        raise ValueError(
            f"{where}: `slope_signs` must be -1, 0 or 1; got other values. Magnitudes go to `log_abs_slopes`."
        )
    log_abs, signs = log_abs.astype(dtype), signs.astype(dtype)
    return jnp.where(signs == 0, -jnp.inf, log_abs), signs


def _checked(what: str, given: Any, ndim: int) -> Array:
    """A real, finite array of so many dimensions, not empty."""
    array = _real(what, given)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(
            f"{what} must have {ndim} dimensions, none of them empty; got shape {array.shape}. Batches go through jax.vmap."
        )
    if not isinstance(array, Tracer) and not np.isfinite(np.asarray(array)).all():
        count = np.count_nonzero(~np.isfinite(np.asarray(array)))
        raise ValueError(f"{what} must be finite; got {count} entries that are not.")
    return array


def _real(what: str, given: Any) -> Array:
    try:
        array = jnp.asarray(given)
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be real numbers; got {type(given).__name__}.") from None
    if jnp.issubdtype(array.dtype, jnp.complexfloating) or not jnp.issubdtype(array.dtype, jnp.number):
        raise TypeError(f"{what} must be real numbers; got dtype {array.dtype}.")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def _is_square(factor: Factor) -> bool:
    return factor.weight.shape[0] == factor.weight.shape[1]
