"""Singular values, in logarithms, of the derivative of a scan's last carry with respect to its first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float

from jaxsat.linalg import spectrum
from jaxsat.measures.scans import VectorScan, vector_scan


def log_singular_values_of_scan(
    step: Callable[[Any, Any], Any],
    carry: Any,
    xs: Any,
    every_step: bool = False,
    with_error: bool = False,
    *,
    length: int | None = None,
) -> Float[Array, "*steps n"] | tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return ln of every singular value of d carry_T / d carry_0, descending, for any ``lax.scan`` and any number of steps.

    Args:
        step: (carry, x) -> carry.
        carry: carry_0, a pytree of floating-point arrays of n numbers in all.
        xs: inputs, with the T steps as the first axis; None if there are none.
        every_step: return the values of d carry_t / d carry_0 for t = 1 .. T, shape (T, n).
        with_error: return a pair: the values, and an estimate of the error of each, in nats. Not with every_step.
        length: T, where `xs` has no arrays.

    >>> import jax.numpy as jnp
    >>> logs = log_singular_values_of_scan(lambda h, x: jnp.array([0.5, 0.1]) * h + x, jnp.ones(2), jnp.ones((1000, 2)))
    >>> [round(float(v)) for v in logs]  # 1000 ln 0.5, 1000 ln 0.1
    [-693, -2303]
    """
    scan = vector_scan("log_singular_values_of_scan", step, carry, xs, length)
    jacobians = step_jacobians(scan)
    return spectrum.log_singular_values_of_product(jacobians, every_depth=every_step, with_error=with_error)


def step_jacobians(scan: VectorScan) -> Float[Array, "steps n n"]:
    """Return the derivative of each step at the state where it is taken: shape (T, n, n), h = J x."""

    def one(state, x):
        return scan.step(state, x), jax.jacfwd(scan.step)(state, x)

    return jax.lax.scan(one, scan.state, scan.xs, length=scan.length)[1]
