"""Singular values of a product of matrices without rounding: on the host, in integers and balls, for small cases.

It is the judge of :func:`jaxsat.spectrum.log_singular_values_of_product`, and the way out where that function says that
a value is not resolved. It needs python-flint (``pip install "jaxsat[exact]"``).

The entries of a floating-point matrix are integers times a power of two, so the product P and the characteristic
polynomial of P^T P are exact. Its roots are s^2. Roots are enclosed in balls that surely hold them (Johansson 2017), and
an exact factor x^k of the polynomial counts the singular values that are exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Float

from jaxsat import checks
from jaxsat.jax_compat import Tracer
from jaxsat.linalg import product_input

MOST_BITS = 2**16  # of precision, before giving up


class ExactValues(NamedTuple):
    """ln of singular values, descending, -inf for exact zeros; the true value lies within `errors` of each."""

    values: Float[np.ndarray, " k"]
    errors: Float[np.ndarray, " k"]


def exact_log_singular_values_of_product(
    weights: ArrayLike | Sequence[ArrayLike],
    log_abs_slopes: ArrayLike | Sequence[ArrayLike] | None = None,
    slope_signs: ArrayLike | Sequence[ArrayLike] | None = None,
    digits: int = 15,
) -> ExactValues:
    """Return ln of every singular value of D_L W_L ... D_1 W_1 with a certain error bound, computed without rounding.

    Args:
        weights, log_abs_slopes, slope_signs: as :func:`log_singular_values_of_product` takes them (h = W x: rows are
            outputs), concrete: not under jit. The numbers are taken as they are.
        digits: number of decimal digits after the point that must be certain, before rounding to float64.

    Returns: values and bounds of their errors; a bound holds half a unit in the last place of float64.

    Raises:
        ImportError: python-flint is not installed.
        ArithmeticError: the digits cannot be made certain, because slopes other than 1 and 0 (whose exact values are not
            rational) leave singular values equal, or zero.
        ValueError, TypeError: as :func:`log_singular_values_of_product`.

    Cost: the integers have 53 bits for each layer: n = 16 and 100 layers take some seconds. Runs on the host only.

    References: Johansson 2017, IEEE Trans. Comput. 66 (Arb).

    >>> exact = exact_log_singular_values_of_product(np.array([[[1.0, 1.0], [1.0, 1.0]]] * 3))
    >>> [round(float(v), 12) for v in exact.values]  # 8 and 0
    [2.07944154168, -inf]
    """
    where = "exact_log_singular_values_of_product"
    digits = checks.integer(where, "digits", digits, most=10_000)
    _flint(where)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((weights, log_abs_slopes, slope_signs))):
        raise TypeError(
            checks.refusal(where, "weights", "be known numbers", checks.Shown("traced ones"), "Call it outside jit.")
        )
    factors = []
    for stack in product_input.stacks(where, weights, log_abs_slopes, slope_signs):
        factors += [_Factor(*parts) for parts in zip(*(np.asarray(a, float) for a in stack), strict=True)]
    smaller = min(len(factors[-1].weight), factors[0].weight.shape[1])
    slopes = np.concatenate([f.log_abs_slopes for f in factors])
    if np.isin(slopes, (0.0, -np.inf)).all():
        squares, zeros = _squares_of_integers(factors, digits)
    else:
        squares, zeros = _squares_of_balls(where, factors, digits)
    values = np.array([float(v.mid()) for v in squares] + [-np.inf] * zeros)
    finite = np.where(np.isfinite(values), values, 0.0)
    errors = np.array([float(v.rad()) for v in squares] + [0.0] * zeros) + np.spacing(np.abs(finite)) * np.isfinite(
        values
    )
    order = np.argsort(-values, kind="stable")[:smaller]
    return ExactValues(values[order], errors[order])


class _Factor(NamedTuple):
    weight: Float[np.ndarray, "m n"]
    log_abs_slopes: Float[np.ndarray, " m"]
    signs: Float[np.ndarray, " m"]


def _flint(where: str) -> Any:
    try:
        import flint
    except ImportError:
        raise ImportError(f"{where}: needs python-flint; install it with: pip install 'jaxsat[exact]'") from None
    return flint


# --- slopes of 1, -1 and 0: integers throughout ------------------------------------------------------------------


def _squares_of_integers(factors: list[_Factor], digits: int) -> tuple[list[Any], int]:
    """Return enclosures of ln s for the values that are not zero, and how many are zero."""
    import flint

    product, exponent = None, 0
    for factor in factors:
        weight = np.where(np.isneginf(factor.log_abs_slopes), 0.0, factor.signs)[:, None] * factor.weight
        matrix, own = _integers(weight)
        product, exponent = matrix if product is None else matrix * product, exponent + own
    polynomial = _gram(product).charpoly()
    coefficients = polynomial.coeffs()
    zeros = next(i for i, c in enumerate(coefficients) if c != 0)
    rest, found = flint.fmpz_poly(coefficients[zeros:]), []
    for part, multiplicity in rest.factor_squarefree()[1]:
        found += [v for v in _roots(part, exponent, digits) for _ in range(multiplicity)]
    return found, zeros


def _roots(polynomial: Any, exponent: int, digits: int) -> list[Any]:
    """Return enclosures of exponent ln 2 + ln(root) / 2 for every root: all are real, positive and distinct."""
    flint = _flint("")
    if polynomial.degree() == 0:
        return []

    def at(bits: int) -> list[Any] | None:
        roots = [root for root, _ in polynomial.complex_roots()]
        logs = [root.real.log() / 2 + exponent * flint.arb.const_log2() for root in roots]
        return logs if _are_certain(logs, digits) else None

    return _with_growing_precision(at, 64 + 4 * digits)


def _integers(weight: Float[np.ndarray, "m n"]) -> tuple[Any, int]:
    """Return an integer matrix and an exponent e: the weight is 2^e times the matrix, exactly."""
    import flint

    mantissas, exponents = np.frexp(weight)
    lowest = int(np.min(np.where(weight == 0, 2000, exponents)))
    lowest = 0 if lowest == 2000 else lowest
    rows = [
        [int(m * 2**53) << (int(e) - lowest) if m else 0 for m, e in zip(*pair, strict=True)]
        for pair in zip(mantissas, exponents, strict=True)
    ]
    return flint.fmpz_mat(rows), lowest - 53


# --- slopes given as logarithms: balls ---------------------------------------------------------------------------


def _squares_of_balls(where: str, factors: list[_Factor], digits: int) -> tuple[list[Any], int]:
    """Return the same where slopes are exp of a number: eigenvalues of a matrix of balls, all different, none zero."""
    import flint

    def at(bits: int) -> list[Any] | None:
        product = None
        for factor in factors:
            matrix, own = _integers(factor.weight)
            slopes = [_slope(log, sign, own) for log, sign in zip(factor.log_abs_slopes, factor.signs, strict=True)]
            rows = [[s * matrix[i, j] for j in range(matrix.ncols())] for i, s in enumerate(slopes)]
            product = flint.arb_mat(rows) if product is None else flint.arb_mat(rows) * product
        try:
            roots = flint.acb_mat(_gram(product)).eig()
        except ValueError:
            return None
        logs = [root.real.log() / 2 for root in roots]
        return logs if _are_certain(logs, digits) else None

    try:
        return _with_growing_precision(at, 256 + 4 * digits), 0
    except ArithmeticError:
        raise ArithmeticError(f"{where}: {digits} digits cannot be made certain; values are equal or zero.") from None


def _slope(log: float, sign: float, exponent: int) -> Any:
    import flint

    return flint.arb(0) if np.isneginf(log) else flint.arb(log).exp() * int(sign) * flint.arb(2) ** exponent


# --- both --------------------------------------------------------------------------------------------------------


def _gram(product: Any) -> Any:
    """Return P^T P, or P P^T where that is smaller."""
    turned = product.transpose()
    return turned * product if product.ncols() <= product.nrows() else product * turned


def _are_certain(logs: list[Any], digits: int) -> bool:
    return all(v.is_finite() and v.rad() < 10.0**-digits for v in logs)


def _with_growing_precision(at: Any, bits: int) -> list[Any]:
    """Return the first result that is not None, at a precision that doubles."""
    import flint

    before = flint.ctx.prec
    try:
        while bits <= MOST_BITS:
            flint.ctx.prec = bits
            if (result := at(bits)) is not None:
                return result
            bits *= 2
    finally:
        flint.ctx.prec = before
    raise ArithmeticError("precision is exhausted")
