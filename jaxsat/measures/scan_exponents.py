"""Lyapunov exponents of a scan: how fast directions grow or shrink per step, on average over time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsat.measures.scans import vector_scan


class ExponentsOfScan(NamedTuple):
    """Growth per step, in nats.

    Attributes:
        exponents: averages over time, descending.
        standard_error: of each, from the means of about sqrt(steps) batches of steps; NaN for fewer than 4 steps.
    """

    exponents: Float[Array, " n"]
    standard_error: Float[Array, " n"]


def lyapunov_exponents_of_scan(
    step: Callable[[Any, Any], Any], carry: Any, xs: Any, *, length: int | None = None
) -> ExponentsOfScan:
    """Return the Lyapunov exponents of a scan, in nats per step, descending.

    Args:
        step, carry, xs, length: as :func:`log_singular_values_of_scan`.

    >>> found = lyapunov_exponents_of_scan(lambda h, x: jnp.array([0.5, 2.0]) * h, jnp.ones(2), None, length=100)
    >>> [round(float(v), 4) for v in found.exponents]
    [0.6931, -0.6931]
    """
    scan = vector_scan("lyapunov_exponents_of_scan", step, carry, xs, length)

    def forth(carry, x):
        state, frame = carry
        state, pushed = _pushed(scan.step, state, x, frame)
        frame, r = jnp.linalg.qr(pushed)
        return (state, frame), jnp.log(jnp.abs(jnp.diagonal(r)))

    start = scan.state, jnp.eye(scan.state.size, dtype=scan.state.dtype)
    growth = jax.lax.scan(forth, start, scan.xs, length=scan.length)[1]
    batches = math.isqrt(scan.length)
    means = jnp.mean(growth[scan.length % batches :].reshape(batches, -1, growth.shape[1]), axis=1)
    exponents, error = jnp.mean(growth, axis=0), jnp.std(means, axis=0, ddof=1) / batches**0.5
    order = jnp.argsort(-exponents)
    return ExponentsOfScan(exponents[order], error[order])


def _pushed(step: Callable[[Array, Any], Array], state: Array, x: Any, frame: Array) -> tuple[Array, Array]:
    new, push = jax.linearize(lambda state: step(state, x), state)
    return new, jax.vmap(push, in_axes=1, out_axes=1)(frame)
