"""Exact Jacobians of a network, the layer factors they are made of, and their singular values."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxsat import checks
from jaxsat.linalg import graded, graded_passes, spectrum
from jaxsat.linalg.graded_steps import Factor
from jaxsat.measures import by_scan
from jaxsat.networks import normalization
from jaxsat.networks.mlp import MLP, check_net, check_params
from jaxsat.networks.parameters import Params
from jaxsat.networks.protocol import Network, check_network, checked_input


class Factors(NamedTuple):
    """The factors of J = readout . D_L hidden_{L-1} ... D_2 hidden_1 . D_1 first, with D_l = diag(signs_l exp(log_abs_slopes_l)).

    Weights act as h = W x (rows are outputs), and include the weight scale. `readout` is None where the network has none.
    Normalisation is part of the weights, its 1 / s_l of the slopes. A layer with a skip connection, I + a D_l W_l, is a
    weight as a whole, with slopes 1.
    """

    first: Float[Array, "width inputs"]
    hidden: Float[Array, "depth-1 width width"]
    log_abs_slopes: Float[Array, "depth width"]
    slope_signs: Float[Array, "depth width"]
    readout: Float[Array, "outputs width"] | None


def jacobian(
    net: Network, params: Any, x: Float[ArrayLike, ...], *, every_depth: bool = False
) -> Float[Array, "*depth outputs inputs"]:
    """Return dy/dx of the network at one input, exact up to rounding.

    Of a network that is no MLP: d c_T / d c_0, with c_0 and c_T the first and the last carry of its scan, each as a vector
    of all its numbers. For a recurrent network this is the Jacobian of the state over all steps. A read-out is not part
    of it. With every_depth, shape (T, n, n): of d c_t / d c_0 for t = 1 .. T.

    Forward mode where the output is at least as wide as the input, reverse mode otherwise. With every_depth, shape
    (depth, width, inputs): dx_l/dx_0 for l = 1 .. depth, from one forward pass, without the read-out.

    Accuracy: entries are right to a few eps * depth times the largest entry. Catalogue activations bring their own
    slopes, so there are no spurious zeros from autodiff; but products below the smallest normal number still
    underflow (use ``log_gradient_norms`` for those), and singular values below eps times the largest are noise.

    >>> net = MLP(depth=2, width=3, activation="identity", ensemble="orthogonal", weight_scale=2.0)
    >>> j = jacobian(net, net.init(jax.random.key(0)), jnp.ones(3))
    >>> bool(jnp.allclose(j @ j.T, 16 * jnp.eye(3), atol=1e-4))
    True
    """
    check_network("jacobian", net)
    if not isinstance(net, MLP):
        return by_scan.state_jacobian(net, params, checked_input(net, params, x), every_step=every_depth)
    check_params("jacobian", params)
    x = net.checked(params, x)
    if every_depth:
        return jax.jacfwd(lambda x: net.trace(params, x).activations)(x)
    transform = jax.jacfwd if net.input_width <= net.output_width else jax.jacrev
    return transform(lambda x: net.apply(params, x))(x)


def factors(net: MLP, params: Params, x: Float[ArrayLike, " inputs"]) -> Factors:
    """Return the layer factors of the Jacobian at one input, slopes as sign and ln of the absolute value.

    Weights act as h = W x: rows are outputs.
    """
    check_net("factors", net)
    check_params("factors", params)
    x = net.checked(params, x)
    return _layers(net, params.scaled(), x)


def singular_values(net: Network, params: Any, x: Float[ArrayLike, ...]) -> Float[Array, " k"]:
    """Return the singular values of dy/dx at one input, descending, by a dense decomposition: k = min(outputs, inputs) of them.

    Of a network that is no MLP: those of its :func:`jacobian`, of the last carry with respect to the first.

    Accuracy: absolute, about eps * depth times the largest; what lies below ``eps * max(outputs, inputs) * s_1`` is
    rounding noise (see ``spectrum.singular_values_of_matrix``), in float32 half the spectrum of tanh networks of width 64
    from some 28 layers on at sigma_w = 1, from 8 at 2.5. Use :func:`log_singular_values` for those.
    Cost: depth products of matrices, shared weights multiplied once for all scales under ``vmap``, and one
    decomposition; in the parameters' dtype.

    >>> net = MLP(depth=3, width=4, activation="identity", ensemble="orthogonal", weight_scale=2.0)
    >>> [round(float(s), 4) for s in singular_values(net, net.init(jax.random.key(0)), jnp.ones(4))]
    [8.0, 8.0, 8.0, 8.0]
    """
    check_network("singular_values", net)
    x = checked_input(net, params, x)
    if not isinstance(net, MLP):
        return spectrum.decomposed(by_scan.state_jacobian(net, params, x))
    return spectrum.decomposed(_transposed_product(net, params, x))


@overload
def log_singular_values(
    net: Network,
    params: Any,
    x: Float[ArrayLike, ...],
    *,
    every_depth: bool = False,
    with_error: Literal[False] = False,
) -> Float[Array, "*depth k"]: ...


@overload
def log_singular_values(
    net: Network, params: Any, x: Float[ArrayLike, ...], *, every_depth: bool = False, with_error: Literal[True]
) -> tuple[Float[Array, " k"], Float[Array, " k"]]: ...


def log_singular_values(
    net: Network, params: Any, x: Float[ArrayLike, ...], *, every_depth: bool = False, with_error: bool = False
) -> Float[Array, "*depth k"] | tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Return ln of every singular value of dy/dx at one input, descending, to high relative accuracy at any depth.

    Of a network that is no MLP: those of its :func:`jacobian`, of the last carry with respect to the first.

    Args:
        net, params, x: a network, its parameters and one input.
        every_depth: shape (depth, k): of dx_l/dx_0 for l = 1 .. depth, from one pass, without the read-out;
            k = min(width, inputs).
        with_error: return a pair: the values, and an estimate of the error of each, as
            ``spectrum.log_singular_values_of_product`` describes. Not with every_depth.

    Returns: natural logarithms, k = min(outputs, inputs) of them; -inf for directions that are exactly lost: to zero
        slopes, or to a layer narrower than both ends. NaN throughout where the forward pass is not finite.

    Accuracy: see ``spectrum.log_singular_values_of_product``; for the slopes of the forward pass as it was computed. The
        derivative, in the parameters and in x, is that of the slopes as functions of the pre-activations.
    Cost: some seven times that of the dense :func:`singular_values`, two to three times that of ``svd(jacfwd)`` over the
        same networks (measured at width 64, depth 32, float32, on a CPU: ``benchmarks/jacobian_spectra.py``).

    >>> net = MLP(depth=1000, width=4, activation="identity", ensemble="orthogonal", weight_scale=0.5)
    >>> logs = log_singular_values(net, net.init(jax.random.key(0)), jnp.ones(4))
    >>> bool(jnp.all(jnp.abs(logs - 1000 * jnp.log(0.5)) < 1e-2))  # exp(-693) is not a number in float32
    True
    """
    check_network("log_singular_values", net)
    if every_depth and with_error:
        raise ValueError(checks.refusal("log_singular_values", "with_error", "be False with every_depth=True", True))
    x = checked_input(net, params, x)
    if not isinstance(net, MLP):
        return by_scan.state_log_singular_values(net, params, x, every_step=every_depth, with_error=with_error)
    stacks = _graded_factors(net, params, x, readout=not every_depth)
    if with_error:
        return graded_passes.log_singular_values_with_errors(stacks)
    if every_depth:
        values = jnp.concatenate(graded.log_singular_values_of_every_layer(stacks))
        return values[1::2] if _loses_directions(net) else values  # two factors a layer
    return graded.log_values_of_factors(stacks)


@jax.jit
def _transposed_product(net: MLP, params: Params, x: ArrayLike) -> Float[Array, "inputs outputs"]:
    # Input directions as rows, and the scale outside: under vmap over scales each product is one wide one.
    trace = net.trace(params, x)
    slopes = params.weight_scale * net.phi.slope(trace.pre_activations)
    if trace.deviations is not None:
        slopes = slopes * jnp.exp(normalization.log_reciprocal(trace.deviations))[:, None]

    def through(j, weighted, slopes, trace, a):
        """Return rows of dx_l, from those of dx_{l-1} and of W_l dx_{l-1}."""
        if trace.deviations is not None:
            weighted = normalization.projected(weighted, trace.pre_activations)
        return weighted * slopes[None, :] if a is None else j + a * weighted * slopes[None, :]

    def layer(j, inputs):
        weight, slopes, trace = inputs
        return through(j, jnp.einsum("in,mn->im", j, weight), slopes, trace, params.residual_scale), None

    first, rest = jax.tree.map(lambda a: a[0], trace), jax.tree.map(lambda a: a[1:], trace)
    a = params.residual_scale if net.first_has_skip else None
    start = through(jnp.eye(net.input_width, dtype=slopes.dtype), params.first.T, slopes[0], first, a)
    product, _ = jax.lax.scan(layer, start, (params.hidden, slopes[1:], rest))
    if params.readout is None:
        return product
    return params.weight_scale * jnp.einsum("in,mn->im", product, params.readout)


@jax.jit
def _layers(net: MLP, params: Params, x: ArrayLike) -> Factors:
    """Return the factors with the weight scale in the slopes, so that vmap over scales leaves plain draws alone."""
    trace = net.trace(params, x)
    h, first, hidden = trace.pre_activations, params.first, params.hidden
    log_scales, signs = jnp.log(params.weight_scale), net.phi.slope_sign(h)
    if trace.deviations is not None:
        log_scales = log_scales + normalization.log_reciprocal(trace.deviations)[:, None]
        first, hidden = _normalised(first, h[0]), jax.vmap(_normalised)(hidden, h[1:])
    logs = net.phi.log_abs_slope(h) + log_scales
    if params.residual_scale is not None:
        branches = params.residual_scale * net.phi.slope(h) * jnp.exp(log_scales)
        skips = slice(0 if net.first_has_skip else 1, None)
        logs, signs = logs.at[skips].set(0), signs.at[skips].set(1)
        eye = jnp.eye(net.width, dtype=h.dtype)
        hidden = eye[None] + branches[1:, :, None] * hidden
        if net.first_has_skip:
            first = eye + branches[0, :, None] * first
    return Factors(first, hidden, logs, signs, params.readout)


def _normalised(weight: Float[Array, "n m"], h: Float[Array, " n"]) -> Float[Array, "n m"]:
    """Return the derivative of layer normalisation times a weight, without its 1 / s."""
    return normalization.projected(weight.T, h).T


@functools.partial(jax.jit, static_argnames="readout")
def _graded_factors(net: MLP, params: Params, x: ArrayLike, *, readout: bool) -> list[Factor]:
    first, hidden, logs, signs, last = _layers(net, params, x)
    logs = jnp.where(signs == 0, -jnp.inf, logs)
    if _loses_directions(net):
        h = net.trace(params, x).pre_activations
        stacks = [Factor(first[None], logs[:1], signs[:1]), Factor(hidden, logs[1:], signs[1:])]
        stacks = [_with_zeros(*pair) for pair in zip(stacks, (h[:1], h[1:]), strict=True) if len(pair[1])]
        stacks = [stack for pair in stacks for stack in pair]
    elif first.shape == hidden.shape[1:]:
        stacks = [Factor(jnp.concatenate([first[None], hidden]), logs, signs)]
    else:
        stacks = [Factor(first[None], logs[:1], signs[:1])]
        if net.depth > 1:
            stacks.append(Factor(hidden, logs[1:], signs[1:]))
    if readout and last is not None:
        ones = jnp.ones((1, last.shape[0]), logs.dtype)
        stacks.append(Factor(last[None], jnp.log(params.weight_scale) * ones, ones))
    return stacks


def _loses_directions(net: MLP) -> bool:
    """Return whether layers take away the parts along (1, .., 1) and h, and no skip connection keeps them."""
    return net.normalization is not None and net.residual_scale is None


def _with_zeros(stack: Factor, h: Float[Array, "layers n"]) -> list[Factor]:
    """Return D N W, N the derivative of layer normalisation, as D Q times Q^T N W, whose first two rows are zeros.

    Without that, rounding would leave something of the directions that are lost.
    """
    turns = jax.vmap(normalization.lost_directions_first)(h)
    n = h.shape[1]
    turned = jnp.einsum("lnm,lnk->lmk", turns, stack.weight)
    kept = jnp.arange(n) >= normalization.LOST
    logs, signs = jnp.where(kept, 0.0, -jnp.inf).astype(h.dtype), kept.astype(h.dtype)
    rows = Factor(turned, jnp.broadcast_to(logs, h.shape), jnp.broadcast_to(signs, h.shape))
    back = stack._replace(weight=turns)
    if turned.shape[1] != turned.shape[2]:
        return [rows, back]
    both = jax.tree.map(lambda a, b: jnp.stack([a, b], axis=1).reshape(-1, *a.shape[1:]), rows, back)
    return [both]
