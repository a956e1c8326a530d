"""The edge of chaos: the weight scale at which gradients neither vanish nor explode.

Along the edge sigma_w^2 = 1 / E[phi'(sqrt(q) z)^2], so the length is the only unknown:

    q = E[phi^2] / E[phi'^2] + sigma_b^2.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxsat.activations import Activation, ActivationLike
from jaxsat.jax_compat import Tracer
from jaxsat.theory.inputs import checked, in_double
from jaxsat.theory.lengths import (
    FIXED_POINTS,
    GRID,
    LARGE,
    NEUTRAL,
    ROUNDING,
    crossings,
    reached,
    safe_newton,
    slope_square,
    square,
    tables,
)


def critical_weight_scale(activation: ActivationLike, bias_scale: ArrayLike = 0.0) -> Float[Array, ""]:
    """Return sigma_w on the edge of chaos: chi = 1 at the stationary length that an input of mean square 1 reaches.

    If several lengths solve the equation and are reached, the smallest sigma_w is returned.

    Args:
        activation, bias_scale: as :func:`length_map`. The activation is static: under ``jax.jit``, name it in
            ``static_argnums``, or close over it.

    Returns: sigma_w. Where E[phi'^2] is the same for all large q and no finite q solves the equation (ReLU and linear
        networks with biases), the sigma_w at which chi tends to 1 with growing length. Differentiable in bias_scale;
        at sigma_b = 0 with q = 0 the derivative is taken as 0.

    Raises:
        ValueError: no such scale exists; under jit the result is NaN instead.

    >>> [round(float(critical_weight_scale(name)), 4) for name in ("tanh", "relu", "sigmoid")]
    [1.0, 1.4142, 10.1493]
    """
    phi = checked("critical_weight_scale", activation, bias_scale=bias_scale)
    found = in_double(_critical, phi, bias_scale)
    if not isinstance(found, Tracer) and np.isnan(found):
        raise ValueError(
            f"critical_weight_scale: {phi.name!r} with bias_scale = {bias_scale} has none: as the weight scale grows, "
            "chi stays on one side of 1, or jumps over it. Plot mean_field(...).chi over weight_scale, or take another bias_scale."
        )
    return found


@functools.partial(jax.jit, static_argnames="phi")
def _critical(phi: Activation, b: Array) -> Array:
    squares, slopes = tables(phi)
    limit = 1 / jnp.sqrt(slope_square(phi, jnp.asarray(LARGE)))
    residual = squares / np.maximum(slopes, 1e-300) + b * b - GRID  # positive while q is to grow, as for the length map
    residual = jnp.where(jnp.abs(residual) <= ROUNDING * (GRID + b * b), 0.0, residual)
    (cells,) = jnp.nonzero(crossings(residual), size=FIXED_POINTS, fill_value=-1)
    roots = jax.vmap(lambda i: edge_root(phi, residual, i, b))(cells)
    roots = jnp.concatenate([jnp.where(cells >= 0, roots, jnp.nan), jnp.where(residual[:1] == 0, 0.0, jnp.nan)])
    w = 1 / jnp.sqrt(jax.vmap(lambda q: slope_square(phi, q))(roots))

    def is_reached(q: Array, w: Array) -> Array:
        found = reached(phi, w, b, w * w + b * b)
        # A cell of the grid: where the map is nearly neutral, roots are no sharper.
        return jnp.abs(found - q) <= 0.25 * q

    ok = jax.vmap(is_reached)(roots, w)
    least = ok & (w == jnp.min(jnp.where(ok, w, jnp.inf)))  # not argmin, whose index changes its dtype inside jit
    q = jnp.max(jnp.where(least, roots, 0.0))
    q = edge_implicit(phi, jax.lax.stop_gradient(q), b)
    critical = 1 / jnp.sqrt(slope_square(phi, q))
    # All lengths alike, or none long enough: the limit, if there is one.
    flat = jnp.all(residual >= 0) & (jnp.abs(limit * jnp.sqrt(slopes[-1]) - 1) < 1e-3)
    return jnp.where(jnp.any(ok), critical, jnp.where(flat, limit, jnp.nan))


def edge_root(phi: Activation, residuals: Array, cell: Array, b: Array) -> Array:
    """Return the root of the equation of the edge in one cell of the grid."""

    def residual(q: Array) -> tuple[Array, Array]:
        return _edge_residual(phi, q, b), jax.jvp(lambda q: _edge_residual(phi, q, b), (q,), (jnp.ones(()),))[1]

    return safe_newton(residual, jax.lax.dynamic_slice(residuals, (cell,), (2,)), cell)


def _edge_residual(phi: Activation, q: Array, b: Array) -> Array:
    return square(phi, q) / slope_square(phi, q) + b * b - q


def edge_implicit(phi: Activation, q: Array, b: Array) -> Array:
    """Return a length on the edge unchanged, with its derivative in the bias scale."""
    slope = jax.jvp(lambda q: _edge_residual(phi, q, b), (q,), (jnp.ones(()),))[1]
    slope = jax.lax.stop_gradient(slope)
    moves = (q > 0) & (jnp.abs(slope) > NEUTRAL)
    change = b * b - jax.lax.stop_gradient(b * b)
    return jnp.where(moves, q - change / jnp.where(moves, slope, 1.0), q)
