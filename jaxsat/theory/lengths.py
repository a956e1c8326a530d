"""Lengths from layer to layer, q' = sigma_w^2 E[phi(sqrt(q) z)^2] + sigma_b^2 (Poole et al. 2016, eq. 3), and their fixed points.

E[phi^2] and E[phi'^2] are tabulated once for each activation, so that finding sign changes costs next to nothing per
network; brackets are polished by safeguarded Newton steps with fresh integrals. Derivatives of a fixed point are those
of one more Newton step (implicit function theorem). Functions of arrays work within ``jax.enable_x64(True)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxsat import checks
from jaxsat.activations import Activation, ActivationLike
from jaxsat.theory import gaussian_integrals
from jaxsat.theory.inputs import checked, in_double

GRID = np.concatenate([[0.0], np.logspace(-12, 12, 289)])  # of q: neighbours differ by a fifth
_NEWTON_STEPS = 5
NEUTRAL = 1e-9  # a slope closer to 1 counts as 1
ROUNDING = 1e-13  # of a length map, relative: less counts as no change
FIXED_POINTS = 6  # are returned; activations of the catalogue have three at most
SMALL, LARGE = 1e-30, 1e30  # stand for the limits q -> 0 and q -> inf of slopes: kinks at 0 have two sides


class FixedPoints(NamedTuple):
    """Fixed points of a length map, ascending; NaN beyond `count`. One is stable where the map's slope there is below 1."""

    q: Float[Array, " 6"]
    slope: Float[Array, " 6"]
    stable: Bool[Array, " 6"]
    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]  # a field, not tuple.count


def length_map(
    activation: ActivationLike, q: ArrayLike, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0
) -> Float[Array, ""]:
    """Return the next layer's mean squared pre-activation.

    Args:
        activation: a name, a record of ``activations``, or an elementwise callable. Static.
        q: mean squared pre-activation, >= 0.
        weight_scale, bias_scale: sigma_w and sigma_b, finite and >= 0.

    Raises:
        ValueError: a number that is negative or not finite, or an unknown activation.
        TypeError: more than one number; batches go through ``jax.vmap``.

    >>> round(float(length_map("relu", 3.0, 2.0, 1.0)), 6)  # 4 * 3 / 2 + 1
    7.0
    """
    phi = checked("length_map", activation, weight_scale=weight_scale, bias_scale=bias_scale, q=q)
    return in_double(next_length, phi, q, weight_scale, bias_scale)


def length_trajectory(
    activation: ActivationLike, depth: int, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0,
    mean_square: ArrayLike = 1.0,
) -> Float[Array, " depth"]:  # fmt: skip
    """Return q_l of the layers 1 .. depth, for an input of the given mean square.

    Other arguments and errors: as :func:`length_map`.

    >>> length_trajectory("identity", 3, 2.0).round(6).tolist()
    [4.0, 16.0, 64.0]
    """
    where = "length_trajectory"
    phi = checked(where, activation, weight_scale=weight_scale, bias_scale=bias_scale, mean_square=mean_square)
    layers = checks.size(where, "depth", depth)

    def lengths(phi: Activation, w: Array, b: Array, start: Array) -> Array:
        first = w * w * start + b * b
        return jax.lax.scan(lambda q, _: (next_length(phi, q, w, b), q), first, length=layers)[1]

    return in_double(lengths, phi, weight_scale, bias_scale, mean_square)


def fixed_points(activation: ActivationLike, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0) -> FixedPoints:
    """Return every stationary length between 0 and 1e12, with its stability.

    Where every length is stationary (ReLU at sqrt 2 without biases) none is isolated: the count is then 1, for q = 0,
    of slope 1. Arguments and errors: as :func:`length_map`.

    >>> found = fixed_points("tanh", 1.5)
    >>> int(found.count), [round(float(q), 4) for q in found.q[:2]], found.stable[:2].tolist()
    (2, [0.0, 0.7934], [False, True])
    """
    phi = checked("fixed_points", activation, weight_scale=weight_scale, bias_scale=bias_scale)
    return in_double(_fixed_points, phi, weight_scale, bias_scale)


# --- moments of the activation -----------------------------------------------------------------------------------


def square(phi: Activation, q: Array) -> Array:
    """Return E[phi(sqrt(q) z)^2]."""
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), q)
    return gaussian_integrals.centred_sum(phi(x) ** 2, weights)


def slope_square(phi: Activation, q: Array) -> Array:
    """Return E[phi'(sqrt(q) z)^2]; at q = 0 the limit."""
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), jnp.maximum(q, SMALL))
    return gaussian_integrals.centred_sum(phi.slope(x) ** 2, weights)


def square_and_slope(phi: Activation, q: Array) -> tuple[Array, Array]:
    """Return E[phi^2] and its derivative in q, from the same values of phi; both are linear in q below 1e-12."""
    at = jnp.maximum(q, GRID[1])
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), at)
    squares = phi(x) ** 2
    value = gaussian_integrals.centred_sum(squares, weights)
    slope = jnp.sum(weights * (squares - value) * (x * x / at - 1)) / (2 * at)
    return jnp.where(q < at, phi(jnp.zeros_like(q)) ** 2 + slope * q, value), slope


@functools.partial(jax.jit, static_argnames="phi")
def next_length(phi: Activation, q: Array, w: Array, b: Array) -> Array:
    """Return sigma_w^2 E[phi^2] + sigma_b^2."""
    return w * w * square(phi, q) + b * b


@functools.lru_cache(maxsize=256)
def tables(phi: Activation) -> tuple[np.ndarray, np.ndarray]:
    """Return E[phi^2] and E[phi'^2] over the grid of q."""
    both = jax.jit(lambda grid: jax.lax.map(lambda q: (square(phi, q), slope_square(phi, q)), grid, batch_size=32))
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        squares, slopes = both(jnp.asarray(GRID))
        found = np.asarray(squares), np.asarray(slopes)
    if not all(np.isfinite(a).all() for a in found):
        raise ValueError(
            f"theory: E[phi(sqrt(q) z)^2] of {phi.name!r} is not finite for some q up to 1e12: it grows too fast, like exp, "
            "or is not defined everywhere. Mean-field theory is for activations that grow like a power at most."
        )
    return found


# --- fixed points ------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames="phi")
def _fixed_points(phi: Activation, w: Array, b: Array) -> FixedPoints:
    residual = residuals(phi, w, b)
    (cells,) = jnp.nonzero(crossings(residual), size=FIXED_POINTS, fill_value=-1)
    roots = jax.vmap(lambda i: polished(phi, residual, i, w, b))(cells)
    roots = jnp.where(cells >= 0, roots, jnp.nan)
    roots = jnp.where(residual[0] == 0, jnp.concatenate([jnp.zeros(1), roots[:-1]]), roots)
    roots = jax.vmap(lambda q: implicit(phi, q, w, b))(roots)
    slope = jax.vmap(lambda q: w * w * square_and_slope(phi, q)[1])(roots)
    return FixedPoints(roots, slope, jnp.abs(slope) < 1, jnp.sum(~jnp.isnan(roots)))


def residuals(phi: Activation, w: Array, b: Array, slack: float = 0.0) -> Array:
    """Return q' - q over the grid; 0 where rounding cannot tell."""
    after = w * w * tables(phi)[0] + b * b
    return jnp.where(jnp.abs(after - GRID) <= max(ROUNDING, slack) * after, 0.0, after - GRID)


def crossings(residual: Array) -> Array:
    """Return the cells of the grid in which the residual changes sign; 0 counts as positive, at q = 0 as what follows."""
    positive = residual >= 0
    positive = positive.at[0].set(jnp.where(residual[0] == 0, positive[1], positive[0]))
    return positive[:-1] != positive[1:]


def reached(phi: Activation, w: Array, b: Array, start: Array, slack: float = 0.0) -> Array:
    """Return the fixed point to which lengths move from `start`: 0, inf, a root, or `start` itself where nothing moves."""
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
    """Return the root of the length map in one cell of the grid."""

    def residual(q: Array) -> tuple[Array, Array]:
        value, slope = square_and_slope(phi, q)
        return w * w * value + b * b - q, w * w * slope - 1

    return safe_newton(residual, jax.lax.dynamic_slice(residuals, (cell,), (2,)), cell)


def safe_newton(residual: Callable[[Array], tuple[Array, Array]], ends: Array, cell: Array) -> Array:
    """Return the sign change within a cell of the grid, by secant, then Newton steps, or halving where those leave the bracket."""
    grid = jnp.asarray(GRID)
    low, high = grid[cell], grid[cell + 1]
    falling = ends[1] < 0
    start = low + (high - low) * jnp.clip(ends[0] / (ends[0] - ends[1]), 0.0, 1.0)

    def step(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        low, high, q = carry
        value, slope = residual(q)
        above = (value < 0) == falling  # the root lies below q
        low, high = jnp.where(above, low, q), jnp.where(above, q, high)
        newton = q - value / jnp.where(slope == 0, 1.0, slope)
        inside = (newton >= low) & (newton <= high) & (slope != 0)
        return (low, high, jnp.where(inside, newton, (low + high) / 2)), None

    return jax.lax.stop_gradient(jax.lax.scan(step, (low, high, start), length=_NEWTON_STEPS)[0][2])


def implicit(phi: Activation, q: Array, w: Array, b: Array) -> Array:
    """Return a fixed point unchanged, with its derivatives in the scales; constant where it is neutral, 0 or inf."""
    known = jnp.where(jnp.isfinite(q), jax.lax.stop_gradient(q), 1.0)
    value, slope = square_and_slope(phi, known)
    after = w * w * jax.lax.stop_gradient(value) + b * b
    gap = 1 - jax.lax.stop_gradient(w * w * slope)
    moves = jnp.isfinite(q) & (jnp.abs(gap) > NEUTRAL)
    return jnp.where(moves, known + (after - jax.lax.stop_gradient(after)) / jnp.where(moves, gap, 1.0), q)
