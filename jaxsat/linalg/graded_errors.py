"""How far rounding may have moved each ln s of a product: first-order condition numbers in the algorithm's own frame.

The steps of ``graded`` leave D_k W_k X_{k-1} = X_k U_k, so that P = X_L U_L ... U_1 (columns of each U_k in an order of its
own). An error E in step k moves ln s_i, to first order, by u_i^T D_L W_L .. D_{k+1} W_{k+1} E a / s_i, where a is what the
first k - 1 steps make of v_i. Both vectors follow from triangles alone, without cancellation:

    from the left     row i of U_L .. U_{k+1} X_k^{-1}
    from the right    column i of U_k^{-1} .. U_L^{-1}, times the lengths of the columns of X_{k-1}

where u_i is taken to be direction i of the last frame, with a share of the others that falls with their distance in ln s.
|E_mj| <= eps |row m of D_k W_k| |column j of X_{k-1}|, for the
product and for the elimination. Contributions of one step are added as independent, those of different steps as if they
all had one sign.

Rows and columns are kept beside their largest entry, the size as a logarithm: nothing overflows. Values nearer to an
uncertain value than its own error share its error: the frame does not tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxsat.linalg import graded_steps
from jaxsat.linalg.elimination import Elimination
from jaxsat.linalg.graded_steps import Factor, Graded

TINY_SLOPE = -400.0  # stands for -inf, and for directions that a product does not have


class LayerRecord(NamedTuple):
    """What is kept of a step: its elimination, its order of columns, and lengths of rows and columns of its factors."""

    made: Elimination
    order: Int[Array, " n"]
    rows: Float[Array, " n"]
    columns: Float[Array, " n"]


def made_square(stacks: Sequence[Factor]) -> tuple[Factor, Float[Array, " n"]]:
    """Return all factors as a single stack of the largest width, of full rank, and the logarithms d it starts from.

    Directions that a factor lacks, and slopes of 0, are made tiny: no other singular value is changed by that.
    """
    n = max(size for stack in stacks for size in stack.weight.shape[-2:])
    parts = []
    for stack in stacks:
        layers, rows, columns = stack.weight.shape
        fill = jnp.asarray(np.random.default_rng(0).normal(size=(n, n)))
        weight = jnp.broadcast_to(fill, (layers, n, n)).at[:, :rows, :columns].set(stack.weight)
        logs = jnp.where(jnp.isneginf(stack.log_abs_slopes), -jnp.inf, stack.log_abs_slopes)
        logs = jnp.pad(logs, ((0, 0), (0, n - rows)), constant_values=-jnp.inf)
        top = jnp.max(logs, axis=1, keepdims=True)
        top = jnp.where(jnp.isneginf(top), 0.0, top)
        signs = jnp.pad(stack.signs, ((0, 0), (0, n - rows)), constant_values=1.0)
        logs = jnp.where(jnp.isneginf(logs), top + TINY_SLOPE, logs)
        parts.append(Factor(weight, logs, jnp.where(signs == 0, 1.0, signs)))
    start = jnp.where(jnp.arange(n) < stacks[0].weight.shape[-1], 0.0, TINY_SLOPE)
    return jax.tree.map(lambda *a: jnp.concatenate(a), *parts), start


def product_with_records(stack: Factor, d: Float[Array, " n"]) -> tuple[Graded, Bool[Array, ""], LayerRecord]:
    """Return the product of square factors, whether all slopes fit beside each other, and records of every step."""

    def step(state, factor):
        slopes, shift, rest = graded_steps.relative_slopes(factor)
        bt = jnp.einsum("rn,mn->rm", state.xt, factor.weight) * slopes[None, :]
        order = graded_steps.column_order(bt, state.d)
        new, made = graded_steps.decomposed_step(bt, state, shift)
        rows = jnp.abs(slopes) * jnp.linalg.norm(factor.weight, axis=1)
        columns = jnp.linalg.norm(state.xt, axis=1)[order]
        return new, (jnp.all(rest == 0), LayerRecord(made, order, rows, columns))

    n = d.size
    state, (sound, records) = jax.lax.scan(step, Graded(jnp.eye(n), d, jnp.eye(n)), stack)
    return state, jnp.all(sound), records


def error_estimates(state: Graded, records: LayerRecord) -> Float[Array, " n"]:
    """Return an estimate of the error of each ln s, largest s first; inf where it overflows."""
    n = state.d.size
    order = jnp.argsort(-state.d)
    back = jnp.argsort(order)
    r = jnp.linalg.qr(state.xt[order].T, mode="r")
    inverse = jax.scipy.linalg.solve_triangular(r, jnp.eye(n))

    # A singular vector has a part in direction j of the frame of about exp(-|ln s_i - ln s_j|).
    gaps = jnp.abs(state.d[order][:, None] - state.d[order][None, :])

    def mixed(log_lengths):
        return jax.nn.logsumexp(2 * log_lengths[None, :] - 2 * gaps, axis=1) / 2

    def step(carry, record):
        (y, log_y), (z, log_z), total = carry
        lower = record.made.xt.T[record.made.rows]
        left = jax.scipy.linalg.solve_triangular(lower, y.T, trans=1, lower=True, unit_diagonal=True)
        u = record.made.u + jnp.diag(jnp.where(record.made.pivots == 0, 1.0, 0.0))
        z = jax.scipy.linalg.solve_triangular(u, z)
        rows = record.rows[record.made.rows]
        sizes = mixed(_log_lengths(left * rows[:, None]) + log_y)
        sizes = sizes + mixed(_log_lengths(z * record.columns[:, None]) + log_z)
        places = jnp.argsort(record.order)
        y, log_y = _scaled((y @ u)[:, places], log_y, 1)
        z, log_z = _scaled(z[places], log_z, 0)
        return ((y, log_y), (z, log_z), jnp.logaddexp(total, sizes)), None

    start = (r[:, back], jnp.zeros(n)), (inverse[back], jnp.zeros(n)), jnp.full(n, -jnp.inf)
    (_, _, total), _ = jax.lax.scan(step, start, records, reverse=True)
    errors = float(jnp.finfo(jnp.float64).eps) * jnp.exp(total)
    return jnp.where(jnp.isnan(errors), jnp.inf, errors)


def shared(values: Float[Array, " k"], errors: Float[Array, " k"]) -> Float[Array, " k"]:
    """Return errors with rounding of the last decomposition added, each at least that of the values it may be mixed with."""
    eps = float(jnp.finfo(jnp.float64).eps)
    sizes = jnp.where(jnp.isneginf(values), 0.0, jnp.abs(values))
    errors = errors + eps * (64 * values.size + 2 * sizes)
    near = jnp.abs(sizes[:, None] * jnp.sign(values)[:, None] - (sizes * jnp.sign(values))[None, :]) <= errors[None, :]
    errors = jnp.max(jnp.where(near, errors[None, :], 0.0), axis=1)
    return jnp.where(jnp.isneginf(values), 0.0, jnp.where(jnp.isnan(values), jnp.nan, errors))


def _log_lengths(columns: Array) -> Array:
    largest = jnp.max(jnp.abs(columns), axis=0)
    safe = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    return jnp.log(safe) + jnp.log(jnp.sum((columns / safe[None, :]) ** 2, axis=0)) / 2


def _scaled(matrix: Array, logs: Array, axis: int) -> tuple[Array, Array]:
    largest = jnp.max(jnp.abs(matrix), axis=axis)
    largest = jnp.where(largest > 0, largest, 1.0)
    return matrix / jnp.expand_dims(largest, axis), logs + jnp.log(largest)


def stand_ins_stay_below(values: Float[Array, " k"]) -> Bool[Array, ""]:
    """Return whether tiny stand-ins for what is missing stay below every value that is not zero."""
    lowest = jnp.min(jnp.where(jnp.isneginf(values), jnp.inf, values))
    return values[0] - lowest < -TINY_SLOPE - 50.0
