"""Singular values: of a matrix, and which of them can be trusted; of a long product, all of them, as logarithms.

A dense singular value decomposition is right to eps times the *largest* singular value. The Jacobian of a deep network
spreads its singular values exponentially with depth, so below that floor `svd(jacfwd(f)(x))` is rounding noise: in
float32 that is the lower half of the spectrum after 28 tanh layers of width 64 at sigma_w = 1, after 8 at sigma_w = 2.5
(gaussian weights; measured). Products of layers are therefore kept in factors and logarithms (see ``graded``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxsat import checks
from jaxsat.linalg import graded, graded_passes, product_input
from jaxsat.linalg.exact import exact_log_singular_values_of_product
from jaxsat.linalg.krylov import largest_singular_values
from jaxsat.linalg.lapack import after

__all__ = [
    "LyapunovExponents",
    "SingularValues",
    "decomposed",
    "effective_dimension",
    "effective_rank",
    "exact_log_singular_values_of_product",
    "is_log_resolved",
    "is_resolved",
    "isometry_gap",
    "largest_singular_values",
    "log_condition_number",
    "log_singular_values_of_product",
    "lyapunov_exponents",
    "participation_ratio",
    "singular_values_of_matrix",
    "stable_rank",
]


RESOLVED = 1e-3  # largest error, in nats, of a logarithm that counts as known


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


def singular_values_of_matrix(matrix: ArrayLike) -> SingularValues:
    """Return the singular values of one matrix, and which of them are more than rounding noise.

    Args:
        matrix: (m, n), real and finite.

    Returns: values (min(m, n),), descending; their floor eps * s_1; and flags, true where s > max(m, n) * floor.
        Under jit, NaN in the matrix gives NaN throughout, and nothing resolved.

    Raises:
        ValueError: another number of dimensions, an empty matrix, non-finite entries.
        TypeError: complex entries.

    Accuracy: absolute, some eps * s_1 (Golub & Van Loan 2013, section 8.6). A matrix that was itself computed, such as
        a Jacobian, brings its own error, which `resolved` does not know.

    >>> found = singular_values_of_matrix(jnp.diag(jnp.array([2.0, 1e-3, 1e-12], jnp.float32)))
    >>> found.resolved.tolist()
    [True, True, False]
    """
    array = product_input.finite_array("singular_values_of_matrix", "matrix", matrix, 2)
    values = decomposed(array)
    return SingularValues(values, jnp.finfo(array.dtype).eps * values[0], is_resolved(values, max(array.shape)))


def decomposed(matrix: Float[Array, "m n"]) -> Float[Array, " k"]:
    """Return the values of :func:`singular_values_of_matrix` without its checks: NaN throughout where the matrix is not finite.

    >>> decomposed(jnp.array([[jnp.inf, 0.0], [0.0, 1.0]])).tolist()
    [nan, nan]
    """
    matrix = checks.real_array("decomposed", "matrix", matrix)
    if matrix.ndim < 2 or matrix.size == 0:
        came = checks.Shown(f"shape {matrix.shape}")
        raise ValueError(checks.refusal("decomposed", "matrix", "have rows and columns", came))
    wide = matrix if matrix.dtype.itemsize >= 4 else matrix.astype(jnp.float32)  # no library decomposes half precision
    return jnp.linalg.svd(wide, compute_uv=False).astype(matrix.dtype)


def is_resolved(values: Float[Array, "*batch k"], size: int) -> Bool[Array, "*batch k"]:
    """Return whether singular values of a dense decomposition, descending, are above rounding noise: s > size eps s_1.

    Args:
        values: along the last axis; eps is that of their dtype.
        size: the larger side of the matrix.

    >>> is_resolved(jnp.array([1.0, 1e-6, 1e-7], jnp.float32), 3).tolist()
    [True, True, False]
    """
    values, size = checks.real_array("is_resolved", "values", values), checks.size("is_resolved", "size", size)
    if values.ndim == 0:
        came = checks.Shown("a single number")
        raise ValueError(checks.refusal("is_resolved", "values", "have singular values along its last axis", came))
    return values > size * jnp.finfo(values.dtype).eps * values[..., :1]


def is_log_resolved(errors: Float[ArrayLike, "*batch k"]) -> Bool[Array, "*batch k"]:
    """Return whether ln s is known to 1e-3, from the errors that ``with_error=True`` returns.

    >>> is_log_resolved(jnp.array([1e-9, 0.5])).tolist()
    [True, False]
    """
    return checks.real_array("is_log_resolved", "errors", errors) < RESOLVED


def log_singular_values_of_product(
    weights: ArrayLike | Sequence[ArrayLike],
    log_abs_slopes: ArrayLike | Sequence[ArrayLike] | None = None,
    slope_signs: ArrayLike | Sequence[ArrayLike] | None = None,
    *,
    every_depth: bool = False,
    with_error: bool = False,
) -> Float[Array, "*layers k"] | tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Return ln of every singular value of D_L W_L ... D_1 W_1, to high relative accuracy, for products of any length.

    Args:
        weights: W_1 .. W_L, which act as h = W x (rows are outputs): an array (L, n, n), or a sequence of matrices whose
            shapes chain. Weights that are stored for ``x @ w`` must be transposed.
        log_abs_slopes: ln of the absolute diagonals of D_1 .. D_L: (L, n), or a sequence; -inf is a slope of exactly 0.
            None: no D.
        slope_signs: -1, 0 or 1 of the same shapes; None: all 1.
        every_depth: return the values of every partial product D_l W_l ... D_1 W_1 too: shape (L, k). All widths after
            the input's must be equal.
        with_error: return a pair: the values, and an estimate of the error of each, in nats (not with every_depth, and
            without derivatives). Where the estimate of the quick way is above 1e-8, a careful way follows, and of each
            value the better of the two is taken. What the weights do not determine keeps a large estimate. The estimate of
            -inf is 0 where zeros in the factors make it certain, else inf: rounding may have made the zero.

    Returns: natural logarithms, descending, k = min(rows, columns) of the product; -inf for those that are exactly zero
        because slopes are (a ReLU network's rank), or because the product passes a narrower layer. If one weight matrix is
        rank-deficient, the missing values come out about 36 nats below its largest instead of -inf. The dtype is that of
        the weights.

    Raises:
        ValueError: an empty product, shapes that do not chain, non-finite weights, slopes that are NaN or +inf, signs
            other than -1, 0, 1. Under jit values are unknown: NaN anywhere gives NaN throughout.
        TypeError: complex input.

    Accuracy: for the weights of random networks, and the input taken as exact, every ln s is within 1e-9 in float64 and
        1e-3 in float32 (the arithmetic is float64 there too): measured for products of up to 400 layers and spreads
        beyond exp(1000) in tests/linalg/test_graded.py.
        Products in which factors depend on each other can be far worse without a word: a triangular Toeplitz matrix 100
        times, 0.9; an almost defective matrix 100 times, 0.006; fifty matrices and then their inverses, 1; columns scaled
        from 1e-20 to 1e20, hundreds (all n = 16, float64). Ask for with_error=True where weights are tied, trained or
        structured. It mends the first and the last (4e-12 and 2e-13), and says of the others that they are not known.
        The estimate is a first-order condition number times eps. Of 308 products of 44 kinds (n = 6, 40 layers; in
        tests/linalg/product_bank.py) no true error was above it; half of the estimates were below 100 times the true error.
        For the Toeplitz matrix it is far too large, 1e-5.
        Weights with many exact zeros (sparse or structured) lose digits where slopes of one layer are widely different:
        elimination leaves rounding where exact zeros should be. Half of the entries zero, float64: 1e-12 for tanh at
        pre-activations of standard deviation up to 3, 1e-6 at 12; where slopes go in steps of exp(-6) or more, some values
        are lost altogether. Derivatives in both modes, for simple singular values; not with every_depth.
    Cost: some 5 L n^3 floating-point operations, in float32, where two layers share a decomposition, some 3 L n^3 (the
        dense product alone: 2 L n^3), plus one or two singular value decompositions. With every_depth, one decomposition
        for each depth. with_error makes that 2.6 times as much, and where the careful way is needed, which chooses its
        pivots in logarithms, some 20 times (n = 64, 32 layers, one thread of a CPU).
    Source: Demmel et al. 1999, Linear Algebra Appl. 299; Drmac & Veselic 2008, SIAM J. Matrix Anal. Appl. 29.

    >>> slopes = jnp.log(jnp.array([[1e-3, 1.0], [1e-3, 1.0]])) * 100.0  # 1e-300, twice
    >>> [round(float(v), 1) for v in log_singular_values_of_product(jnp.stack([jnp.eye(2)] * 2), slopes)]
    [0.0, -1381.6]
    """
    stacks = product_input.stacks("log_singular_values_of_product", weights, log_abs_slopes, slope_signs)
    if every_depth and with_error:
        where, rule = "log_singular_values_of_product", "be False with every_depth=True"
        raise ValueError(checks.refusal(where, "with_error", rule, True))
    if with_error:
        return graded_passes.log_singular_values_with_errors(stacks)
    if not every_depth:
        return graded.log_values_of_factors(stacks)
    if len({stack.weight.shape[-2] for stack in stacks}) > 1:
        where, rule = "log_singular_values_of_product", "have layers of one width with every_depth=True"
        raise ValueError(checks.refusal(where, "weights", rule, checks.Shown("several")))
    return jnp.concatenate(graded.log_singular_values_of_every_layer(stacks))


def lyapunov_exponents(
    weights: ArrayLike, log_abs_slopes: ArrayLike | None = None, slope_signs: ArrayLike | None = None
) -> LyapunovExponents:
    """Return the exponents at which directions grow or shrink per layer of a product of square factors.

    Args and errors are those of :func:`log_singular_values_of_product` (h = W x), for (L, n, n) and (L, n) only.

    `exponents`, ln s_i / L, describe the product itself; they differ from the limit by O(1 / L). The estimate by QR
    (Benettin et al. 1980) is a mean over layers, so it has an error bar; for gaussian weights without slopes it has no
    bias. R comes from LU decompositions, which keep the relative accuracy of slopes of any spread. Works under jit and
    vmap; `by_qr` can be differentiated with ``jax_enable_x64`` only.

    >>> halves = lyapunov_exponents(jnp.stack([jnp.eye(3) / 2] * 10))
    >>> [round(float(v), 4) for v in halves.exponents], float(halves.standard_error.max()) < 1e-7
    ([-0.6931, -0.6931, -0.6931], True)
    """
    stacks = product_input.stacks("lyapunov_exponents", weights, log_abs_slopes, slope_signs)
    if len(stacks) > 1 or stacks[0].weight.shape[-1] != stacks[0].weight.shape[-2]:
        rule = "be square and of one size"
        raise ValueError(checks.refusal("lyapunov_exponents", "weights", rule, checks.Shown("several shapes")))
    values = graded.log_values_of_factors(stacks)
    increments = graded.log_growth_by_qr(stacks[0]._replace(weight=after(values, stacks[0].weight)))
    return _exponents(values, increments)


@jax.jit  # outside jit each operation would be a program of its own
def _exponents(log_values: Float[Array, " n"], increments: Float[Array, "layers n"]) -> LyapunovExponents:
    layers, n = increments.shape
    by_qr = jnp.mean(increments, axis=0)
    batches = math.isqrt(layers)  # one alone, of fewer than 4 layers, has no deviation: NaN
    means = jnp.mean(increments[: layers - layers % batches].reshape(batches, -1, n), axis=1)
    error = jnp.std(means, axis=0, ddof=1) / batches**0.5
    order = jnp.argsort(-by_qr)
    return LyapunovExponents(log_values / layers, by_qr[order], error[order])


# --- what a spectrum says ----------------------------------------------------------------------------------------


def log_condition_number(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """Return ln s_1 - ln s_k; inf where rank is lacking, NaN for the zero matrix.

    >>> float(log_condition_number(jnp.array([2.0, -100.0])))
    102.0
    """
    values = _spectrum(log_singular_values)
    return values[0] - values[-1]


def stable_rank(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """Return sum s_i^2 / s_1^2, between 1 and k (Rudelson & Vershynin 2007); NaN for the zero matrix.

    >>> float(stable_rank(jnp.zeros(5)))
    5.0
    """
    return jnp.sum(_relative_squares(log_singular_values))


def participation_ratio(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """Return (sum s_i^2)^2 / sum s_i^4, between 1 and k: how many directions carry the variance.

    >>> float(participation_ratio(jnp.array([0.0, 0.0, -50.0])))
    2.0
    """
    squares = _relative_squares(log_singular_values)
    return jnp.sum(squares) ** 2 / jnp.sum(squares**2)


def effective_rank(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """Return exp of the entropy of s_i / sum s (Roy & Vetterli 2007), between 1 and k.

    >>> round(float(effective_rank(jnp.array([0.0, 0.0, -jnp.inf]))), 6)
    2.0
    """
    values = _spectrum(log_singular_values)
    logs = values - jax.nn.logsumexp(values)
    terms = jnp.where(jnp.isneginf(logs), 0, jnp.exp(logs) * logs)
    return jnp.exp(-jnp.sum(terms))


def effective_dimension(log_singular_values: Float[ArrayLike, " k"], ridge: ArrayLike = 1.0) -> Float[Array, ""]:
    """Return sum s_i^2 / (s_i^2 + ridge): with ridge 1, about how many directions the network does not shrink.

    The effective dimension (degrees of freedom) of ridge regression on the Jacobian (Zhang 2005).

    >>> round(float(effective_dimension(jnp.array([20.0, 0.0, -20.0]))), 6)
    1.5
    """
    values = _spectrum(log_singular_values)
    ridge = checks.scalar("effective_dimension", "ridge", ridge, above=0.0)
    return jnp.sum(jax.nn.sigmoid(2 * values - jnp.log(jnp.asarray(ridge, values.dtype))))


def isometry_gap(log_singular_values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """Return ln of the mean of s_i^2 minus the mean of ln s_i^2 (Joudaki et al. 2023): 0 for a multiple of an isometry,
    positive otherwise.

    >>> float(isometry_gap(jnp.full(4, -7.0)))
    0.0
    """
    squares = 2 * _spectrum(log_singular_values)
    return jax.nn.logsumexp(squares) - jnp.log(jnp.asarray(squares.size, squares.dtype)) - jnp.mean(squares)


def _spectrum(log_singular_values: ArrayLike) -> Float[Array, " k"]:
    values = checks.real_array("spectrum", "log_singular_values", log_singular_values)
    if values.ndim != 1 or values.size == 0:
        rule, shape = "be those of one matrix, (k,), k >= 1", checks.Shown(f"shape {values.shape}")
        raise ValueError(checks.refusal("spectrum", "log_singular_values", rule, shape))
    return values


def _relative_squares(log_singular_values: ArrayLike) -> Array:
    values = _spectrum(log_singular_values)
    return jnp.exp(2 * (values - values[0]))
