"""Stable formulas that several activations share: each is written in terms of exp(-|x|)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array

from jaxsat.activations.record import Elementwise

LOG_2 = float(np.log(2.0))
LOG_SQRT_2PI = 0.9189385332046727418
SQRT_2_OVER_PI = 0.7978845608028653559


def sigmoid(x: Array) -> Array:
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x >= 0, 1, e) / (1 + e)


def times_sigmoid(a: Array, u: Array) -> Array:
    """Return a * sigmoid(u), right also where sigmoid(u) alone is subnormal and would be flushed to zero."""
    half = jnp.exp(jnp.where(u < 0, u, 0) / 2)  # `where`, not `minimum`: at 0 its derivative must be abs's, one-sided
    return a * half / (1 + jnp.exp(-jnp.abs(u))) * half


def log_sigmoid(x: Array) -> Array:
    return jnp.where(x < 0, x, 0) - jnp.log1p(jnp.exp(-jnp.abs(x)))


def sech2(x: Array, height: float = 1.0) -> Array:
    root = jnp.exp(-jnp.abs(x))  # twice a factor: its square alone may be subnormal, and flushed to zero
    return 4 * height * root / (1 + root * root) ** 2 * root


def log_sech2(x: Array) -> Array:
    return 2 * (LOG_2 - jnp.abs(x) - jnp.log1p(jnp.exp(-2 * jnp.abs(x))))


def at_least_single(fn: Elementwise) -> Elementwise:
    """Return fn, computed in float32 for the half precisions, which jax.scipy does not take."""

    def wide(x):
        return fn(x) if x.dtype in (jnp.float32, jnp.float64) else fn(x.astype(jnp.float32)).astype(x.dtype)

    return wide


def log_density(x: Array) -> Array:
    return -x * x / 2 - LOG_SQRT_2PI


def tail_factor(t: Array) -> Array:
    """Return t Phi(-t) / density(t) for t >= 10, by its asymptotic series: the first term left out is below 1e-15."""
    factor = jnp.ones_like(t)
    for k in range(31, 0, -2):
        factor = 1 - k * factor / (t * t)
    return factor


@at_least_single
def log_ndtr(x: Array) -> Array:
    """Return ln Phi(x) for x <= 0. That of jax.scipy is wrong by 3e-9 just beyond -20, where it changes its formula."""
    far = jnp.maximum(-x, 10)
    near = jnp.log(ndtr(jnp.maximum(x, -10)))
    return jnp.where(x < -10, log_density(far) + jnp.log(tail_factor(far) / far), near)


def step(x: Array, left: float, right: float) -> Array:
    """Return left for x <= 0, right for x > 0, in x's dtype; NaN stays NaN."""
    return jnp.where(jnp.isnan(x), x, jnp.where(x > 0, jnp.asarray(right, x.dtype), jnp.asarray(left, x.dtype)))


def box(x: Array, inside: Array, height: float, log: bool) -> Array:
    """Return a constant slope `height` inside and 0 outside, or its logarithm. NaN stays NaN."""
    there, elsewhere = (np.log(height), -jnp.inf) if log else (height, 0.0)
    box = jnp.where(inside, jnp.asarray(there, x.dtype), jnp.asarray(elsewhere, x.dtype))
    return jnp.where(jnp.isnan(x), x, box)


def log_abs(slope: Elementwise) -> Elementwise:
    """Return ln|slope| of a slope that does not underflow where it matters."""
    return lambda x: jnp.log(jnp.abs(slope(x)))
