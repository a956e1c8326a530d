"""A product of many matrices, kept as X diag(exp d) T, and the steps that multiply in its next factors.

All of it expects float64. Weights act from the left, h = W x: rows are outputs. A weight that is stored for ``x @ w``
must be transposed first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxsat.linalg import graded_svd
from jaxsat.linalg.elimination import Elimination, eliminated, eliminated_by_logs
from jaxsat.linalg.lapack import again_if

LOWEST = -600.0  # ln of the smallest slope, beside its layer's largest, that one decomposition takes
SMALLEST_PIVOT = 1e-11  # of two layers multiplied densely, beside their largest entry, where 1e-4 in ln s is enough


class Factor(NamedTuple):
    """diag(signs exp(log_abs_slopes)) weight, or a stack of such matrices; the matrix that acts first comes first."""

    weight: Float[Array, "*layers m n"]
    log_abs_slopes: Float[Array, "*layers m"]
    signs: Float[Array, "*layers m"]


class Graded(NamedTuple):
    """X diag(exp d) T. X is stored transposed: with input directions as rows, vmapped products are wide."""

    xt: Float[Array, "r m"]
    d: Float[Array, " r"]
    t: Float[Array, "r n"]


class Between(NamedTuple):
    """exp(shift) B diag(exp d), of the given rank, before its decomposition."""

    bt: Float[Array, "r m"]
    d: Float[Array, " r"]
    rank: Int[Array, ""]
    shift: Float[Array, ""]


# --- one factor --------------------------------------------------------------------------------------------------


def times(state: Graded, factor: Factor) -> tuple[Graded, Bool[Array, ""]]:
    """Return D W (X diag(exp d) T), decomposed anew, and whether it is sound: no slope lies below exp(LOWEST)."""
    slopes, shift, rest = relative_slopes(factor)
    bt = jnp.einsum("rn,mn->rm", state.xt, factor.weight) * slopes[None, :]
    return decomposed_step(bt, state, shift)[0], jnp.all(rest == 0)


def times_any_slopes(state: Graded, factor: Factor) -> tuple[Graded, Bool[Array, ""]]:
    """Return the same for slopes of any spread: by logarithms, where :func:`times` is not sound. Always sound."""
    new, sound = times(state, factor)

    def by_logs(log_abs_slopes):
        product = jnp.einsum("rn,mn->rm", state.xt, factor.weight)
        return decomposed_by_logs(product, state, factor._replace(log_abs_slopes=log_abs_slopes))[0]

    return again_if(~sound, by_logs, factor.log_abs_slopes, -jnp.inf, new), jnp.array(True)


def relative_slopes(factor: Factor) -> tuple[Array, Array, Array]:
    """Return slopes beside the largest, ln of the largest, and ln of what exp(LOWEST) leaves to be multiplied in."""
    top = jnp.max(factor.log_abs_slopes, axis=-1, keepdims=True)
    top = jnp.where(jnp.isneginf(top), 0.0, top)
    relative, zero = factor.log_abs_slopes - top, jnp.isneginf(factor.log_abs_slopes)
    slopes = jnp.where(zero, 0.0, factor.signs * jnp.exp(jnp.maximum(relative, LOWEST)))
    return slopes, top[..., 0], jnp.where(zero, 0.0, jnp.minimum(relative - LOWEST, 0.0))


# --- two factors at a time ---------------------------------------------------------------------------------------


def times_pair(state: Graded, pair: Factor) -> tuple[Graded, Bool[Array, ""], Between]:
    """Return D_2 W_2 D_1 W_1 (X diag(exp d) T) by one decomposition, whether it is sound, and D_1 W_1 X diag(exp d).

    The latter has its columns in the order of d; the caller puts d in order where they must descend.

    The dense product W_2 D_1 W_1 X mixes what D_1 has graded. The result is sound if no pivot is tiny beside the largest
    entry, D_2 set aside: elimination respects D_2.
    """
    first, second = (jax.tree.map(lambda a, i=i: a[i], pair) for i in (0, 1))
    slopes1, shift1, _ = relative_slopes(first)
    slopes2, shift2, _ = relative_slopes(second)
    rank1 = jnp.minimum(graded_svd.rank_of(state.d), _nonzero_row_count(first))
    rank2 = jnp.minimum(rank1, _nonzero_row_count(second))
    bt = jnp.einsum("rn,mn->rm", state.xt, first.weight) * slopes1[None, :]
    dense = jnp.einsum("rn,mn->rm", bt, second.weight)
    new, made, _ = decomposed_step(dense * slopes2[None, :], state, shift1 + shift2, rank2)
    sizes = jnp.abs(slopes2[made.rows])
    sound = pivots_are_sound(made.pivots / jnp.where(sizes > 0, sizes, 1.0), rank2, dense)
    return new, sound, Between(bt, state.d, rank1, shift1)


def pivots_are_sound(pivots: Float[Array, " k"], rank: Int[Array, ""], dense: Float[Array, "r m"]) -> Bool[Array, ""]:
    """Return whether no pivot before the rank is tiny beside the largest entry of the matrix that was decomposed."""
    smallest = jnp.min(jnp.where(jnp.arange(pivots.size) < rank, jnp.abs(pivots), jnp.inf))
    return smallest >= SMALLEST_PIVOT * jnp.max(jnp.abs(dense))


def _nonzero_row_count(factor: Factor) -> Array:
    return jnp.sum(~jnp.isneginf(factor.log_abs_slopes) & jnp.any(factor.weight != 0, axis=1))


# --- decompositions ----------------------------------------------------------------------------------------------


def decomposed_step(
    bt: Float[Array, "r m"], state: Graded, shift: Float[Array, ""], rank: Int[Array, ""] | None = None
) -> tuple[Graded, Elimination, Int[Array, " r"]]:
    """Return exp(shift) B diag(exp d) T as X' diag(exp d') T', the elimination of B, and the order of its columns.

    The rank ends where d' is -inf: at a pivot that is exactly zero, or where the caller knows it to end.
    """
    order = column_order(bt, state.d)
    made, ordered = eliminated(bt[order]), Graded(state.xt, state.d[order], state.t[order])
    alive = _alive(made, ordered.d)
    if rank is not None:
        alive &= jnp.arange(made.pivots.size) < rank
    d, t = _graded_out(made, ordered, alive)
    return Graded(made.xt, d + shift, t), made, order


def column_order(bt: Float[Array, "r m"], d: Float[Array, " r"]) -> Int[Array, " r"]:
    """Return the order of the columns of B diag(exp d), largest first: what slopes leave of a column counts too."""
    return jnp.argsort(-d - jnp.log(jnp.max(jnp.abs(bt), axis=1)))


def decomposed_by_logs(
    product: Float[Array, "r m"], state: Graded, factor: Factor
) -> tuple[Graded, Elimination, Int[Array, " r"], Float[Array, " m"]]:
    """Return D (W X) diag(exp d) T decomposed, however far apart slopes are, from W X transposed.

    Returns: the product; the elimination, in which slopes only choose the pivots; the order of the columns; ln |D|, with
        0 for slopes of 0, whose rows are zeros.
    """
    zero = jnp.isneginf(factor.log_abs_slopes)
    bt = product * jnp.where(zero, 0.0, factor.signs)[None, :]
    scale = jnp.where(zero, 0.0, factor.log_abs_slopes)
    order = jnp.argsort(-state.d - jnp.max(jnp.log(jnp.abs(bt)) + scale[None, :], axis=1))
    made, ordered = eliminated_by_logs(bt[order], scale), Graded(state.xt, state.d[order], state.t[order])
    d, t = _graded_out(made, ordered, _alive(made, ordered.d))
    return Graded(made.xt, d + scale[made.rows], t), made, order, scale


def _alive(made: Elimination, d: Array) -> Array:
    return ~jnp.isneginf(d[: made.pivots.size]) & (made.pivots != 0)


def _graded_out(made: Elimination, ordered: Graded, alive: Array) -> tuple[Array, Array]:
    """Return d' and T' of U diag(exp d) T = diag(exp d') T': pivots go into d', what is left of U into T'."""
    d, k = ordered.d, made.pivots.size
    log_pivots = jnp.log(jnp.where(alive, jnp.abs(made.pivots), 1.0))
    # Not a quotient: its derivative would square a pivot that may be exp(-600).
    u = made.u * jnp.exp(-log_pivots)[:, None] * graded_svd.grading(d)[:k]
    new = jnp.where(alive, jnp.where(alive, d[:k], 0.0) + log_pivots, -jnp.inf)
    return new, jnp.where(alive[:, None], u, jnp.eye(k, d.size)) @ ordered.t


def absorbed(state: Graded) -> tuple[Float[Array, "r m"], Float[Array, " r"]]:
    """Return X' (transposed) and d' for which X' diag(exp d') has the singular values of X diag(exp d) T.

    T = R^T Q^T, and diag(exp d) R^T = L diag(exp d').
    """
    xt, d, t = ordered(state)
    r = jnp.linalg.qr(t.T, mode="r")
    pivots = jnp.abs(jnp.diagonal(r))
    lower = jnp.tril(r.T / pivots[None, :] * graded_svd.grading(d).T)
    lower = jnp.where(jnp.isneginf(d)[:, None], jnp.eye(d.size), lower)
    return jnp.einsum("ij,im->jm", lower, xt), d + jnp.log(pivots)


def ordered(state: Graded) -> Graded:
    """Return the same product with d descending."""
    return Graded(*graded_svd.by_size(*state))


# --- stacks ------------------------------------------------------------------------------------------------------


def along(stack: Factor, carry: Any, one: Callable, two: Callable | None = None) -> tuple[Any, Any]:
    """Return the carry and outputs of the step `one` over a stack of factors, or of `two`, where given, over pairs."""
    layers, m, n = stack.weight.shape
    if m != n:
        carry, out = one(carry, jax.tree.map(lambda a: a[0], stack))
        return carry, jax.tree.map(lambda a: a[None], out)
    if two is None or layers == 1:
        return jax.lax.scan(one, carry, stack)
    single = layers % 2
    pairs = jax.tree.map(lambda a: a[single:].reshape(-1, 2, *a.shape[1:]), stack)
    carry, head = jax.lax.scan(one, carry, jax.tree.map(lambda a: a[:single], stack))
    carry, rest = jax.lax.scan(two, carry, pairs)
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b.reshape(-1, *a.shape[1:])]), head, rest)


def identity(stacks: Sequence[Factor]) -> Graded:
    """Return the empty product that the first factor acts on."""
    n = stacks[0].weight.shape[-1]
    return Graded(jnp.eye(n), jnp.zeros(n), jnp.eye(n))


def narrowed(stacks: Sequence[Factor]) -> list[Factor]:
    """Return the stacks in float64. A first factor wider than high becomes the square R^T of its transpose's QR."""
    first, *rest = in_float64(list(stacks))
    if first.weight.shape[-2] < first.weight.shape[-1]:
        _, r = jnp.linalg.qr(jnp.swapaxes(first.weight, -2, -1))
        first = first._replace(weight=jnp.swapaxes(r, -2, -1))
    return [first, *rest]


def in_float64(tree: Any) -> Any:
    """Return a tree of arrays as float64."""
    return jax.tree.map(lambda a: a.astype(jnp.float64), tree)
