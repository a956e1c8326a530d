"""The size of an array without underflow: ln of its norm, and how many entries are zero or subnormal.

``jnp.linalg.norm`` of numbers near 1e-25 is exactly 0 in float32, since it squares them. Here the norm is taken
relative to the largest entry, and subnormal numbers, which most devices flush to zero in arithmetic, are read off
their bits.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxsat import checks

_LOG_2 = 0.6931471805599453
# Powers of two by which numbers are scaled before they are squared. Squares whose sum is below tiny / eps^2 are at least
# 2^-53 (float32) and 2^-348 (float64) after the first, and their sum stays below the largest number. After the second, the
# largest number's square has 30 bits (float32) of room above it for a sum, and what counts in a sum that large is normal.
_UP = {"float32": 100.0, "float64": 900.0}
_DOWN = {"float32": 80.0, "float64": 600.0}


class Magnitude(NamedTuple):
    """The size of an array of any shape. Numbers are float64 for a float64 array and float32 otherwise.

    Attributes:
        log_norm: natural logarithm of the Euclidean norm; -inf only where every entry is exactly zero.
        zero_fraction: share of entries that are exactly zero, of either sign.
        subnormal_fraction: share of entries that are not zero but below the dtype's smallest normal number.
    """

    log_norm: Float[Array, ""]
    zero_fraction: Float[Array, ""]
    subnormal_fraction: Float[Array, ""]


def wide(dtype: object) -> jnp.dtype:
    """Return the dtype in which sums over an array of the given dtype are kept."""
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)


def magnitude(x: Float[Array, "*shape"]) -> Magnitude:
    """Return ln of the Euclidean norm of all entries, and the shares of exact zeros and of subnormal numbers.

    Args:
        x: float16, bfloat16, float32 or float64, any shape, not empty.

    Accuracy: a rounding error of the sum in float32 (float64 for float64), whatever the size of the entries.
        Non-finite entries make log_norm inf or NaN.

    Raises:
        TypeError: not a floating array.

    >>> found = magnitude(jnp.array([3e-30, 4e-30, 0.0], jnp.float32))
    >>> round(float(found.log_norm), 4), round(float(found.zero_fraction), 4)  # ln 5e-30
    (-67.4681, 0.3333)
    >>> float(jnp.linalg.norm(jnp.array([3e-30, 4e-30], jnp.float32)))
    0.0
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            checks.refusal("magnitude", "x", "be a floating array", checks.Shown(x.dtype), "Convert it first.")
        )
    return _magnitude(x)


@jax.jit  # traced once for a shape
def _magnitude(x: Float[Array, "*shape"]) -> Magnitude:
    info, to = jnp.finfo(x.dtype), wide(x.dtype)
    bits = lax.bitcast_convert_type(x, jnp.dtype(f"uint{info.bits}"))
    size = bits & jnp.asarray((1 << (info.bits - 1)) - 1, bits.dtype)
    zero = size == 0
    subnormal = (size < jnp.asarray(1 << info.nmant, size.dtype)) & ~zero

    # Of numbers near the ends of the range the squares leave it. Their sum says whether that is so; then they are scaled.
    squares, reach = jnp.sum(jnp.square(x.astype(to))), jnp.finfo(to)
    few, many = squares < reach.tiny / reach.eps**2, squares > reach.max * reach.eps

    def by_case(up: float, down: float, neither: float) -> Array:
        return jnp.where(few, up, jnp.where(many, down, neither)).astype(to)

    up, down, least = _UP[to.name], -_DOWN[to.name], float(info.minexp - info.nmant)
    # A subnormal number is its bits times the smallest of them, an integer that no arithmetic flushes.
    unit, scale = by_case(2.0 ** (up + least), 0.0, 2.0**least), by_case(2.0**up, 2.0**down, 1.0)
    scaled = jnp.where(subnormal, size.astype(to) * unit, x.astype(to) * scale)
    power = by_case(up, down, 0.0)
    log_norm = jnp.log(jnp.sum(scaled * scaled)) / 2 - power * _LOG_2
    return Magnitude(log_norm, jnp.mean(zero, dtype=to), jnp.mean(subnormal, dtype=to))


def log_norm(x: Float[Array, "*shape"]) -> Float[Array, ""]:
    """Return ln of the Euclidean norm alone; see :func:`magnitude`."""
    return magnitude(x).log_norm


def maximum_or_nan(
    x: Float[Array, "*shape"], axis: int | tuple[int, ...] | None = None, initial: float | None = None
) -> Float[Array, "*kept"]:
    """Return the largest entry, NaN if there is a NaN.

    ``jnp.max`` alone is not enough: on CPUs (jaxlib 0.10.2) it drops every NaN if there are some 4,000 entries or more.

    Args:
        x: of any shape.
        axis: the axes that go; None: all.
        initial: the least that is returned, and the answer where there is no entry.

    >>> float(maximum_or_nan(jnp.ones(5000).at[7].set(jnp.nan)))
    nan
    """
    return jnp.where(jnp.any(jnp.isnan(x), axis=axis), jnp.nan, jnp.max(x, axis=axis, initial=initial))
