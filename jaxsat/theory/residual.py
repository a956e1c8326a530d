"""Mean field of what people do against vanishing gradients: residual branches and layer normalisation.

Residual, x_l = x_{l-1} + a phi(h_l): with p = E[x^2] and m = E[x],

    q = sigma_w^2 p + sigma_b^2,    p' = p + 2 a m E[phi] + a^2 E[phi^2],    m' = m + a E[phi],

and the mean squared gradient in x grows by 1 + a^2 chi(q) for each layer back (Yang & Schoenholz 2017, reduced residual
networks; E over N(0, q)). For bounded phi the length grows as a power of the layer, so gradients do too.

Layer normalisation of h sets q = 1 whatever the weight scale; the mean squared gradient changes by
sigma_w^2 E[phi'^2] / (sigma_w^2 E[phi^2] + sigma_b^2) for each layer back, E over N(0, 1).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxsat import checks
from jaxsat.activations import Activation, ActivationLike
from jaxsat.theory import gaussian_integrals
from jaxsat.theory.inputs import checked, in_double


class ResidualField(NamedTuple):
    """Layers 1 .. depth of an infinitely wide residual network.

    Attributes:
        q: mean squared pre-activation.
        chi: sigma_w^2 E[phi'^2] at q.
        log_growth: growth of the root mean square gradient over layer l on the way back, ln(1 + a^2 chi_l) / 2, in nats.
    """

    q: Float[Array, " depth"]
    chi: Float[Array, " depth"]
    log_growth: Float[Array, " depth"]


def residual_field(
    activation: ActivationLike, depth: int, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0,
    residual_scale: ArrayLike = 1.0, *, mean_square: ArrayLike = 1.0,
) -> ResidualField:  # fmt: skip
    """Return lengths and growth of gradients in ``MLP(residual_scale=...)``, where every layer has a skip connection.

    Args:
        activation, weight_scale, bias_scale: as :func:`mean_field`.
        depth: layers, at least 1.
        residual_scale: a, >= 0.
        mean_square: of the input, of mean 0.

    >>> found = residual_field("identity", 2, 1.0)
    >>> found.q.tolist(), [round(float(g), 4) for g in found.log_growth]  # ln(2) / 2
    ([1.0, 2.0], [0.3466, 0.3466])
    """
    phi = checked(
        "residual_field", activation, weight_scale=weight_scale, bias_scale=bias_scale, residual_scale=residual_scale,
        mean_square=mean_square,
    )  # fmt: skip
    depth = checks.size("residual_field", "depth", depth)
    field = functools.partial(_residual_field, depth=depth)
    return in_double(field, phi, weight_scale, bias_scale, residual_scale, mean_square)


@functools.partial(jax.jit, static_argnames=("phi", "depth"))
def _residual_field(phi: Activation, w: Array, b: Array, a: Array, start: Array, *, depth: int) -> ResidualField:
    def layer(carry, _):
        p, m = carry
        q = w * w * p + b * b
        x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), q)
        values = phi(x)
        mean, square = weights @ values, weights @ values**2
        chi = w * w * (weights @ phi.slope(x) ** 2)
        return (p + 2 * a * m * mean + a * a * square, m + a * mean), (q, chi, jnp.log1p(a * a * chi) / 2)

    return ResidualField(*jax.lax.scan(layer, (start, jnp.zeros_like(start)), length=depth)[1])


def layer_norm_chi(activation: ActivationLike, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0) -> Array:
    """Return the factor of the mean squared gradient for each layer back in ``MLP(normalization="layer")``.

    The networks have no residual branches. Without biases it does not depend on the weight scale. Arguments as :func:`mean_field`; 0 where both scales are 0.

    >>> round(float(layer_norm_chi("relu", 3.0)), 4), round(float(layer_norm_chi("tanh", 3.0)), 4)
    (1.0, 1.1778)
    """
    phi = checked("layer_norm_chi", activation, weight_scale=weight_scale, bias_scale=bias_scale)
    return in_double(_layer_norm_chi, phi, weight_scale, bias_scale)


@functools.partial(jax.jit, static_argnames="phi")
def _layer_norm_chi(phi: Activation, w: Array, b: Array) -> Array:
    x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), jnp.ones(()))
    after = w * w * (weights @ phi(x) ** 2) + b * b
    return jnp.where(after > 0, w * w * (weights @ phi.slope(x) ** 2) / jnp.where(after > 0, after, 1.0), 0.0)
