"""The singular values of a matrix X diag(exp d), however widely d is spread, to high relative accuracy.

QR of X with its columns taken by descending d leaves a lower triangle G, and diag(exp d) G carries the grading in its
rows, descending. Such entries determine all singular values to high relative accuracy, and bidiagonalisation from the
large end computes them so (Barlow & Demmel 1990; Demmel et al. 1999; Drmac & Veselic 2008). Spreads beyond what a number
holds are taken in windows, as far apart as the values are.

All of it expects float64.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from jaxsat.linalg import graded_jacobi

NEGLIGIBLE = 1e-19  # of an ln s: well below eps


class Window(NamedTuple):
    """A matrix is made with its grading clipped to +-reach around a centre; values within +-(reach - margin) count."""

    reach: float
    margin: float


# LAPACK's values of a graded matrix are right relative to themselves, as long as they lie within exp(690) of each other: its
# dqds iteration works with squares, scaled to at most eps / the smallest number. For vectors only eps times the largest
# entry is promised: the errors are then exp(-2 margin) from clipping and eps exp(2 reach - margin) from rounding.
RELATIVE = Window(290.0, 20.0)
NORMWISE, NORMWISE_SINGLE = Window(12.5, 10.5), Window(14.0, 6.0)


def normwise_window(dtype: DTypeLike) -> Window:
    """Return the window where only eps times the largest entry is promised, for results in `dtype`."""
    return NORMWISE if dtype == jnp.float64 else NORMWISE_SINGLE


def log_values(xt: Float[Array, "r m"], d: Float[Array, " r"]) -> Float[Array, " r"]:
    """Return ln of the singular values of X diag(exp d), descending; -inf for columns where d is -inf.

    Args:
        xt: X transposed.
        d: natural logarithms.

    NaN anywhere gives NaN throughout.
    """
    xt, d = by_size(xt, d)
    return log_values_of_triangle(triangle(xt, d), d, rank_of(d))


def triangle(xt: Float[Array, "r m"], d: Float[Array, " r"]) -> Float[Array, "r r"]:
    """Return the lower triangle G for which diag(exp d) G has the singular values of X diag(exp d), d descending.

    Entries too small to change any ln s are made zeros: they would lead the bidiagonalisation astray, which turns rows
    towards the first nonzero entry it meets. G_ij, i > j, beside G_jj counts with the square of exp(d_i - d_j): once
    for its row, and once more because singular vectors are graded too.
    """
    g = jnp.linalg.qr(xt.T, mode="r").T
    seen = jnp.abs(g) * jnp.minimum(grading(d).T, 1.0) ** 2 > NEGLIGIBLE * jnp.abs(jnp.diagonal(g))[None, :]
    return jnp.where(seen | jnp.isnan(g), g, 0.0)


def log_values_of_triangle(g: Float[Array, "r r"], d: Float[Array, " r"], rank: Int[Array, ""]) -> Float[Array, " r"]:
    """Return ln of the first `rank` singular values of diag(exp d) G, and -inf for the others."""
    return jax.lax.platform_dependent(
        g,
        d,
        rank,
        cpu=lambda *a: in_windows(*a, RELATIVE)[0],
        default=lambda *a: graded_jacobi.jacobi_log_values(*a)[0],
    )


def log_values_and_vectors(
    g: Float[Array, "r r"], d: Float[Array, " r"], rank: Int[Array, ""], normwise: Window
) -> tuple[Float[Array, " r"], Float[Array, "r r"]]:
    """Return the same values, and the right singular vectors as rows; on a CPU, the window is for the vectors."""
    return jax.lax.platform_dependent(
        g, d, rank, cpu=lambda *a: in_windows(*a, normwise, vectors=True), default=graded_jacobi.jacobi_log_values
    )


def in_windows(
    g: Float[Array, "r r"], d: Float[Array, " r"], rank: Int[Array, ""], window: Window, vectors: bool = False
) -> tuple[Float[Array, " r"], Float[Array, "r r"]]:
    """Return ln of the first `rank` singular values of diag(exp d) G and, on request, its right singular vectors as rows.

    Columns from `rank` on are zero but for rounding; further rows are not.
    """
    reach, inner = window.reach, window.reach - window.margin
    index, zero_row = jnp.arange(d.size), jnp.isneginf(d)[:, None]
    g = jnp.where(index[None, :] < rank, g, 0.0)
    sound = jnp.all(jnp.isfinite(g)) & jnp.all(d < jnp.inf)
    rank = jnp.where(sound, rank, 0)
    sizes = jnp.maximum(jnp.log(jnp.abs(jnp.diagonal(g))), -reach)  # a zero here is not sound, and must not be sought
    lowest = jnp.min(jnp.where(index < rank, d + sizes, jnp.inf))
    # Without its k largest rows the matrix has a norm that bounds value k + 1 (interlacing): gaps are leapt over, so that
    # there are at most as many windows as values, or as fit into what is not a gap.
    bounds = -jnp.sort(-d) + jnp.log(jnp.linalg.norm(g))

    def look(carry):
        centre, done, values, vt = carry
        matrix = jnp.where(zero_row, 0.0, jnp.exp(jnp.clip(d - centre, -reach, reach))[:, None] * g)
        if vectors:
            _, s, rows = jnp.linalg.svd(matrix)
        else:
            s, rows = jnp.linalg.svd(matrix, compute_uv=False), vt
        logs, low = jnp.log(s) + centre, centre - inner
        upto = jnp.where(low <= lowest, rank, jnp.minimum(jnp.sum(logs > low), rank))
        new = (index >= done) & (index < upto)
        values, vt = jnp.where(new, logs, values), jnp.where(new[:, None], rows, vt)
        done = jnp.maximum(upto, done)
        return jnp.minimum(low, bounds[jnp.minimum(done, d.size - 1)]) - inner, done, values, vt

    start = jnp.max(d) - inner, jnp.zeros_like(rank), jnp.full_like(d, -jnp.inf), jnp.zeros_like(g)
    _, _, values, vt = jax.lax.while_loop(lambda carry: carry[1] < rank, look, start)
    return jnp.where(sound, values, jnp.nan), jnp.where(sound, vt, jnp.nan)


def rank_of(d: Float[Array, " r"]) -> Int[Array, ""]:
    """Return how many d are not -inf."""
    return jnp.sum(~jnp.isneginf(d))


def grading(d: Float[Array, " r"]) -> Float[Array, "r r"]:
    """Return exp(d_j - d_i), kept finite; 0 where d_j is -inf. Rows where d_i is -inf have no meaning."""
    row = jnp.where(jnp.isneginf(d), 0.0, d)
    return jnp.exp(jnp.minimum(d[None, :] - row[:, None], 700.0))


def by_size(xt: Float[Array, "r m"], d: Float[Array, " r"], *others: Array) -> tuple[Array, ...]:
    """Return the rows of all arguments by descending d."""
    order = jnp.argsort(-d)
    return tuple(a[order] for a in (xt, d, *others))
