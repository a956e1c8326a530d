"""Lyapunov exponents of a scan: how fast directions grow or shrink per step, on average over time.

Benettin's method keeps a frame of directions, pushes it through each step, and makes it orthogonal again by QR. Here the
frame is made triangular by LU, of two steps at once where that is accurate enough: some times faster, and exact all the
same, because one QR at the end of each batch of steps turns growth of the triangle into growth of volumes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsat import addresses, checks
from jaxsat.linalg.lapack import again_if
from jaxsat.measures.scans import VectorScan, as_static, checked_length, vector_scan
from jaxsat.networks.protocol import ScanStep

Growing = tuple[Array, Array, Array]  # the state, the frame (n, k), and ln of how much its directions have grown (k,)


class ExponentsOfScan(NamedTuple):
    """Growth per step, in nats.

    Attributes:
        exponents: averages over time, descending.
        standard_error: of each, from the means of about sqrt(steps) batches of steps, taken as independent; NaN for fewer
            than 4 steps.
    """

    exponents: Float[Array, " k"]
    standard_error: Float[Array, " k"]


def lyapunov_exponents_of_scan(
    step: ScanStep,
    carry: Any,
    xs: Any,
    *,
    count: int | None = None,
    transient: int = 0,
    length: int | None = None,
) -> ExponentsOfScan:
    """Return the Lyapunov exponents of a scan, in nats per step, descending.

    Args:
        step: (carry, x) -> carry, as ``jax.lax.scan`` repeats it, without outputs. Parameters are part of the step, as in
            ``functools.partial(step, params)``.
        carry: carry_0, a pytree of floating-point arrays of n numbers in all.
        xs: inputs: arrays with the T steps as the first axis; None if there are none.
        count: number of exponents, the largest; None: all n. Fewer cost less: `count` directions are pushed, not n.
        transient: steps at the start that are not averaged over: the state finds its attractor, the frame its directions.
        length: T, where `xs` has no arrays.

    Returns: exponents and their standard errors; -inf for directions that are lost. For a flow, divide by the length of a
        step in time.

    Accuracy: a mean over T - transient steps: see `standard_error`, which is too small where the motion remembers longer
        than sqrt(T) steps. Without a transient, the turning of the frame adds a bias of order 1 / T. Rounding adds
        eps times the spread of a step's singular values to each step's growth, and slopes are as in
        :func:`log_gradient_norms_of_scan`. NaN throughout where the carry becomes NaN or infinite.
    Cost: for each step, `count` products with its Jacobian and half of an LU decomposition of an n x `count` matrix.
    Source: Benettin et al. 1980, Meccanica 15; LU in place of QR: Rutishauser 1958.

    Raises:
        TypeError, ValueError: as :func:`log_gradient_norms_of_scan`; a `transient` that leaves no step, a `count` above n.

    >>> def henon(carry, _):
    ...     x, y = carry
    ...     return 1 - 1.4 * x**2 + y, 0.3 * x
    >>> found = lyapunov_exponents_of_scan(henon, (0.1, 0.1), None, length=2000, transient=100)
    >>> round(float(found.exponents.sum()), 3)  # its determinant is -0.3 everywhere: ln 0.3
    -1.204
    """
    where = "lyapunov_exponents_of_scan"
    length = checked_length(where, step, carry, xs, length)
    transient = checks.integer(where, "transient", transient, 0, length - 1, f"The scan has {length} steps.")
    size = sum(jnp.size(leaf) for leaf in jax.tree.leaves(carry))
    if count is not None:
        count = checks.integer(where, "count", count, 1, size, f"The carry has {size} numbers.")
    return _exponents(as_static(step), carry, xs, count or size, transient, length)


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5))
def _exponents(step: ScanStep, carry: Any, xs: Any, count: int, transient: int, length: int) -> ExponentsOfScan:
    scan = vector_scan(step, carry, xs, length)
    averaged = length - transient
    batches = math.isqrt(averaged)
    each = averaged // batches // 2 * 2 if averaged > 1 else 0  # even: two steps are taken at once
    head = averaged - batches * each

    def part(first: int, steps: int) -> Any:
        return jax.tree.map(lambda a: jnp.asarray(a)[first : first + steps], xs)

    growing = scan.state, _first_frame(scan, count), jnp.zeros(count, scan.state.dtype)
    if transient:
        growing, _ = _grown(scan.step, growing, part(0, transient), transient, 1)
    growing, first = _grown(scan.step, growing, part(transient, head), head, 1)

    def batch(growing, xs):
        return _grown(scan.step, growing, xs, each, 2)

    rest = jax.tree.map(lambda a: a.reshape(batches, each, *a.shape[1:]), part(transient + head, batches * each))
    _, growth = jax.lax.scan(batch, growing, rest, length=batches if each else 0)
    total = first + jnp.sum(growth, axis=0)
    means = growth / max(each, 1)
    error = jnp.std(means, axis=0, ddof=1) / batches**0.5 if batches > 1 else jnp.full_like(total, jnp.nan)
    error = jnp.where(jnp.isneginf(total), 0, error)
    order = jnp.argsort(-total)
    lost = jnp.isnan(total).any()
    return ExponentsOfScan(*(jnp.where(lost, jnp.nan, a[order]) for a in (total / averaged, error)))


def _first_frame(scan: VectorScan, count: int) -> Float[Array, "n count"]:
    n, dtype = scan.state.size, scan.state.dtype
    if count == n:
        return jnp.eye(n, dtype=dtype)
    return jnp.linalg.qr(jax.random.normal(addresses.root(0), (n, count), dtype))[0]


def _grown(
    step: Callable[[Array, Any], Array], growing: Growing, xs: Any, steps: int, at_once: int
) -> tuple[Growing, Float[Array, " count"]]:
    """Return the next state, the frame made orthogonal again, and ln of the growth of its directions."""

    def single(growing: Growing, x: Any) -> tuple[Growing, None]:
        state, frame, growth = growing
        state, frame = _pushed(step, state, x, frame)
        frame, pivots, _ = _triangular(frame)
        return (state, frame, growth + pivots), None

    def pair(growing: Growing, xs: Any) -> tuple[Growing, None]:
        state, frame, growth = growing
        for i in range(2):
            state, frame = _pushed(step, state, jax.tree.map(lambda a, i=i: a[i], xs), frame)
        frame, pivots, sound = _triangular(frame)
        singly = functools.partial(_singly, single, xs)
        return again_if(~sound, singly, growing, 0.0, (state, frame, growth + pivots)), None

    if steps == 0:
        return growing, jnp.zeros_like(growing[2])
    if at_once == 2:
        xs = jax.tree.map(lambda a: a.reshape(-1, 2, *a.shape[1:]), xs)
    body = single if at_once == 1 else pair
    (state, frame, growth), _ = jax.lax.scan(body, growing, xs, length=steps // at_once)
    frame, r = jnp.linalg.qr(frame)
    growth = growth + jnp.log(jnp.abs(jnp.diagonal(r)))
    return (state, frame, jnp.zeros_like(growth)), growth


def _singly(single: Callable[[Growing, Any], tuple[Growing, None]], xs: Any, growing: Growing) -> Growing:
    return jax.lax.scan(single, growing, xs, length=2)[0]


def _pushed(
    step: Callable[[Array, Any], Array], state: Array, x: Any, frame: Float[Array, "n k"]
) -> tuple[Array, Float[Array, "n k"]]:
    """Return the next state, and the derivative of the step times each column of the frame."""
    new, push = jax.linearize(lambda state: step(state, x), state)
    return new, jax.vmap(push, in_axes=1, out_axes=1)(frame)


def _triangular(frame: Float[Array, "n k"]) -> tuple[Float[Array, "n k"], Float[Array, " k"], Array]:
    """Return X of X U = the frame, with entries of at most 1; ln of the pivots of U; and whether none is near rounding.

    Pivots are compared with the row that they come from: elimination keeps the relative accuracy of small rows.
    """
    lu, _, rows = jax.lax.linalg.lu(frame)
    n, k = frame.shape
    x = (jnp.tril(lu, -1) + jnp.eye(n, k, dtype=frame.dtype))[jnp.argsort(rows)]
    pivots = jnp.abs(jnp.diagonal(lu))
    sizes = jnp.max(jnp.abs(frame), axis=1)[rows[:k]]
    return x, jnp.log(pivots), jnp.all(pivots >= jnp.finfo(frame.dtype).eps ** 0.5 * sizes)
