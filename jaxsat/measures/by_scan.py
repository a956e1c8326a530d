"""Jacobians and signals of any network, through its ``scan``: of the state (the carry), from its first to its last value.

An MLP does not come this way: its layers are products of a weight and a slope, of which ``gradients`` and ``jacobians``
know more. The two ways agree to rounding.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxsat import addresses, checks
from jaxsat.measures import scan_gradients, scan_spectra
from jaxsat.measures.scans import checked_length, vector_scan
from jaxsat.networks.protocol import last_carry, output_of_carry


@functools.partial(jax.jit, static_argnames="every_step")  # compiled once for a kind of network
def state_jacobian(net: Any, params: Any, x: Any, *, every_step: bool = False) -> Float[Array, "*steps n n"]:
    """Return d carry_T / d carry_0 of the network's scan, by forward mode; carries are vectors of all their numbers.

    Args:
        net, params, x: the network and one input.
        every_step: return d carry_t / d carry_0 for t = 1 .. T, shape (T, n, n).
    """
    step, carry, xs = net.scan(params, x)
    scan = vector_scan(step, carry, xs, checked_length("jacobian", step, carry, xs, None))

    def states(state):
        def forth(state, x):
            new = scan.step(state, x)
            return new, new if every_step else None

        last, each = jax.lax.scan(forth, state, scan.xs, length=scan.length)
        return each if every_step else last

    return jax.jacfwd(states)(scan.state)


@functools.partial(jax.jit, static_argnames=("every_step", "with_error"))
def state_log_singular_values(
    net: Any, params: Any, x: Any, *, every_step: bool = False, with_error: bool = False
) -> Any:
    """Return ln of the singular values of d carry_T / d carry_0; see ``log_singular_values_of_scan``."""
    step, carry, xs = net.scan(params, x)
    if with_error:
        return scan_spectra.log_singular_values_of_scan(step, carry, xs, with_error=True)
    return scan_spectra.log_singular_values_of_scan(step, carry, xs, every_step=every_step)


@jax.jit
def state_log_gradient_norms(
    net: Any, params: Any, x: Any, cotangent: Any = None, key: Key[Array, ""] | None = None
) -> Float[Array, " steps_and_start"]:
    """Return ln ||dE/d carry_t|| for t = 0 .. T.

    Args:
        net, params, x: the network and one input.
        cotangent: dE/dy at the output y of ``apply``; None draws it, gaussian with unit norm, from `key`.
        key: address of the drawn cotangent; None means ``addresses.root(0)``.

    Raises:
        ValueError: a cotangent of another shape than the output; a network whose ``apply`` does not return its last carry,
            and that has no ``read_out``.
    """
    top = _top(net, params, x, cotangent, key)
    step, carry, xs = net.scan(params, x)
    return scan_gradients.log_gradient_norms_of_scan(step, carry, xs, top)


@jax.jit
def state_log_input_gradient_norms(
    net: Any, params: Any, x: Any, cotangent: Any = None, key: Key[Array, ""] | None = None
) -> Float[Array, " steps"]:
    """Return ln ||dE/d xs_t|| for t = 1 .. T, of what step t reads; arguments as of :func:`state_log_gradient_norms`.

    For a recurrent network this is its input at step t, for a deep one, whose scan runs over weights, the weights of layer t.
    """
    top = _top(net, params, x, cotangent, key)
    step, carry, xs = net.scan(params, x)
    return scan_gradients.gradients_of_scan(step, carry, xs, top).inputs.log_norms


def _top(net: Any, params: Any, x: Any, cotangent: Any, key: Key[Array, ""] | None) -> Any:
    """Return dE/d carry_T from dE/dy."""
    output, pulled = jax.vjp(lambda carry: output_of_carry(net, params, carry), last_carry(net, params, x))
    _check_read_out(net, params, x, output)
    if cotangent is None:
        cotangent = drawn_cotangent(addresses.root(0) if key is None else key, output)
    if jax.tree.map(jnp.shape, cotangent) != jax.tree.map(jnp.shape, output):
        rule = f"have the output's shape {_shapes(output)}"
        raise ValueError(checks.refusal("gradients", "cotangent", rule, checks.Shown(_shapes(cotangent))))
    (top,) = pulled(jax.tree.map(lambda u, y: jnp.asarray(u, y.dtype), cotangent, output))
    return top


def drawn_cotangent(key: Key[Array, ""], output: Any) -> Any:
    """Return the cotangent used where no loss is given: gaussian with unit norm, in the form of an output."""
    leaves, structure = jax.tree.flatten(output)
    size = sum(leaf.size for leaf in leaves)
    z = jax.random.normal(jax.random.fold_in(key, addresses.COTANGENT), (size,))
    z = z * jax.lax.rsqrt(jnp.sum(z * z))
    parts, begin = [], 0
    for leaf in leaves:
        parts.append(z[begin : begin + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
        begin += leaf.size
    return jax.tree.unflatten(structure, parts)


def _check_read_out(net: Any, params: Any, x: Any, output: Any) -> None:
    given = jax.eval_shape(net.apply, params, x)
    if jax.tree.structure(given) != jax.tree.structure(output) or _shapes(given) != _shapes(output):
        rule = "have read_out(params, carry), which makes the output of `apply` of the last carry"
        came = checks.Shown(f"{_shapes(given)} from apply and {_shapes(output)} of {type(net).__name__}'s last carry")
        raise ValueError(checks.refusal("gradients", "net", rule, came))


def _shapes(tree: Any) -> str:
    return ", ".join(str(jnp.shape(leaf)) for leaf in jax.tree.leaves(tree))
