"""Fixed points of the length map q' = sigma_w^2 E[phi(sqrt(q) z)^2] + sigma_b^2, and of the edge of chaos.

E[phi^2] and E[phi'^2] are tabulated once for each activation, so that finding sign changes costs next to nothing per
network; brackets are polished by safeguarded Newton steps with fresh integrals. Derivatives of a fixed point are those
of one more Newton step (implicit function theorem). All within ``jax.enable_x64(True)``.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsat.activations import Activation
from jaxsat.theory import gaussian_integrals

GRID = np.concatenate([[0.0], np.logspace(-12, 12, 289)])  # of q: neighbours differ by a fifth
NEWTON_STEPS = 5
NEUTRAL = 1e-9  # a slope closer to 1 counts as 1
ROUNDING = 1e-13  # of a length map, relative: less counts as no change
SMALL, LARGE = 1e-30, 1e30  # stand for the limits q -> 0 and q -> inf of slopes: kinks at 0 have two sides


def square(phi: Activation, q: Array) -> Array:
    """E[phi(sqrt(q) z)^2]."""
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), q)
    return gaussian_integrals.centred_sum(phi(x) ** 2, weights)


def slope_square(phi: Activation, q: Array) -> Array:
    """E[phi'(sqrt(q) z)^2]; at q = 0 the limit."""
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), jnp.maximum(q, SMALL))
    return gaussian_integrals.centred_sum(phi.slope(x) ** 2, weights)


def square_and_slope(phi: Activation, q: Array) -> tuple[Array, Array]:
    """E[phi^2] and its derivative in q, from the same values of phi; both are linear in q below 1e-12."""
    at = jnp.maximum(q, GRID[1])
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), at)
    squares = phi(x) ** 2
    value = gaussian_integrals.centred_sum(squares, weights)
    slope = jnp.sum(weights * (squares - value) * (x * x / at - 1)) / (2 * at)
    return jnp.where(q < at, phi(jnp.zeros_like(q)) ** 2 + slope * q, value), slope


@functools.lru_cache(maxsize=256)
def tables(phi: Activation) -> tuple[np.ndarray, np.ndarray]:
    """E[phi^2] and E[phi'^2] over the grid of q."""
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        grid = jnp.asarray(GRID)
        squares = jax.lax.map(lambda q: square(phi, q), grid, batch_size=32)
        slopes = jax.lax.map(lambda q: slope_square(phi, q), grid, batch_size=32)
        found = np.asarray(squares), np.asarray(slopes)
    if not all(np.isfinite(a).all() for a in found):
        raise ValueError(
            f"theory: E[phi(sqrt(q) z)^2] of {phi.name!r} is not finite for some q up to 1e12: it grows too fast, like exp, "
            "or is not defined everywhere. Mean-field theory is for activations that grow like a power at most."
        )
    return found


def residuals(phi: Activation, w: Array, b: Array, slack: float = 0.0) -> Array:
    """q' - q over the grid; 0 where rounding cannot tell."""
    after = w * w * tables(phi)[0] + b * b
    return jnp.where(jnp.abs(after - GRID) <= max(ROUNDING, slack) * after, 0.0, after - GRID)


def crossings(residual: Array) -> Array:
    """Cells of the grid in which the residual changes sign; 0 counts as positive, at q = 0 as what follows."""
    positive = residual >= 0
    positive = positive.at[0].set(jnp.where(residual[0] == 0, positive[1], positive[0]))
    return positive[:-1] != positive[1:]


def reached(phi: Activation, w: Array, b: Array, start: Array, slack: float = 0.0) -> Array:
    """The fixed point to which lengths move from `start`: 0, inf, a root, or `start` itself where nothing moves."""
    residual = residuals(phi, w, b, slack)
    falls = crossings(residual) & (residual[:-1] >= 0)  # from growing to shrinking: where lengths gather
    cells = jnp.arange(falls.size, dtype=jnp.int32)
    here = jnp.clip(jnp.searchsorted(jnp.asarray(GRID), start, side="right") - 1, 0, falls.size - 1)
    up = jnp.min(jnp.where(falls & (cells >= here), cells, falls.size))
    down = jnp.max(jnp.where(falls & (cells <= here), cells, -1))
    grows = (residual[here + 1] > 0) | falls[here]
    cell = jnp.where(grows, up, down)
    root = polished(phi, residual, jnp.clip(cell, 0, falls.size - 1), w, b)
    root = jnp.where(cell == falls.size, jnp.inf, jnp.where(cell < 0, 0.0, root))
    still = (residual[here] == 0) & (residual[here + 1] == 0)
    return jax.lax.stop_gradient(jnp.where(still, start, root))


def polished(phi: Activation, residuals: Array, cell: Array, w: Array, b: Array) -> Array:
    """The root of the length map in one cell of the grid."""

    def residual(q):
        value, slope = square_and_slope(phi, q)
        return w * w * value + b * b - q, w * w * slope - 1

    return _safe_newton(residual, jax.lax.dynamic_slice(residuals, (cell,), (2,)), cell)


def _safe_newton(residual: Any, ends: Array, cell: Array) -> Array:
    """The sign change within a cell of the grid: secant, then Newton steps, or halving where those leave the bracket."""
    grid = jnp.asarray(GRID)
    low, high = grid[cell], grid[cell + 1]
    falling = ends[1] < 0
    start = low + (high - low) * jnp.clip(ends[0] / (ends[0] - ends[1]), 0.0, 1.0)

    def step(carry, _):
        low, high, q = carry
        value, slope = residual(q)
        above = (value < 0) == falling  # the root lies below q
        low, high = jnp.where(above, low, q), jnp.where(above, q, high)
        newton = q - value / jnp.where(slope == 0, 1.0, slope)
        inside = (newton >= low) & (newton <= high) & (slope != 0)
        return (low, high, jnp.where(inside, newton, (low + high) / 2)), None

    return jax.lax.stop_gradient(jax.lax.scan(step, (low, high, start), length=NEWTON_STEPS)[0][2])


def implicit(phi: Activation, q: Array, w: Array, b: Array) -> Array:
    """A fixed point, as it is, with its derivatives in the scales; constant where it is neutral, 0 or inf."""
    known = jnp.where(jnp.isfinite(q), jax.lax.stop_gradient(q), 1.0)
    value, slope = square_and_slope(phi, known)
    after = w * w * jax.lax.stop_gradient(value) + b * b
    gap = 1 - jax.lax.stop_gradient(w * w * slope)
    moves = jnp.isfinite(q) & (jnp.abs(gap) > NEUTRAL)
    return jnp.where(moves, known + (after - jax.lax.stop_gradient(after)) / jnp.where(moves, gap, 1.0), q)


def edge_root(phi: Activation, residuals: Array, cell: Array, b: Array) -> Array:
    def residual(q):
        return _edge_residual(phi, q, b), jax.jvp(lambda q: _edge_residual(phi, q, b), (q,), (jnp.ones(()),))[1]

    return _safe_newton(residual, jax.lax.dynamic_slice(residuals, (cell,), (2,)), cell)


def _edge_residual(phi: Activation, q: Array, b: Array) -> Array:
    return square(phi, q) / slope_square(phi, q) + b * b - q


def edge_implicit(phi: Activation, q: Array, b: Array) -> Array:
    slope = jax.jvp(lambda q: _edge_residual(phi, q, b), (q,), (jnp.ones(()),))[1]
    slope = jax.lax.stop_gradient(slope)
    moves = (q > 0) & (jnp.abs(slope) > NEUTRAL)
    change = b * b - jax.lax.stop_gradient(b * b)
    return jnp.where(moves, q - change / jnp.where(moves, slope, 1.0), q)
