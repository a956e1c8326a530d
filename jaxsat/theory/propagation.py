"""Signal propagation in the limit of infinite width: what a network of given scales does to signals and gradients.

    chi = sigma_w^2 E[phi'(sqrt(q) z)^2]        mean squared gradient, per layer back (Schoenholz et al. 2017, eq. 4)

Everything is computed in float64, whatever JAX's configuration, and returned in the default float dtype. Lengths are the
subject of ``lengths``, correlations of ``correlations``, the edge of chaos of ``edge_of_chaos``.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxsat import checks
from jaxsat.activations import Activation, ActivationLike
from jaxsat.jax_compat import Tracer
from jaxsat.results import display
from jaxsat.theory.correlations import stationary_correlation
from jaxsat.theory.inputs import checked, in_double, input_slack
from jaxsat.theory.lengths import (
    LARGE,
    NEUTRAL,
    implicit,
    next_length,
    reached,
    slope_square,
    square_and_slope,
)

PHASES = ("ordered", "chaotic", "critical", "diverges", "oscillates")


class MeanField(NamedTuple):
    """The infinite-width limit of one network. Depth scales are in layers, inf where nothing decays exponentially.

    Attributes:
        q: stationary mean squared pre-activation; inf where lengths diverge.
        chi: factor of the mean squared gradient for each layer back: below 1 it vanishes, above 1 it explodes.
        chi_q: derivative of the length map at q.
        c: stationary correlation of two inputs; 1 by convention where q = 0.
        chi_c: derivative of the correlation map at c.
        xi_q, xi_c: depth scales -1 / ln|chi_q| and -1 / ln|chi_c| (Schoenholz et al. 2017, eqs. 8 and 9).
        converged: whether lengths settle. Where they diverge, chi, c and the rest are those of the limit of large q.
        phase_code: index into :data:`PHASES`.
    """

    q: Float[Array, ""]
    chi: Float[Array, ""]
    chi_q: Float[Array, ""]
    c: Float[Array, ""]
    chi_c: Float[Array, ""]
    xi_q: Float[Array, ""]
    xi_c: Float[Array, ""]
    converged: Bool[Array, ""]
    phase_code: Int[Array, ""]

    def __repr__(self) -> str:
        return display.as_line("MeanField", self._shown())

    def _repr_html_(self) -> str:
        return display.as_table("Mean field", self._shown())

    def _shown(self) -> dict[str, str]:
        """Return the numbers that people ask for, in words."""
        known = not isinstance(self.phase_code, Tracer)
        numbers = {name: display.in_words(getattr(self, name)) for name in ("q", "chi", "c", "xi_q", "xi_c")}
        return {"phase": display.in_words(self.phase) if known else "not known inside jit"} | numbers

    @property
    def phase(self) -> str | np.ndarray:
        """'ordered', 'chaotic', 'critical', 'diverges' or 'oscillates'; an array of them for a batch. Not inside jit."""
        names = np.array(PHASES)[np.asarray(self.phase_code)]
        return str(names) if names.ndim == 0 else names


def mean_field(
    activation: ActivationLike, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0, *, mean_square: ArrayLike = 1.0
) -> MeanField:
    """Return the stationary length and correlation, their depth scales, and the phase.

    Args:
        activation, weight_scale, bias_scale: as :func:`length_map`.
        mean_square: of the input. It decides which of several stable lengths is reached. Where every length is
            stationary, that of the first layer is kept.

    Returns: see :class:`MeanField`. Works under jit, vmap and grad in all numbers. c, chi_c and xi_c cost five times the
        rest; where c is between 0.99 and 1, two hundred times, under vmap for every member of the batch. jit leaves them out
        if they are not used. Derivatives at q = 0 take q as constant.

    Numbers that come as float32 arrays are taken to be right to 4 eps: chi within that of 1 is critical.

    Accuracy: relative error of q, chi and chi_q below 1e-11; of 1 - c and of xi_c below 1e-7, also where c is near 1.
        Two chaotic phases differ from an ordered one only if chi exceeds 1 by more than 1e-9.

    Raises: as :func:`length_map`. A fixed point that does not exist is a result, not an error.

    >>> found = mean_field("tanh", 1.5, 0.05)
    >>> found.phase, round(float(found.chi), 4)
    ('chaotic', 1.1367)
    >>> mean_field("relu", 1.6).phase, float(mean_field("relu", 1.6).q)
    ('diverges', inf)
    """
    phi = checked("mean_field", activation, weight_scale=weight_scale, bias_scale=bias_scale, mean_square=mean_square)
    solve = functools.partial(_mean_field, slack=input_slack(weight_scale, bias_scale))
    return in_double(solve, phi, weight_scale, bias_scale, mean_square)


def gradient_growth(
    activation: ActivationLike, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0
) -> Float[Array, ""]:
    """Return the growth of the root mean square gradient at the stationary length: ln(chi) / 2 nats per layer back.

    >>> abs(float(gradient_growth("relu", 2**0.5))) < 1e-6
    True
    """
    return jnp.log(mean_field(activation, weight_scale, bias_scale).chi) / 2


def log_gradient_norms(
    activation: ActivationLike, depth: int, weight_scale: ArrayLike, bias_scale: ArrayLike = 0.0, *,
    mean_square: ArrayLike = 1.0, every_depth: bool = False,
) -> Float[Array, "*depth depth"]:  # fmt: skip
    """Return ln of the root mean square ||dE/dh_l|| for the layers l = 1 .. depth.

    The mean square is over networks: ln sqrt(E ||dE/dh_l||^2). The median of many networks lies lower, by about the
    variance of ln ||dE/dh_l||, and so does the mean of the logarithm, which :func:`log_normal_law` predicts for networks
    of finite width.

    The cotangent at the last activations is gaussian, of unit norm. Lengths are those of each layer, not the stationary
    one. Arguments and errors: as :func:`length_trajectory`.

    every_depth: True gives (depth, depth) as the measure of this name does: row k-1 is the network made of the first k
    layers, columns beyond it are NaN.

    Without weights no gradient passes: all but the last are -inf at weight_scale 0.

    >>> log_gradient_norms("identity", 3, 2.0).round(4).tolist()  # 2 ln 2, ln 2, 0
    [1.3863, 0.6931, 0.0]
    """
    where = "log_gradient_norms"
    phi = checked(where, activation, weight_scale=weight_scale, bias_scale=bias_scale, mean_square=mean_square)
    layers = checks.size(where, "depth", depth)

    def norms(phi: Activation, w: Array, b: Array, start: Array) -> Array:
        def layer(q: Array, _: None) -> tuple[Array, Array]:
            return next_length(phi, q, w, b), jnp.log(slope_square(phi, q)) / 2

        slopes = jax.lax.scan(layer, w * w * start + b * b, length=layers)[1]
        layer_number = np.arange(1.0, layers + 1)
        depths = layer_number[:, None] if every_depth else np.array([[float(layers)]])
        passed = depths - layer_number  # weight matrices between layer l and the last
        weights = jnp.where(passed > 0, passed * jnp.log(w), 0.0)
        of_network = jnp.where(passed >= 0, slopes, 0.0)
        summed = jnp.cumsum(of_network[:, ::-1], axis=1)[:, ::-1] + weights
        return jnp.where(passed >= 0, summed, jnp.nan) if every_depth else summed[0]

    return in_double(norms, phi, weight_scale, bias_scale, mean_square)


@functools.partial(jax.jit, static_argnames=("phi", "slack"))
def _mean_field(phi: Activation, w: Array, b: Array, start: Array, slack: float) -> MeanField:
    neutral = max(NEUTRAL, slack)
    q = implicit(phi, reached(phi, w, b, w * w * start + b * b, slack), w, b)
    at = jnp.where(jnp.isinf(q), LARGE, q)
    mean_square, slope_q = square_and_slope(phi, at)
    chi, chi_q = w * w * slope_square(phi, at), w * w * slope_q
    after = w * w * mean_square + b * b
    # The slope of the correlation map at c = 1 is chi where q is stationary.
    at_one = jnp.where(at > 0, chi * at / jnp.where(after > 0, after, 1.0), chi)
    chaotic = (at_one > 1 + neutral) & (at > 0)
    c, chi_c = stationary_correlation(phi, at, w, b, after, chaotic)
    c, chi_c = jnp.where(chaotic, c, 1.0), jnp.where(chaotic, chi_c, at_one)
    settles = jnp.abs(chi_q) <= 1 + neutral
    diverges = jnp.isinf(q)
    by_chi = jnp.where(jnp.abs(chi - 1) <= neutral, 2, jnp.where(chi > 1, 1, 0))
    code = jnp.where(diverges, 3, jnp.where(settles, by_chi, 4))
    return MeanField(
        q, chi, chi_q, c, chi_c, decay_scale(chi_q, neutral), decay_scale(chi_c, neutral), settles & ~diverges, code
    )


def decay_scale(chi: Array, neutral: float) -> Array:
    """Return -1 / ln|chi|; inf where nothing decays, and 0 at 0."""
    near = jnp.abs(chi) >= 1 - neutral
    log = jnp.log(jnp.where(near | (chi == 0), 2.0, jnp.abs(chi)))
    return jnp.where(near, jnp.inf, jnp.where(chi == 0, 0.0, -1 / log))
