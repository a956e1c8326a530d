"""What one step of a recurrent cell does to mean squares, covariances and gradients, in the limit of infinite width.

The approximation is named *untied weights*: new gaussian weights, biases and inputs are drawn at every step. Then all that
enters a nonlinearity is gaussian and independent of the state of the same unit, and each gate is independent of the others.
A network that keeps its weights differs from this by what its state still knows of them.

With w, b the scales of weights and biases, v that of the inputs times their root mean square, M = E[h_i^2], gates
u = sigmoid(a_u + gate_bias) and r = sigmoid(a_r), and E over the gaussian arguments:

tanh (any phi): h' = phi(a), with a of variance w^2 M + v^2 + b^2.

    M' = E[phi^2],    chi = w^2 E[phi'^2]

minimal (Chen, Pennington & Schoenholz 2018): h' = u h + (1 - u) z, z = phi(V x); a_u has variance w^2 M + v_z^2 E[z^2] + b^2.

    M' = E[u^2] M + 2 E[u (1 - u)] E[h] E[z] + E[(1 - u)^2] E[z^2],    chi = E[u^2] + w^2 E[u'^2] E[(h - z)^2]

gru (Cho et al. 2014): h' = u h + (1 - u) n, n = phi(a), with a of variance w^2 E[r^2] M + v^2 + b^2.

    M' as above with n for z,
    chi = E[u^2] + w^2 E[u'^2] E[(h - n)^2] + w^2 E[(1 - u)^2] E[phi'^2] (E[r^2] + w^2 E[r'^2] M)

E[h] is taken as stationary, which is E[z] or E[n]. chi is the mean squared singular value of the step's Jacobian, and the
factor of the mean squared gradient for each step back. These two are the same, because the gradient that arrives at h_t
comes from weights of later steps, which know nothing of the gates of step t.

Covariances K of the states of two sequences obey the same equations, with E[f f'] over two correlated arguments instead
of E[f^2]. All within ``jax.enable_x64(True)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsat import activations
from jaxsat.activations import Activation
from jaxsat.theory.gate_integrals import gate_rule, pair_means


class RecurrentScales(NamedTuple):
    """The numbers of a recurrent network. `embedded` is the scale of weights on the embedded input of the minimal cell."""

    weight: Float[Array, ""]
    bias: Float[Array, ""]
    drive: Float[Array, ""]  # input scale times the inputs' root mean square
    embedded: Float[Array, ""]
    gate_bias: Float[Array, ""]


class StateMap(NamedTuple):
    """One step of a cell whose state is h alone; M is E[h_i^2].

    Attributes:
        square: M after the step.
        settled: the M that stays, were the gates those of this M: its fixed points are those of `square`.
        pre_activation: mean squared argument of phi (tanh) or of the gate u, around its mean.
        growth: chi.
        covariance: K after the step, and its derivative in K, from M, K and the correlation of the inputs.
    """

    square: Callable[[Activation, RecurrentScales, Array], Array]
    settled: Callable[[Activation, RecurrentScales, Array], Array]
    pre_activation: Callable[[Activation, RecurrentScales, Array], Array]
    growth: Callable[[Activation, RecurrentScales, Array], Array]
    covariance: Callable[[Activation, RecurrentScales, Array, Array, Array], tuple[Array, Array]]


# --- a layer of units: tanh -----------------------------------------------------------------------------------------


def _unit_variance(phi: Activation, p: RecurrentScales, m: Array) -> Array:
    return p.weight**2 * m + p.drive**2 + p.bias**2


def _unit_square(phi: Activation, p: RecurrentScales, m: Array) -> Array:
    return moments(phi, _unit_variance(phi, p, m))[1]


def _unit_growth(phi: Activation, p: RecurrentScales, m: Array) -> Array:
    return p.weight**2 * slope_square_of(phi, _unit_variance(phi, p, m))


def _unit_covariance(phi: Activation, p: RecurrentScales, m: Array, k: Array, c: Array) -> tuple[Array, Array]:
    q = _unit_variance(phi, p, m)
    at = _correlation(p.weight**2 * k + p.drive**2 * c + p.bias**2, q)
    after, slope = phi_pair(phi, q, at)
    return after, p.weight**2 * slope


# --- a mixture of the state and something new: minimal and gru ---------------------------------------------------------


class GateMoments(NamedTuple):
    """E[u^2], E[u (1 - u)], E[(1 - u)^2], E[(1 - u)(1 + u)] and E[u'^2] of a gate u."""

    kept: Array
    crossed: Array
    taken: Array
    lost: Array
    slope: Array


class _Mixture(NamedTuple):
    """The gate, the variance of its argument, and mean and mean square of what is new."""

    gate: GateMoments
    q: Array
    mean: Array
    square: Array


def _minimal_parts(phi: Activation, p: RecurrentScales, m: Array) -> _Mixture:
    mean, square = moments(phi, p.drive**2)
    q = p.weight**2 * m + p.embedded**2 * square + p.bias**2
    return _Mixture(gate_moments(p.gate_bias, q), q, mean, square)


def _gru_parts(phi: Activation, p: RecurrentScales, m: Array) -> _Mixture:
    q = _unit_variance(phi, p, m)
    candidate = _candidate_variance(p, m, gate_moments(jnp.zeros_like(q), q).kept)
    return _Mixture(gate_moments(p.gate_bias, q), q, *moments(phi, candidate))


def _candidate_variance(p: RecurrentScales, m: Array, reset: Array) -> Array:
    return p.weight**2 * reset * m + p.drive**2 + p.bias**2


Parts = Callable[[Activation, RecurrentScales, Array], _Mixture]


def _mixed_square(parts: Parts) -> Callable[[Activation, RecurrentScales, Array], Array]:
    def square(phi: Activation, p: RecurrentScales, m: Array) -> Array:
        of = parts(phi, p, m)
        return of.gate.kept * m + 2 * of.gate.crossed * of.mean**2 + of.gate.taken * of.square

    return square


def _mixed_settled(parts: Parts) -> Callable[[Activation, RecurrentScales, Array], Array]:
    def settled(phi: Activation, p: RecurrentScales, m: Array) -> Array:
        of = parts(phi, p, m)
        return (2 * of.gate.crossed * of.mean**2 + of.gate.taken * of.square) / of.gate.lost

    return settled


def _mixed_growth(parts: Parts, through_new: Callable[..., Array]) -> Callable[..., Array]:
    def growth(phi: Activation, p: RecurrentScales, m: Array) -> Array:
        of = parts(phi, p, m)
        apart = m - 2 * of.mean**2 + of.square
        return of.gate.kept + p.weight**2 * of.gate.slope * apart + of.gate.taken * through_new(phi, p, m, of.q)

    return growth


def _through_candidate(phi: Activation, p: RecurrentScales, m: Array, q: Array) -> Array:
    """Mean squared singular value of the candidate's Jacobian."""
    reset = gate_moments(jnp.zeros_like(q), q)
    by_state = reset.kept + p.weight**2 * reset.slope * m
    return p.weight**2 * slope_square_of(phi, _candidate_variance(p, m, reset.kept)) * by_state


def _minimal_covariance(phi: Activation, p: RecurrentScales, m: Array, k: Array, c: Array) -> tuple[Array, Array]:
    of = _minimal_parts(phi, p, m)
    new = phi_pair(phi, p.drive**2, c)[0]
    at = _correlation(p.weight**2 * k + p.embedded**2 * new + p.bias**2, of.q)
    return _mixed_pair(p, of, at, k, new, jnp.zeros_like(k))


def _gru_covariance(phi: Activation, p: RecurrentScales, m: Array, k: Array, c: Array) -> tuple[Array, Array]:
    of = _gru_parts(phi, p, m)
    at = _correlation(p.weight**2 * k + p.drive**2 * c + p.bias**2, of.q)
    zero = jnp.zeros_like(of.q)
    gate = activations.get("sigmoid")
    reset, reset_slope = pair_means([gate, gate.slope], zero, of.q, at)
    candidate = _candidate_variance(p, m, gate_moments(zero, of.q).kept)
    at_new = _correlation(p.weight**2 * reset * k + p.drive**2 * c + p.bias**2, candidate)
    new, slope = phi_pair(phi, candidate, at_new)
    through_new = p.weight**2 * slope * (reset + p.weight**2 * reset_slope * k)
    return _mixed_pair(p, of, at, k, new, through_new)


def _mixed_pair(
    p: RecurrentScales, of: _Mixture, at: Array, k: Array, new: Array, through_new: Array
) -> tuple[Array, Array]:
    """K after the step, and its derivative; `new` is the covariance of what is new, `through_new` its derivative."""
    gate = activations.get("sigmoid")
    kept, taken, slope = pair_means([gate, lambda a: gate(-a), gate.slope], p.gate_bias, of.q, at)
    crossed = (1 - kept - taken) / 2
    after = kept * k + 2 * crossed * of.mean**2 + taken * new
    return after, kept + taken * through_new + p.weight**2 * slope * (k - 2 * of.mean**2 + new)


# --- moments -----------------------------------------------------------------------------------------------------------


def moments(phi: Activation, q: Array) -> tuple[Array, Array]:
    """Return E[phi] and E[phi^2] over N(0, q)."""
    a, w = gate_rule(jnp.zeros_like(q), q, phi.kinks)
    values = phi(a)
    return w @ values, w @ values**2


def slope_square_of(phi: Activation, q: Array) -> Array:
    """Return E[phi'^2] over N(0, q); at q = 0 the limit, of a kink at 0 too."""
    a, w = gate_rule(jnp.zeros_like(q), jnp.maximum(q, 1e-30), phi.kinks)
    return w @ phi.slope(a) ** 2


def gate_moments(mean: Array, q: Array) -> GateMoments:
    """Return moments of a sigmoid whose argument has this mean and variance q."""
    a, w = gate_rule(mean, q)
    gate = activations.get("sigmoid")
    u, rest = gate(a), gate(-a)
    return GateMoments(w @ u**2, w @ (u * rest), w @ rest**2, w @ (rest * (1 + u)), w @ (u * rest) ** 2)


def phi_pair(phi: Activation, q: Array, c: Array) -> tuple[Array, Array]:
    """Return E[phi(a) phi(a')] and E[phi'(a) phi'(a')] over arguments of variance q and correlation c; at q = 0 the limit."""
    values = pair_means([phi, phi.slope], jnp.zeros_like(q), jnp.maximum(q, 1e-30), c, phi.kinks)
    return values[0], values[1]


def _correlation(covariance: Array, q: Array) -> Array:
    """covariance / q within rounding of [-1, 1]; 1 where there is nothing to compare."""
    return jnp.where(q > 0, jnp.clip(covariance / jnp.where(q > 0, q, 1.0), -1.0, 1.0), 1.0)


def _nothing(phi: Activation, p: RecurrentScales, m: Array, q: Array) -> Array:
    """The minimal cell's new part does not see the state."""
    return jnp.zeros_like(q)


STATE_MAPS: dict[str, StateMap] = {
    "tanh": StateMap(_unit_square, _unit_square, _unit_variance, _unit_growth, _unit_covariance),
    "minimal": StateMap(
        square=_mixed_square(_minimal_parts),
        settled=_mixed_settled(_minimal_parts),
        pre_activation=lambda phi, p, m: _minimal_parts(phi, p, m).q,
        growth=_mixed_growth(_minimal_parts, _nothing),
        covariance=_minimal_covariance,
    ),
    "gru": StateMap(
        square=_mixed_square(_gru_parts),
        settled=_mixed_settled(_gru_parts),
        pre_activation=_unit_variance,
        growth=_mixed_growth(_gru_parts, _through_candidate),
        covariance=_gru_covariance,
    ),
}
