"""The distribution of squared slopes in a wide network, and the sums over it that free probability needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsat.activations import Activation
from jaxsat.theory import gaussian_integrals
from jaxsat.theory.lengths import LARGE, SMALL


class SlopeLaw(NamedTuple):
    """Nodes of the distribution of t = phi'^2: ln t and weights; -inf for t = 0."""

    log_t: Float[Array, " nodes"]
    weights: Float[Array, " nodes"]


def slope_law_of(phi: Activation, q: Array, finer: int) -> SlopeLaw:
    """Return the distribution of squared slopes at mean squared pre-activation q."""
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), jnp.clip(q, SMALL, LARGE), finer)
    return SlopeLaw(2 * phi.log_abs_slope(x), weights)


def kept_and_lost(slopes: SlopeLaw, u: Array) -> tuple[Array, Array, Array]:
    """Return a = E[t / (t + eta)], 1 - a, and da/du, at complex u = ln eta: neither difference is taken.

    Real and imaginary parts by hand: the angle of eta is the same at every node, which saves a complex exponential.
    """
    zero = jnp.isneginf(slopes.log_t)
    size = jnp.exp(jnp.clip(jnp.real(u) - jnp.where(zero, 0.0, slopes.log_t), -300.0, 300.0))
    cos, sin = jnp.cos(jnp.imag(u)), jnp.sin(jnp.imag(u))
    # kept = 1 / (1 + eta / t), lost = kept * eta / t
    real, imag = 1 + size * cos, size * sin
    norm = real * real + imag * imag
    weights = jnp.where(zero, 0.0, slopes.weights / norm)
    kept_real, kept_imag = jnp.sum(weights * real), -jnp.sum(weights * imag)
    lost_real, lost_imag = jnp.sum(weights * size * (size + cos)), jnp.sum(weights * imag)
    lost_real += jnp.sum(jnp.where(zero, slopes.weights, 0.0))
    # kept * lost = (eta / t) / (1 + eta / t)^2
    by_norm = weights * size / norm
    both_real = jnp.sum(by_norm * (cos * (real * real - imag * imag) + 2 * sin * real * imag))
    both_imag = jnp.sum(by_norm * (sin * (real * real - imag * imag) - 2 * cos * real * imag))
    join = jax.lax.complex
    return join(kept_real, kept_imag), join(lost_real, lost_imag), -join(both_real, both_imag)


def likeliest(slopes: SlopeLaw, log_max: Array) -> tuple[Array, Array]:
    """Return the squared slope (its ln) that has more than half of the probability, or else the largest; and its probability."""
    order = jnp.argsort(slopes.log_t)
    median = slopes.log_t[order][jnp.searchsorted(jnp.cumsum(slopes.weights[order]), 0.5)]

    def share(log_t: Array) -> Array:
        return jnp.sum(jnp.where(jnp.abs(slopes.log_t - log_t) <= 1e-14, slopes.weights, 0.0))

    is_atom = jnp.isfinite(median) & (share(median) > 0.5)
    atom = jnp.where(is_atom, median, log_max)
    return atom, share(atom)


def keeps_sign(phi: Activation) -> bool:
    """Return whether the slope has one sign everywhere."""
    with jax.ensure_compile_time_eval():
        signs = np.asarray(phi.slope_sign(jnp.asarray(np.linspace(-100.0, 100.0, 20_001))))
    return bool((signs > 0).all() or (signs < 0).all())


def minimum_by_distance(fn: Callable[[Array], Array]) -> Array:
    """Return the minimum of a function of ln(distance): the best of a grid, then golden sections around it."""
    grid = np.linspace(-30.0, 6.0, 289)
    values = jax.lax.map(fn, jnp.asarray(grid), batch_size=16)
    # Not argmin: of 64 bits, it cannot be lowered where the caller's numbers have 32.
    index = np.arange(grid.size, dtype=np.int32)
    least = values == jnp.nanmin(values)
    best = jnp.clip(jnp.min(jnp.where(least, index, grid.size)), 1, grid.size - 2)
    ratio = (np.sqrt(5) - 1) / 2

    def section(carry, _):
        low, high = carry
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        better = fn(left) < fn(right)
        return (jnp.where(better, low, left), jnp.where(better, right, high)), None

    ends = jnp.asarray(grid)[best - 1], jnp.asarray(grid)[best + 1]
    (low, high), _ = jax.lax.scan(section, ends, length=60)
    return fn((low + high) / 2)
