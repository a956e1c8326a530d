"""Gradients and signals of ReLU and linear networks with gaussian weights at finite width: exact laws, without biases.

Flip the sign of a row of W_l: the unit's mask changes and the size of its signal does not. So the masks of a ReLU network
are fair coins, independent of those sizes and from layer to layer, and for any unit vector u

    ||J_l u||^2 = prod_{k <= l} (sigma_w^2 / n_{k-1}) chi^2_{B_k},        B_k ~ Binomial(n_k, 1/2)

(Hanin 2018; Hanin & Nica 2018). Backwards it is the cotangent whose signs are flipped: it must have a symmetric law and
know nothing of the weights. Then W_l^T delta_l is an isotropic gaussian, independent of all that lies below, and

    ||delta_L||^2 = chi^2_{B_L} / (chi^2_{B_L} + chi^2_{n_L - B_L}),      ||delta_l||^2 = (sigma_w^2 / n_l) chi^2_{B_l} ||delta_{l+1}||^2

for a gaussian cotangent of unit norm at the last activations. B_k = n_k gives linear networks. Where some B_k = 0 the
network is dead, every delta_l is 0, and J_l u is from that layer on; the laws are those of ln ||.|| where it is not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, ndtri, polygamma
from jaxtyping import Array, ArrayLike, Float

from jaxsat import activations, checks
from jaxsat.activations import ActivationLike
from jaxsat.theory.inputs import Widths, check_number, widths_of_layers

NORMS = ("gradient", "jacobian")
EXACT = {"relu": 0.5, "identity": 1.0}  # the probability that a unit lets its signal pass
SPAN = 80.0  # of the Fourier integral: standard deviations in the values and, inverted, in the frequencies


class LogNormLaw(NamedTuple):
    """The law of ln ||.||, l = 1 .. depth, in nats: of ||dE/dh_l|| or of ||J_l u||.

    Attributes:
        mean, std: of the logarithm of the norm, not of its square, over networks that are not dead.
        log_survival: ln of the probability that the norm is not 0.
    """

    mean: Float[Array, "*batch depth"]
    std: Float[Array, "*batch depth"]
    log_survival: Float[Array, "*batch depth"]

    def quantiles(self, levels: Sequence[float] = (0.05, 0.5, 0.95)) -> Float[Array, "levels *batch depth"]:
        """Return quantiles of the normal law with this mean and standard deviation: the log-normal band of the norm.

        >>> law = LogNormLaw(jnp.array([-1.0]), jnp.array([2.0]), jnp.zeros(1))
        >>> [round(float(v), 2) for v in law.quantiles((0.05, 0.5))[:, 0]]
        [-4.29, -1.0]
        """
        if not all(0 <= level <= 1 for level in levels):
            raise ValueError(checks.refusal("LogNormLaw.quantiles", "levels", "lie in [0, 1]", levels))
        z = ndtri(jnp.asarray(levels, self.mean.dtype)).reshape(-1, *[1] * self.mean.ndim)
        return self.mean[None] + z * self.std[None]


class NormMoments(NamedTuple):
    """ln E||.||^2 and ln E||.||^4, l = 1 .. depth; dead networks count with 0."""

    log_second: Float[Array, " depth"]
    log_fourth: Float[Array, " depth"]


class Distribution(NamedTuple):
    """Of ln ||.|| over networks that are not dead: density per nat, and probability to lie below."""

    density: Float[Array, "*points"]
    cumulative: Float[Array, "*points"]


def exact_log_norms(
    activation: ActivationLike, depth: int, width: Widths, weight_scale: ArrayLike, *, of: str = "gradient",
    inputs: int | None = None,
) -> LogNormLaw:  # fmt: skip
    """Return the mean and standard deviation of ln ||dE/dh_l|| or ln ||J_l u|| in a ReLU or linear network without biases. Exact.

    Args:
        activation: "relu" or "identity".
        depth: layers.
        width: units per layer: one number, or one for each layer.
        weight_scale: sigma_w, >= 0.
        of: "gradient", ||dE/dh_l|| for a gaussian cotangent of unit norm at the last activations, which is what
            ``jaxsat.log_gradient_norms`` measures; or "jacobian", ||J_l u|| for any unit vector u, and ||x_l|| / ||x_0||.
        inputs: width of the input, for "jacobian"; None means that of the first layer.

    Returns: see :class:`LogNormLaw`, in the default float dtype. Works under jit, vmap and grad in weight_scale.

    Accuracy: relative error of mean and variance below 1e-11 in float64, for widths up to 1e4.

    Raises:
        ValueError: another activation, sizes below 1, a number of widths that is not the number of layers, a negative scale.
        TypeError: sizes that are no integers.

    References: Hanin 2018, Which neural net architectures give rise to exploding and vanishing gradients?;
        Hanin & Nica 2018, Products of many large random matrices and gradients in deep neural networks.

    >>> law = exact_log_norms("relu", 20, 50, 2**0.5)
    >>> round(float(law.mean[0]), 4), round(float(law.std[0]), 4)  # about -5 L / 4 n and sqrt(5 L / 4 n)
    (-0.8539, 0.7284)
    """
    where = "exact_log_norms"
    steps = _steps(where, activation, depth, width, of, inputs)
    check_number(where, "weight_scale", weight_scale)
    dtype = jnp.result_type(float)
    with jax.enable_x64(True):
        log_scale = jnp.log(jnp.asarray(weight_scale, jnp.float64))
        mean = jnp.asarray(steps.along(steps.mean) / 2) + steps.scaled(log_scale)
        std = jnp.sqrt(jnp.asarray(steps.along(steps.variance))) / 2
        alive = steps.along(steps.log_alive) if of == "jacobian" else np.full(depth, steps.log_alive.sum())
        return LogNormLaw(mean.astype(dtype), std.astype(dtype), jnp.asarray(alive, dtype))


def norm_moments(
    activation: ActivationLike, depth: int, width: Widths, weight_scale: ArrayLike, *, of: str = "gradient",
    inputs: int | None = None,
) -> NormMoments:  # fmt: skip
    """Return logarithms of the second and fourth moments of ||dE/dh_l|| or ||J_l u||. Exact.

    Arguments and errors are those of :func:`exact_log_norms`. One ReLU layer gives (sigma_w^2 / n_in) n / 2
    and (sigma_w^2 / n_in)^2 (n^2 + 5 n) / 4.

    >>> moments = norm_moments("relu", 1, 3, 1.0, of="jacobian")
    >>> [round(float(jnp.exp(m[0])), 4) for m in moments]  # 1 / 2, (9 + 15) / 36
    [0.5, 0.6667]
    """
    where = "norm_moments"
    steps = _steps(where, activation, depth, width, of, inputs)
    check_number(where, "weight_scale", weight_scale)
    dtype = jnp.result_type(float)
    below = np.cumsum(steps.log_alive) - steps.log_alive if of == "gradient" else np.zeros(depth)
    with jax.enable_x64(True):
        log_scale = jnp.log(jnp.asarray(weight_scale, jnp.float64))
        second = jnp.asarray(steps.along(np.log(steps.second)) + below) + 2 * steps.scaled(log_scale)
        fourth = jnp.asarray(steps.along(np.log(steps.fourth)) + below) + 4 * steps.scaled(log_scale)
        return NormMoments(second.astype(dtype), fourth.astype(dtype))


def exact_log_norm_distribution(
    values: Float[ArrayLike, "*points"], activation: ActivationLike, depth: int, width: Widths, weight_scale: ArrayLike, *,
    of: str = "gradient", inputs: int | None = None,
) -> Distribution:  # fmt: skip
    """Return the density and distribution function of ln ||dE/dh_1|| or ln ||J_depth u||.

    For ReLU and linear networks without biases. By Fourier inversion of E exp(i t ln chi^2_B) = 2^(i t) Gamma(B/2 + i t) / Gamma(B/2), averaged over B and
    multiplied over layers.

    Args:
        values: of ln ||.||, in nats.
        activation, depth, width, weight_scale, of, inputs: as :func:`exact_log_norms`; a gradient needs depth >= 2.

    Returns: see :class:`Distribution`, each in the shape of `values`.

    Accuracy: absolute error below 1e-10 (of the cumulative; of the density times std); none of the far tails relative
        to itself.

    Raises: as :func:`exact_log_norms`, and ValueError for a gradient of depth 1, whose law has points of mass.

    >>> found = exact_log_norm_distribution(jnp.array([-2.0, 0.0]), "relu", 20, 50, 2**0.5)
    >>> [round(float(p), 4) for p in found.cumulative]
    [0.0604, 0.8809]
    """
    where = "exact_log_norm_distribution"
    steps = _steps(where, activation, depth, width, of, inputs)
    check_number(where, "weight_scale", weight_scale)
    if of == "gradient" and depth == 1:
        remedy = "At depth 1 its square is a Beta variable."
        raise ValueError(checks.refusal(where, "depth", "be at least 2 for a gradient", depth, remedy))
    dtype = jnp.result_type(float)
    std = float(np.sqrt(steps.variance.sum()))
    t, transform = _transform(steps.gate, steps.widths, of, std)
    with jax.enable_x64(True):
        shift = steps.mean.sum() / 2 + steps.scales.sum() * jnp.log(jnp.asarray(weight_scale, jnp.float64))
        x = checks.real_array(where, "values", values).astype(jnp.float64)
        found = _inverted(x, shift, t, np.real(transform), np.imag(transform), std)
        return Distribution(*(a.astype(dtype) for a in found))


def gaussian_lyapunov_exponents(width: int, weight_scale: ArrayLike) -> Float[Array, " width"]:
    """Return the growth rates of singular values, ln s_i / L as L -> infinity, for linear gaussian networks. Exact.

    lambda_i = ln sigma_w + (psi((n - i + 1) / 2) + ln 2 - ln n) / 2 nats per layer, descending (Newman 1986).

    Args:
        width: n, at least 1.
        weight_scale: sigma_w, >= 0; traced.

    >>> [round(float(v), 4) for v in gaussian_lyapunov_exponents(2, 1.0)]  # -gamma / 2, -gamma / 2 - ln 2
    [-0.2886, -0.9818]
    """
    where = "gaussian_lyapunov_exponents"
    (n,) = widths_of_layers(where, 1, width)
    check_number(where, "weight_scale", weight_scale)
    dtype = jnp.result_type(float)
    with jax.enable_x64(True):
        halves = (n - jnp.arange(n, dtype=jnp.float64)) / 2
        log_scale = jnp.log(jnp.asarray(weight_scale, jnp.float64))
        return ((digamma(halves) + np.log(2 / n)) / 2 + log_scale).astype(dtype)


# --- products of chi-squared variables -----------------------------------------------------------------------------


class _Steps(NamedTuple):
    """What each layer multiplies ||.||^2 by, the weight scale aside: moments of it and of its logarithm while alive."""

    gate: float
    widths: tuple[int, ...]
    of: str
    scales: np.ndarray  # 1 where a factor sigma_w^2 goes with it
    mean: np.ndarray
    variance: np.ndarray
    log_alive: np.ndarray
    second: np.ndarray
    fourth: np.ndarray

    def along(self, values: np.ndarray) -> np.ndarray:
        """Return sums over the layers that the signal has passed: from the first to l, or from the last back to l."""
        return np.cumsum(values) if self.of == "jacobian" else np.cumsum(values[::-1])[::-1]

    def scaled(self, log_scale: Array) -> Array:
        """Return ln of the power of sigma_w at each layer; 0 where there is none, even for sigma_w = 0."""
        powers = self.along(self.scales)
        return jnp.where(powers > 0, powers * jnp.where(powers > 0, log_scale, 0.0), 0.0)


def _steps(where: str, activation: ActivationLike, depth: object, width: object, of: str, inputs: object) -> _Steps:
    phi = activations.get(activation)
    if phi.name not in EXACT or phi is not activations.get(phi.name):
        rule = f"be one of {', '.join(EXACT)}, whose law is exact"
        remedy = "log_normal_law is for any activation."
        raise ValueError(checks.refusal(where, "activation", rule, phi.name, remedy))
    checks.one_of(where, "of", of, NORMS)
    gate, widths = EXACT[phi.name], widths_of_layers(where, depth, width)
    first = widths[0] if inputs is None else widths_of_layers(where, 1, inputs, "inputs")[0]
    n = np.array(widths, float)
    laws = {m: _log_chi_square(m, gate) for m in set(widths)}
    mean, variance, log_alive = (np.array(column) for column in zip(*(laws[m] for m in widths), strict=True))
    second, fourth = gate * n, gate * n * (gate * n + 3 - gate)  # E[B] and E[B (B + 2)]
    scales = np.ones(len(widths))
    fan_in = np.array([first, *widths[:-1]], float) if of == "jacobian" else n
    if of == "gradient":
        # The last layer divides chi^2_B by the chi^2_n of the cotangent's norm, independent of the ratio.
        top_mean, top_variance, _ = _log_chi_square(widths[-1], 1.0)
        mean[-1] += np.log(n[-1]) - top_mean
        variance[-1] = max(variance[-1] - top_variance, 0.0)
        fourth[-1] *= n[-1] / (n[-1] + 2)
        scales[-1] = 0
    return _Steps(
        gate, widths, of, scales, mean - np.log(fan_in), variance, log_alive, second / fan_in, fourth / fan_in**2
    )


def _passing(n: int, gate: float) -> tuple[np.ndarray, np.ndarray, float]:
    """B from 1 to n with its probabilities given B >= 1, negligible values left out, and ln P(B >= 1)."""
    if gate == 1:
        return np.array([n]), np.ones(1), 0.0
    count = np.arange(1.0, n + 1)
    factorials = np.array([math.lgamma(k + 1.0) for k in range(n + 1)])
    log = factorials[n] - factorials[1:] - factorials[n - 1 :: -1] + count * np.log(gate)
    weights = np.exp(log + (n - count) * np.log1p(-gate))
    kept = weights > 1e-20 * weights.max()
    return count[kept], weights[kept] / weights[kept].sum(), float(np.log1p(-((1 - gate) ** n)))


@jax.jit
def _moments_of_log_gamma(shape: Float[Array, " n"]) -> tuple[Array, Array]:
    """Return the mean and variance of the logarithm of gamma variables."""
    return digamma(shape), polygamma(1, shape)


@functools.lru_cache(maxsize=1024)
def _log_chi_square(n: int, gate: float) -> tuple[float, float, float]:
    """Mean and variance of ln chi^2_B given B >= 1, B ~ Binomial(n, gate), and ln P(B >= 1)."""
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        count, weights, log_alive = _passing(n, gate)
        padded = np.ones(max(64, 1 << (len(count) - 1).bit_length()))  # few shapes: few compilations
        padded[: len(count)] = count / 2
        means, variances = (np.asarray(a)[: len(count)] for a in _moments_of_log_gamma(padded))
        mean = weights @ means
        variance = weights @ (variances + (means - mean) ** 2)
    return float(mean + np.log(2)), float(variance), log_alive


@jax.jit
def _inverted(values: Array, shift: Array, t: Array, real: Array, imag: Array, std: ArrayLike) -> Distribution:
    """Return the law at `values` from the transform of twice the values less `shift`, at frequencies t, by Fourier inversion."""
    x = 2 * (values - shift)
    phases = jnp.tensordot(x, t, 0)
    cos, sin = jnp.cos(phases), jnp.sin(phases)
    step = 2 * t[0] / np.pi
    density = 2 * step * (cos @ real + sin @ imag)
    cumulative = 0.5 - step * (cos @ (imag / t) - sin @ (real / t))
    near = jnp.abs(x) < SPAN / 2 * std  # the integral is periodic beyond
    density = jnp.where(near, jnp.maximum(density, 0.0), 0.0)
    cumulative = jnp.where(near, jnp.clip(cumulative, 0.0, 1.0), (x > 0).astype(jnp.float64))
    unknown = jnp.where(jnp.isnan(x), jnp.nan, 0.0)
    return Distribution(density + unknown, cumulative + unknown)


@functools.lru_cache(maxsize=64)
def _transform(gate: float, widths: tuple[int, ...], of: str, std: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies t > 0, equally spaced, and E exp(i t (X - E X)) for X = ln ||.||^2 given survival."""
    step = 2 * np.pi / (SPAN * std)
    t = (np.arange(int(SPAN / std / step)) + 0.5) * step
    found = np.ones(len(t), complex)
    for n, times in zip(*np.unique(widths, return_counts=True), strict=True):
        found *= _transform_of_layer(int(n), gate, t) ** times
    if of == "gradient":
        found /= _transform_of_layer(widths[-1], 1.0, t)
    return t, found


def _transform_of_layer(n: int, gate: float, t: np.ndarray) -> np.ndarray:
    """E exp(i t (X - E X)) of X = ln chi^2_B."""
    count, weights, _ = _passing(n, gate)
    total = np.zeros(len(t), complex)
    shift = 1j * t * (_log_chi_square(n, gate)[0] - np.log(2))
    for b, weight in zip(count, weights, strict=True):
        total += weight * np.exp(_log_gamma(b / 2 + 1j * t) - _log_gamma(b / 2 + 0j) - shift)
    return total


def _log_gamma(z: np.ndarray | np.complex128) -> np.ndarray | np.complex128:
    """ln Gamma(z) for Re z > 0, by Stirling's series at z + 12."""
    shifted = z + 12
    series = sum(c / shifted**k for c, k in ((1 / 12, 1), (-1 / 360, 3), (1 / 1260, 5), (-1 / 1680, 7), (1 / 1188, 9)))
    steps = sum(np.log(z + k) for k in range(12))
    return (shifted - 0.5) * np.log(shifted) - shifted + np.log(2 * np.pi) / 2 + series - steps
