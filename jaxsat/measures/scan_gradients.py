"""The signal that goes back through a scan, in the log domain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsat.checks import Shown, refusal
from jaxsat.measures.scans import VectorScan, check_floating, vector_of, vector_scan


def log_gradient_norms_of_scan(
    step: Callable[[Any, Any], Any], carry: Any, xs: Any, cotangent: Any, *, length: int | None = None
) -> Float[Array, " steps_and_start"]:
    """Return ln ||dE/d carry_t|| for t = 0 .. T, where E is a function of the last carry.

    Args:
        step, carry, xs, length: as :func:`log_singular_values_of_scan`.
        cotangent: dE/d carry_T: a pytree like the carry, or the vector of all its numbers.

    Returns: natural logarithms, shape (T + 1,); -inf where the gradient is zero.

    >>> norms = log_gradient_norms_of_scan(lambda h, x: 0.5 * h, jnp.ones(2), jnp.ones(1000), jnp.array([1.0, 0.0]))
    >>> round(float(norms[0] / jnp.log(0.5)), 2), float(norms[-1])
    (1000.0, 0.0)
    """
    where = "log_gradient_norms_of_scan"
    scan = vector_scan(where, step, carry, xs, length)
    start = _cotangent_vector(where, scan, cotangent)

    def forth(state, x):
        return scan.step(state, x), state

    states = jax.lax.scan(forth, scan.state, scan.xs, length=scan.length)[1]

    def back(signal, at):
        state, x = at
        direction, exponent = signal
        (pulled,) = jax.vjp(lambda state: scan.step(state, x), state)[1](direction)
        new = _renormalised(pulled, exponent)
        return new, _log_norm(*new)

    last = _renormalised(start, jnp.zeros((), jnp.int32))
    norms = jax.lax.scan(back, last, (states, scan.xs), length=scan.length, reverse=True)[1]
    return jnp.append(norms, _log_norm(*last))


def _cotangent_vector(where: str, scan: VectorScan, cotangent: Any) -> Float[Array, " n"]:
    carry = jax.eval_shape(scan.carry_of, scan.state)
    check_floating(where, "cotangent", cotangent)
    tree = jax.tree.map(jnp.asarray, cotangent)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(t)] for t in (tree, carry)]
    alike = jax.tree.structure(tree) == jax.tree.structure(carry) and shapes[0] == shapes[1]
    if not alike and shapes[0] != [scan.state.shape]:
        rule = f"have the carry's structure and shapes, or be a vector of {scan.state.size} numbers"
        raise ValueError(refusal(where, "cotangent", rule, Shown(f"{jax.tree.structure(tree)} of shapes {shapes[0]}")))
    return vector_of(tree, scan.state.dtype)


def _renormalised(vector: Array, exponent: Array) -> tuple[Array, Array]:
    """Return vector 2^exponent again, with the largest entry in [1/2, 1). Powers of two cost no rounding."""
    shift = jnp.frexp(jnp.max(jnp.abs(vector)))[1]
    return jnp.ldexp(vector, -shift), exponent + shift


def _log_norm(direction: Array, exponent: Array) -> Array:
    return exponent.astype(direction.dtype) * float(np.log(2)) + jnp.log(jnp.sum(direction**2)) / 2
