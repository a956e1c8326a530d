"""Mean field on the host, for advice: Gaussian averages of an activation by NumPy, from values that one small program gives.

``jaxsat.theory`` has the same numbers to more digits and with derivatives, but compiles for seconds. A report must not
wait for that.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.activations import Activation

_REACH = 9.0  # standard deviations: beyond, a Gaussian average of slopes and squares changes by less than 1e-15
_PANELS = 36
_NEAR = 2.0 ** np.arange(-2, 6)  # pre-activations up to which activations bend
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_LENGTHS = np.geomspace(1e-8, 1e6, 113)  # where a mean squared pre-activation is looked for
_NO_LENGTH = 1e-24  # a mean squared pre-activation that stands for 0
_ROUNDING = 3e-5  # relative: values are those of float32


class GaussianMoments(NamedTuple):
    """Averages over h ~ N(0, q): of phi(h)^2 and of phi'(h)^2."""

    square: float
    slope_square: float


@functools.lru_cache(maxsize=64)
def _values_of(phi: Activation) -> Callable[[Any], Any]:
    return jax.jit(lambda h: (phi(h), phi.slope(h)))


@functools.lru_cache(maxsize=4096)
def gaussian_moments(phi: Activation, q: float) -> GaussianMoments:
    """Return Gaussian averages of an activation at a mean squared pre-activation q > 0.

    Accuracy: about 1e-5, relative: phi is evaluated in float32 unless float64 is on.

    >>> from jaxsat import activations
    >>> [round(number, 4) for number in gaussian_moments(activations.get("relu"), 2.0)]  # q / 2 and 1 / 2
    [1.0, 0.5]
    """
    scale = math.sqrt(q)
    bends = np.concatenate([np.asarray([float(kink) for kink in phi.kinks]), _NEAR, -_NEAR]) / scale
    cuts = np.sort(np.concatenate([np.linspace(-_REACH, _REACH, _PANELS + 1), np.clip(bends, -_REACH, _REACH)]))
    half = np.diff(cuts)[:, None] / 2
    z = ((cuts[:-1] + cuts[1:])[:, None] / 2 + half * _NODES).ravel()
    density = (half * _WEIGHTS).ravel() * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    values, slopes = _values_of(phi)(jnp.asarray(scale * z, jnp.result_type(float)))
    return GaussianMoments(
        float(density @ np.square(np.asarray(values, float))), float(density @ np.square(np.asarray(slopes, float)))
    )


def growth_with_layer_norm(phi: Activation, weight_scale: float, bias_scale: float) -> float:
    """Return the factor of the gradient's norm per layer back, if pre-activations are normalised to mean square 1."""
    found = gaussian_moments(phi, 1.0)
    after = weight_scale**2 * found.square + bias_scale**2
    return math.sqrt(weight_scale**2 * found.slope_square / after) if after > 0 else 0.0


def growth_with_skip(phi: Activation, weight_scale: float, q: float) -> float:
    """Return the factor of the gradient's norm per layer back of x + phi(W x + b), at a mean squared pre-activation q."""
    return math.sqrt(1 + weight_scale**2 * gaussian_moments(phi, max(q, _NO_LENGTH)).slope_square)


def quick_edge(phi: Activation, bias_scale: float) -> float:
    """Return the smallest sigma_w at which chi = 1 at the length that a network settles at; NaN if there is none.

    As :func:`jaxsat.theory.critical_weight_scale`, to about four digits, for bias_scale > 0.
    """

    def residual(q: float) -> float:  # of the equation of the edge; see theory.edge_of_chaos
        found = gaussian_moments(phi, q)
        return found.square / max(found.slope_square, 1e-300) + bias_scale**2 - q

    values = np.array([residual(q) for q in _LENGTHS])
    values[np.abs(values) <= _ROUNDING * _LENGTHS] = 0.0
    edges = []
    for i in np.flatnonzero((values[:-1] > 0) != (values[1:] > 0)):
        low, high = _LENGTHS[i], _LENGTHS[i + 1]
        for _ in range(40):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if (residual(middle) > 0) == (values[i] > 0) else (low, middle)
        w = 1 / math.sqrt(gaussian_moments(phi, low).slope_square)
        settled = _settled(phi, w, bias_scale)
        if abs(settled - low) <= 0.25 * low:
            edges.append(w)
    if edges:
        return min(edges)
    far = [1 / math.sqrt(max(gaussian_moments(phi, q).slope_square, 1e-300)) for q in _LENGTHS[-2:]]
    flat = np.all(values >= 0) and abs(far[0] / far[1] - 1) < 1e-3
    return far[1] if flat else math.nan


def _settled(phi: Activation, weight_scale: float, bias_scale: float) -> float:
    """Return the mean squared pre-activation that deep layers settle at, from an input of mean square 1."""
    q = weight_scale**2 + bias_scale**2
    for _ in range(200):
        after = weight_scale**2 * gaussian_moments(phi, float(f"{q:.6g}")).square + bias_scale**2
        if abs(after - q) < 1e-4 * q or not after < 1e12:
            return after
        q = after
    return q
