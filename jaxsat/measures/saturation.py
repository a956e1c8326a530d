"""Measures of saturation, on arrays of pre-activations or activations.

All of them reduce over every axis of what they are given to one number (or one per percentile); measures that look
at a unit over a batch take (batch, width). Layers, seeds and scales go through ``jax.vmap``.

    saturated at level e:  |phi'(h)| <= e max|phi'|
    dead:                  phi'(h) = 0 exactly, for every input of the batch

NaN in, NaN out: a share over values of which one is NaN is NaN. A network that has broken down must not look healthy.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxsat import activations
from jaxsat.activations import ActivationLike
from jaxsat.checks import Shown, number, real_array, real_numbers, refusal, size


def saturated_fraction(
    activation: ActivationLike, pre_activations: Float[ArrayLike, "*shape"], level: float = 0.05
) -> Float[Array, ""]:
    """Return the share of pre-activations whose slope is at most `level` times the activation's largest slope.

    Args:
        activation: name, record or callable.
        pre_activations: h, any shape; all entries count alike.
        level: in [0, 1). At 0 only exactly zero slopes count; the comparison is made in logarithms, so underflow
            of the slope does not matter. For relu every level gives the share of zero slopes.

    Raises:
        ValueError: a level outside [0, 1).

    >>> float(saturated_fraction("tanh", jnp.array([0.0, 1.0, 3.0, -4.0])))
    0.5
    """
    h = real_array("saturation", "pre_activations", pre_activations)
    return _share(_saturated(activation, h, level), h)


def dead_fraction(activation: ActivationLike, pre_activations: Float[ArrayLike, "*batch width"]) -> Float[Array, ""]:
    """Return the share of units (last axis) whose slope is exactly zero for every input (all other axes).

    A unit of a softly saturating activation is never dead by this definition, however small its slope.

    >>> float(dead_fraction("relu", jnp.array([[-1.0, -1.0, 2.0, 1.0], [-2.0, 3.0, 1.0, 4.0]])))
    0.25
    """
    return _always(activation, pre_activations, 0.0)


def off_units(pre_activations: Float[ArrayLike, "*batch width"]) -> Bool[Array, " width"]:
    """Return which units (last axis) have no pre-activation above 0, for any input (all other axes).

    For relu these are the dead units. With a leak they are not dead: this is where the leak is all that moves them.

    >>> off_units(jnp.array([[-1.0, -1.0, 2.0], [-2.0, 3.0, 1.0]])).tolist()
    [True, False, False]
    """
    return jnp.all(_by_unit(pre_activations) <= 0, axis=0)


def always_saturated_fraction(
    activation: ActivationLike, pre_activations: Float[ArrayLike, "*batch width"], level: float = 0.05
) -> Float[Array, ""]:
    """Return the share of units (last axis) saturated at `level` for every input (all other axes)."""
    return _always(activation, pre_activations, level)


def boundary_measure(
    activation: ActivationLike, pre_activations: Float[ArrayLike, "*shape"], bins: int = 10
) -> Float[Array, ""]:
    """Return phi_B of Rakitianskaia and Engelbrecht: how near activations are to the ends of their range.

    Activations are scaled to [-1, 1] over the range of phi and sorted into `bins` bins; with g_b the mean and f_b
    the number in bin b, phi_B = sum_b |g_b| f_b / sum_b f_b. It is 1 where every unit sits at an end, 1/2 for
    uniform activations, and near 0 where all sit in the middle. (For an even number of bins no bin straddles 0, and
    phi_B is the mean of |scaled activation|.)

    Raises:
        ValueError: an activation without a finite limit on both sides; bins below 1.

    References: Rakitianskaia & Engelbrecht 2015, Measuring Saturation in Neural Networks, IEEE SSCI.

    >>> round(float(boundary_measure("tanh", jnp.array([-9.0, 9.0]))), 4)
    1.0
    """
    return _boundary_measure(*_bounded(activation, pre_activations, bins))


def activation_entropy(
    activation: ActivationLike, pre_activations: Float[ArrayLike, "*shape"], bins: int = 10
) -> Float[Array, ""]:
    """Return the Shannon entropy, in nats, of the histogram of activations over the range of phi.

    ln(bins) for uniform activations, ln 2 for units that sit at either end, 0 where all fall into one bin.

    Raises:
        ValueError: an activation without a finite limit on both sides; bins below 1.

    >>> round(float(activation_entropy("tanh", jnp.array([-9.0, 9.0]))), 4)
    0.6931
    """
    return _entropy(activation_histogram(activation, pre_activations, bins))


def activation_histogram(
    activation: ActivationLike, pre_activations: Float[ArrayLike, "*shape"], bins: int = 40
) -> Float[Array, " bins"]:
    """Return the share of activations in each of `bins` equal parts of the range of phi, from its lower end.

    Raises:
        ValueError: an activation without a finite limit on both sides; bins below 1.

    >>> activation_histogram("tanh", jnp.array([-9.0, 0.1, 0.2, 9.0]), 4).tolist()
    [0.25, 0.0, 0.5, 0.25]
    """
    return _histogram(*_bounded(activation, pre_activations, bins))


def activation_percentiles(
    activations_: Float[ArrayLike, "*shape"], percentiles: Sequence[float | int] = (2.0, 50.0, 98.0)
) -> Float[Array, " percentiles"]:
    """Return percentiles of activation values over all entries (linear interpolation between order statistics).

    Glorot and Bengio (2010, figures 2 to 4) follow the 98th percentile and the standard deviation per layer.

    Raises:
        ValueError: no percentiles, or some outside [0, 100].

    >>> activation_percentiles(jnp.arange(101.0), (2, 98)).tolist()
    [2.0, 98.0]
    """
    q = real_numbers("activation_percentiles", "percentiles", percentiles)
    if q.size == 0 or q.ndim != 1 or not ((q >= 0) & (q <= 100)).all():
        raise ValueError(refusal("activation_percentiles", "percentiles", "lie in [0, 100]", percentiles))
    values = jnp.ravel(real_array("activation_percentiles", "activations_", activations_))
    if values.size == 0:
        raise ValueError(refusal("activation_percentiles", "activations_", "have at least one value", Shown("none")))
    return jnp.percentile(values, jnp.asarray(q, values.dtype))


def _saturated(activation: ActivationLike, pre_activations: ArrayLike, level: float) -> Array:
    level = number("saturation", "level", level)
    if not 0 <= level < 1:
        raise ValueError(refusal("saturation", "level", "lie in [0, 1), as a share of the largest slope", level))
    phi = activations.get(activation)
    threshold = float(np.log(level) + np.log(phi.max_slope)) if level > 0 else -np.inf
    return phi.log_abs_slope(pre_activations) <= threshold


def _always(activation: ActivationLike, pre_activations: ArrayLike, level: float) -> Array:
    h = _by_unit(pre_activations)
    return _share(jnp.all(_saturated(activation, h, level), axis=0), h)


def _by_unit(pre_activations: ArrayLike) -> Array:
    h = real_array("saturation", "pre_activations", pre_activations)
    if h.ndim == 0:
        came = Shown("a single number")
        raise ValueError(refusal("saturation", "pre_activations", "have units as their last axis", came))
    return h.reshape(-1, h.shape[-1])


def _bounded(activation: ActivationLike, pre_activations: ArrayLike, bins: int) -> tuple[Array, float, float, int]:
    """Return activations, the ends of their range and a number of bins."""
    phi = activations.get(activation)
    if phi.left_limit is None or phi.right_limit is None:
        remedy = "It has no finite limit on one side. Use saturated_fraction, which needs no range."
        raise ValueError(refusal("saturation", "activation", "be bounded for this measure", phi.name, remedy))
    bins = size("saturation", "bins", bins)
    h = real_array("saturation", "pre_activations", pre_activations)
    return phi(h), float(phi.left_limit), float(phi.right_limit), bins


# Outside jit each operation of these would be a program of its own.


@jax.jit
def _share(chosen: Bool[Array, "*some"], values: Float[Array, "*shape"]) -> Float[Array, ""]:
    return _unless_nan(jnp.mean(chosen, dtype=values.dtype), values)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _boundary_measure(values: Float[Array, "*shape"], low: float, high: float, bins: int) -> Float[Array, ""]:
    scaled, inside = _binned(values, low, high, bins)
    of_bin = jnp.sum(jnp.where(inside, scaled, 0), axis=1)
    return _unless_nan(jnp.sum(jnp.abs(of_bin)) / scaled.size, scaled)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _histogram(values: Float[Array, "*shape"], low: float, high: float, bins: int) -> Float[Array, " bins"]:
    scaled, inside = _binned(values, low, high, bins)
    return _unless_nan(jnp.sum(inside, axis=1).astype(scaled.dtype) / scaled.size, scaled)


@jax.jit
def _entropy(share: Float[Array, " bins"]) -> Float[Array, ""]:
    log_share = jnp.log(jnp.where(share > 0, share, 1))
    terms = jnp.where(share > 0, share * log_share, 0)
    return _unless_nan(-jnp.sum(terms), share)


def _binned(values: Array, low: float, high: float, bins: int) -> tuple[Array, Array]:
    """Return values scaled to [-1, 1], in a row, and which of them are in which bin."""
    scaled = jnp.ravel((values - low) * (2 / (high - low)) - 1)
    index = jnp.clip(jnp.floor((scaled + 1) * (bins / 2)).astype(int), 0, bins - 1)
    return scaled, index[None, :] == jnp.arange(bins)[:, None]


def _unless_nan(share: Array, values: Array) -> Array:
    """Return a share; NaN where a value is NaN, which counts neither as saturated nor as healthy."""
    return jnp.where(jnp.any(jnp.isnan(values)), jnp.asarray(jnp.nan, share.dtype), share)
