"""Singular values of a product with an estimate of the error of each, and two careful passes where a quick pass is not enough.

The quick pass is that of ``graded``, layer by layer. Where an estimate is large, the careful way follows:

1. The steps of the first pass on balanced factors: the sizes of the columns of a factor go into the slopes of the factor
   before it. They leave the product as triangles,

       P = X_L D_L U_L ... D_1 U_1 D_0,    X_L and U_k with entries of moderate size, D_k = diag of the pivots.

2. The same steps on the transposed triangles, D_0 U_1^T D_1 ... U_L^T (D_L X_L^T). This is a step of the iteration that
   turns a product of triangles diagonal (Rutishauser's LR; with QR: Stewart 1995; Oliveira & Stewart 2000). T of this pass
   is well conditioned where that of the first was not. Errors of the first pass are counted in the frame of the second.

For each value, the pass with the smaller estimate is used.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxsat.linalg import graded_errors, graded_steps, graded_svd
from jaxsat.linalg.double import within_float64
from jaxsat.linalg.graded_errors import LayerRecord
from jaxsat.linalg.graded_steps import Factor, Graded
from jaxsat.linalg.lapack import after, again_if

ENOUGH = 1e-8  # an estimate above it asks for the careful way


def log_singular_values_with_errors(stacks: Sequence[Factor]) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Return ln of the singular values of a product, and an estimate of the error of each. No derivative.

    Args:
        stacks: stacked factors (layers, m, n), h = W x, in the order in which they act.

    Always layer by layer, for single precision too.
    """
    dtype, smaller = stacks[0].weight.dtype, min(stacks[-1].weight.shape[-2], stacks[0].weight.shape[-1])

    def work(stacks):
        values, errors = _values_and_errors(graded_steps.in_float64(stacks))
        eps = 0.0 if dtype == jnp.float64 else float(jnp.finfo(dtype).eps)
        rounding = eps * jnp.where(jnp.isfinite(values), jnp.abs(values), 0.0)
        return values[:smaller].astype(dtype), (errors + rounding)[:smaller].astype(dtype)

    return within_float64(work)(list(stacks))


@jax.jit
def _values_and_errors(stacks: list[Factor]) -> tuple[Array, Array]:
    stack = _squared(stacks)
    start = jnp.where(jnp.arange(stack.weight.shape[-1]) < stacks[0].weight.shape[-1], 0.0, -jnp.inf)
    state, records = graded_errors.recorded_product(stack, start, wide=False)
    values = graded_svd.log_values(*graded_steps.absorbed(state))
    errors = graded_errors.error_estimates(jax.tree.map(lambda a: after(values, a), state), records)
    errors = jnp.where(jnp.any(graded_steps.relative_slopes(stack)[2] < 0), jnp.inf, errors)
    rank = _most_rank(stack, start)
    errors = graded_errors.with_lost(values, errors, rank)

    def carefully(log_abs_slopes):
        new, estimates = _careful_values(*_balanced(stack._replace(log_abs_slopes=log_abs_slopes), start))
        estimates = graded_errors.with_lost(new, estimates, rank)
        better = (estimates < errors) & ~jnp.isnan(new)
        return jnp.where(better, new, values), jnp.where(better, estimates, errors)

    needed = jnp.any(errors > ENOUGH) & ~jnp.any(jnp.isnan(stack.weight))
    values, errors = again_if(needed, carefully, stack.log_abs_slopes, -jnp.inf, (values, errors))
    return values, graded_errors.shared(values, errors, len(stack.weight))


def _careful_values(stack: Factor, start: Float[Array, " n"]) -> tuple[Array, Array]:
    state, first = graded_errors.recorded_product(stack, start, wide=True)
    chain = _transposed(state, first, start)
    state, records = graded_errors.recorded_product(chain, jnp.zeros_like(start), wide=True)
    values = graded_svd.log_values(*graded_steps.absorbed(state))
    state = jax.tree.map(lambda a: after(values, a), state)
    return values, _both_errors(state, records, chain.log_abs_slopes, first)


def _squared(stacks: list[Factor]) -> Factor:
    """Return all factors as a single stack of the largest width. What a factor lacks is filled with zeros."""
    n = max(size for stack in stacks for size in stack.weight.shape[-2:])
    parts = []
    for stack in stacks:
        _, rows, columns = stack.weight.shape
        square = jnp.pad(stack.weight, ((0, 0), (0, n - rows), (0, n - columns)))
        logs = jnp.pad(stack.log_abs_slopes, ((0, 0), (0, n - rows)), constant_values=-jnp.inf)
        parts.append(Factor(square, logs, jnp.pad(stack.signs, ((0, 0), (0, n - rows)))))
    return jax.tree.map(lambda *a: jnp.concatenate(a), *parts)


def _most_rank(stack: Factor, start: Float[Array, " n"]) -> Int[Array, ""]:
    """Return the largest rank that zeros leave: the smallest number of rows of a factor that are not zero, or of columns."""
    rows = jnp.sum(jnp.any(stack.weight != 0, axis=2) & ~jnp.isneginf(stack.log_abs_slopes), axis=1)
    columns = jnp.sum(jnp.any(stack.weight != 0, axis=1), axis=1)
    return jnp.minimum(jnp.min(jnp.minimum(rows, columns)), graded_svd.rank_of(start))


def _balanced(stack: Factor, start: Float[Array, " n"]) -> tuple[Factor, Float[Array, " n"]]:
    """Return factors whose columns have largest entries from 1/2 to 1: powers of two move into the slopes before them.

    ln of those of the first factor are added to `start`.
    """
    largest = jnp.max(jnp.abs(stack.weight), axis=1)
    _, exponents = jnp.frexp(largest)
    sizes = jnp.where(largest > 0, exponents.astype(largest.dtype) * jnp.log(2.0), -jnp.inf)
    logs = stack.log_abs_slopes + jnp.concatenate([sizes[1:], jnp.zeros_like(sizes[:1])])
    return Factor(jnp.ldexp(stack.weight, -exponents[:, None, :]), logs, stack.signs), start + sizes[0]


def _transposed(state: Graded, records: LayerRecord, start: Float[Array, " n"]) -> Factor:
    """Return the factors of P^T as the first pass left them, in the order in which they act."""
    made, n = records.made, start.size
    order = jnp.argsort(-state.d)
    r = jnp.linalg.qr(state.xt[order].T, mode="r")
    alive = ~jnp.isneginf(records.d)
    pivots = jnp.where(alive & (made.pivots != 0), made.pivots, 1.0)
    logs = jnp.where(alive, jnp.log(jnp.abs(pivots)) + records.scale, -jnp.inf)
    unit = jnp.where(alive[:, :, None], made.u / pivots[:, :, None], jnp.eye(n))
    columns = jax.vmap(lambda u, places: u[:, places].T)(unit, jnp.argsort(records.order, axis=1))
    weights = jnp.concatenate([r.T[jnp.argsort(order)][None], columns[::-1]])
    slopes = jnp.concatenate([logs[::-1], start[None]])
    signs = jnp.concatenate([jnp.sign(pivots)[::-1], jnp.ones((1, n))])
    return Factor(weights, slopes, jnp.where(jnp.isneginf(slopes), 0.0, signs))


def _both_errors(state: Graded, records: LayerRecord, slopes: Float[Array, "L n"], first: LayerRecord) -> Array:
    """Return estimates of what rounding did in both passes, seen in the frame of the second."""

    def step(reach, given):
        record, xt, own_slopes, slopes_before, old = given
        left, earlier = graded_errors.before(reach, record, wide=True)
        # An error of the first pass lies between the slopes of two factors of the second.
        above = graded_errors.log_lengths(left, (own_slopes + jnp.log(old.columns))[record.made.rows], True)
        vectors, shift = graded_errors.weighted(jnp.einsum("km,ki->mi", xt, earlier.z), _inverted(slopes_before), True)
        below = graded_errors.log_lengths(graded_errors.onto_rows(old.made, vectors), old.rows, True)
        own = graded_errors.own_part(reach, left, earlier, record, True)
        return earlier, (own, (above + reach.log_y, below + shift + earlier.log_z))

    later, earliest = (jax.tree.map(lambda a, part=part: a[part], records) for part in (slice(1, None), 0))
    flipped = jax.tree.map(lambda a: a[::-1], first)
    given = later, records.made.xt[:-1], slopes[1:], slopes[:-1], flipped
    reach, parts = jax.lax.scan(step, graded_errors.reach_at_the_end(state), given, reverse=True)
    left, earlier = graded_errors.before(reach, earliest, wide=True)
    last = jax.tree.map(lambda a: a[None], graded_errors.own_part(reach, left, earlier, earliest, True))
    return graded_errors.as_errors([*parts, last], state.d)


def _inverted(log_scale: Float[Array, " m"]) -> Float[Array, " m"]:
    """Return ln of 1 / exp(log_scale); of 0, for exp(log_scale) = 0."""
    return jnp.where(jnp.isneginf(log_scale), -jnp.inf, -log_scale)
