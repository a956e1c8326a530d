"""Gaussian integrals of gates: E[f(a)] and E[f(a) f(a')], where a has a mean, the bias of the gate.

``gaussian_integrals`` has the integrals for units without a mean, to rounding. A recurrent network asks for many integrals
of sigmoids whose mean is traced, so here the panels are fixed: they follow the density and the bends of a function of
unit scale (sigmoid, tanh), wherever these lie. Within ``jax.enable_x64(True)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_FURTHEST_NODE = 9.0  # standard deviations; beyond lie 2e-19 of the mass
_DENSITY_CUTS = np.linspace(-_FURTHEST_NODE, _FURTHEST_NODE, 13)
_BENDS = np.array([1.5, 3.0, 5.0, 8.0, 12.0, 18.0, 27.0])  # of a sigmoid: beyond 27 it is flat to 2e-12
_BEND_CUTS = np.concatenate([-_BENDS[::-1], [0.0], _BENDS])
_AROUND_A_KINK = np.array([-8.0, -4.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 4.0, 8.0])  # in widths of the smoothed kink


def gate_rule(
    mean: Array, q: Array, kinks: Sequence[float] = (), more: Array | None = None
) -> tuple[Float[Array, " nodes"], Float[Array, " nodes"]]:
    """Return nodes a and weights w with E[f(a)] = sum w f(a) for a normal a of this mean and of variance q.

    Args:
        mean, q: numbers; q >= 0.
        kinks: of f.
        more: further places where f bends.

    Accuracy: relative error below 1e-9 for functions that bend no faster than tanh and have these kinks.
    """
    root = jnp.sqrt(q)
    at = [_BEND_CUTS, np.asarray(kinks, float), *([] if more is None else [more])]
    edges = (jnp.concatenate([jnp.asarray(a, jnp.float64) for a in at]) - mean) / jnp.maximum(root, 1e-300)
    edges = jnp.clip(edges, -_FURTHEST_NODE, _FURTHEST_NODE)
    cuts = jnp.sort(jnp.concatenate([jnp.asarray(_DENSITY_CUTS), edges]))
    middle, half = (cuts[1:] + cuts[:-1]) / 2, (cuts[1:] - cuts[:-1]) / 2
    z = (middle[:, None] + half[:, None] * _NODES[None, :]).ravel()
    w = (half[:, None] * _WEIGHTS[None, :]).ravel() * jnp.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return mean + root * z, w


def pair_means(
    functions: Sequence[Callable[[Array], Array]], mean: Array, q: Array, c: Array, kinks: Sequence[float] = ()
) -> list[Float[Array, ""]]:
    """Return E[f(a) f(a')] of each function, for a, a' of the same mean and variance q and of correlation c, from -1 to 1.

    a = mean + m + d and a' = mean +- m + d', with d and d' independent of m and of each other. So E[f f'] = E[g(m) g(+-m)]
    with g, the function smoothed over d.

    Accuracy: as :func:`gate_rule`.
    """
    shared, apart = q * jnp.abs(c), q * jnp.maximum(1 - jnp.abs(c), 0.0)
    bends = jnp.asarray(np.asarray(kinks, float))[:, None] - mean + jnp.sqrt(apart) * _AROUND_A_KINK[None, :]
    more = jnp.concatenate([bends.ravel(), -bends.ravel(), jnp.where(mean == 0, 0.0, _BEND_CUTS - mean)])
    m, w = gate_rule(jnp.zeros_like(q), shared, (), more)

    def smoothed(m: Array) -> Array:
        a, weights = gate_rule(mean + m, apart, kinks)
        return jnp.stack([weights @ f(a) for f in functions])

    both = jax.vmap(smoothed)(jnp.concatenate([m, jnp.where(c < 0, -m, m)]))
    first, second = jnp.split(both, 2)
    return list(jnp.sum(w[:, None] * first * second, axis=0))
