"""The signal that goes back through a scan, in the log domain: dE/d carry_t, dE/dx_t, and dE/d params.

One reverse scan takes one vjp of the step at a time. The signal is kept beside a power of two, which is exact, so that it
neither underflows nor overflows, and the logarithm has one rounding only, however many steps there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from jaxsat.activations.full_slopes import with_full_slopes
from jaxsat.checks import Shown, refusal
from jaxsat.measures.scaled_arrays import (
    Powered,
    ScaledArrays,
    added,
    log_norm_of_powered,
    renormalised,
    size_and_log_norm,
    with_log_scale,
    zeros_like,
)
from jaxsat.measures.scans import as_static, check_floating, checked_length, vector_of, vector_scan
from jaxsat.networks.protocol import ScanStep


class ScanGradients(NamedTuple):
    """Gradients of a function E of the last carry.

    Attributes:
        carries: dE/d carry_t, t = 0 .. T.
        inputs: dE/dx_t, t = 1 .. T; empty where `xs` has no floating-point numbers.
        params: dE/d params, summed over the steps; empty without `params`.
        log_params_norms: ln of the norm of what step t = 1 .. T adds to that sum, shape (T,). Where the largest is far above
            ``params.log_norms``, the sum has cancelled and lost digits: their difference / 2.3.
    """

    carries: ScaledArrays
    inputs: ScaledArrays
    params: ScaledArrays
    log_params_norms: Float[Array, " steps"]


def log_gradient_norms_of_scan(
    step: ScanStep, carry: Any, xs: Any, cotangent: Any, *, length: int | None = None
) -> Float[Array, " steps_and_start"]:
    """Return ln ||dE/d carry_t|| for t = 0 .. T, where E is a function of the last carry.

    Args:
        step: (carry, x) -> carry, as ``jax.lax.scan`` repeats it, without outputs. Parameters are part of the step, as in
            ``functools.partial(step, params)``. Only :func:`gradients_of_scan` takes them apart: it differentiates in them.
        carry: carry_0, a pytree of floating-point arrays.
        xs: inputs: arrays with the T steps as the first axis; None if there are none.
        cotangent: dE/d carry_T: a pytree like the carry, or the vector of all its numbers.
        length: T, where `xs` has no arrays.

    Returns: natural logarithms, shape (T + 1,), in the carry's dtype (float32 for half precision). -inf where the gradient
        is zero. NaN where the carry became NaN.

    Accuracy: some eps for each step, relative to the gradient, and eps times the logarithm. Sigmoid, tanh and expm1 in the
        step have their full slopes, which autodiff rounds to 0 (see ``activations.full_slopes``). Two things are lost: what
        is below the smallest normal number beside the largest entry, within a step; and in float32 all slopes below
        exp(-87), of a sigmoid at 88 for example. If these are all that there is, the result is -inf. Remedy: float64.
    Cost: about that of ``jax.grad`` through the scan. The states of all steps are kept.

    Raises:
        TypeError, ValueError: a step that does not return a carry like the one it is given; a carry or cotangent that is
            not finite floating-point numbers; inputs of unequal lengths. Nothing is compiled before.

    >>> norms = log_gradient_norms_of_scan(lambda h, x: 0.5 * h, jnp.ones(2), jnp.ones(1000), jnp.array([1.0, 0.0]))
    >>> round(float(norms[0] / jnp.log(0.5)), 2), float(norms[-1])
    (1000.0, 0.0)
    """
    where = "log_gradient_norms_of_scan"
    length = checked_length(where, step, carry, xs, length)
    return _log_norms(as_static(step), carry, xs, _cotangent(where, carry, cotangent), length)


def gradients_of_scan(
    step: Callable[..., Any], carry: Any, xs: Any, cotangent: Any, *, params: Any = None, length: int | None = None
) -> ScanGradients:
    """Return dE/d carry_t, dE/dx_t and dE/d params as directions and logarithms of their scales, from one pass back.

    Args:
        step: (carry, x) -> carry; with `params`, (params, carry, x) -> carry.
        carry, xs, cotangent, length: as :func:`log_gradient_norms_of_scan`.
        params: a pytree of floating-point arrays that every step uses.

    Returns: each gradient as :class:`ScaledArrays`; ln of its norm is ``.log_norms``. The sum over steps in dE/d params is
        right where the gradient is below the smallest number of its dtype, or above the largest.

    Accuracy: as :func:`log_gradient_norms_of_scan`.
    Cost: about twice that of ``jax.grad`` with respect to carries, inputs and parameters (measured for an LSTM of 64 units, on a
        CPU).

    A function E of all carries, a sum of losses, goes in as a carry of its own: carry = (h, total), and a cotangent of 0 for
    h and 1 for total. Then ``carries`` has the gradient of the losses to come.

    >>> def step(w, h, x):
    ...     return w * h + x
    >>> found = gradients_of_scan(step, jnp.ones(1), jnp.zeros((3, 1)), jnp.ones(1), params=jnp.array([0.5]))
    >>> [round(float(g), 4) for g in jnp.exp(found.inputs.log_norms)]  # dE/dx_t = 0.5^(3 - t)
    [0.25, 0.5, 1.0]
    >>> round(float(jnp.exp(found.params.log_norms)), 4)  # h_3 = w^3
    0.75
    """
    where = "gradients_of_scan"
    if not callable(step):
        rule = "be a function (carry, x) -> carry, or (params, carry, x) -> carry with `params`"
        raise TypeError(refusal(where, "step", rule, Shown(type(step).__name__)))
    if params is not None:
        check_floating(where, "params", params)
    uses = params is not None
    length = checked_length(where, functools.partial(step, params) if uses else step, carry, xs, length)
    return _gradients(as_static(step), uses, params, carry, xs, _cotangent(where, carry, cotangent), length)


def _cotangent(where: str, carry: Any, cotangent: Any) -> Any:
    """Return a cotangent that fits the carry."""
    check_floating(where, "cotangent", cotangent)
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (cotangent, carry)]
    alike = jax.tree.structure(cotangent) == jax.tree.structure(carry) and shapes[0] == shapes[1]
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(carry))
    if not alike and shapes[0] != [(size,)]:
        rule = f"have the carry's structure and shapes {shapes[1]}, or be a vector of {size} numbers"
        raise ValueError(refusal(where, "cotangent", rule, Shown(f"shapes {shapes[0]}")))
    return cotangent


# --- the way back ------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=(0, 4))
def _log_norms(step: ScanStep, carry: Any, xs: Any, cotangent: Any, length: int) -> Float[Array, " steps_and_start"]:
    scan = vector_scan(step, carry, xs, length)
    dtype = scan.state.dtype

    def back(signal, at):
        state, x = at
        (pulled,) = jax.vjp(lambda state: scan.step(state, x), state)[1](signal.tree)
        new = renormalised(Powered(pulled, signal.exponent))
        return new, log_norm_of_powered(new, dtype)

    states = _states(scan.step, scan.state, xs, length)
    last = _last_signal(cotangent, dtype)
    norms = jax.lax.scan(back, last, (states, xs), length=length, reverse=True)[1]
    return jnp.append(norms, log_norm_of_powered(last, dtype))


@functools.partial(jax.jit, static_argnums=(0, 1, 6))
def _gradients(
    step: Callable[..., Any], uses: bool, params: Any, carry: Any, xs: Any, cotangent: Any, length: int
) -> ScanGradients:
    params = jax.tree.map(jnp.asarray, params)
    scan = vector_scan(functools.partial(step, params) if uses else step, carry, xs, length)
    floating, others = _split(jax.tree.map(jnp.asarray, xs))
    dtype = scan.state.dtype

    def whole(params, state, floating, others):
        own = functools.partial(step, params) if uses else step
        x = jax.tree.map(lambda a, b: b if a is None else a, floating, others, is_leaf=lambda a: a is None)
        return vector_of(own(scan.carry_of(state), x), dtype)

    full = with_full_slopes(whole)

    def back(carry, at):
        signal, total = carry
        state, floating, others = at
        pull = jax.vjp(lambda p, s, x: full(p, s, x, others), params, state, floating)[1]
        of_params, of_state, of_x = (Powered(pulled, signal.exponent) for pulled in pull(signal.tree))
        size, log_size = size_and_log_norm(of_params, dtype)
        new = renormalised(of_state)
        return (new, added(total, of_params, size)), (new, renormalised(of_x), log_size)

    last = _last_signal(cotangent, dtype)
    at = _states(scan.step, scan.state, xs, length), floating, others
    (_, total), (signals, of_xs, sizes) = jax.lax.scan(
        back, (last, zeros_like(params)), at, length=length, reverse=True
    )
    signals = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), signals, last)
    carries = Powered(jax.vmap(scan.carry_of)(signals.tree), signals.exponent)
    return ScanGradients(*(with_log_scale(part, dtype) for part in (carries, of_xs, total)), sizes)


def _last_signal(cotangent: Any, dtype: DTypeLike) -> Powered:
    vector = vector_of(jax.tree.map(jnp.asarray, cotangent), dtype)
    return renormalised(Powered(vector, jnp.zeros((), jnp.int32)))


def _states(step: Callable[[Array, Any], Array], state: Array, xs: Any, length: int) -> Float[Array, "steps n"]:
    return jax.lax.scan(lambda state, x: (step(state, x), state), state, xs, length=length)[1]


def _split(xs: Any) -> tuple[Any, Any]:
    """Return the floating-point leaves, and the others, with None for what is in the other part."""
    is_floating = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(xs)]
    leaves, tree = jax.tree.flatten(xs)
    parts = ([a if f is wanted else None for a, f in zip(leaves, is_floating, strict=True)] for wanted in (True, False))
    floating, others = (jax.tree.unflatten(tree, part) for part in parts)
    return floating, others
