"""Correlations of two inputs from layer to layer, and where they come to rest.

    c' = (sigma_w^2 E[phi(u) phi(v)] + sigma_b^2) / q'             (Poole et al. 2016, eq. 5)

At a stationary length q there are two ways to the resting point below 1. Away from 1 the map is a power series in c, whose
coefficients are the squared Hermite coefficients of phi: these are found once. Near 1 the series needs as many terms as
1 / (1 - c), and c itself has lost the digits of 1 - c. There the gap g = 1 - c is carried instead:

    q g' = sigma_w^2 E[(phi(u) - phi(v))^2] / 2,    u = m + d,  v = m - d,

with m and d independent normal variables of variances q (1 - g / 2) and q g / 2. No two nearly equal numbers are
subtracted, however small g is. All within ``jax.enable_x64(True)``.
"""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxsat import checks
from jaxsat.activations import Activation, ActivationLike
from jaxsat.theory import gaussian_integrals
from jaxsat.theory.inputs import check_correlation, checked, in_double
from jaxsat.theory.lengths import next_length

TERMS = 256  # of the Hermite series
_NEWTON_STEPS = 60
NEAR_1 = 0.99  # above it the gap is carried
_LOST = 1e-11  # of 1 - chi_c, in what the series leaves out: more asks for the gap
SMALLEST_GAP = 1e-16
SEARCH_STEPS = 60
SETTLED = 1e-6  # in ln gap: the next step is of the order of its square
FIRST_GAP = 1e-3
# Panels of d, in standard deviations: narrow panels near 0, because phi may turn within a small part of d's spread.
SPREAD_CUTS = np.concatenate([[0.0], 1.5 * 4.0 ** np.arange(-9, 1), [3.0, 6.0, gaussian_integrals.REACH]])


def correlation_map(
    activation: ActivationLike, c: ArrayLike, q: ArrayLike, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0
) -> Float[Array, ""]:
    """Return the next layer's correlation of two inputs of length q and correlation c; q need not be stationary.

    Where both lengths are 0 the correlation is kept. Other arguments and errors: as :func:`length_map`.

    Args:
        c: correlation of the pre-activations, from -1 to 1.

    Accuracy: absolute error below 1e-12, for every c.

    >>> round(float(correlation_map("relu", 0.0, 1.0, 2**0.5)), 6)  # 1 / pi
    0.31831
    """
    phi = checked("correlation_map", activation, weight_scale=weight_scale, bias_scale=bias_scale, q=q)
    check_correlation("correlation_map", c)
    return in_double(_next_correlation, phi, c, q, weight_scale, bias_scale)


def correlation_trajectory(
    activation: ActivationLike, depth: int, c: ArrayLike, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0,
    mean_square: ArrayLike = 1.0,
) -> Float[Array, " depth"]:  # fmt: skip
    """Return the correlations c_l of the pre-activations of two inputs, in layers 1 .. depth.

    The lengths are those of each layer. Other arguments and errors: as :func:`length_map`.

    Args:
        depth: layers, at least 1.
        c: correlation of the inputs, from -1 to 1.
        mean_square: of both inputs.

    >>> correlation_trajectory("identity", 2, 0.5, 1.0, 1.0).round(4).tolist()  # (0.5 + 1) / 2, (1.5 + 1) / 3
    [0.75, 0.8333]
    """
    where = "correlation_trajectory"
    phi = checked(where, activation, weight_scale=weight_scale, bias_scale=bias_scale, mean_square=mean_square)
    layers = checks.size(where, "depth", depth)
    check_correlation(where, c)

    def correlations(phi: Activation, c: Array, w: Array, b: Array, start: Array) -> Array:
        def layer(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
            q, c = carry
            return (next_length(phi, q, w, b), _next_correlation(phi, c, q, w, b)), c

        q = w * w * start + b * b
        first = jnp.where(q > 0, (w * w * start * c + b * b) / jnp.where(q > 0, q, 1.0), c)
        return jax.lax.scan(layer, (q, first), length=layers)[1]

    return in_double(correlations, phi, c, weight_scale, bias_scale, mean_square)


@functools.partial(jax.jit, static_argnames="phi")
def _next_correlation(phi: Activation, c: Array, q: Array, w: Array, b: Array) -> Array:
    after = next_length(phi, q, w, b)
    both = w * w * gaussian_integrals.expectation_of_pair(phi, phi, q, q, c) + b * b
    return jnp.where(after > 0, both / jnp.where(after > 0, after, 1.0), c)


def stationary_correlation(
    phi: Activation, q: Array, w: Array, b: Array, after: Array, sought: Array
) -> tuple[Array, Array]:
    """Return the resting correlation below 1 at a stationary length, and the slope of the map there.

    Args:
        q: length.
        after: the next layer's length, q itself where it is stationary.
        sought: whether there is such a correlation: elsewhere what is returned has no meaning, and costs little.
    """
    c, slope, left_out = _by_series(phi, q, w, b, after)
    near = (c > NEAR_1) | (left_out > _LOST * jnp.abs(1 - slope))
    near = jax.lax.stop_gradient(near & sought & (after > 0))
    by_gap = functools.partial(_by_gap, phi)
    # Under vmap, lax.cond takes both ways: `near` keeps the search short there, too.
    return jax.lax.cond(near, by_gap, lambda *_: (c, slope), near, q, w, after)


# --- away from 1: a power series ---------------------------------------------------------------------------------


def _by_series(phi: Activation, q: Array, w: Array, b: Array, after: Array) -> tuple[Array, Array, Array]:
    """Return the resting correlation, the slope there, and a bound of what the terms left out may change the slope by."""
    energies = hermite_energies(phi, q)
    powers = jnp.arange(energies.size, dtype=q.dtype)
    scale = w * w / jnp.where(after > 0, after, 1.0)

    def excess(c: Array) -> Array:
        terms = energies * jnp.where(powers == 0, 1.0, jnp.abs(c) ** powers)
        return w * w * jnp.sum(terms) + b * b - after * c

    def slope(c: Array) -> Array:
        return w * w * jnp.sum(energies[1:] * powers[1:] * jnp.abs(c) ** (powers[1:] - 1))

    def newton(c: Array, _: None) -> tuple[Array, None]:
        # From the left on a convex function: it climbs to the first root and never passes it.
        return jnp.clip(c - excess(c) / jnp.minimum(slope(c) - after, -1e-300), 0.0, 1.0), None

    frozen = jax.lax.stop_gradient(jax.lax.scan(newton, jnp.zeros(()), length=_NEWTON_STEPS)[0])
    steep = jax.lax.stop_gradient(jnp.minimum(slope(frozen) - after, -1e-300))
    value = excess(frozen)
    c = frozen - (value - jax.lax.stop_gradient(value)) / steep
    left_out = scale * energies[-1] * TERMS / (1 - frozen + 1 / TERMS) * frozen ** (TERMS - 1)
    return c, slope(c) / jnp.where(after > 0, after, 1.0), left_out


def hermite_energies(phi: Activation, q: Array) -> Float[Array, " terms"]:
    """Return a_n^2 of phi(sqrt(q) z) = sum a_n h_n(z), n < 256, and what is left: E[phi(u) phi(v)] = sum a_n^2 c^n.

    h_n are the normalised Hermite polynomials.
    """
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), q, finer=2)
    z = x / jnp.sqrt(jnp.where(q > 0, q, 1.0))
    values = phi(x) * weights

    def term(carry: tuple[Array, Array], n: Array) -> tuple[tuple[Array, Array], Array]:
        before, now = carry
        return (now, (z * now - jnp.sqrt(n) * before) / jnp.sqrt(n + 1)), jnp.sum(values * now)

    start = (jnp.zeros_like(z), jnp.ones_like(z))
    squares = jax.lax.scan(term, start, jnp.arange(TERMS, dtype=z.dtype))[1] ** 2
    rest = jnp.maximum(jnp.sum(values * phi(x)) - jnp.sum(squares), 0.0)
    return jnp.append(squares, rest)


# --- near 1: the gap ---------------------------------------------------------------------------------------------


def _by_gap(phi: Activation, near: Array, q: Array, w: Array, after: Array) -> tuple[Array, Array]:
    """Return the resting correlation and the slope there, with their derivatives in q, w and `after`; for one `near` 1."""
    frozen_q, frozen_w, frozen_after = (jax.lax.stop_gradient(a) for a in (q, w, after))
    gap = _resting_gap(phi, near, frozen_q, frozen_w**2 / frozen_after)
    apart, slope = gap_integrals(phi, q, gap)
    # One more Newton step; it also gives the gap the derivatives of a fixed point of gap = w^2 apart / after.
    steep = jax.lax.stop_gradient(after - w * w * q * slope)
    gap = gap + (w * w * apart - after * gap) / jnp.where(steep == 0, 1.0, steep)
    slope = gap_integrals(phi, q, gap)[1]
    return 1 - gap, w * w * slope * q / after


def _resting_gap(phi: Activation, sought: Array, q: Array, scale: Array) -> Array:
    """The gap with scale * E[(phi(u) - phi(v))^2] / 2 = gap, by Newton's method in ln gap, or halving its bracket.

    A gap that is not sought is the first guess, after no step.
    Whether the map moves a gap outwards falls with the gap: outwards at 0, because chi > 1, and inwards at 1.
    """

    def move(carry: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
        low, high, now, _, count = carry
        gap = jnp.exp(now)
        apart, slope = gap_integrals(phi, q, gap)
        after = scale * apart
        outwards = jnp.log(jnp.maximum(after, 1e-300)) - now
        low, high = jnp.where(outwards > 0, now, low), jnp.where(outwards > 0, high, now)
        steep = gap * scale * q * slope / jnp.maximum(after, 1e-300) - 1
        target = now - outwards / jnp.minimum(steep, -1e-300)
        target = jnp.where((target > low) & (target < high), target, (low + high) / 2)
        return low, high, target, jnp.abs(target - now), count + 1

    def unsettled(carry: tuple[Array, Array, Array, Array, Array]) -> Array:
        return (carry[3] > SETTLED) & (carry[4] < SEARCH_STEPS)

    low, first, high = (np.log(gap) + 0 * q for gap in (SMALLEST_GAP, FIRST_GAP, 1.0))
    start = (low, high, first, jnp.where(sought, jnp.ones_like(q), 0.0), jnp.zeros((), jnp.int32))
    return jnp.exp(jax.lax.while_loop(unsettled, move, start)[2])


def gap_integrals(phi: Activation, q: Array, gap: Array) -> tuple[Array, Array]:
    """Return E[(phi(u) - phi(v))^2] / 2 and E[phi'(u) phi'(v)] for u, v of variance q and correlation 1 - gap.

    The second is the derivative of the first in q * gap, at fixed q. Derivatives in q and gap act on the densities.
    """
    mesh = gaussian_integrals.mesh_of(phi)
    spread, middle = q * gap / 2, q * (1 - gap / 2)
    apart = [abs(a - b) / 2 for a, b in itertools.combinations(mesh.kinks, 2)]
    edges = jnp.concatenate([SPREAD_CUTS, gaussian_integrals.scaled(apart, spread)])
    panels = gaussian_integrals.panels(jnp.sort(edges))
    cuts = np.array(mesh.cuts)

    def at(z: Array, weight: Array) -> tuple[Array, Array]:
        d, weight = gaussian_integrals.moving(z, weight, spread)
        moved = jnp.concatenate([cuts + jax.lax.stop_gradient(d), cuts - jax.lax.stop_gradient(d)])
        ends = gaussian_integrals.scaled(moved, middle)
        z_m, w_m = gaussian_integrals.panels(jnp.sort(jnp.concatenate([gaussian_integrals.DENSITY_CUTS, ends])))
        w_m = (w_m * jnp.exp(-z_m * z_m / 2)).ravel() / np.sqrt(2 * np.pi)
        m, w_m = gaussian_integrals.moving(z_m.ravel(), w_m, middle)
        return weight * (w_m @ (phi(m + d) - phi(m - d)) ** 2) / 2, weight * (
            w_m @ (phi.slope(m + d) * phi.slope(m - d))
        )

    def panel(total: tuple[Array, Array], nodes: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        z, weight = nodes
        weight = 2 * weight * jnp.exp(-z * z / 2) / np.sqrt(2 * np.pi)  # d and -d alike
        new = jax.vmap(at)(z, weight)
        return (total[0] + jnp.sum(new[0]), total[1] + jnp.sum(new[1])), None

    return jax.lax.scan(panel, (0 * q, 0 * q), panels)[0]
