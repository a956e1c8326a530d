"""Products of many matrices as graded decompositions: every singular value to high relative accuracy.

A product P is kept as

    P = X diag(exp d) T,        X (m, r) a row permutation of a unit lower triangle, |X_ij| <= 1; T well conditioned

with d, natural logarithms, as widely spread as it likes. One factor D W, D = diag(signs exp(log_abs_slopes)), costs
one LU decomposition with partial pivoting, D W X = X' U. Elimination never adds a large row to a small one, so slopes
spread over hundreds of orders of magnitude stay right to eps each; QR, which mixes rows, loses them (by tens in ln s,
seen). The diagonal of U goes into d; what is left of it, exp(-d') U exp(d), is unit upper triangular and moderate,
because columns are taken by descending size, and goes into T.

At the end QR of T^T makes it X diag(exp d) alone, whose singular values ``graded_svd`` finds.

Everything is done in float64, whatever the caller's dtype and configuration. For single precision two layers are
multiplied densely before each decomposition; pivots tell when that was one too many, and then the product is made
again layer by layer. Slopes of one layer that a double cannot hold beside each other are left out of the elimination,
but for the choice of its pivots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxsat.linalg import graded_svd
from jaxsat.linalg.lapack import after

LOWEST = -600.0  # ln of the smallest slope, beside its layer's largest, that one decomposition takes
ZERO_SLOPE = -400.0  # stands for -inf where derivatives are taken
SMALLEST_PIVOT = 1e-11  # of two layers multiplied densely, beside their largest entry, where 1e-4 in ln s is enough


class Factor(NamedTuple):
    """diag(signs exp(log_abs_slopes)) weight, or a stack of them with the first one first."""

    weight: Float[Array, "*layers m n"]
    log_abs_slopes: Float[Array, "*layers m"]
    signs: Float[Array, "*layers m"]


class Graded(NamedTuple):
    """X diag(exp d) T. X is stored transposed: with input directions as rows, vmapped products are wide."""

    xt: Float[Array, "r m"]
    d: Float[Array, " r"]
    t: Float[Array, "r n"]


class Between(NamedTuple):
    """exp(shift) B diag(exp d), of so much rank, before its decomposition."""

    bt: Float[Array, "r m"]
    d: Float[Array, " r"]
    rank: Int[Array, ""]
    shift: Float[Array, ""]


class Steps(NamedTuple):
    """How a product is to be made: step for one factor, whether two are taken at a time, windows where those are needed."""

    one: Callable[[Graded, Factor], tuple[Graded, Array]]
    pairs: bool
    normwise: graded_svd.Window


def log_singular_values(stacks: Sequence[Factor]) -> Float[Array, " k"]:
    """ln of the singular values of a product, descending; -inf beyond its rank; NaN throughout for any NaN in it.

    Args:
        stacks: stacked factors (layers, m, n), first ones first; those of several layers are square.

    Returns: k = min(rows, columns) of them, in the dtype of the weights. Differentiable in both modes where singular
        values are distinct and the slopes of each layer lie within exp(600) of each other (else NaN).
    """
    values = _of_smallest_width(stacks)
    lost = min(stacks[-1].weight.shape[-2], stacks[0].weight.shape[-1]) - values.size  # to a layer narrower than both
    rest = jnp.where(jnp.isnan(values[:1]), jnp.nan, jnp.full(lost, -jnp.inf, values.dtype))
    return jnp.concatenate([values, rest])


@jax.custom_jvp
def _of_smallest_width(stacks: Sequence[Factor]) -> Float[Array, " r"]:
    """The first singular values, as many as the smallest width on the way; the others are zero."""

    return _in_double(_values, stacks)


@jax.custom_jvp
def log_singular_values_of_every_layer(stacks: Sequence[Factor]) -> list[Float[Array, "layers r"]]:
    """The same of every partial product, in one pass: an array for each stack. Not differentiable."""

    return _in_double(_values_of_every_layer, stacks)


def _values(stacks: Sequence[Factor], steps: Steps) -> tuple[Array, list[Array]]:
    state, sound = _identity(stacks), []
    for stack in stacks:
        state, found = _along(
            stack, state, steps.one, (lambda s, pair: _times_pair(s, pair)[:2]) if steps.pairs else None
        )
        sound.append(found)
    return graded_svd.log_values(*_absorbed(state), steps.normwise), sound


def _values_of_every_layer(stacks: Sequence[Factor], steps: Steps) -> tuple[list[Array], list[Array]]:
    # Singular values need no T: what a step brings is absorbed at once.
    def one(carry, factor):
        state, sound = steps.one(Graded(*carry, jnp.eye(carry[1].size)), factor)
        xt, d = _absorbed(state)
        values = graded_svd.log_values(xt, d, steps.normwise)
        return (after(values, xt), d), (values, sound)

    def two(carry, pair):
        state, sound, between = _times_pair(Graded(*carry, jnp.eye(carry[1].size)), pair)
        new = _absorbed(state)
        xt, d = graded_svd.by_size(*new)
        both = jax.tree.map(lambda *a: jnp.stack(a), between[:3], (xt, d, graded_svd.rank_of(d)))
        g = jax.vmap(graded_svd.triangle)(*both[:2])
        values = jax.vmap(lambda *a: graded_svd.log_values_of_triangle(*a, steps.normwise))(g, *both[1:])
        sound &= _are_sound(jnp.diagonal(g[0]), between.rank, between.bt)
        return (after(values, new[0]), new[1]), (values.at[0].add(between.shift), sound)

    carry, found = _identity(stacks)[:2], []
    for stack in stacks:
        carry, values = _along(stack, carry, one, two if steps.pairs else None)
        found.append(values)
    return [values for values, _ in found], [sound for _, sound in found]


def _in_double(run: Callable[[Sequence[Factor], Steps], tuple[Any, list[Array]]], stacks: Sequence[Factor]) -> Any:
    """`run` in float64."""
    dtype = stacks[0].weight.dtype
    with jax.enable_x64(True):
        values = _by_sound_steps(run, dtype, _narrowed(stacks))
        return jax.tree.map(lambda a: a.astype(dtype), values)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _by_sound_steps(run: Callable[[Sequence[Factor], Steps], tuple[Any, list[Array]]], dtype: Any, stacks: Any) -> Any:
    """`run` by quick steps, and by careful ones if some step was not sound."""
    normwise = graded_svd.normwise_window(dtype)
    values, sound = run(stacks, Steps(_times, dtype != jnp.float64, normwise))
    unsound = ~functools.reduce(jnp.logical_and, [jnp.all(s) for s in sound])

    def again(carry):
        # Only for those not sound; and work that did not depend on the carry, XLA would do always, before the loop.
        chosen = [s._replace(log_abs_slopes=jnp.where(carry[0], s.log_abs_slopes, -jnp.inf)) for s in stacks]
        return jnp.zeros_like(unsound), run(chosen, Steps(_times_any_slopes, False, normwise))[0]

    return jax.lax.while_loop(lambda carry: carry[0], again, (unsound, values))[1]


def log_growth_by_qr(stack: Factor) -> Float[Array, "layers n"]:
    """ln of the growth, layer by layer, of the diagonal of R in Q R = the product so far, for a stack of square factors.

    Neither T nor d matters for it. Slopes below exp(-600) of their layer's largest count as that.
    """
    dtype = stack.weight.dtype
    with jax.enable_x64(True):
        stack = _double(stack)
        n = stack.weight.shape[-1]

        def layer(carry, factor):
            xt, before = carry
            slopes, shift, _ = _relative_slopes(factor)
            bt = jnp.einsum("rn,mn->rm", xt, factor.weight) * slopes[None, :]
            xt, _, pivots, _ = _lu(bt)
            now = jnp.log(jnp.abs(jnp.diagonal(jnp.linalg.qr(xt.T, mode="r"))))
            return (after(now, xt), now), jnp.log(jnp.abs(pivots)) + shift + now - before

        return jax.lax.scan(layer, (jnp.eye(n), jnp.zeros(n)), stack)[1].astype(dtype)


@_of_smallest_width.defjvp
def _tangent(primals: Any, tangents: Any) -> tuple[Array, Array]:
    values, double = _of_smallest_width(*primals), jnp.result_type(float) == jnp.float64
    with jax.enable_x64(True):
        (stacks,), (changes,) = _double(primals), _double(tangents)
        stacks = [s._replace(weight=after(values, s.weight)) for s in stacks]
        if double:
            return values, _change(stacks, list(changes), values).astype(values.dtype)
        found = _gradients(stacks, values)
        found = jax.tree.map(lambda g: g.astype(values.dtype), found)
    # Reverse mode transposes what is linear in the changes after this context is left: it must be all in their dtype.
    parts = jax.tree.map(
        lambda g, c: jnp.einsum("kn,n->k", g.reshape(values.size, -1), jnp.ravel(c)), found, tangents[0]
    )
    return values, sum(jax.tree.leaves(parts), jnp.zeros_like(values))


@jax.jit
def _gradients(stacks: Sequence[Factor], values: Array) -> list[Factor]:
    """Of every ln s_i."""
    zero = jax.tree.map(jnp.zeros_like, list(stacks))
    _, pull = jax.vjp(lambda changes: _change(stacks, changes, values), zero)
    return jax.vmap(pull)(jnp.eye(values.size))[0]


@jax.jit
def _change(stacks: Sequence[Factor], changes: Sequence[Factor], values: Array) -> Array:
    """d ln s_i = v_i^T T^-1 (diag(dd) T + dT) v_i, v_i the right singular vectors of diag(exp d) T: nothing graded in it."""
    (d, t), (dd, dt) = jax.jvp(_smooth_product, (stacks,), (changes,))
    q, r = jnp.linalg.qr(t.T)
    window = graded_svd.normwise_window(values.dtype)
    _, vt = graded_svd.in_windows(r.T, d, graded_svd.rank_of(values), window, vectors=True)
    left = jax.scipy.linalg.solve_triangular(r, vt.T)
    change = jnp.einsum("ki,kj,ij->i", left, dt, vt @ q.T) + jnp.einsum("ki,k,ik->i", left, dd, vt @ r)
    return jnp.where(jnp.isneginf(values), 0.0, change)


@log_singular_values_of_every_layer.defjvp
def _no_tangent(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(
        "log_singular_values: every_depth=True has no derivative. Differentiate the network of each depth instead."
    )


# --- the product -----------------------------------------------------------------------------------------------


def _times(state: Graded, factor: Factor) -> tuple[Graded, Array]:
    """D W (X diag(exp d) T), decomposed anew; sound unless slopes lie below exp(LOWEST)."""
    slopes, shift, rest = _relative_slopes(factor)
    bt = jnp.einsum("rn,mn->rm", state.xt, factor.weight) * slopes[None, :]
    return _decomposed(bt, state, shift)[0], jnp.all(rest == 0)


def _times_any_slopes(state: Graded, factor: Factor) -> tuple[Graded, Array]:
    """The same whatever the slopes span: by logarithms, where that is needed."""
    new, sound = _times(state, factor)

    def again(carry):
        # Only where needed; and work that did not depend on the carry, XLA would do always, before the loop.
        log_abs = jnp.where(carry[0], factor.log_abs_slopes, -jnp.inf)
        return jnp.zeros_like(sound), _times_by_logs(state, factor._replace(log_abs_slopes=log_abs))

    return jax.lax.while_loop(lambda carry: carry[0], again, (~sound, new))[1], jnp.array(True)


def _times_by_logs(state: Graded, factor: Factor) -> Graded:
    log_abs, zero = factor.log_abs_slopes, jnp.isneginf(factor.log_abs_slopes)
    bt = jnp.einsum("rn,mn->rm", state.xt, factor.weight) * jnp.where(zero, 0.0, factor.signs)[None, :]
    return _decomposed(bt, state, jnp.zeros(()), scale=jnp.where(zero, 0.0, log_abs))[0]


def _times_pair(state: Graded, pair: Factor) -> tuple[Graded, Array, Between]:
    """D_2 W_2 D_1 W_1 (X diag(exp d) T) by one decomposition, and D_1 W_1 X diag(exp d) for who needs it too.

    The dense product W_2 D_1 W_1 X mixes what D_1 has graded. The result is sound if no pivot is tiny beside the largest
    entry, D_2 set aside: elimination respects D_2.
    """
    state = _sorted(state)
    first, second = (jax.tree.map(lambda a, i=i: a[i], pair) for i in (0, 1))
    slopes1, shift1, _ = _relative_slopes(first)
    slopes2, shift2, _ = _relative_slopes(second)
    rank1 = jnp.minimum(graded_svd.rank_of(state.d), _nonzero_row_count(first))
    rank2 = jnp.minimum(rank1, _nonzero_row_count(second))
    bt = jnp.einsum("rn,mn->rm", state.xt, first.weight) * slopes1[None, :]
    dense = jnp.einsum("rn,mn->rm", bt, second.weight)
    new, pivots, rows = _decomposed(dense * slopes2[None, :], state, shift1 + shift2, rank2)
    sizes = jnp.abs(slopes2[rows])
    sound = _are_sound(pivots / jnp.where(sizes > 0, sizes, 1.0), rank2, dense)
    return new, sound, Between(bt, state.d, rank1, shift1)


def _are_sound(pivots: Array, rank: Array, dense: Array) -> Array:
    """Whether no pivot before the rank is tiny beside the largest entry of what was decomposed."""
    smallest = jnp.min(jnp.where(jnp.arange(pivots.size) < rank, jnp.abs(pivots), jnp.inf))
    return smallest >= SMALLEST_PIVOT * jnp.max(jnp.abs(dense))


def _nonzero_row_count(factor: Factor) -> Array:
    return jnp.sum(~jnp.isneginf(factor.log_abs_slopes) & jnp.any(factor.weight != 0, axis=1))


def _relative_slopes(factor: Factor) -> tuple[Array, Array, Array]:
    """Slopes beside the largest, ln of that one, and ln of what exp(LOWEST) leaves to be multiplied in."""
    top = jnp.max(factor.log_abs_slopes, axis=-1, keepdims=True)
    top = jnp.where(jnp.isneginf(top), 0.0, top)
    relative, zero = factor.log_abs_slopes - top, jnp.isneginf(factor.log_abs_slopes)
    slopes = jnp.where(zero, 0.0, factor.signs * jnp.exp(jnp.maximum(relative, LOWEST)))
    return slopes, top[..., 0], jnp.where(zero, 0.0, jnp.minimum(relative - LOWEST, 0.0))


def _decomposed(
    bt: Array, state: Graded, shift: Array, rank: Array | None = None, scale: Array | None = None
) -> tuple[Graded, Array, Array]:
    """exp(shift) diag(exp scale) B diag(exp d) T as X' diag(exp d') T'; and the pivots of B with their rows.

    The rank ends where d' is -inf: at a pivot that is exactly zero, or where the caller knows it to end.
    """
    # Largest columns first; what the slopes leave of a column counts, not only what it was.
    if scale is None:
        sizes = jnp.log(jnp.max(jnp.abs(bt), axis=1))
    else:
        sizes = jnp.max(jnp.log(jnp.abs(bt)) + scale[None, :], axis=1)
    order = jnp.argsort(-state.d - sizes)
    bt, d, t = (a[order] for a in (bt, state.d, state.t))
    xt, u, pivots, rows = _lu(bt) if scale is None else _lu_by_logs(bt, scale)
    k = pivots.size
    alive = ~jnp.isneginf(d[:k]) & (pivots != 0)
    if rank is not None:
        alive &= jnp.arange(k) < rank
    log_pivots = jnp.log(jnp.where(alive, jnp.abs(pivots), 1.0))
    # Not a quotient: its derivative would square a pivot that may be exp(-600).
    u = u * jnp.exp(-log_pivots)[:, None] * graded_svd.grading(d)[:k]
    new = jnp.where(alive, jnp.where(alive, d[:k], 0.0) + log_pivots + shift, -jnp.inf)
    if scale is not None:
        new += scale[rows]
    return Graded(xt, new, jnp.where(alive[:, None], u, jnp.eye(k, d.size)) @ t), pivots, rows


def _lu(bt: Array) -> tuple[Array, Array, Array, Array]:
    """B = X U with partial pivoting: X transposed, U, its diagonal and the rows it was taken from."""
    lu, _, rows = jax.lax.linalg.lu(bt.T)
    m, k = lu.shape[0], min(lu.shape)
    lower = jnp.tril(lu[:, :k], -1) + jnp.eye(m, k)
    return lower[jnp.argsort(rows)].T, jnp.triu(lu[:k]), jnp.diagonal(lu), rows[:k]


def _lu_by_logs(bt: Array, scale: Array) -> tuple[Array, Array, Array, Array]:
    """The same of diag(exp scale) B, with the scale of each row of U left out.

    A scale of rows changes no step of an elimination but the choice of the pivot: it is made in logarithms, and what is
    computed with is B, however far scales lie apart.
    """
    r, m = bt.shape
    k = min(r, m)

    def eliminate(j, carry):
        rest, xt, u, rows, used = carry
        sizes = jnp.log(jnp.abs(rest[j])) + scale
        row = jnp.argsort(jnp.where(used, jnp.inf, jnp.minimum(-sizes, 1e300)))[0]  # an unused one, if all are zeros
        pivot, used = rest[j, row], used.at[row].set(True)
        share = jnp.where(used, 0.0, rest[j] / jnp.where(pivot == 0, 1.0, pivot))
        small = jnp.sign(share) * jnp.exp(jnp.minimum(jnp.log(jnp.abs(share)) + scale - scale[row], 0.0))
        xt = xt.at[j].set(small.at[row].set(1.0))
        u = u.at[j].set(jnp.where(jnp.arange(r) < j, 0.0, rest[:, row]))
        rest = jnp.where(used[None, :], rest, rest - rest[:, row][:, None] * share[None, :])
        return rest, xt, u, rows.at[j].set(row), used

    start = bt, jnp.zeros((k, m)), jnp.zeros((k, r)), jnp.zeros(k, int), jnp.zeros(m, bool)
    _, xt, u, rows, _ = jax.lax.fori_loop(0, k, eliminate, start)
    return xt, u, jnp.diagonal(u), rows


def _absorbed(state: Graded) -> tuple[Array, Array]:
    """X', d' with the singular values of X diag(exp d) T: T = R^T Q^T, and diag(exp d) R^T = L diag(exp d')."""
    xt, d, t = _sorted(state)
    r = jnp.linalg.qr(t.T, mode="r")
    pivots = jnp.abs(jnp.diagonal(r))
    lower = jnp.tril(r.T / pivots[None, :] * graded_svd.grading(d).T)
    lower = jnp.where(jnp.isneginf(d)[:, None], jnp.eye(d.size), lower)
    return jnp.einsum("ij,im->jm", lower, xt), d + jnp.log(pivots)


def _sorted(state: Graded) -> Graded:
    return Graded(*graded_svd.by_size(*state))


# --- derivatives -----------------------------------------------------------------------------------------------


def _smooth_product(stacks: Sequence[Factor]) -> tuple[Array, Array]:
    """d and T of Q diag(exp d) T, Q orthogonal, by steps that JAX differentiates.

    An orthogonal factor on the left has no part in the derivative of a singular value. Zero slopes are made tiny: that
    changes no other singular value, and every factor keeps its rank.
    """
    state = _identity(stacks := _narrowed(stacks))
    for stack in stacks:
        _, top, rest = _relative_slopes(stack)
        slopes = jnp.where(jnp.isneginf(stack.log_abs_slopes), top[:, None] + ZERO_SLOPE, stack.log_abs_slopes)
        signs = jnp.where(stack.signs == 0, 1.0, stack.signs)
        smooth = Factor(stack.weight, jnp.where(rest < 0, jnp.nan, slopes), signs)
        state, _ = _along(smooth, state, _times)
    xt, d, t = _sorted(state)
    r = jnp.linalg.qr(xt.T)[1]
    pivots = jnp.abs(jnp.diagonal(r))
    return _sorted(Graded(xt, d + jnp.log(pivots), jnp.triu(r / pivots[:, None] * graded_svd.grading(d)) @ t))[1:]


# --- stacks ----------------------------------------------------------------------------------------------------


def _along(stack: Factor, carry: Any, one: Callable, two: Callable | None = None) -> tuple[Any, Any]:
    """Carry and outputs of the step `one` over a stack of factors, or of `two`, where given, over pairs of them."""
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


def _identity(stacks: Sequence[Factor]) -> Graded:
    n = stacks[0].weight.shape[-1]
    return Graded(jnp.eye(n), jnp.zeros(n), jnp.eye(n))


def _narrowed(stacks: Sequence[Factor]) -> list[Factor]:
    """In float64; a first factor wider than high becomes the square one that QR of its transpose leaves."""
    first, *rest = _double(list(stacks))
    if first.weight.shape[-2] < first.weight.shape[-1]:
        first = first._replace(weight=jnp.swapaxes(jnp.linalg.qr(jnp.swapaxes(first.weight, -2, -1))[1], -2, -1))
    return [first, *rest]


def _double(tree: Any) -> Any:
    return jax.tree.map(lambda a: a.astype(jnp.float64), tree)
