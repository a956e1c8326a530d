"""The size of an array without underflow: ln of its norm, and how many entries are zero or subnormal.

``jnp.linalg.norm`` of numbers near 1e-25 is exactly 0 in float32, since it squares them. Here the norm is taken
relative to the largest entry, and subnormal numbers, which most devices flush to zero in arithmetic, are read off
their bits.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxsat import checks

_LOG_2 = 0.6931471805599453


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
    info, to = jnp.finfo(x.dtype), wide(x.dtype)
    bits = lax.bitcast_convert_type(x, jnp.dtype(f"uint{info.bits}"))
    size = bits & jnp.asarray((1 << (info.bits - 1)) - 1, bits.dtype)
    zero = size == 0
    subnormal = (size < jnp.asarray(1 << info.nmant, size.dtype)) & ~zero

    def by_parts():
        # A subnormal number is its bits times the smallest of them, an integer that no arithmetic flushes.
        tiny = jnp.where(subnormal, size, jnp.zeros_like(size)).astype(to)
        normal = jnp.where(subnormal, jnp.zeros_like(x), x).astype(to)
        unit = (info.minexp - info.nmant) * _LOG_2
        return jnp.logaddexp(2 * _scaled(normal), 2 * (_scaled(tiny) + unit)) / 2

    # Where the plain sum is far from both ends of the range, what underflowed in it is less than its rounding.
    squares, reach = jnp.sum(jnp.square(x.astype(to))), jnp.finfo(to)
    plain = (squares > reach.tiny / reach.eps**2) & (squares < reach.max * reach.eps)
    log_norm = lax.cond(plain, lambda: jnp.log(squares) / 2, by_parts)
    return Magnitude(log_norm, jnp.mean(zero, dtype=to), jnp.mean(subnormal, dtype=to))


def _scaled(x: Float[Array, "*shape"]) -> Float[Array, ""]:
    """Return ln of the norm, computed beside the largest entry."""
    largest = jnp.max(jnp.abs(x))
    usable = jnp.isfinite(largest) & (largest > 0)
    # By a power of two below the largest: exact, and its inverse is finite.
    log_2 = jnp.log2(jnp.where(usable, largest, 1))
    exponent = jnp.where(usable, jnp.floor(log_2), 0)
    half = jnp.floor(exponent / 2)
    scaled = x * jnp.exp2(-half) * jnp.exp2(half - exponent)
    total = jnp.log(jnp.sum(scaled * scaled)) / 2 + exponent * _LOG_2
    return jnp.where(usable, total, jnp.log(largest))


def log_norm(x: Float[Array, "*shape"]) -> Float[Array, ""]:
    """Return ln of the Euclidean norm alone; see :func:`magnitude`."""
    return magnitude(x).log_norm
