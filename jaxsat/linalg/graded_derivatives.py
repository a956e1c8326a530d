"""Derivatives of the logarithms of the singular values of a product: nothing graded is left in them.

d ln s_i = v_i^T T^-1 (diag(dd) T + dT) v_i,    v_i the right singular vectors of diag(exp d) T
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsat.linalg import graded_steps, graded_svd
from jaxsat.linalg.graded_steps import Factor, Graded

ZERO_SLOPE = -400.0  # stands for -inf where derivatives are taken


@jax.jit
def change(stacks: Sequence[Factor], changes: Sequence[Factor], values: Float[Array, " r"]) -> Float[Array, " r"]:
    """Return the change of every ln s, to first order, where the factors change as given. 0 for values of -inf."""
    (d, t), (dd, dt) = jax.jvp(_smooth_product, (stacks,), (changes,))
    q, r = jnp.linalg.qr(t.T)
    window = graded_svd.normwise_window(values.dtype)
    _, vt = graded_svd.log_values_and_vectors(r.T, d, graded_svd.rank_of(values), window)
    left = jax.scipy.linalg.solve_triangular(r, vt.T)
    moved = jnp.einsum("ki,kj,ij->i", left, dt, vt @ q.T) + jnp.einsum("ki,k,ik->i", left, dd, vt @ r)
    return jnp.where(jnp.isneginf(values), 0.0, moved)


@jax.jit
def gradients_of_factors(stacks: Sequence[Factor], values: Float[Array, " r"]) -> list[Factor]:
    """Return the gradient of every ln s with respect to the factors: a leading axis of r on each array."""
    zero = jax.tree.map(jnp.zeros_like, list(stacks))
    _, pull = jax.vjp(lambda changes: change(stacks, changes, values), zero)
    return jax.vmap(pull)(jnp.eye(values.size))[0]


def _smooth_product(stacks: Sequence[Factor]) -> tuple[Array, Array]:
    """Return d and T of Q diag(exp d) T, Q orthogonal, by steps that JAX differentiates.

    An orthogonal factor on the left has no part in the derivative of a singular value. Zero slopes are made tiny: that
    changes no other singular value, and every factor keeps its rank.
    """
    stacks = graded_steps.narrowed(stacks)
    state = graded_steps.identity(stacks)
    for stack in stacks:
        _, top, rest = graded_steps.relative_slopes(stack)
        slopes = jnp.where(jnp.isneginf(stack.log_abs_slopes), top[:, None] + ZERO_SLOPE, stack.log_abs_slopes)
        signs = jnp.where(stack.signs == 0, 1.0, stack.signs)
        smooth = Factor(stack.weight, jnp.where(rest < 0, jnp.nan, slopes), signs)
        state, _ = graded_steps.along(smooth, state, graded_steps.times)
    xt, d, t = graded_steps.ordered(state)
    r = jnp.linalg.qr(xt.T)[1]
    pivots = jnp.abs(jnp.diagonal(r))
    upper = jnp.triu(r / pivots[:, None] * graded_svd.grading(d))
    return graded_steps.ordered(Graded(xt, d + jnp.log(pivots), upper @ t))[1:]
