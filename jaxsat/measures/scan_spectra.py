"""Singular values, in logarithms, of the derivative of a scan's last carry with respect to its first."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsat import addresses, checks
from jaxsat.linalg import graded, graded_flow, graded_passes, graded_steps, krylov
from jaxsat.linalg.double import within_float64
from jaxsat.linalg.graded_steps import Factor
from jaxsat.measures.scans import (
    ClosedStep,
    VectorScan,
    as_static,
    checked_length,
    vector_scan,
    with_derivative,
)
from jaxsat.networks.protocol import ScanStep


@overload
def log_singular_values_of_scan(
    step: ScanStep,
    carry: Any,
    xs: Any,
    every_step: bool = False,
    with_error: Literal[False] = False,
    *,
    length: int | None = None,
) -> Float[Array, "*steps n"]: ...


@overload
def log_singular_values_of_scan(
    step: ScanStep,
    carry: Any,
    xs: Any,
    every_step: bool = False,
    *,
    with_error: Literal[True],
    length: int | None = None,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]: ...


def log_singular_values_of_scan(
    step: ScanStep,
    carry: Any,
    xs: Any,
    every_step: bool = False,
    with_error: bool = False,
    *,
    length: int | None = None,
) -> Float[Array, "*steps n"] | tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return ln of every singular value of d carry_T / d carry_0, descending, for any scan and any number of steps.

    Args:
        step: (carry, x) -> carry, as ``jax.lax.scan`` repeats it, without outputs: a recurrent network over time, a deep
            network over its layers. Parameters are part of the step, as in ``functools.partial(step, params)``.
        carry: carry_0, a pytree of floating-point arrays of n numbers in all.
        xs: inputs: arrays with the T steps as the first axis; None if there are none.
        every_step: return the values of d carry_t / d carry_0 for t = 1 .. T from one pass: shape (T, n).
        with_error: return a pair: the values, and an estimate of the error of each, in nats, for derivatives of the steps
            that are known to eps of the carry's dtype. Not with every_step, and without derivatives.
        length: T, where `xs` has no arrays.

    Returns: natural logarithms, in the carry's dtype (float32 for half precision); -inf for directions that are exactly
        lost. NaN throughout where a step's derivative has a NaN, as it has where a carry that became infinite enters it.

    Accuracy: that of ``spectrum.log_singular_values_of_product`` for the derivatives of the steps as they are computed, on
        the states as they are computed. Each derivative has eps beside the largest entry of a row: what a *single* step
        shrinks to eps of the rest, or less, is lost in it. An LSTM with gates at 15 in float32, or 35 in float64, does that.
        `with_error` shows it: an estimate above 1e-3 means unknown. Ask for it where weights are tied and steps alike, too: it
        then goes a second, careful way where the first is not good enough. Sigmoid, tanh and expm1 in the step have their full
        slopes, which autodiff rounds to 0 (see ``activations.full_slopes``); other slopes are those of the step's own code.
        In float32, slopes below exp(-87) are 0. Remedy for all of this: float64.
    Cost: for each step its derivative, as ``jax.jacfwd`` takes it, and 3 to 5 n^3 floating-point operations in float64.
        Memory does not grow with T; it does, as T n^2, with every_step, with_error or derivatives. For thousands of units
        use :func:`leading_log_singular_values_of_scan`.

    Raises:
        TypeError, ValueError: as :func:`log_gradient_norms_of_scan`.

    >>> logs = log_singular_values_of_scan(lambda h, x: jnp.array([0.5, 0.1]) * h + x, jnp.ones(2), jnp.ones((1000, 2)))
    >>> [round(float(v)) for v in logs]  # 1000 ln 0.5, 1000 ln 0.1
    [-693, -2303]
    """
    where = "log_singular_values_of_scan"
    length = checked_length(where, step, carry, xs, length)
    if every_step and with_error:
        raise ValueError(checks.refusal(where, "with_error", "be False with every_step=True", True))
    kind = "every step" if every_step else "with errors" if with_error else "last"
    return _log_values(as_static(step), carry, xs, length, kind)


class LeadingValues(NamedTuple):
    """Estimates of the largest ln s, descending.

    Attributes:
        values: each is at most the true value of its index, but for rounding.
        changes: by how much the last half of the last pass still raised each: about what is missing, or less.
    """

    values: Float[Array, " k"]
    changes: Float[Array, " k"]


def leading_log_singular_values_of_scan(
    step: ScanStep, carry: Any, xs: Any, k: int, *, passes: int = 2, length: int | None = None
) -> LeadingValues:
    """Return ln of the k largest singular values of d carry_T / d carry_0, without any matrix of n x n numbers.

    For states of some thousands of units. k + 8 directions go forth through all steps as derivatives, and back as gradients,
    `passes` times; after each step they are made independent again, so that none of them is lost in rounding.

    Args:
        step, carry, xs, length: as :func:`log_singular_values_of_scan`.
        k: how many, from 1 to n.
        passes: forth and back, at least 1.

    Returns: values, and how much the last half pass changed them. What is given up: all but the k largest values; values that
        are close to the (k + 9)th converge slowly: a change that is not small says so. Rounding is some eps of the carry's
        dtype for each step, 1e-4 after 1000 steps in float32.

    Cost: 2 `passes` (k + 8) products with the derivative of each step. Memory for the states of all steps.

    Raises:
        TypeError, ValueError: as :func:`log_gradient_norms_of_scan`; `k` out of range.

    >>> slopes = jnp.linspace(0.1, 0.9, 200)
    >>> found = leading_log_singular_values_of_scan(lambda h, x: slopes * h + x, jnp.ones(200), jnp.ones((500, 200)), 2)
    >>> [round(float(v), 2) for v in found.values / 500]  # ln 0.9, ln 0.896
    [-0.11, -0.11]
    """
    where = "leading_log_singular_values_of_scan"
    length = checked_length(where, step, carry, xs, length)
    size = sum(jnp.size(leaf) for leaf in jax.tree.leaves(carry))
    k = checks.integer(where, "k", k, 1, size, f"The carry has {size} numbers.")
    passes = checks.size(where, "passes", passes)
    return _leading(as_static(step), carry, xs, k, passes, length)


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5))
def _leading(step: ScanStep, carry: Any, xs: Any, k: int, passes: int, length: int) -> LeadingValues:
    scan = vector_scan(step, carry, xs, length)
    n, dtype = scan.state.size, scan.state.dtype
    start = jax.random.normal(addresses.root(0), (min(k + krylov.OVERSAMPLING, n), n), dtype)
    closed = ClosedStep.of(scan)
    moves = closed.moves(scan, start)  # out here: inside, the examples would be closed over, which vmap does not allow

    def work(constants, start, state, xs):
        push, pull = (functools.partial(move, constants) for move in moves)
        states = jax.lax.scan(lambda s, x: (closed.step(constants, s, x), s), state, xs, length=length)[1]

        def both_ways(frame, _):
            there = graded_flow.product_of_pushes(push, state, xs, frame, length, in_pairs=False)
            back = graded_flow.product_of_pushes(
                pull, (), (states, xs), _orthonormal(there.xt), length, in_pairs=False, reverse=True
            )
            values = [graded_flow.log_values_of_product(product) for product in (there, back)]
            return _orthonormal(back.xt), values

        first = _orthonormal(start.astype(jnp.float64))
        _, (forth, back) = jax.lax.scan(both_ways, first, length=passes)
        return jax.tree.map(lambda a: a[:k].astype(dtype), (back[-1], jnp.abs(back[-1] - forth[-1])))

    return LeadingValues(*within_float64(work)(closed.constants, start, scan.state, scan.xs))


def _orthonormal(xt: Float[Array, "r n"]) -> Float[Array, "r n"]:
    return jnp.linalg.qr(xt.T)[0].T


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _log_values(step: ScanStep, carry: Any, xs: Any, length: int, kind: str) -> Any:
    scan = vector_scan(step, carry, xs, length)
    if kind == "last":
        return _last(scan)
    stack = factors_of_steps(scan.step, scan.state, scan.xs, length)
    if kind == "every step":
        return jnp.concatenate(graded.log_singular_values_of_every_layer([stack]))
    return within_float64(_with_errors)(stack)


def _with_errors(stack: Factor) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return values and errors, for factors that are known to the eps of their dtype."""
    dtype = stack.weight.dtype
    values, errors = graded_passes.log_singular_values_with_errors([graded_steps.in_float64(stack)])
    eps = float(jnp.finfo(dtype).eps)
    if dtype != jnp.float64:
        finite = jnp.where(jnp.isfinite(values), jnp.abs(values), 0)
        errors = errors * (eps / float(jnp.finfo(jnp.float64).eps)) + eps * finite
    return values.astype(dtype), errors.astype(dtype)


def factors_of_steps(step: ScanStep, state: Float[Array, " n"], xs: Any, length: int) -> Factor:
    """Return the derivative of each step of a scan between vectors, where it is taken, as a stack (T, n, n)."""
    _, jacobians = jax.lax.scan(functools.partial(with_derivative, step), state, xs, length=length)
    shape = jacobians.shape[:2]
    return Factor(jacobians, jnp.zeros(shape, jacobians.dtype), jnp.ones(shape, jacobians.dtype))


def _last(scan: VectorScan) -> Float[Array, " n"]:
    """Return the values after all steps, without a stack of derivatives, except where they are differentiated."""
    closed = ClosedStep.of(scan)

    @jax.custom_jvp
    def values(constants, state, xs):
        return within_float64(functools.partial(_by_pushes, closed.push, scan.length))(constants, state, xs)

    def of_stack(constants, state, xs):
        stack = factors_of_steps(functools.partial(closed.step, constants), state, xs, scan.length)
        return graded.log_values_of_factors([stack])

    values.defjvp(lambda primals, tangents: jax.jvp(of_stack, primals, tangents))
    return values(closed.constants, scan.state, scan.xs)


def _by_pushes(push: Any, length: int, constants: Any, state: Float[Array, " n"], xs: Any) -> Float[Array, " n"]:
    frame, in_pairs = jnp.eye(state.size), state.dtype != jnp.float64
    own = functools.partial(push, constants)
    product = graded_flow.product_of_pushes(own, state, xs, frame, length, in_pairs=in_pairs)
    return graded_flow.log_values_of_product(product).astype(state.dtype)
