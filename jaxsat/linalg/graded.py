"""Every singular value of a product of many matrices, in logarithms, to high relative accuracy.

The product P is kept as

    P = X diag(exp d) T,        X (m, r): the rows of a unit lower triangle in another order, |X_ij| <= 1;
                                T (r, n): well conditioned for random factors

with natural logarithms d, however widely spread. What the code computes equals this loop (NumPy, square factors; the
real code works on X transposed, keeps logarithms, and handles slopes of zero and layers of several widths):

    X, d, T = eye(n), zeros(n), eye(n)
    for W, slopes in zip(weights, all_slopes):
        B = slopes[:, None] * (W @ X)
        order = argsort(-d - log(abs(B).max(axis=0)))           # columns of B diag(exp d), largest first
        B, d, T = B[:, order], d[order], T[order]
        X, U = lu(B, permute_l=True)                            # partial pivoting: B = X U
        new = d + log(abs(diag(U)))
        T = (exp(-new)[:, None] * U * exp(d)[None, :]) @ T      # unit upper triangle (up to signs), of moderate size
        d = new
    R = qr(T.T, mode="r")                                       # T = R^T Q^T, and Q has no singular values to give
    return log(svdvals(X @ diag(exp(d)) @ R.T))                 # without forming it: see graded_svd

Elimination never adds a large row to a small row, so slopes that are hundreds of orders of magnitude apart keep their
relative accuracy. QR of B instead of LU mixes rows and loses it (errors of tens in ln s, measured).

**Accuracy.** Rounding enters in `B` and in `lu`, eps relative to the rows of B, and in the product with T. The loss is
small where T stays well conditioned. T does so for products of independent random factors; it does not for powers of
a defective matrix, or where later factors undo earlier factors.

All of it runs in float64, whatever the caller's dtype and configuration. For single precision, two layers are multiplied
densely before each decomposition. Pivots show where that was not good enough, and then the product is made again
layer by layer. Where slopes of a layer do not fit beside each other in a double, the elimination runs on W X alone and
slopes only choose its pivots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float

from jaxsat.linalg import graded_derivatives, graded_steps, graded_svd
from jaxsat.linalg.double import within_float64
from jaxsat.linalg.elimination import eliminated
from jaxsat.linalg.graded_steps import Factor, Graded
from jaxsat.linalg.lapack import after, again_if


class Steps(NamedTuple):
    """How a product is made: the step for one factor, and whether two are taken at a time."""

    one: Callable[[Graded, Factor], tuple[Graded, Bool[Array, ""]]]
    pairs: bool


def log_values_of_factors(stacks: Sequence[Factor]) -> Float[Array, " k"]:
    """Return ln of the singular values of a product, descending; -inf beyond its rank; NaN throughout for any NaN in it.

    Args:
        stacks: stacked factors (layers, m, n), h = W x, in the order in which they act; stacks of several layers are
            square.

    Returns: k = min(rows, columns) values, in the dtype of the weights. Differentiable in both modes where singular
        values are distinct and the slopes of each layer lie within exp(600) of each other (else NaN).
    """
    values = _of_smallest_width(stacks)
    lost = min(stacks[-1].weight.shape[-2], stacks[0].weight.shape[-1]) - values.size  # to a layer narrower than both
    rest = jnp.where(jnp.isnan(values[:1]), jnp.nan, jnp.full(lost, -jnp.inf, values.dtype))
    return jnp.concatenate([values, rest])


@jax.custom_jvp
def _of_smallest_width(stacks: Sequence[Factor]) -> Float[Array, " r"]:
    """Return the first singular values, as many as the smallest width on the way; the others are zero."""

    return _in_float64(_values, stacks)


@jax.custom_jvp
def log_singular_values_of_every_layer(stacks: Sequence[Factor]) -> list[Float[Array, "layers r"]]:
    """Return the same for every partial product, in one pass: an array for each stack. Not differentiable."""

    return _in_float64(_values_of_every_layer, stacks)


def _values(stacks: Sequence[Factor], steps: Steps) -> tuple[Array, list[Array]]:
    two = (lambda state, pair: graded_steps.times_pair(state, pair)[:2]) if steps.pairs else None
    state, sound = graded_steps.identity(stacks), []
    for stack in stacks:
        state, flags = graded_steps.along(stack, state, steps.one, two)
        sound.append(flags)
    return graded_svd.log_values(*graded_steps.absorbed(state)), sound


def _values_of_every_layer(stacks: Sequence[Factor], steps: Steps) -> tuple[list[Array], list[Array]]:
    # Singular values need no T: what a step brings is absorbed at once.
    def one(carry, factor):
        state, sound = steps.one(Graded(*carry, jnp.eye(carry[1].size)), factor)
        xt, d = graded_steps.absorbed(state)
        values = graded_svd.log_values(xt, d)
        return (after(values, xt), d), (values, sound)

    def two(carry, pair):
        before = graded_steps.ordered(Graded(*carry, jnp.eye(carry[1].size)))
        state, sound, between = graded_steps.times_pair(before, pair)
        new = graded_steps.absorbed(state)
        xt, d = graded_svd.by_size(*new)
        both = jax.tree.map(lambda *a: jnp.stack(a), between[:3], (xt, d, graded_svd.rank_of(d)))
        g = jax.vmap(graded_svd.triangle)(*both[:2])
        values = jax.vmap(graded_svd.log_values_of_triangle)(g, *both[1:])
        sound &= graded_steps.pivots_are_sound(jnp.diagonal(g[0]), between.rank, between.bt)
        return (after(values, new[0]), new[1]), (values.at[0].add(between.shift), sound)

    carry, made = graded_steps.identity(stacks)[:2], []
    for stack in stacks:
        carry, values = graded_steps.along(stack, carry, one, two if steps.pairs else None)
        made.append(values)
    return [values for values, _ in made], [sound for _, sound in made]


def _in_float64(run: Callable[[Sequence[Factor], Steps], tuple[Any, list[Array]]], stacks: Sequence[Factor]) -> Any:
    """Return what `run` gives in float64, in the caller's dtype."""
    dtype = stacks[0].weight.dtype

    def work(stacks):
        values = _by_sound_steps(run, dtype, graded_steps.narrowed(stacks))
        return jax.tree.map(lambda a: a.astype(dtype), values)

    return within_float64(work)(list(stacks))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _by_sound_steps(
    run: Callable[[Sequence[Factor], Steps], tuple[Any, list[Array]]], dtype: DTypeLike, stacks: Any
) -> Any:
    """Return what `run` gives by quick steps, or by careful steps if some step was not sound."""
    values, sound = run(stacks, Steps(graded_steps.times, dtype != jnp.float64))
    unsound = ~functools.reduce(jnp.logical_and, [jnp.all(s) for s in sound])

    def carefully(log_abs_slopes):
        own = [s._replace(log_abs_slopes=logs) for s, logs in zip(stacks, log_abs_slopes, strict=True)]
        return run(own, Steps(graded_steps.times_any_slopes, False))[0]

    return again_if(unsound, carefully, [s.log_abs_slopes for s in stacks], -jnp.inf, values)


def log_growth_by_qr(stack: Factor) -> Float[Array, "layers n"]:
    """Return ln of the growth, layer by layer, of the diagonal of R in Q R = the product so far.

    Args:
        stack: square factors, h = W x.

    The result needs neither T nor d. Slopes below exp(-600) times their layer's largest count as exp(-600) times it.
    Differentiable where float64 is the default.
    """
    dtype = stack.weight.dtype

    def work(stack):
        return _log_growth(graded_steps.in_float64(stack)).astype(dtype)

    return within_float64(work)(stack) if jnp.result_type(float) != jnp.float64 else work(stack)


@jax.jit
def _log_growth(stack: Factor) -> Float[Array, "layers n"]:
    n = stack.weight.shape[-1]

    def layer(carry, factor):
        xt, before = carry
        slopes, shift, _ = graded_steps.relative_slopes(factor)
        bt = jnp.einsum("rn,mn->rm", xt, factor.weight) * slopes[None, :]
        made = eliminated(bt)
        now = jnp.log(jnp.abs(jnp.diagonal(jnp.linalg.qr(made.xt.T, mode="r"))))
        return (after(now, made.xt), now), jnp.log(jnp.abs(made.pivots)) + shift + now - before

    return jax.lax.scan(layer, (jnp.eye(n), jnp.zeros(n)), stack)[1]


@_of_smallest_width.defjvp
def _tangent(primals: Any, tangents: Any) -> tuple[Array, Array]:
    values, double = _of_smallest_width(*primals), jnp.result_type(float) == jnp.float64
    with jax.enable_x64(True):
        (stacks,), (changes,) = graded_steps.in_float64(primals), graded_steps.in_float64(tangents)
        stacks = [s._replace(weight=after(values, s.weight)) for s in stacks]
        if double:
            return values, graded_derivatives.change(stacks, list(changes), values).astype(values.dtype)
        gradients = graded_derivatives.gradients_of_factors(stacks, values)
        gradients = jax.tree.map(lambda g: g.astype(values.dtype), gradients)
    # Reverse mode transposes what is linear in the changes after this context is left: it must be all in their dtype.
    parts = jax.tree.map(
        lambda g, c: jnp.einsum("kn,n->k", g.reshape(values.size, -1), jnp.ravel(c)), gradients, tangents[0]
    )
    return values, sum(jax.tree.leaves(parts), jnp.zeros_like(values))


@log_singular_values_of_every_layer.defjvp
def _no_tangent(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(
        "log_singular_values: every_depth=True has no derivative. Differentiate the network of each depth instead."
    )
