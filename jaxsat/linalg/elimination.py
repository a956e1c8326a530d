"""LU decompositions of graded matrices: rows, or columns, may be of very different sizes.

Gaussian elimination with row exchanges never adds a large row to a small row. Rows that are hundreds of orders of
magnitude apart therefore keep their relative accuracy. QR mixes rows and loses it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Elimination(NamedTuple):
    """B = X U for a matrix B (m, r), k = min(m, r), stored as XLA multiplies it fastest.

    Attributes:
        xt: X transposed; the rows of X, in another order, are a unit lower triangle with entries of at most 1.
        u: upper triangle; a factor on the rows of B that was given as a logarithm is left out.
        pivots: the diagonal of u.
        rows: the row of B that each pivot was taken from.
    """

    xt: Float[Array, "k m"]
    u: Float[Array, "k r"]
    pivots: Float[Array, " k"]
    rows: Int[Array, " k"]


def eliminated(bt: Float[Array, "r m"]) -> Elimination:
    """Return the LU decomposition of B with partial pivoting, from B transposed."""
    lu, _, rows = jax.lax.linalg.lu(bt.T)
    m, k = lu.shape[0], min(lu.shape)
    # As a scatter and one gather: a sort, a triangle and its transpose take half as long as the decomposition itself.
    places = jnp.zeros_like(rows).at[rows].set(jnp.arange(m, dtype=rows.dtype), unique_indices=True)
    column, place = jnp.arange(k, dtype=rows.dtype)[:, None], places[None, :]
    xt = jnp.where(column < place, lu[:, :k].T[:, places], (column == place).astype(lu.dtype))
    return Elimination(xt, jnp.triu(lu[:k]), jnp.diagonal(lu), rows[:k])


def eliminated_by_logs(bt: Float[Array, "r m"], scale: Float[Array, " m"]) -> Elimination:
    """Return the LU decomposition of diag(exp scale) B, with the scale of each row of U left out.

    A factor on a row changes no step of an elimination, only the choice of the pivot. The choice is made in
    logarithms, and all arithmetic is done on B, however far apart the scales are.
    """
    r, m = bt.shape
    k = min(r, m)

    def eliminate(j, carry):
        rest, xt, u, rows, used = carry
        sizes = jnp.log(jnp.abs(rest[j])) + scale
        row = jnp.argsort(jnp.where(used, jnp.inf, jnp.minimum(-sizes, 1e300)))[0]  # an unused row, if all are zeros
        pivot, used = rest[j, row], used.at[row].set(True)
        share = jnp.where(used, 0.0, rest[j] / jnp.where(pivot == 0, 1.0, pivot))
        logs = jnp.log(jnp.abs(share)) + scale - scale[row]
        small = jnp.sign(share) * jnp.exp(jnp.minimum(logs, 0.0))
        xt = xt.at[j].set(small.at[row].set(1.0))
        u = u.at[j].set(jnp.where(jnp.arange(r) < j, 0.0, rest[:, row]))
        rest = jnp.where(used[None, :], rest, rest - rest[:, row][:, None] * share[None, :])
        return rest, xt, u, rows.at[j].set(row.astype(rows.dtype)), used

    start = bt, jnp.zeros((k, m)), jnp.zeros((k, r)), jnp.zeros(k, jnp.int32), jnp.zeros(m, bool)
    _, xt, u, rows, _ = jax.lax.fori_loop(0, k, eliminate, start)
    return Elimination(xt, u, jnp.diagonal(u), rows)
