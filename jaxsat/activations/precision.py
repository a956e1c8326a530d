"""Find where a dtype loses an activation's slope.

This module speaks of exact functions of real numbers. It finds the x from which on the *exact* slope is too small for a
dtype, or the exact value rounds to its limit. No computation in that dtype can do better. Autodiff can lose the slope much
earlier (see ``activations``).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jaxtyping import Array, DTypeLike

from jaxsat import activations, checks
from jaxsat.activations import Activation, ActivationLike


@dataclasses.dataclass(frozen=True)
class UnderflowPoints:
    """Distances from 0 at which a dtype loses an activation, on one side; inf where it never does.

    Attributes:
        subnormal: smallest x > 0 beyond which |slope| is below the smallest normal number.
        zero: smallest x > 0 beyond which |slope| rounds to 0 (ties to even; subnormal numbers exist).
        rounds_to_limit: smallest x > 0 beyond which the value rounds to the limit (itself rounded); inf where there
            is no finite limit.
    """

    subnormal: float
    zero: float
    rounds_to_limit: float


def underflow_points(
    activation: ActivationLike, dtype: DTypeLike, side: Literal["right", "left"] = "right"
) -> UnderflowPoints:
    """Return where, going outwards from 0, a dtype loses an activation's slope and its distance from the limit.

    Args:
        activation: a catalogue name or record, or a callable. A derived callable has no stated limit, and its slope
            is only as good as autodiff's.
        dtype: float64, float32, bfloat16, float16, or a float8 of ml_dtypes.
        side: 'right' looks at x > 0, 'left' at x < 0; distances are positive either way.

    Returns: real numbers, right to 1e-12 relative; they need not be numbers of the dtype themselves.

    Raises:
        TypeError: not a floating dtype.
        ValueError: an unknown side or activation.

    >>> points = underflow_points("sigmoid", jnp.float32)
    >>> round(points.subnormal, 3), round(points.zero, 3), round(points.rounds_to_limit, 3)
    (87.337, 103.972, 17.329)
    >>> underflow_points("relu", jnp.float32).zero, underflow_points("relu", jnp.float32, side="left").zero
    (inf, 0.0)
    """
    if not isinstance(side, str) or side not in ("right", "left"):
        raise ValueError(checks.refusal("underflow_points", "side", "be 'right' or 'left'", side))
    phi = activations.get(activation)
    try:
        info = ml_dtypes.finfo(dtype)
        # None means float64 to NumPy, complex types have a finfo too, e8m0 has no subnormal numbers (NaN)
        known = dtype is not None and jnp.issubdtype(dtype, jnp.floating) and info.bits <= 64
        known = known and info.smallest_subnormal > 0
    except (ValueError, TypeError):
        known, info = False, None
    if not known or info is None:
        raise TypeError(checks.refusal("underflow_points", "dtype", "be a floating dtype such as float32", dtype))
    sign = 1 if side == "right" else -1
    log_tiny = _log(Fraction(float(info.smallest_normal)))
    log_half_subnormal = _log(Fraction(float(info.smallest_subnormal)) / 2)
    limit = phi.right_limit if side == "right" else phi.left_limit
    with jax.enable_x64(True):
        slope = _at_float64(phi, "log_abs_slope", sign)
        return UnderflowPoints(
            _beyond(slope, log_tiny, strictly=True),
            _beyond(slope, log_half_subnormal, strictly=False),
            np.inf if limit is None else _limit_point(phi, side, limit, info),
        )


def _limit_point(phi: Activation, side: str, limit: Fraction, info: np.finfo | ml_dtypes.finfo) -> float:
    log_gap = "log_right_gap" if side == "right" else "log_left_gap"
    sign = 1 if side == "right" else -1
    approaches_from = -1 if float(phi(0.0)) < float(limit) else 1
    log_distance = _log(_rounding_distance(limit, approaches_from, info))
    if getattr(phi, log_gap) is not None:
        return _beyond(_at_float64(phi, log_gap, sign), log_distance, strictly=False)

    value = _at_float64(phi, "__call__", sign)

    def by_difference(x):  # reached exactly at a kink: near it the difference from the limit is exact enough
        return np.log(np.abs(value(x) - float(limit)))

    return _beyond(by_difference, log_distance, strictly=False)


def _rounding_distance(limit: Fraction, direction: int, info: np.finfo | ml_dtypes.finfo) -> Fraction:
    """Return how near to `limit`, from below (-1) or above (+1), a real number must be to round as `limit` does."""
    if limit == 0:
        return Fraction(float(info.smallest_subnormal)) / 2
    rounded = np.asarray(float(limit)).astype(info.dtype)
    neighbour = np.nextafter(rounded, np.asarray(direction * float(info.max)).astype(info.dtype))
    middle = (Fraction(float(rounded)) + Fraction(float(neighbour))) / 2
    return abs(limit - middle)


def _at_float64(phi: Activation, name: str, sign: int) -> Callable[[np.ndarray], np.ndarray]:
    compiled = _compiled(phi, name)
    return lambda x: np.asarray(compiled(jnp.asarray(sign * np.asarray(x, np.float64))))


@functools.lru_cache(maxsize=64)
def _compiled(phi: Activation, name: str) -> Callable[[Array], Array]:
    """Return a function of an activation, compiled once for both sides and every dtype: its arrays have two shapes."""
    return jax.jit(getattr(phi, name))


def _beyond(log_size: Callable[[np.ndarray], np.ndarray], log_threshold: float, *, strictly: bool) -> float:
    """Return the smallest x > 0 from which on log_size(x) stays below the threshold, by bisection; inf if there is none."""

    def sizes(x):
        with np.errstate(divide="ignore"):
            return log_size(x)

    def below(size):
        return size < log_threshold if strictly else size <= log_threshold

    grid = np.concatenate([[0.0], np.geomspace(2.0**-20, 2.0**600, 8 * 620 + 1)])
    size = sizes(grid)
    known = np.flatnonzero(size < np.inf)
    grid = grid[: known[-1] + 1]  # beyond it an exponent has overflowed float64, and nothing changes any more
    seen = np.flatnonzero(~below(size[: len(grid)]))
    if seen.size == 0:
        return 0.0
    if seen[-1] == len(grid) - 1:
        return float(np.inf)
    low, high = grid[seen[-1]], grid[seen[-1] + 1]
    while True:  # each step looks at 64 points at once: the calls cost more than the points
        inner = np.linspace(low, high, 66)  # at the end with repetitions: always the same shape
        first = int(np.argmax(below(sizes(inner))))
        if len(np.unique(inner)) <= 3:
            return float(inner[first])
        low, high = inner[max(first - 1, 0)], inner[first]


def _log(x: Fraction) -> float:
    """Return ln of a positive fraction that may be too small for a float."""
    return float(
        np.log(float(x.numerator))
        - x.denominator.bit_length() * np.log(2.0)
        - np.log(float(Fraction(x.denominator, 2 ** x.denominator.bit_length())))
    )
