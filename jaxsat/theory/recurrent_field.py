"""Mean field of recurrent networks: lengths, correlations, gradients and the time scale of memory of four cells.

The equations of each cell are those of ``state_maps`` and ``cell_state_law``; here their fixed points are found.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxsat import activations, checks
from jaxsat.activations import Activation, ActivationLike
from jaxsat.theory.cell_state_law import lstm_law
from jaxsat.theory.inputs import check_correlation, check_number, in_double
from jaxsat.theory.propagation import decay_scale
from jaxsat.theory.state_maps import STATE_MAPS, RecurrentScales, StateMap

RECURRENT_CELLS = (*STATE_MAPS, "lstm")
_NEUTRAL = 1e-6  # a slope closer to 1 counts as 1
_SMALLEST, _LARGEST = 1e-13, 1e13  # mean squares beyond count as 0 and as inf
_STRIDE = np.log(4.0)  # between the lengths that are tried until a sign change is found
_MOST_STEPS = 120
_ROUNDED = 2e-13  # of ln of a mean square
_NEAR = 1e-4  # relative distance of two lengths that show the slope of a map


class RecurrentField(NamedTuple):
    """The infinite-width limit of a recurrent network with untied weights, at its stationary state.

    Attributes:
        square: mean square of the state h; inf where it grows without limit.
        q: mean squared argument of phi (tanh cell) or of the keep gate (others), around its mean.
        chi: factor of the mean squared gradient for each step back: below 1 it vanishes, above 1 it explodes.
        step_square: mean squared singular value of the Jacobian of one step. It is chi, except for the lstm, whose state
            (h, c) has two parts that grow unequally.
        c: stationary correlation of the states of two sequences, uncentred; 1 by convention where the state is 0. NaN for
            an lstm whose sequences move apart.
        chi_c: derivative of the correlation map at c; NaN with c.
        xi: memory time scale -1 / ln chi_c, in steps: after xi steps a difference of the states that decays has lost a
            factor e of its square. inf where nothing decays exponentially, and where chi_c is within 1e-6 of 1.
        converged: whether the mean square settles.
    """

    square: Float[Array, ""]
    q: Float[Array, ""]
    chi: Float[Array, ""]
    step_square: Float[Array, ""]
    c: Float[Array, ""]
    chi_c: Float[Array, ""]
    xi: Float[Array, ""]
    converged: Bool[Array, ""]


def recurrent_mean_field(
    cell: str, weight_scale: ArrayLike = 1.0, bias_scale: ArrayLike = 0.0, input_scale: ArrayLike = 1.0,
    gate_bias: ArrayLike = 0.0, *, activation: ActivationLike = "tanh", mean_square: ArrayLike = 1.0,
    input_correlation: ArrayLike = 1.0, start: ArrayLike = 1.0,
) -> RecurrentField:  # fmt: skip
    """Return lengths, correlations, gradient growth and memory time scale of ``Recurrent`` at infinite width.

    The approximation is that weights and biases are *untied*: drawn anew at every step. A recurrent network keeps them.
    For the tanh cell with fresh inputs at every step this changes nothing at infinite width; in gated cells the state
    is then correlated with the weights, and all numbers are only near those of the network (see Accuracy).

    Args:
        cell: 'tanh' (any activation, without gates), 'minimal', 'gru' or 'lstm'.
        weight_scale, bias_scale, input_scale, gate_bias: as those of ``Recurrent``; weights are gaussian.
        activation: phi. Static.
        mean_square: of the input of each step, before `input_scale`.
        input_correlation: of the inputs of the two sequences at the same step, from -1 to 1. At 1 the sequences differ in
            their first states only, and c tells whether they forget them.
        start: mean square of the first state; it decides which of several stable lengths is reached. A state of exactly 0
            stays there if nothing drives it; the default asks what a small disturbance leads to.

    Returns: see :class:`RecurrentField`. Works under jit and vmap. There are no derivatives: asking for them raises. All is
        NaN where a number is NaN under jit, and where a gate bias beyond some 500 takes its slopes out of float64.

    Accuracy: of the untied limit, relative error of square, q and chi below 1e-8, for phi without kinks that bend no faster
        than tanh. For an lstm 1e-4, with gate_bias up to 8; 1e-3 if phi has kinks. c and chi_c: 1e-8; 1 - c: 1e-8 / (1 - c).
        Networks keep their weights, and gated cells then differ from this limit. Measured chi against theory, with gaussian
        weights and fresh inputs: minimal 0.74 against 0.72 (weight_scale 3.5, gate_bias 1), gru 0.99 against 0.72 (2.5, 1),
        lstm 1.06 against 0.89 (2, 2), lstm 0.41 against 0.33 (1, 0). So gradients in gated networks vanish less than this theory
        says. For the tanh cell with fresh inputs and without biases the two agree.

    Raises:
        ValueError: an unknown cell, a number that is negative (except `gate_bias`) or not finite.
        TypeError: more than one number; batches go through ``jax.vmap``.

    References: Schoenholz et al. 2017; Chen, Pennington & Schoenholz 2018; Gilboa et al. 2019.

    >>> found = recurrent_mean_field("tanh", 0.5, activation="identity")  # M = 1 / (1 - 0.5^2)
    >>> round(float(found.square), 4), round(float(found.chi), 4)
    (1.3333, 0.25)
    >>> [round(float(recurrent_mean_field("lstm", 1.0, gate_bias=b).chi), 3) for b in (0.0, 4.0)]
    [0.331, 0.958]
    """
    where = "recurrent_mean_field"
    checks.one_of(where, "cell", cell, RECURRENT_CELLS)
    _check_settings(where, weight_scale, bias_scale, input_scale, gate_bias, mean_square, input_correlation, start)
    phi = activations.get(activation)
    solve = functools.partial(_recurrent_field, cell)
    numbers = weight_scale, bias_scale, input_scale, gate_bias, mean_square, input_correlation, start
    return in_double(solve, phi, *numbers)


class RecurrentTrajectory(NamedTuple):
    """States of two sequences at the steps 1 .. T of an infinitely wide recurrent network with untied weights.

    Attributes:
        square: mean square of the state h, of either sequence.
        c: correlation of the two states, uncentred; 1 by convention where the states are 0.
    """

    square: Float[Array, " steps"]
    c: Float[Array, " steps"]


def recurrent_trajectory(
    cell: str, steps: int, weight_scale: ArrayLike = 1.0, bias_scale: ArrayLike = 0.0, input_scale: ArrayLike = 1.0,
    gate_bias: ArrayLike = 0.0, *, activation: ActivationLike = "tanh", mean_square: ArrayLike = 1.0,
    input_correlation: ArrayLike = 1.0, start: ArrayLike = 1.0, start_correlation: ArrayLike = 0.0,
) -> RecurrentTrajectory:  # fmt: skip
    """Return how the length of a state and the correlation of two states change from step to step.

    With the same inputs (`input_correlation` 1) and different first states, c says how the network forgets where it began.

    Args:
        cell: 'tanh', 'minimal' or 'gru'. The inner state of an lstm has no equation in these two numbers.
        steps: T, at least 1.
        start, start_correlation: mean square of both first states, and their correlation, from -1 to 1.
        weight_scale, bias_scale, input_scale, gate_bias, activation, mean_square, input_correlation: as
            :func:`recurrent_mean_field`.

    Returns: see :class:`RecurrentTrajectory`. Works under jit and vmap, and has no derivatives.

    Accuracy: of the untied limit, 1e-8 where E[phi] is 0, as for tanh. For another phi the mean of the state is taken as
        stationary from the first step on, which it becomes only after the gate's memory.

    Raises: as :func:`recurrent_mean_field`.

    >>> found = recurrent_trajectory("tanh", 2, 1.0, activation="identity", start=2.0)  # M' = M + 1, K' = K + 1
    >>> [round(float(q), 4) for q in found.square], [round(float(c), 4) for c in found.c]
    ([3.0, 4.0], [0.3333, 0.5])
    """
    where = "recurrent_trajectory"
    checks.one_of(where, "cell", cell, STATE_MAPS)
    _check_settings(where, weight_scale, bias_scale, input_scale, gate_bias, mean_square, input_correlation, start)
    check_correlation(where, start_correlation, "start_correlation")
    solve = functools.partial(_trajectory, cell, checks.size(where, "steps", steps))
    numbers = weight_scale, bias_scale, input_scale, gate_bias, mean_square, input_correlation, start, start_correlation
    return in_double(solve, activations.get(activation), *numbers)


def _check_settings(
    where: str, weight_scale: ArrayLike, bias_scale: ArrayLike, input_scale: ArrayLike, gate_bias: ArrayLike,
    mean_square: ArrayLike, input_correlation: ArrayLike, start: ArrayLike,
) -> None:  # fmt: skip
    """Raise unless the numbers are those of a recurrent network."""
    at_least_0 = {"weight_scale": weight_scale, "bias_scale": bias_scale, "input_scale": input_scale,
                  "mean_square": mean_square, "start": start}  # fmt: skip
    for name, number in at_least_0.items():
        check_number(where, name, number)
    check_number(where, "gate_bias", gate_bias, signed=True)
    check_correlation(where, input_correlation, "input_correlation")


@functools.partial(jax.jit, static_argnames=("cell", "steps", "phi"))
def _trajectory(cell: str, steps: int, phi: Activation, *numbers: Array) -> RecurrentTrajectory:
    w, b, v, gate_bias, mean_square, c_in, start, start_c = map(_without_derivatives, numbers)
    p, of = RecurrentScales(w, b, v * jnp.sqrt(mean_square), v, gate_bias), STATE_MAPS[cell]

    def step(states: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], RecurrentTrajectory]:
        m, k = states
        m, k = of.square(phi, p, m), of.covariance(phi, p, m, k, c_in)[0]
        return (m, k), RecurrentTrajectory(m, jnp.where(m > 0, k / jnp.where(m > 0, m, 1.0), 1.0))

    return jax.lax.scan(step, (start, start * start_c), length=steps)[1]


@functools.partial(jax.jit, static_argnames=("cell", "phi"))
def _recurrent_field(cell: str, phi: Activation, *numbers: Array) -> RecurrentField:
    w, b, v, gate_bias, mean_square, input_correlation, start = map(_without_derivatives, numbers)
    p = RecurrentScales(w, b, v * jnp.sqrt(mean_square), v, gate_bias)
    settle = _lstm_field if cell == "lstm" else functools.partial(_state_field, STATE_MAPS[cell])
    return settle(phi, p, input_correlation, start)


def _state_field(of: StateMap, phi: Activation, p: RecurrentScales, c_in: Array, start: Array) -> RecurrentField:
    m = _settled(lambda m: of.settled(phi, p, m), start)
    at = jnp.where(jnp.isinf(m), _LARGEST, m)
    chi, q = of.growth(phi, p, at), of.pre_activation(phi, p, at)
    c, chi_c = _resting_correlation(lambda k: of.covariance(phi, p, at, k, c_in), at, chi, c_in)
    stays = _stays(m, jax.vmap(lambda m: of.settled(phi, p, m))(_beside(m)))
    return RecurrentField(m, q, chi, chi, c, chi_c, decay_scale(chi_c, _NEUTRAL), stays)


def _lstm_field(phi: Activation, p: RecurrentScales, c_in: Array, start: Array) -> RecurrentField:
    def law(m: Array):
        return lstm_law(phi, p.weight, p.weight**2 * m + p.drive**2 + p.bias**2, p.gate_bias)

    m = _settled(lambda m: law(m).shown_square, start)
    near = jax.vmap(law)(_beside(m))
    chi, step_square = near.growth[0], near.step_square[0]
    together = (c_in == 1) & (chi <= 1 + _NEUTRAL) | (m == 0)
    c, chi_c = jnp.where(together, 1.0, jnp.nan), jnp.where(together, chi, jnp.nan)
    q = p.weight**2 * m + p.drive**2 + p.bias**2
    return RecurrentField(m, q, chi, step_square, c, chi_c, decay_scale(chi_c, _NEUTRAL), _stays(m, near.shown_square))


# --- fixed points --------------------------------------------------------------------------------------------------


class _Search(NamedTuple):
    """Logarithms of lengths known to grow (low) and to shrink (high), by how much, and the length to try next."""

    low: Array
    high: Array
    rise: Array
    fall: Array
    now: Array
    away: Array
    tried: Array


def _settled(after: Callable[[Array], Array], start: Array) -> Array:
    """Return the fixed point to which lengths move from `start`; 0 or inf without any."""

    def excess(x: Array) -> Array:
        length = after(jnp.exp(x))
        return jnp.log(jnp.maximum(length, 1e-300)) - x

    def move(s: _Search) -> _Search:
        value = excess(s.now)
        grows = value > 0
        # Illinois: an end that stays twice loses half of its weight, so that the secant reaches beyond the root.
        rise = jnp.where(grows, value, jnp.where(s.away < 0, s.rise / 2, s.rise))
        fall = jnp.where(grows, jnp.where(s.away > 0, s.fall / 2, s.fall), value)
        low, high = jnp.where(grows, s.now, s.low), jnp.where(grows, s.high, s.now)
        bracketed = jnp.isfinite(low) & jnp.isfinite(high)
        secant = (low * fall - high * rise) / jnp.where(fall == rise, 1.0, fall - rise)
        inside = (secant > low) & (secant < high)
        within = jnp.where(inside, secant, (low + high) / 2)
        target = jnp.where(bracketed, within, s.now + jnp.where(grows, _STRIDE, -_STRIDE))
        at_rest = jnp.abs(value) < _ROUNDED
        away = jnp.where(at_rest, 0.0, jnp.sign(value))
        following = jnp.where(at_rest, s.now, jnp.where(jnp.isnan(value), value, target))  # NaN ends the search as NaN
        return _Search(low, high, rise, fall, following, away, s.tried + 1)

    def unsettled(s: _Search) -> Array:
        open_ = s.high - s.low > _ROUNDED
        within = (s.now > np.log(_SMALLEST)) & (s.now < np.log(_LARGEST))
        return open_ & within & ((s.away != 0) | (s.tried == 0)) & (s.tried < _MOST_STEPS)

    x = jnp.log(jnp.clip(start, _SMALLEST * 2, _LARGEST / 2))
    zero = jnp.zeros_like(x)
    found = jax.lax.while_loop(
        unsettled, move, _Search(zero - jnp.inf, zero + jnp.inf, zero, zero, x, zero, jnp.zeros((), jnp.int32))
    )
    m = jnp.exp(found.now)
    return jnp.where(found.now <= np.log(_SMALLEST), 0.0, jnp.where(found.now >= np.log(_LARGEST), jnp.inf, m))


def _beside(m: Array) -> Float[Array, " 2"]:
    """The length, or what stands for 0 and inf, and its neighbour."""
    return jnp.clip(m, 0.0, _LARGEST) * jnp.array([1.0, 1 + _NEAR])


def _stays(m: Array, after: Float[Array, " 2"]) -> Array:
    """Whether lengths beside a fixed point m move no further from it; `after` is what they become."""
    slope = (after[1] - after[0]) / jnp.where(m > 0, m * _NEAR, 1.0)
    return (m == 0) | (jnp.isfinite(m) & (jnp.abs(slope) <= 1 + _NEUTRAL))


def _resting_correlation(
    covariance: Callable[[Array], tuple[Array, Array]], m: Array, chi: Array, c_in: Array
) -> tuple[Array, Array]:
    """The correlation at which two sequences come to rest, and the slope of the map there."""
    safe = jnp.where(m > 0, m, 1.0)
    together = (c_in == 1) & (chi <= 1 + _NEUTRAL) | (m == 0)

    def move(carry: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
        low, high, c, _, count = carry
        k, slope = covariance(c * safe)
        excess = k / safe - c
        low, high = jnp.where(excess > 0, c, low), jnp.where(excess > 0, high, c)
        newton = c - excess / jnp.minimum(slope - 1, -1e-300)
        target = jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)
        return low, high, target, jnp.abs(target - c), count + 1

    def unsettled(carry: tuple[Array, Array, Array, Array, Array]) -> Array:
        return ~together & (carry[3] > 1e-12) & (carry[4] < _MOST_STEPS)

    # Where two equal sequences move apart, 1 is a fixed point too, and not the point that is looked for.
    top = jnp.where(c_in == 1, 1 - 1e-9, 1.0) + 0 * m
    begin = (-1.0 + 0 * m, top, 0.5 + 0 * m, jnp.ones_like(m), jnp.zeros((), jnp.int32))
    c = jax.lax.while_loop(unsettled, move, begin)[2]
    c = jnp.where(together, 1.0, jnp.where(jnp.isnan(chi), chi, c))
    return c, jnp.where(together, chi, covariance(c * safe)[1])


@jax.custom_jvp
def _without_derivatives(number: Array) -> Array:
    """The number, as it is. Fixed points are found by search: their derivatives would be silently wrong."""
    return number


@_without_derivatives.defjvp
def _refuse_derivatives(primals: tuple[Any], tangents: tuple[Any]) -> Any:
    raise TypeError("recurrent_mean_field, recurrent_trajectory: have no derivatives. Take differences of two calls.")
