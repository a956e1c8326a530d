"""Products of many matrices as graded decompositions: every singular value to high relative accuracy.

A product P is kept as

    P = X diag(exp d) T,        X (m, r) a row permutation of a unit lower triangle, |X_ij| <= 1; T well conditioned

with d, natural logarithms, as widely spread as it likes. One factor D W, D = diag(signs exp(log_abs_slopes)), costs
one LU decomposition with partial pivoting, D W X = X' U. Elimination never adds a large row to a small one, so slopes
spread over hundreds of orders of magnitude stay right to eps each; QR, which mixes rows, loses them (by tens in ln s,
seen). The diagonal of U goes into d; what is left of it, exp(-d') U exp(d), is unit upper triangular and moderate,
because columns are taken by descending size, and goes into T.

At the end two QR decompositions, of T^T and of X, leave a lower triangle whose rows carry the grading, descending.
Such entries determine all singular values to high relative accuracy, and bidiagonalisation from the large end finds
them so (Barlow & Demmel 1990; Demmel et al. 1999; Drmac & Veselic 2008). Spreads beyond what a number holds are taken
in windows.

Everything is done in float64, whatever the caller's dtype and configuration. For single precision two layers are
multiplied densely before each decomposition; pivots tell when that was one too many, and then the product is made
again layer by layer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxsat.ordering import after

LOWEST = -600.0  # ln of the smallest slope, beside its layer's largest, that one decomposition takes
ZERO_SLOPE = -400.0  # stands for -inf where derivatives are taken
NEGLIGIBLE = 1e-19
SMALLEST_PIVOT = 1e-11  # of two layers multiplied densely, beside their largest entry, where 1e-4 in ln s is enough


class Window(NamedTuple):
    """A matrix is made with its grading clipped to +-reach around a centre; values within +-(reach - margin) count."""

    reach: float
    margin: float


# LAPACK's values of a graded matrix are right relative to themselves. Elsewhere, and for vectors, only eps times the
# largest entry is promised: the errors are then exp(-2 margin) from clipping and eps exp(2 reach - margin) from rounding.
RELATIVE = Window(150.0, 20.0)
NORMWISE, NORMWISE_SINGLE = Window(12.5, 10.5), Window(14.0, 6.0)


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
    normwise: Window


@jax.custom_jvp
def log_singular_values(stacks: Sequence[Factor]) -> Float[Array, " r"]:
    """ln of the singular values of a product, descending; -inf beyond its rank; NaN throughout for any NaN in it.

    Args:
        stacks: stacked factors (layers, m, n), first ones first; those of several layers are square.

    Returns: r of them, the smallest width on the way, in the dtype of the weights. Differentiable in both modes where
        singular values are distinct and the slopes of each layer lie within exp(600) of each other (else NaN).
    """

    def run(stacks: Sequence[Factor], steps: Steps) -> tuple[Array, list[Array]]:
        state, sound = _identity(stacks), []
        for stack in stacks:
            state, found = _along(
                stack, state, steps.one, (lambda s, pair: _times_pair(s, pair)[:2]) if steps.pairs else None
            )
            sound.append(found)
        return _values(*_absorbed(state), steps.normwise), sound

    return _in_double(run, stacks)


@jax.custom_jvp
def log_singular_values_of_every_layer(stacks: Sequence[Factor]) -> list[Float[Array, "layers r"]]:
    """The same of every partial product, in one pass: an array for each stack. Not differentiable."""

    def run(stacks: Sequence[Factor], steps: Steps) -> tuple[list[Array], list[Array]]:
        # Singular values need no T: what a step brings is absorbed at once.
        def one(carry, factor):
            state, sound = steps.one(Graded(*carry, jnp.eye(carry[1].size)), factor)
            xt, d = _absorbed(state)
            values = _values(xt, d, steps.normwise)
            return (after(values, xt), d), (values, sound)

        def two(carry, pair):
            state, sound, between = _times_pair(Graded(*carry, jnp.eye(carry[1].size)), pair)
            new = _absorbed(state)
            xt, d = _by_size(*new)
            both = jax.tree.map(lambda *a: jnp.stack(a), between[:3], (xt, d, _rank(d)))
            g = jax.vmap(_triangle)(*both[:2])
            values = jax.vmap(lambda *a: _of_triangle(*a, steps.normwise))(g, *both[1:])
            sound &= _are_sound(jnp.diagonal(g[0]), between.rank, between.bt)
            return (after(values, new[0]), new[1]), (values.at[0].add(between.shift), sound)

        carry, found = _identity(stacks)[:2], []
        for stack in stacks:
            carry, values = _along(stack, carry, one, two if steps.pairs else None)
            found.append(values)
        return [values for values, _ in found], [sound for _, sound in found]

    return _in_double(run, stacks)


def _in_double(run: Callable[[Sequence[Factor], Steps], tuple[Any, list[Array]]], stacks: Sequence[Factor]) -> Any:
    """`run` by quick steps in float64, and by careful ones if some step was not sound."""
    dtype = stacks[0].weight.dtype
    single, normwise = dtype != jnp.float64, _normwise(stacks)
    with jax.enable_x64(True):
        stacks = _narrowed(stacks)
        values, sound = run(stacks, Steps(_times, single, normwise))
        unsound = ~functools.reduce(jnp.logical_and, [jnp.all(s) for s in sound])

        def again(carry):
            # Only for those not sound; and work that did not depend on the carry, XLA would do always, before the loop.
            chosen = [s._replace(log_abs_slopes=jnp.where(carry[0], s.log_abs_slopes, -jnp.inf)) for s in stacks]
            return jnp.zeros_like(unsound), run(chosen, Steps(_times_in_steps, False, normwise))[0]

        _, values = jax.lax.while_loop(lambda carry: carry[0], again, (unsound, values))
        return jax.tree.map(lambda a: a.astype(dtype), values)


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


@log_singular_values.defjvp
def _tangent(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """d ln s_i = v_i^T T^-1 (diag(dd) T + dT) v_i, v_i the right singular vectors of diag(exp d) T: nothing graded in it."""
    values = log_singular_values(*primals)
    with jax.enable_x64(True):
        (stacks,), (changes,) = _double(primals), _double(tangents)
        stacks = [s._replace(weight=after(values, s.weight)) for s in stacks]
        (d, t), (dd, dt) = jax.jvp(_smooth_product, (stacks,), (list(changes),))
        q, r = jnp.linalg.qr(t.T)
        _, vt = _in_windows(r.T, d, _rank(values), _normwise(primals[0]), vectors=True)
        left = jax.scipy.linalg.solve_triangular(r, vt.T)
        change = jnp.einsum("ki,kj,ij->i", left, dt, vt @ q.T) + jnp.einsum("ki,k,ik->i", left, dd, vt @ r)
        return values, jnp.where(jnp.isneginf(values), 0.0, change).astype(values.dtype)


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


def _times_in_steps(state: Graded, factor: Factor) -> tuple[Graded, Array]:
    """The same, with another decomposition for each exp(LOWEST) that the slopes span beyond the first."""

    def step(carry):
        rest, state = carry
        now = jnp.maximum(rest, LOWEST)
        return rest - now, _decomposed(state.xt * jnp.exp(now)[None, :], state, jnp.zeros(()))[0]

    start = _relative_slopes(factor)[2], _times(state, factor)[0]
    return jax.lax.while_loop(lambda carry: jnp.any(carry[0] < 0), step, start)[1], jnp.array(True)


def _times_pair(state: Graded, pair: Factor) -> tuple[Graded, Array, Between]:
    """D_2 W_2 D_1 W_1 (X diag(exp d) T) by one decomposition, and D_1 W_1 X diag(exp d) for who needs it too.

    The dense product W_2 D_1 W_1 X mixes what D_1 has graded. The result is sound if no pivot is tiny beside the largest
    entry, D_2 set aside: elimination respects D_2.
    """
    state = _sorted(state)
    first, second = (jax.tree.map(lambda a, i=i: a[i], pair) for i in (0, 1))
    slopes1, shift1, _ = _relative_slopes(first)
    slopes2, shift2, _ = _relative_slopes(second)
    rank1 = jnp.minimum(_rank(state.d), _nonzero_rows(first))
    rank2 = jnp.minimum(rank1, _nonzero_rows(second))
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


def _rank(d: Array) -> Array:
    return jnp.sum(~jnp.isneginf(d))


def _nonzero_rows(factor: Factor) -> Array:
    return jnp.sum(~jnp.isneginf(factor.log_abs_slopes) & jnp.any(factor.weight != 0, axis=1))


def _relative_slopes(factor: Factor) -> tuple[Array, Array, Array]:
    """Slopes beside the largest, ln of that one, and ln of what exp(LOWEST) leaves to be multiplied in."""
    top = jnp.max(factor.log_abs_slopes, axis=-1, keepdims=True)
    top = jnp.where(jnp.isneginf(top), 0.0, top)
    relative, zero = factor.log_abs_slopes - top, jnp.isneginf(factor.log_abs_slopes)
    slopes = jnp.where(zero, 0.0, factor.signs * jnp.exp(jnp.maximum(relative, LOWEST)))
    return slopes, top[..., 0], jnp.where(zero, 0.0, jnp.minimum(relative - LOWEST, 0.0))


def _decomposed(bt: Array, state: Graded, shift: Array, rank: Array | None = None) -> tuple[Graded, Array, Array]:
    """exp(shift) B diag(exp d) T as X' diag(exp d') T'; and the pivots with their rows.

    The rank ends where d' is -inf: at a pivot that is exactly zero, or where the caller knows it to end.
    """
    # Largest columns first; what the slopes leave of a column counts, not only what it was.
    order = jnp.argsort(-state.d - jnp.log(jnp.max(jnp.abs(bt), axis=1)))
    bt, d, t = (a[order] for a in (bt, state.d, state.t))
    xt, u, pivots, rows = _lu(bt)
    k = pivots.size
    alive = ~jnp.isneginf(d[:k]) & (pivots != 0)
    if rank is not None:
        alive &= jnp.arange(k) < rank
    log_pivots = jnp.log(jnp.where(alive, jnp.abs(pivots), 1.0))
    # Not a quotient: its derivative would square a pivot that may be exp(-600).
    u = u * jnp.exp(-log_pivots)[:, None] * _grading(d)[:k]
    new = jnp.where(alive, jnp.where(alive, d[:k], 0.0) + log_pivots + shift, -jnp.inf)
    return Graded(xt, new, jnp.where(alive[:, None], u, jnp.eye(k, d.size)) @ t), pivots, rows


def _lu(bt: Array) -> tuple[Array, Array, Array, Array]:
    """B = X U with partial pivoting: X transposed, U, its diagonal and the rows it was taken from."""
    lu, _, rows = jax.lax.linalg.lu(bt.T)
    m, k = lu.shape[0], min(lu.shape)
    lower = jnp.tril(lu[:, :k], -1) + jnp.eye(m, k)
    return lower[jnp.argsort(rows)].T, jnp.triu(lu[:k]), jnp.diagonal(lu), rows[:k]


def _absorbed(state: Graded) -> tuple[Array, Array]:
    """X', d' with the singular values of X diag(exp d) T: T = R^T Q^T, and diag(exp d) R^T = L diag(exp d')."""
    xt, d, t = _sorted(state)
    r = jnp.linalg.qr(t.T, mode="r")
    pivots = jnp.abs(jnp.diagonal(r))
    lower = jnp.tril(r.T / pivots[None, :] * _grading(d).T)
    lower = jnp.where(jnp.isneginf(d)[:, None], jnp.eye(d.size), lower)
    return jnp.einsum("ij,im->jm", lower, xt), d + jnp.log(pivots)


def _grading(d: Array) -> Float[Array, "r r"]:
    """exp(d_j - d_i), kept finite; 0 where d_j is -inf, and nothing of note in the rows where d_i is."""
    row = jnp.where(jnp.isneginf(d), 0.0, d)
    return jnp.exp(jnp.minimum(d[None, :] - row[:, None], 700.0))


def _sorted(state: Graded) -> Graded:
    return Graded(*_by_size(*state))


def _by_size(xt: Array, d: Array, *others: Array) -> tuple[Array, ...]:
    order = jnp.argsort(-d)
    return tuple(a[order] for a in (xt, d, *others))


# --- the singular values of X diag(exp d) ----------------------------------------------------------------------


def _values(xt: Array, d: Array, normwise: Window) -> Float[Array, " r"]:
    """ln of the singular values of X diag(exp d), descending."""
    xt, d = _by_size(xt, d)
    return _of_triangle(_triangle(xt, d), d, _rank(d), normwise)


def _triangle(xt: Array, d: Array) -> Float[Array, "r r"]:
    """The lower triangle G for which diag(exp d) G has the singular values of X diag(exp d).

    Entries too small to change any ln s are made zeros: they would lead the bidiagonalisation astray, which turns rows
    towards the first nonzero entry it meets.
    """
    g = jnp.linalg.qr(xt.T, mode="r").T
    seen = jnp.abs(g) * jnp.minimum(_grading(d).T, 1.0) > NEGLIGIBLE * jnp.abs(jnp.diagonal(g))[None, :]
    return jnp.where(seen | jnp.isnan(g), g, 0.0)


def _of_triangle(g: Array, d: Array, rank: Array, normwise: Window) -> Float[Array, " r"]:
    return jax.lax.platform_dependent(
        g, d, rank, cpu=lambda *a: _in_windows(*a, RELATIVE)[0], default=lambda *a: _in_windows(*a, normwise)[0]
    )


def _in_windows(g: Array, d: Array, rank: Array, window: Window, vectors: bool = False) -> tuple[Array, Array]:
    """ln of the first `rank` singular values of diag(exp d) G and, on request, its right singular vectors as rows.

    Columns from `rank` on are zero but for rounding; further rows are not.
    """
    reach, inner = window.reach, window.reach - window.margin
    index, zero_row = jnp.arange(d.size), jnp.isneginf(d)[:, None]
    g = jnp.where(index[None, :] < rank, g, 0.0)
    sound = jnp.all(jnp.isfinite(g)) & jnp.all(d < jnp.inf)
    rank = jnp.where(sound, rank, 0)
    sizes = jnp.maximum(jnp.log(jnp.abs(jnp.diagonal(g))), -reach)  # a zero here is not sound, and must not be sought
    lowest = jnp.min(jnp.where(index < rank, d + sizes, jnp.inf))

    def look(carry):
        centre, done, values, vt = carry
        matrix = jnp.where(zero_row, 0.0, jnp.exp(jnp.clip(d - centre, -reach, reach))[:, None] * g)
        if vectors:
            _, s, rows = jnp.linalg.svd(matrix)
        else:
            s, rows = jnp.linalg.svd(matrix, compute_uv=False), vt
        found, low = jnp.log(s) + centre, centre - inner
        upto = jnp.where(low <= lowest, rank, jnp.minimum(jnp.sum(found > low), rank))
        new = (index >= done) & (index < upto)
        values, vt = jnp.where(new, found, values), jnp.where(new[:, None], rows, vt)
        return low - inner, jnp.maximum(upto, done), values, vt

    start = jnp.max(d) - inner, jnp.zeros_like(rank), jnp.full_like(d, -jnp.inf), jnp.zeros_like(g)
    _, _, values, vt = jax.lax.while_loop(lambda carry: carry[1] < rank, look, start)
    return jnp.where(sound, values, jnp.nan), jnp.where(sound, vt, jnp.nan)


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
    return _sorted(Graded(xt, d + jnp.log(pivots), jnp.triu(r / pivots[:, None] * _grading(d)) @ t))[1:]


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


def _normwise(stacks: Sequence[Factor]) -> Window:
    return NORMWISE if stacks[0].weight.dtype == jnp.float64 else NORMWISE_SINGLE


def _double(tree: Any) -> Any:
    return jax.tree.map(lambda a: a.astype(jnp.float64), tree)
