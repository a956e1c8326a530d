"""Exact Jacobians of a network, and the layer factors they are made of."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxsat.network import MLP, Params


class Factors(NamedTuple):
    """J = readout . D_L hidden_{L-1} ... D_2 hidden_1 . D_1 first, with D_l = diag(signs_l exp(log_abs_slopes_l)).

    Weights here include the weight scale. `readout` is None where the network has none.
    """

    first: Float[Array, "width inputs"]
    hidden: Float[Array, "depth-1 width width"]
    log_abs_slopes: Float[Array, "depth width"]
    slope_signs: Float[Array, "depth width"]
    readout: Float[Array, "outputs width"] | None


def jacobian(
    net: MLP, params: Params, x: Float[ArrayLike, " inputs"], *, every_depth: bool = False
) -> Float[Array, "*depth outputs inputs"]:
    """dy/dx of the network at one input, exact up to rounding.

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
    x = jnp.asarray(x, params.first.dtype)
    if every_depth:
        return jax.jacfwd(lambda x: net.trace(params, x).activations)(x)
    transform = jax.jacfwd if net.input_width <= net.output_width else jax.jacrev
    return transform(lambda x: net.apply(params, x))(x)


def factors(net: MLP, params: Params, x: Float[ArrayLike, " inputs"]) -> Factors:
    """The layer factors of the Jacobian at one input, slopes as sign and natural logarithm of the absolute value."""
    h = net.trace(params, x).pre_activations
    weights = params.scaled()
    return Factors(weights.first, weights.hidden, net.phi.log_abs_slope(h), net.phi.slope_sign(h), weights.readout)
