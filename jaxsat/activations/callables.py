"""What a look at the values of any elementwise function shows: slope, largest slope, kinks, saturation classes.

Slopes come from autodiff, with its own rounding. The rest comes from probing |x| <= 1e4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsat.checks import Shown, first_line, refusal
from jaxsat.jax_compat import Tracer

Saturation = Literal["hard", "soft", "none"]


class CallableFacts(NamedTuple):
    """Of one function; meanings as in ``activations.Activation``."""

    name: str
    slope_of: Callable[[Array], Array]
    left: Saturation
    right: Saturation
    max_slope: float
    kinks: tuple[float, ...]


def facts(fn: Callable[[Array], Array]) -> CallableFacts:
    """Return what probing finds. It works while JAX traces something else too.

    Raises:
        ValueError: a function that fails on a vector, is not elementwise, or closes over a value that JAX traces.

    Accuracy: kinks are found only where the slope itself jumps, inside [-10, 10], to 1e-6.

    >>> found = facts(lambda x: jnp.where(x > 1, 1 + (x - 1) / 10, x))
    >>> found.right, found.max_slope, [round(k, 6) for k in found.kinks]
    ('none', 1.0, [1.0])
    """

    def slope(x):
        return jax.jvp(fn, (x,), (jnp.ones_like(x),))[1]

    name = getattr(fn, "__name__", type(fn).__name__)
    if isinstance(fn, np.ufunc):
        came = Shown(f"NumPy's {name}")
        raise ValueError(refusal("activation", "", "be made of operations of JAX", came, f"Use jax.numpy.{name}."))
    inside = np.arange(3000, 900, -7)  # backwards and without the ends: a sorting or a maximum shows
    with jax.ensure_compile_time_eval():
        probe = jnp.linspace(-10.0, 10.0, 4001)
        try:
            shape = jnp.shape(fn(probe))
            jax.eval_shape(lambda x: fn(x), probe)  # NumPy's functions take numbers, but nothing that JAX traces
        except Exception as error:
            said = first_line(error)
            came = Shown(f"an error on shape {probe.shape}: {said}")
            raise ValueError(refusal("activation", name, "map an array to an array elementwise", came)) from error
        if isinstance(fn(probe), Tracer):
            came = Shown("one that closes over a traced value")
            remedy = "Call this outside jit, vmap and grad, or make the activation of plain numbers."
            raise ValueError(refusal("activation", name, "be a function whose values are known", came, remedy))
        if shape != probe.shape or not np.allclose(fn(probe)[inside], fn(probe[inside]), rtol=1e-4, equal_nan=True):
            changed = Shown(f"shape {shape} from shape {probe.shape}")
            came = Shown("entries that depend on each other") if shape == probe.shape else changed
            remedy = "Normalisations and softmax are layers, not activations."
            raise ValueError(refusal("activation", name, "act elementwise", came, remedy))
        sampled = np.abs(np.asarray(slope(probe)))
        tails = np.geomspace(1e-2, 1e4, 2401, dtype=np.float32)
        right, left = (np.abs(np.asarray(slope(jnp.asarray(side * tails)))) for side in (1, -1))
        max_slope = float(np.nanmax([sampled.max(), left.max(), right.max()]))
        kinks = _kinks_of(lambda x: np.asarray(slope(jnp.asarray(x, probe.dtype))), np.asarray(probe), max_slope)
        beside = [k + d for k in kinks for d in (-1e-5, 1e-5)]
        max_slope = float(np.nanmax([max_slope, *np.abs(np.asarray(slope(jnp.array(beside, probe.dtype))))]))
    classes = (_saturation(tails, side, max_slope) for side in (left, right))
    return CallableFacts(name, slope, *classes, max_slope, kinks)


def _saturation(x: np.ndarray, slopes: np.ndarray, max_slope: float) -> Saturation:
    """Class of one tail from |slope| at x = 1e-2 ... 1e4.

    An exact zero far out can be a true one (hard) or an underflow (soft). They differ in where the slope comes from:
    a tenth of the way back towards 0 an underflowing slope is still tiny, one that ends at a kink is not.
    """
    if not slopes[-1] < 1e-3 * max_slope:
        return "none"
    nonzero = np.flatnonzero(slopes)
    if not nonzero.size:
        return "hard"
    if nonzero[-1] == len(x) - 1:
        return "soft"
    return "hard" if np.interp(0.9 * x[nonzero[-1]], x, slopes) > 1e-4 * max_slope else "soft"


def _kinks_of(slope: Callable[[np.ndarray], np.ndarray], grid: np.ndarray, max_slope: float) -> tuple[float, ...]:
    """Points of `grid`'s span where the slope jumps: intervals whose jump survives bisection."""
    low, high = grid[:-1], grid[1:]
    at_low, at_high = np.split(slope(np.concatenate([low, high])), 2)
    while np.max(high - low) > 1e-6:  # all intervals at once
        middle = (low + high) / 2
        at = slope(middle)
        to_left = np.abs(at - at_low) >= np.abs(at_high - at)
        low, at_low = np.where(to_left, low, middle), np.where(to_left, at_low, at)
        high, at_high = np.where(to_left, middle, high), np.where(to_left, at, at_high)
    kinks: list[float] = []
    for point in ((low + high) / 2)[np.abs(at_high - at_low) > 1e-3 * max_slope]:
        if not (kinks and point - kinks[-1] < 1e-4):
            kinks.append(round(float(point), 6))
    return tuple(kinks)
