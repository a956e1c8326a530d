"""Networks that are born dead, and units that are born saturated.

A ReLU layer is *dead* for an input where all its units are off: nothing passes, forwards or backwards. Weights (and
biases, if there are any) are independent with symmetric continuous laws, such as gaussian.

One input. Each unit is off with probability 1/2, whatever its input, so a layer of n units dies with probability 2^-n,
independently of the others.

Every input, no biases. Two facts give bounds:

- What can be on at all shrinks: if k units of a layer can be on for some input, a unit of the next layer is off for
  every input where its k weights from them are negative. So k' >= the number of units that can be on, with
  k' ~ Binomial(n', 1 - 2^-k), and k' = 0 is death, for any set of inputs.
- Inputs on a line are two rays. The first layer sends them to vectors of disjoint support; from there on a layer of n units
  ends both with probability p^n, p = 1/2 - angle / (2 pi) between 1/4 and 1/2, a given one with 2^-n, and makes them one
  ray, by leaving the same single unit on, with n p^n. Two rays are at most twice as likely to survive as one, which makes
  p = 1/4 the worst case for death (this gives the lower bound of Lu et al. 2020) and one ray the worst for survival.

Sources: Lu, Shin, Su & Karniadakis 2020, Dying ReLU and initialization, Commun. Comput. Phys. 28; derived here beyond it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, ArrayLike, Float

from jaxsat import activations, checks
from jaxsat.activations import Activation, ActivationLike
from jaxsat.theory.inputs import Widths, check_number, widths_of_layers

# Where slopes are looked at for saturation: finely where units are, and on to where slopes like x^-2 have died.
NEAR = np.concatenate([np.logspace(-12, -2, 81), np.arange(1, 2**17) / 64])
SCAN = np.concatenate([NEAR, np.geomspace(2.0**11, 1e300, 3001)])
HALVINGS = 80


class BornDeadBounds(NamedTuple):
    """Bounds of a probability, both inclusive."""

    lower: float
    upper: float


def born_dead_probability(depth: int, width: Widths) -> float:
    """Return the probability that a ReLU network is dead for a given input: 1 - prod_l (1 - 2^-n_l). Exact.

    It is then dead at every layer without biases; with symmetric biases some layer is, and no gradient passes it. For a
    set of inputs it bounds from above the probability of being dead for all of them.

    Args:
        depth: layers, each with its ReLU. A linear read-out does not count.
        width: units per layer: one number, or one for each layer.

    Returns: a number, with full relative accuracy.

    Raises:
        ValueError: sizes below 1, a number of widths that is not the number of layers.
        TypeError: sizes that are no integers.

    >>> round(born_dead_probability(10, 2), 4)
    0.9437
    """
    widths = widths_of_layers("born_dead_probability", depth, width)
    return -math.expm1(sum(math.log1p(-(2.0**-n)) if n > 1 else -math.log(2) for n in widths))


def born_dead_bounds(depth: int, width: Widths, inputs: int | None = None) -> BornDeadBounds:
    """Return bounds of the probability that a ReLU network without biases is dead for *every* input: a constant function.

    Exact (both bounds alike) for depth 1, where it is 0, and for depth 2 with `inputs` 1 or at least the first width.
    For any given set of inputs the probability lies between `lower` and :func:`born_dead_probability`.

    Args:
        depth, width: as :func:`born_dead_probability`.
        inputs: width of the input; None means that of the first layer.

    Raises: as :func:`born_dead_probability`.

    >>> bounds = born_dead_bounds(10, 2, inputs=1)
    >>> round(bounds.lower, 4), round(bounds.upper, 4)
    (0.9026, 0.9155)
    """
    where = "born_dead_bounds"
    widths = widths_of_layers(where, depth, width)
    n0 = widths[0] if inputs is None else widths_of_layers(where, 1, inputs, "inputs")[0]
    if depth == 1:
        return BornDeadBounds(0.0, 0.0)
    lower = _what_can_be_on(widths)
    dead = _two_rays(widths[:2])[2]
    if n0 >= widths[0]:  # every combination of signs is seen by the second layer
        dead = 2.0 ** -(widths[0] * widths[1])
    for n in widths[2:]:
        dead += (1 - dead) * 2.0**-n
    if n0 == 1:
        lower = max(lower, _two_rays(widths)[2])
    return BornDeadBounds(min(lower, dead), dead)  # where both are exact they may differ by rounding


def saturated_probability(activation: ActivationLike, q: ArrayLike, level: float = 0.05) -> Float[Array, ""]:
    """Return the probability that a unit is saturated, |phi'| <= level max|phi'|, for a pre-activation from N(0, q).

    The same definition as ``jaxsat.saturation``. The set is a union of intervals, whose ends are computed once for an
    activation and level, by a scan and bisection.

    Args:
        activation: a name, a record of ``activations``, or an elementwise callable. Static.
        q: mean squared pre-activation, finite and >= 0; traced. At 0 the answer is 1 or 0: that for h = 0.
        level: in [0, 1), static. At 0 only exactly zero slopes count.

    Returns: a number in the default float dtype (float64 inside). Works under jit, vmap and grad in q.

    Accuracy: relative error below 1e-12 where the saturated set is tails, however far out; absolute below 1e-14
        otherwise. Intervals shorter than 1/64 are seen if phi' changes sign there, beyond |h| = 2048 not all are.

    Raises:
        ValueError: a level outside [0, 1), q negative or not finite, unknown activations.
        TypeError: q that is not one number.

    >>> round(float(saturated_probability("tanh", 1.0)), 4), float(saturated_probability("relu", 4.0))
    (0.0294, 0.5)
    """
    where = "saturated_probability"
    level = checks.number(where, "level", level)
    if not 0 <= level < 1:
        raise ValueError(checks.refusal(where, "level", "lie in [0, 1), as a share of the largest slope", level))
    check_number(where, "q", q)
    low, high, at_zero = _saturated_set(activations.get(activation), float(level))
    dtype = jnp.result_type(float)
    with jax.enable_x64(True):
        q = jnp.asarray(float(q) if isinstance(q, np.floating) else q).astype(jnp.float64)
        return _mass_between(low, high, q, at_zero).astype(dtype)


# --- death of layers -----------------------------------------------------------------------------------------------


def _two_rays(widths: Sequence[int]) -> tuple[float, float, float]:
    """Probabilities of two rays, one and none at the end, of two opposite rays, at the angle pi / 2 after the first layer."""
    one = 2.0 ** (1 - widths[0])
    two, dead = 1 - one, 0.0
    for n in widths[1:]:
        half, quarter = 2.0**-n, 4.0**-n
        dead += one * half + two * quarter
        one = one * (1 - half) + two * (2 * half + (n - 2) * quarter)
        two *= 1 - 2 * half - (n - 1) * quarter
    return two, one, dead


def _what_can_be_on(widths: Sequence[int]) -> float:
    """Probability that no unit of the last layer has a path of positive weights from the first."""
    law = np.zeros(widths[0] + 1)
    law[-1] = 1.0
    for before, n in itertools.pairwise(widths):
        law = law @ _positive_inputs(before, n)
    return float(law[0])


@functools.lru_cache(maxsize=64)
def _positive_inputs(before: int, n: int) -> np.ndarray:
    """Rows k = 0 .. before: the law Binomial(n, 1 - 2^-k)."""
    on = np.arange(n + 1)
    ways = np.array([math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1) for m in on])
    k = np.arange(1, before + 1)[:, None]
    log = ways + on * np.log1p(-(2.0**-k)) - (n - on) * k * np.log(2)
    return np.concatenate([np.eye(1, n + 1), np.exp(log)])


# --- saturation of units -------------------------------------------------------------------------------------------


@jax.jit
def _mass_between(low: Array, high: Array, q: Array, at_zero: ArrayLike) -> Array:
    """Return the probability of intervals under N(0, q); `at_zero` for q = 0."""
    s = jnp.sqrt(jnp.where(q > 0, q, 1.0))
    # Infinite ends stay as they are: their derivative in q is 0, not inf * 0.
    u, v = (jnp.where(jnp.isinf(ends), ends, jnp.where(jnp.isinf(ends), 0, ends) / s) for ends in (low, high))
    mass = jnp.where(low > 0, ndtr(-u) - ndtr(-v), ndtr(v) - ndtr(u))
    return jnp.where(q > 0, jnp.sum(mass), jnp.asarray(at_zero, q.dtype))


@functools.lru_cache(maxsize=256)
def _saturated_set(phi: Activation, level: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """Ends of the intervals in which |phi'| <= level max|phi'|, ascending, and whether 0 is in one."""
    threshold = np.log(level) + np.log(phi.max_slope) if level > 0 else -np.inf

    def on_host(fn: Callable[[Array], Array], x: np.ndarray) -> np.ndarray:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            return np.asarray(fn(jnp.asarray(x)))

    log_abs_slope, slope_sign = jax.jit(phi.log_abs_slope), jax.jit(phi.slope_sign)

    def saturated(x: np.ndarray) -> np.ndarray:
        return on_host(log_abs_slope, x) <= threshold

    x = np.unique(np.concatenate([-SCAN, [0.0], SCAN, phi.kinks]))
    sign = on_host(slope_sign, x)
    turns = np.flatnonzero(sign[:-1] * sign[1:] < 0)
    zeros, _ = _bisected(lambda x: on_host(slope_sign, x) > 0, x[turns], x[turns + 1])
    x = np.unique(np.concatenate([x, zeros]))
    inside = saturated(x)
    enters = np.flatnonzero(~inside[:-1] & inside[1:])
    leaves = np.flatnonzero(inside[:-1] & ~inside[1:])
    _, low = _bisected(saturated, x[enters], x[enters + 1])
    high, _ = _bisected(saturated, x[leaves], x[leaves + 1])
    if inside[0]:
        low = np.concatenate([[-np.inf], low])
    if inside[-1]:
        high = np.concatenate([high, [np.inf]])
    return low, high, bool(saturated(np.zeros(1))[0])


def _bisected(
    test: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cells at whose ends a test differs, halved until they are rounding."""
    if not low.size:
        return low, high
    at_low = test(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        like_low = test(middle) == at_low
        low, high = np.where(like_low, middle, low), np.where(like_low, high, middle)
    return low, high
