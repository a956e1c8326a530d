"""Signal propagation in the limit of infinite width: lengths, correlations and gradients from layer to layer.

    q' = sigma_w^2 E[phi(sqrt(q) z)^2] + sigma_b^2                 length (Poole et al. 2016, eq. 3)
    c' = (sigma_w^2 E[phi(u) phi(v)] + sigma_b^2) / q'             correlation of two inputs (eq. 5)
    chi = sigma_w^2 E[phi'(sqrt(q) z)^2]                           mean squared gradient, per layer back
                                                                   (Schoenholz et al. 2017, eq. 4)

Everything is computed in float64, whatever JAX's configuration, and returned in the default float dtype.

Fixed points of the length are sought among all q from 1e-12 to 1e12 (see ``lengths``). The correlation map at a stationary length is a power series in c with the squared Hermite coefficients
of phi: one pass gives it for every c.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxsat.activations import Activation
from jaxsat.jax_compat import Tracer
from jaxsat.theory import gaussian_integrals
from jaxsat.theory.arguments import check_correlation, check_count, checked, in_double, input_slack
from jaxsat.theory.lengths import (
    GRID,
    LARGE,
    NEUTRAL,
    ROUNDING,
    SMALL,
    crossings,
    edge_implicit,
    edge_root,
    implicit,
    polished,
    reached,
    residuals,
    slope_square,
    square,
    square_and_slope,
    tables,
)

FIXED_POINTS = 6  # are returned; activations of the catalogue have three at most
TERMS = 256  # of the Hermite series

PHASES = ("ordered", "chaotic", "critical", "diverges", "oscillates")


class MeanField(NamedTuple):
    """The infinite-width limit of one network. Depth scales are in layers, inf where nothing decays exponentially.

    Attributes:
        q: stationary mean squared pre-activation; inf where lengths diverge.
        chi: factor of the mean squared gradient for each layer back: below 1 it vanishes, above 1 it explodes.
        chi_q: derivative of the length map at q.
        c: stationary correlation of two inputs; 1 by convention where q = 0.
        chi_c: derivative of the correlation map at c.
        xi_q, xi_c: depth scales -1 / ln|chi_q| and -1 / ln|chi_c| (Schoenholz et al. 2017, eqs. 8 and 9).
        converged: whether lengths settle. Where they diverge, chi, c and the rest are those of the limit of large q.
        phase_code: index into :data:`PHASES`.
    """

    q: Float[Array, ""]
    chi: Float[Array, ""]
    chi_q: Float[Array, ""]
    c: Float[Array, ""]
    chi_c: Float[Array, ""]
    xi_q: Float[Array, ""]
    xi_c: Float[Array, ""]
    converged: Bool[Array, ""]
    phase_code: Int[Array, ""]

    @property
    def phase(self) -> Any:
        """'ordered', 'chaotic', 'critical', 'diverges' or 'oscillates'; an array of them for a batch. Not inside jit."""
        names = np.array(PHASES)[np.asarray(self.phase_code)]
        return str(names) if names.ndim == 0 else names


class FixedPoints(NamedTuple):
    """Fixed points of a length map, ascending, NaN beyond `count`; stable where the map's slope there is below 1."""

    q: Float[Array, " 6"]
    slope: Float[Array, " 6"]
    stable: Bool[Array, " 6"]
    count: Int[Array, ""]


def length_map(activation: Any, q: Any, weight_scale: Any, bias_scale: Any = 0.0) -> Float[Array, ""]:
    """The next layer's mean squared pre-activation.

    Args:
        activation: a name, a record of ``activations``, or an elementwise callable. Static.
        q: mean squared pre-activation, >= 0.
        weight_scale, bias_scale: sigma_w and sigma_b, finite and >= 0.

    Raises:
        ValueError: negative or non-finite numbers, unknown activations.

    >>> round(float(length_map("relu", 3.0, 2.0, 1.0)), 6)  # 4 * 3 / 2 + 1
    7.0
    """
    phi = checked("length_map", activation, weight_scale=weight_scale, bias_scale=bias_scale, q=q)
    return in_double(_length, phi, q, weight_scale, bias_scale)


def correlation_map(activation: Any, c: Any, q: Any, weight_scale: Any, bias_scale: Any = 0.0) -> Float[Array, ""]:
    """The next layer's correlation of two inputs of length q and correlation c, from -1 to 1; q need not be stationary.

    By quadrature, to 1e-10 for every c. Where both lengths are 0 the correlation is kept. Arguments and errors as
    :func:`length_map`.

    >>> round(float(correlation_map("relu", 0.0, 1.0, 2**0.5)), 6)  # 1 / pi
    0.31831
    """
    phi = checked("correlation_map", activation, weight_scale=weight_scale, bias_scale=bias_scale, q=q)
    check_correlation("correlation_map", c)
    return in_double(_next_correlation, phi, c, q, weight_scale, bias_scale)


def length_trajectory(
    activation: Any, depth: Any, weight_scale: Any, bias_scale: Any = 0.0, mean_square: Any = 1.0
) -> Float[Array, " depth"]:
    """q_l of layers 1 .. depth, for an input of so large a mean square.

    >>> length_trajectory("identity", 3, 2.0).round(6).tolist()
    [4.0, 16.0, 64.0]
    """
    phi = checked(
        "length_trajectory", activation, weight_scale=weight_scale, bias_scale=bias_scale, mean_square=mean_square
    )
    check_count("length_trajectory", "depth", depth)

    def lengths(phi, w, b, start):
        return jax.lax.scan(lambda q, _: (_length(phi, q, w, b), q), w * w * start + b * b, length=depth)[1]

    return in_double(lengths, phi, weight_scale, bias_scale, mean_square)


def correlation_trajectory(
    activation: Any, depth: Any, c: Any, weight_scale: Any, bias_scale: Any = 0.0, mean_square: Any = 1.0
) -> Float[Array, " depth"]:
    """c_l of the pre-activations of layers 1 .. depth, for two inputs of one mean square and correlation c.

    By quadrature, with the lengths of each layer. Arguments and errors as :func:`length_map`.

    >>> correlation_trajectory("identity", 2, 0.5, 1.0, 1.0).round(4).tolist()  # (0.5 + 1) / 2, (1.5 + 1) / 3
    [0.75, 0.8333]
    """
    where = "correlation_trajectory"
    phi = checked(where, activation, weight_scale=weight_scale, bias_scale=bias_scale, mean_square=mean_square)
    check_count(where, "depth", depth)
    check_correlation(where, c)

    def correlations(phi, c, w, b, start):
        def layer(carry, _):
            q, c = carry
            return (_length(phi, q, w, b), _next_correlation(phi, c, q, w, b)), c

        q = w * w * start + b * b
        first = jnp.where(q > 0, (w * w * start * c + b * b) / jnp.where(q > 0, q, 1.0), c)
        return jax.lax.scan(layer, (q, first), length=depth)[1]

    return in_double(correlations, phi, c, weight_scale, bias_scale, mean_square)


def fixed_points(activation: Any, weight_scale: Any, bias_scale: Any = 0.0) -> FixedPoints:
    """Every stationary length between 0 and 1e12, with its stability.

    Where every length is stationary (ReLU at sqrt 2 without biases) none is isolated: the count is then 1, for q = 0,
    of slope 1. Arguments and errors as :func:`length_map`.

    >>> found = fixed_points("tanh", 1.5)
    >>> int(found.count), [round(float(q), 4) for q in found.q[:2]], found.stable[:2].tolist()
    (2, [0.0, 0.7934], [False, True])
    """
    phi = checked("fixed_points", activation, weight_scale=weight_scale, bias_scale=bias_scale)
    return in_double(_fixed_points, phi, weight_scale, bias_scale)


def mean_field(activation: Any, weight_scale: Any, bias_scale: Any = 0.0, *, mean_square: Any = 1.0) -> MeanField:
    """Stationary length and correlation, depth scales and phase.

    Args:
        activation, weight_scale, bias_scale: as :func:`length_map`.
        mean_square: of the input. Where there are several stable lengths it decides which is reached; where all are
            stationary, that of the first layer is kept.

    Returns: see :class:`MeanField`. Works under jit, vmap and grad in all numbers; c, chi_c and xi_c cost ten times the
        rest and are left out by jit if they are not used. Derivatives at q = 0 take q as constant.

    Numbers that come as float32 arrays are taken to be right to 4 eps: chi within that of 1 is critical.

    Accuracy: q, chi and chi_q about 1e-12, relative; c and chi_c 1e-9 for analytic activations, and 1e-5 for those
        with kinks, whose Hermite series converges slowly, near the edge of chaos. :func:`correlation_map` has no
        such limit.

    Raises: as :func:`length_map`. A fixed point that does not exist is a result, not an error.

    >>> found = mean_field("tanh", 1.5, 0.05)
    >>> found.phase, round(float(found.chi), 4)
    ('chaotic', 1.1367)
    >>> mean_field("relu", 1.6).phase, float(mean_field("relu", 1.6).q)
    ('diverges', inf)
    """
    phi = checked("mean_field", activation, weight_scale=weight_scale, bias_scale=bias_scale, mean_square=mean_square)
    solve = functools.partial(_mean_field, slack=input_slack(weight_scale, bias_scale))
    return in_double(solve, phi, weight_scale, bias_scale, mean_square)


def gradient_growth(activation: Any, weight_scale: Any, bias_scale: Any = 0.0) -> Float[Array, ""]:
    """Growth of the root mean square gradient at the stationary length, ln(chi) / 2, in nats per layer back.

    >>> abs(float(gradient_growth("relu", 2**0.5))) < 1e-6
    True
    """
    return jnp.log(mean_field(activation, weight_scale, bias_scale).chi) / 2


def log_gradient_norms(
    activation: Any, depth: Any, weight_scale: Any, bias_scale: Any = 0.0, *, mean_square: Any = 1.0
) -> Float[Array, " depth"]:
    """ln of the root mean square ||dE/dh_l||, l = 1 .. depth, for a gaussian cotangent of unit norm at the last activations.

    Lengths are those of each layer, not the stationary one. For networks of finite width see :func:`log_normal_law`.
    Arguments and errors as :func:`length_trajectory`.

    >>> log_gradient_norms("identity", 3, 2.0).round(4).tolist()  # 2 ln 2, ln 2, 0
    [1.3863, 0.6931, 0.0]
    """
    where = "log_gradient_norms"
    phi = checked(where, activation, weight_scale=weight_scale, bias_scale=bias_scale, mean_square=mean_square)
    check_count(where, "depth", depth)

    def norms(phi, w, b, start):
        def layer(q, _):
            x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), jnp.maximum(q, SMALL))
            return _length(phi, q, w, b), jnp.log(weights @ phi.slope(x) ** 2) / 2

        slopes = jax.lax.scan(layer, w * w * start + b * b, length=depth)[1]
        return jnp.cumsum(slopes[::-1])[::-1] + jnp.arange(depth - 1, -1, -1, dtype=w.dtype) * jnp.log(w)

    return in_double(norms, phi, weight_scale, bias_scale, mean_square)


def critical_weight_scale(activation: Any, bias_scale: Any = 0.0) -> Float[Array, ""]:
    """sigma_w on the edge of chaos: where chi = 1 at the stationary length that an input of mean square 1 reaches.

    Along the edge sigma_w^2 = 1 / E[phi'(sqrt(q) z)^2], so q is the one unknown: q = E[phi^2] / E[phi'^2] + sigma_b^2.
    Of several such q whose length is reached, the one of the smallest sigma_w is taken.

    Args:
        activation, bias_scale: as :func:`length_map`.

    Returns: sigma_w. Where E[phi'^2] is the same for all large q and no finite q solves the equation (ReLU and linear
        networks with biases), the sigma_w at which chi tends to 1 with growing length. Differentiable in bias_scale;
        at sigma_b = 0 with q = 0 the derivative is taken as 0.

    Raises:
        ValueError: no such scale; under jit that gives NaN.

    >>> [round(float(critical_weight_scale(name)), 4) for name in ("tanh", "relu", "sigmoid")]
    [1.0, 1.4142, 10.1493]
    """
    phi = checked("critical_weight_scale", activation, bias_scale=bias_scale)
    found = in_double(_critical, phi, bias_scale)
    if not isinstance(found, Tracer) and np.isnan(found):
        raise ValueError(
            f"critical_weight_scale: {phi.name!r} with bias_scale = {bias_scale} has none: chi crosses 1 at no length "
            "that the network reaches. Look at mean_field(...).chi over weight_scale, or take another bias_scale."
        )
    return found


# --- the limit, compiled for each activation -------------------------------------------------------------------

_compiled = functools.partial(jax.jit, static_argnames="phi")


@_compiled
def _length(phi: Activation, q: Array, w: Array, b: Array) -> Array:
    return w * w * square(phi, q) + b * b


@_compiled
def _next_correlation(phi: Activation, c: Array, q: Array, w: Array, b: Array) -> Array:
    after = _length(phi, q, w, b)
    both = w * w * gaussian_integrals.expectation_of_pair(phi, phi, q, q, c) + b * b
    return jnp.where(after > 0, both / jnp.where(after > 0, after, 1.0), c)


@_compiled
def _fixed_points(phi: Activation, w: Array, b: Array) -> FixedPoints:
    residual = residuals(phi, w, b)
    at_zero = residual[0] == 0
    crossing = crossings(residual)
    (cells,) = jnp.nonzero(crossing, size=FIXED_POINTS, fill_value=-1)
    roots = jax.vmap(lambda i: polished(phi, residual, i, w, b))(cells)
    roots = jnp.where(cells >= 0, roots, jnp.nan)
    roots = jnp.where(at_zero, jnp.concatenate([jnp.zeros(1), roots[:-1]]), roots)
    roots = jax.vmap(lambda q: implicit(phi, q, w, b))(roots)
    slope = jax.vmap(lambda q: w * w * square_and_slope(phi, q)[1])(roots)
    return FixedPoints(roots, slope, jnp.abs(slope) < 1, jnp.sum(~jnp.isnan(roots)))


@functools.partial(jax.jit, static_argnames=("phi", "slack"))
def _mean_field(phi: Activation, w: Array, b: Array, start: Array, slack: float) -> MeanField:
    neutral = max(NEUTRAL, slack)
    q = implicit(phi, reached(phi, w, b, w * w * start + b * b, slack), w, b)
    at = jnp.where(jnp.isinf(q), LARGE, q)
    mean_square, slope_q = square_and_slope(phi, at)
    chi, chi_q = w * w * slope_square(phi, at), w * w * slope_q
    after = w * w * mean_square + b * b
    # The slope of the correlation map at c = 1 is chi where q is stationary.
    at_one = jnp.where(at > 0, chi * at / jnp.where(after > 0, after, 1.0), chi)
    c, chi_c = _correlation(phi, at, w, b, after)
    chaotic = (at_one > 1 + neutral) & (at > 0)
    c, chi_c = jnp.where(chaotic, c, 1.0), jnp.where(chaotic, chi_c, at_one)
    settles = jnp.abs(chi_q) <= 1 + neutral
    diverges = jnp.isinf(q)
    by_chi = jnp.where(jnp.abs(chi - 1) <= neutral, 2, jnp.where(chi > 1, 1, 0))
    code = jnp.where(diverges, 3, jnp.where(settles, by_chi, 4))
    return MeanField(q, chi, chi_q, c, chi_c, _scale(chi_q, neutral), _scale(chi_c, neutral), settles & ~diverges, code)


@_compiled
def _critical(phi: Activation, b: Array) -> Array:
    squares, slopes = tables(phi)
    limit = 1 / jnp.sqrt(slope_square(phi, jnp.asarray(LARGE)))
    residual = squares / np.maximum(slopes, 1e-300) + b * b - GRID  # positive while q is to grow, as for the length map
    residual = jnp.where(jnp.abs(residual) <= ROUNDING * (GRID + b * b), 0.0, residual)
    (cells,) = jnp.nonzero(crossings(residual), size=FIXED_POINTS, fill_value=-1)
    roots = jax.vmap(lambda i: edge_root(phi, residual, i, b))(cells)
    roots = jnp.concatenate([jnp.where(cells >= 0, roots, jnp.nan), jnp.where(residual[:1] == 0, 0.0, jnp.nan)])
    w = 1 / jnp.sqrt(jax.vmap(lambda q: slope_square(phi, q))(roots))

    def is_reached(q, w):
        found = reached(phi, w, b, w * w + b * b)
        # A cell of the grid: where the map is nearly neutral, roots are no sharper.
        return jnp.abs(found - q) <= 0.25 * q

    ok = jax.vmap(is_reached)(roots, w)
    best = jnp.nanargmin(jnp.where(ok, w, jnp.inf))
    q = roots[best]
    critical = 1 / jnp.sqrt(slope_square(phi, edge_implicit(phi, jax.lax.stop_gradient(q), b)))
    # All lengths alike, or none long enough: the limit, if there is one.
    flat = jnp.all(residual >= 0) & (jnp.abs(limit * jnp.sqrt(slopes[-1]) - 1) < 1e-3)
    return jnp.where(jnp.any(ok), critical, jnp.where(flat, limit, jnp.nan))


# --- correlations ----------------------------------------------------------------------------------------------


def _correlation(phi: Activation, q: Array, w: Array, b: Array, after: Array) -> tuple[Array, Array]:
    """The stationary correlation below 1, and the slope of the map there."""
    energies = hermite_energies(phi, q)
    powers = jnp.arange(energies.size, dtype=q.dtype)

    def excess(c):
        terms = energies * jnp.where(powers == 0, 1.0, jnp.abs(c) ** powers)
        return w * w * jnp.sum(terms) + b * b - after * c

    def slope(c):
        return w * w * jnp.sum(energies[1:] * powers[1:] * jnp.abs(c) ** (powers[1:] - 1))

    def newton(c, _):  # from the left on a convex function: it climbs to the first root and never passes it
        return jnp.clip(c - excess(c) / jnp.minimum(slope(c) - after, -1e-300), 0.0, 1.0), None

    frozen = jax.lax.stop_gradient(jax.lax.scan(newton, jnp.zeros(()), length=60)[0])
    steep = jax.lax.stop_gradient(jnp.minimum(slope(frozen) - after, -1e-300))
    value = excess(frozen)
    c = frozen - (value - jax.lax.stop_gradient(value)) / steep
    return c, slope(c) / jnp.where(after > 0, after, 1.0)


def hermite_energies(phi: Activation, q: Array) -> Float[Array, " terms"]:
    """a_n^2 of phi(sqrt(q) z) = sum a_n h_n(z), n < 256, and what is left: E[phi(u) phi(v)] = sum a_n^2 c^n.

    h_n are the normalised Hermite polynomials. Within ``jax.enable_x64(True)``.
    """
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), q, finer=2)
    z = x / jnp.sqrt(jnp.where(q > 0, q, 1.0))
    values = phi(x) * weights

    def term(carry, n):
        before, now = carry
        return (now, (z * now - jnp.sqrt(n) * before) / jnp.sqrt(n + 1)), jnp.sum(values * now)

    start = (jnp.zeros_like(z), jnp.ones_like(z))
    squares = jax.lax.scan(term, start, jnp.arange(TERMS, dtype=z.dtype))[1] ** 2
    rest = jnp.maximum(jnp.sum(values * phi(x)) - jnp.sum(squares), 0.0)
    return jnp.append(squares, rest)


def _scale(chi: Array, neutral: float) -> Array:
    """-1 / ln|chi|; inf where nothing decays, and 0 at 0."""
    near = jnp.abs(chi) >= 1 - neutral
    log = jnp.log(jnp.where(near | (chi == 0), 2.0, jnp.abs(chi)))
    return jnp.where(near, jnp.inf, jnp.where(chi == 0, 0.0, -1 / log))
