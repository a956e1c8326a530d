"""How far rounding may have moved each ln s of a product: first-order condition numbers in the algorithm's own frame.

The steps of ``graded`` leave D_k W_k X_{k-1} = X_k U_k, so that P = X_L U_L ... U_1 (columns of each U_k in an order of its
own). An error E in step k moves ln s_i, to first order, by u_i^T D_L W_L .. D_{k+1} W_{k+1} E a / s_i, where a is what the
first k - 1 steps make of v_i. Both vectors follow from triangles alone, without cancellation:

    from the left     row i of U_L .. U_{k+1} X_k^{-1}
    from the right    column i of U_k^{-1} .. U_L^{-1}, times the lengths of the columns of X_{k-1}

where u_i is taken to be direction i of the last frame, with a share of the others that falls with their distance in ln s.
|E_mj| <= eps |row m of D_k W_k| |column j of X_{k-1}|, for the product and for the elimination. Contributions of one step
are added as independent, those of different steps as if they all had one sign.

Rows and columns are kept beside their largest entry, the size as a logarithm: nothing overflows. Values nearer to an
uncertain value than its own error share its error: the frame does not tell them apart.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxsat.linalg import graded_steps
from jaxsat.linalg.elimination import Elimination
from jaxsat.linalg.graded_steps import Factor, Graded
from jaxsat.linalg.lapack import after

EPS = float(jnp.finfo(jnp.float64).eps)
LAST_ROUNDING = 128  # eps for each column in the last decomposition: usually 100; up to 1000 were seen at n = 8


class LayerRecord(NamedTuple):
    """What is kept of a step X' diag(exp scale) U = D W X, columns in some order.

    Attributes:
        made: its elimination; `u` lacks exp(scale) on its rows.
        scale: natural logarithms.
        d: after the step; -inf where the product has lost a direction.
        order: of the columns.
        rows: ln of the lengths of the rows of D W, in the order of the pivots.
        columns: lengths of the columns of X, as they were before they were put in order.
    """

    made: Elimination
    scale: Float[Array, " n"]
    d: Float[Array, " n"]
    order: Int[Array, " n"]
    rows: Float[Array, " n"]
    columns: Float[Array, " n"]


class Reach(NamedTuple):
    """What an error between two steps does to each ln s: it is u^T E a for the vectors here.

    Attributes:
        y: row i is u_i^T times all later steps.
        z: column i is what the earlier steps make of v_i / s_i.
        log_y, log_z: ln of their sizes, which `y` and `z` lack.
    """

    y: Float[Array, "n n"]
    log_y: Float[Array, " n"]
    z: Float[Array, "n n"]
    log_z: Float[Array, " n"]


def recorded_product(stack: Factor, d: Float[Array, " n"], wide: bool) -> tuple[Graded, LayerRecord]:
    """Return the product of square factors and diag(exp d), and records of every step.

    Args:
        wide: slopes of a layer may lie further apart than a double can hold. Slower.
    """

    def step(state, factor):
        product = jnp.einsum("rn,mn->rm", state.xt, factor.weight)
        if wide:
            new, made, order, scale = graded_steps.decomposed_by_logs(product, state, factor)
            scale = scale[made.rows]
        else:
            slopes, shift, _ = graded_steps.relative_slopes(factor)
            new, made, order = graded_steps.decomposed_step(product * slopes[None, :], state, shift)
            scale = jnp.full_like(new.d, shift)
        rows = factor.log_abs_slopes + jnp.log(jnp.linalg.norm(factor.weight, axis=1))
        return new, LayerRecord(made, scale, new.d, order, rows[made.rows], jnp.linalg.norm(state.xt, axis=1))

    n = d.size
    return jax.lax.scan(step, Graded(jnp.eye(n), d, jnp.eye(n)), stack)


def error_estimates(state: Graded, records: LayerRecord) -> Float[Array, " n"]:
    """Return an estimate of the error of each ln s, largest s first, for records that are not wide; inf where it overflows."""

    def step(reach, record):
        left, earlier = before(reach, record, wide=False)
        return earlier, own_part(reach, left, earlier, record, wide=False)

    _, parts = jax.lax.scan(step, reach_at_the_end(state), records, reverse=True)
    return as_errors([parts], state.d)


def reach_at_the_end(state: Graded) -> Reach:
    """Return y and z after the last step: u_i is direction i of X by QR, d descending."""
    order, n = jnp.argsort(-state.d), state.d.size
    back = jnp.argsort(order)
    r = jnp.linalg.qr(state.xt[order].T, mode="r")
    inverse = jax.scipy.linalg.solve_triangular(r, jnp.eye(n))
    return Reach(r[:, back], jnp.zeros(n), inverse[back], jnp.zeros(n))


def before(reach: Reach, record: LayerRecord, wide: bool) -> tuple[Float[Array, "n n"], Reach]:
    """Return what a step makes of them: rows y X'^-1 (as columns, in the order of the pivots), and both before the step."""
    left = onto_rows(record.made, reach.y.T)
    places = jnp.argsort(record.order)
    yt, log_y = weighted(reach.y.T, record.scale, wide)
    zt, log_z = weighted(after(left, reach.z), -record.scale, wide)
    u = record.made.u + jnp.diag(jnp.where(record.made.pivots == 0, 1.0, 0.0))
    y, log_y = _scaled(jnp.einsum("ji,jk->ik", yt, record.made.u), reach.log_y + log_y, 1)
    z, log_z = _scaled(jax.scipy.linalg.solve_triangular(u, zt), reach.log_z + log_z, 0)
    return left, Reach(y[:, places], log_y, z[places], log_z)


def own_part(
    reach: Reach, left: Array, earlier: Reach, record: LayerRecord, wide: bool
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return ln of the lengths of u^T and of a for rounding in a step: their product counts."""
    lengths = jnp.log(jnp.sum((earlier.z * record.columns[:, None]) ** 2, axis=0)) / 2
    return log_lengths(left, record.rows, wide) + reach.log_y, lengths + earlier.log_z


def onto_rows(made: Elimination, columns: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Return X^-T times columns, in the order of the pivots."""
    lower = made.xt.T[made.rows]
    return jax.scipy.linalg.solve_triangular(lower, columns, trans=1, lower=True, unit_diagonal=True)


def log_lengths(columns: Float[Array, "n k"], log_weights: Float[Array, " n"], wide: bool) -> Float[Array, " k"]:
    """Return ln of the lengths of columns whose rows are multiplied by exp(log_weights)."""
    entries, logs = weighted(columns, log_weights, wide)
    return logs + jnp.log(jnp.sum(entries**2, axis=0)) / 2


def weighted(
    columns: Float[Array, "n k"], log_weights: Float[Array, " n"], wide: bool
) -> tuple[Float[Array, "n k"], Float[Array, " k"]]:
    """Return columns with rows multiplied by exp(log_weights), up to factors, and ln of those. -inf makes a row zero.

    Where weights are wide, a column may have nothing but rows far below the largest: each is kept beside its own largest.
    """
    lost = jnp.isneginf(log_weights)
    top = jnp.max(log_weights)
    if not wide:
        middle = jnp.where(jnp.isfinite(top), top, 0.0) - 300.0
        return columns * jnp.exp(log_weights - middle)[:, None], jnp.full(columns.shape[1], middle)
    logs = jnp.log(jnp.abs(columns)) + jnp.where(lost, 0.0, log_weights)[:, None]
    logs = jnp.where(lost[:, None], -jnp.inf, logs)
    tops = jnp.max(logs, axis=0)
    tops = jnp.where(jnp.isfinite(tops), tops, 0.0)
    return jnp.sign(columns) * jnp.exp(logs - tops[None, :]), tops


def as_errors(
    parts: list[tuple[Float[Array, "_ n"], Float[Array, "_ n"]]], d: Float[Array, " n"]
) -> Float[Array, " n"]:
    """Return eps times the sum over all steps of the products of the lengths that are given as logarithms.

    A singular vector has a part of about exp(-|ln s_i - ln s_j|) in direction j: lengths are mixed in that way first.
    Distances add up along the spectrum, so a pass in each direction does it.
    """
    d = -jnp.sort(-d)
    lost = jnp.isneginf(d)
    steps = jnp.where(lost[1:], jnp.inf, jnp.where(lost[:-1], 0.0, d[:-1]) - jnp.where(lost[1:], 0.0, d[1:]))
    lengths = 2 * jnp.concatenate([a for pair in zip(*parts, strict=True) for a in pair])

    def share(so_far, given):
        step, own = given
        so_far = jnp.logaddexp(own, so_far - 2 * step)
        return so_far, so_far

    nothing, start = jnp.full(lengths.shape[0], -jnp.inf), jnp.zeros(1)
    down = jax.lax.scan(share, nothing, (jnp.concatenate([start, steps]), lengths.T))[1]
    up = jax.lax.scan(share, nothing, (jnp.concatenate([steps, start]), lengths.T), reverse=True)[1]
    first, second = jnp.split(jnp.logaddexp(down, up), 2, axis=1)
    errors = EPS * jnp.exp(jax.nn.logsumexp((first + second) / 2, axis=1))
    return jnp.where(jnp.isnan(errors), jnp.inf, errors)


def with_lost(values: Float[Array, " k"], errors: Float[Array, " k"], rank: Int[Array, ""]) -> Float[Array, " k"]:
    """Return errors with those of values of -inf: 0 beyond the rank that zeros leave, else inf: rounding can make zeros."""
    certain = jnp.arange(values.size, dtype=rank.dtype) >= rank
    return jnp.where(jnp.isneginf(values), jnp.where(certain, 0.0, jnp.inf), errors)


def shared(values: Float[Array, " k"], errors: Float[Array, " k"], layers: int) -> Float[Array, " k"]:
    """Return errors with rounding of the last decomposition added, each at least that of the values it may be mixed with."""
    lost = jnp.isneginf(values)
    sizes = jnp.where(lost, 0.0, values)
    last = LAST_ROUNDING * (values.size + 2) + (2 + math.sqrt(layers)) * jnp.abs(sizes)  # the latter: d is a sum
    errors = errors + jnp.where(lost, 0.0, EPS * last)
    near = (jnp.abs(sizes[:, None] - sizes[None, :]) <= errors[None, :]) & ~lost[None, :] & ~lost[:, None]
    errors = jnp.maximum(errors, jnp.max(jnp.where(near, errors[None, :], 0.0), axis=1))
    return jnp.where(jnp.isnan(values), jnp.nan, errors)


def _scaled(matrix: Array, logs: Array, axis: int) -> tuple[Array, Array]:
    largest = jnp.max(jnp.abs(matrix), axis=axis)
    largest = jnp.where(largest > 0, largest, 1.0)
    return matrix / jnp.expand_dims(largest, axis), logs + jnp.log(largest)
