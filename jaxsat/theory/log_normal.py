"""Gradients of networks with gaussian weights at finite width, for any activation: to first order in 1 / width.

What a layer multiplies ||delta_l||^2 by fluctuates twice: by its own random sums, of variance
(3 E[phi'^4] / E[phi'^2]^2 - 1) / n, and because its length q_l does: eps_l = ln q_l beside its mean-field value obeys
eps_{l+1} = lambda eps_l + eta_l and moves ln chi(q_l). The second is of the same order and correlated from layer to layer
and with the first; without it the variance for tanh at sigma_w = 1.5 comes out a quarter too small. Homogeneous
activations (ReLU, linear) have no such term. The mean takes, to the same order, the curvatures of both maps and the
component of W^T delta along x_l, which alone knows of the forward pass.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxsat import activations
from jaxsat.activations import Activation, ActivationLike
from jaxsat.jax_compat import Tracer
from jaxsat.theory import gaussian_integrals
from jaxsat.theory.exact_norms import LogNormLaw
from jaxsat.theory.inputs import Widths, check_number, widths_of_layers
from jaxsat.theory.lengths import LARGE, SMALL


def log_normal_law(
    activation: ActivationLike, depth: int, width: Widths, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0, *,
    mean_square: ArrayLike = 1.0, every_depth: bool = False,
) -> LogNormLaw:  # fmt: skip
    """Return the mean and standard deviation of ln ||dE/dh_l|| to first order in 1 / width, for any activation.

    The mean of the logarithm is what the median of many networks is near. Their root mean square lies higher: see
    :func:`log_gradient_norms` of ``jaxsat.theory``.

    In deep networks ln ||dE/dh_l|| is a sum over layers and nearly normal: :meth:`LogNormLaw.quantiles` is its band.

    Args:
        activation: a name, a record of ``activations``, or an elementwise callable. Static.
        depth: layers.
        width: units per layer: one number, or one for each layer.
        weight_scale: sigma_w, > 0. Gaussian weights.
        bias_scale: sigma_b, >= 0.
        mean_square: of the input, > 0 unless there are biases. Lengths are those of each layer, not the stationary one.
        every_depth: True gives (depth, depth) as the measure log_gradient_norms does: row k-1 is the network made of the
            first k layers, columns beyond it are NaN.

    Returns: see :class:`LogNormLaw`, in the default float dtype, for a gaussian cotangent of unit norm at the last
        activations; dead networks are not counted, log_survival is 0. Works under jit and vmap in the numbers.

    Accuracy: terms of second order, some depth / width^2, are left out. Measured, L = 32: the standard deviation is 1 %
        (tanh, sigma_w = 1.5) to 4 % (sigma_w = 2.5) too small at width 64; the mean is right to 1 % of the standard
        deviation. Where the length can tip, to die out or to grow, at the start or on the way (gelu, silu, mish at sigma_w
        from 1.3 to 1.7; softplus from 1.2 to 1.5), small differences of the length are not small any more. Measured there
        (width 32 to 64, depth 32 to 50): the mean is off by up to 17 nats, and by up to 16 times `std`, which need not be
        large itself. Nothing in the result tells: compare with a few measured networks.

    Raises:
        ValueError: negative or non-finite numbers, weight_scale 0, unknown activations, sizes as :func:`exact_log_norms`,
            moments of phi or phi' that do not exist (NaN under jit).

    References: Hanin & Nica 2018 for ReLU; derived here for others, see the module.

    >>> law = log_normal_law("tanh", 32, 64, 1.5)
    >>> round(float(law.mean[0]), 3), round(float(law.std[0]), 3)
    (0.851, 0.756)
    """
    where = "log_normal_law"
    phi = activations.get(activation)
    widths = widths_of_layers(where, depth, width, any_size=True)
    check_number(where, "weight_scale", weight_scale, positive=True)
    check_number(where, "bias_scale", bias_scale)
    check_number(where, "mean_square", mean_square)
    dtype = jnp.result_type(float)
    with jax.enable_x64(True):
        plain = (float(a) if isinstance(a, np.floating) else a for a in (weight_scale, bias_scale, mean_square))
        numbers = (jnp.asarray(a).astype(jnp.float64) for a in plain)
        depths = np.arange(1, len(widths) + 1) if every_depth else np.array([len(widths)])
        mean, variance = _first_order(phi, widths, depths, *numbers)
        known = depths[:, None] >= np.arange(1, len(widths) + 1)
        law = LogNormLaw(
            *(jnp.where(known, a, jnp.nan) for a in (mean / 2, jnp.sqrt(variance) / 2, jnp.zeros_like(mean)))
        )
        law = law if every_depth else jax.tree.map(lambda a: a[0], law)
        if not isinstance(law.mean, Tracer) and not np.isfinite(mean).all():
            raise ValueError(
                f"{where}: E[phi^4] or E[phi'^4] of {phi.name!r} is not finite: it grows too fast, like exp, or is not "
                "defined everywhere. This law is for activations that grow like a power at most."
            )
        return jax.tree.map(lambda a: a.astype(dtype), law)


class _Layer(NamedTuple):
    """One layer at its mean-field length, s = ln q. Noise variances are times the width."""

    log_slope: Array  # H = ln E[phi'^2], with its derivatives in s
    log_slope_1: Array
    log_slope_2: Array
    next_1: Array  # derivatives of s' = G(s)
    next_2: Array
    noise: Array  # of s'
    slope_noise: Array  # of ln sum phi'^2 g^2, g gaussian: 3 r - 1
    both: Array  # covariance of the two
    overlap: Array  # E[phi'^2 phi^2] / E[phi'^2] E[phi^2]
    fresh: Array  # squared component of W^T delta along x, in units of any other: what this layer makes of it,
    kept: Array  # and what it passes on


@functools.partial(jax.jit, static_argnames=("phi", "widths"))
def _first_order(
    phi: Activation, widths: tuple[int, ...], depths: Array, w: Array, b: Array, start: Array
) -> tuple[Array, Array]:
    """Mean and variance of ln ||delta_l||^2, l = 1 .. layers, in the networks of the first layers; 0 beyond them."""
    n = jnp.asarray(widths, jnp.float64)

    def forward(carry, n):
        s, shift, variance = carry  # of ln q: mean-field value, mean beside it, variance
        layer, s_next = _layer(phi, s, w, b)
        moved = layer.next_1 * shift + layer.next_2 * variance / 2 - layer.noise / n / 2
        return (s_next, moved, layer.next_1**2 * variance + layer.noise / n), (layer, shift, variance)

    zero = jnp.zeros(())
    _, (layers, shift, variance) = jax.lax.scan(forward, (_log(w * w * start + b * b), zero, zero), n)

    def backward(carry, inputs):
        # component along x_l; d ln ||delta|| / d ln q above; variance from the layers above
        along, weight, total = carry
        layer, slope_noise, n, inside = inputs
        total = total + (slope_noise + 2 * weight * layer.both + weight**2 * layer.noise) / n
        weight = layer.log_slope_1 + layer.next_1 * weight
        after = layer.fresh + layer.kept * along, weight, total
        kept = jax.tree.map(lambda a, first: jnp.where(inside, a, first), after, start_of_way)
        return kept, (along, *kept[1:])

    start_of_way = (jnp.ones(()), zero, zero)

    def of_depth(depth):
        number = jnp.arange(1, len(widths) + 1)
        inside, last = number <= depth, number == depth
        slope_noise = jnp.where(last, layers.slope_noise - 2, layers.slope_noise)  # the cotangent's norm is fixed
        _, (along, weight, total) = jax.lax.scan(backward, start_of_way, (layers, slope_noise, n, inside), reverse=True)
        steps = layers.log_slope + layers.log_slope_1 * shift + layers.log_slope_2 * variance / 2
        steps += ((along - 1) * layers.overlap - slope_noise / 2) / n + jnp.where(last, 0.0, 2 * jnp.log(w))
        steps = jnp.where(inside, steps, 0.0)
        return jnp.cumsum(steps[::-1])[::-1], jnp.where(inside, total + weight**2 * variance, 0.0)

    return jax.vmap(of_depth)(jnp.asarray(depths))


def _layer(phi: Activation, s: Array, w: Array, b: Array) -> tuple[_Layer, Array]:
    def mean_of(f, s):
        x, weights = gaussian_integrals.rule(gaussian_integrals.mesh_of(phi), jnp.exp(s))
        return gaussian_integrals.centred_sum(f(x), weights)

    def log_slope(s):
        return jnp.log(mean_of(lambda x: phi.slope(x) ** 2, s))

    def following(s):
        return _log(w * w * mean_of(lambda x: phi(x) ** 2, s) + b * b)

    q = jnp.exp(s)
    square, slope = mean_of(lambda x: phi(x) ** 2, s), mean_of(lambda x: phi.slope(x) ** 2, s)
    by_weights = w * w * square / (w * w * square + b * b)  # share of the next length that is not biases
    spread = mean_of(lambda x: phi(x) ** 4, s) / square**2 - 1
    overlap = mean_of(lambda x: (phi(x) * phi.slope(x)) ** 2, s) / (square * slope)
    # The part of h that comes from W x has the share r of its variance.
    r = jnp.clip(1 - b * b / q, 0.0, 1.0)
    aligned = r * mean_of(lambda x: x * phi(x) * phi.slope(x), s) ** 2 / (q * square * slope)
    sizes = r * mean_of(lambda x: (x * phi.slope(x)) ** 2, s) / (q * slope) + 1 - r
    return _Layer(
        log_slope(s), jax.grad(log_slope)(s), jax.grad(jax.grad(log_slope))(s),
        jax.grad(following)(s), jax.grad(jax.grad(following))(s),
        by_weights**2 * spread, 3 * mean_of(lambda x: phi.slope(x) ** 4, s) / slope**2 - 1, by_weights * (overlap - 1),
        overlap, sizes - aligned, aligned,
    ), following(s)  # fmt: skip


def _log(q: Array) -> Array:
    return jnp.log(jnp.clip(q, SMALL, LARGE))
