"""Student's t, and its correction for skewed values: how far the interval of a mean reaches."""

from __future__ import annotations

import functools
import math

import numpy as np

NORMAL = 1.959963984540054  # the 97.5 % quantile of the normal law


def reach_of_mean(count: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """Return how far the ends of a mean's 95 % interval lie below and above it, in standard errors: (2, *shape).

    Args:
        count: of values.
        skewness: of the values, of the same shape.

    References: Hall 1992, On the removal of skewness by transformation, JRSS B 54.
    """
    distinct, which = np.unique(count, return_inverse=True)
    t = np.array([student_t(int(n) - 1) for n in distinct])[which].reshape(count.shape)
    # Sample skewness times the factor that makes it unbiased for normal values, over 6 sqrt(n).
    a = skewness * np.sqrt(np.maximum(count - 1, 0)) / np.maximum(count - 2, 1) / 6
    a = np.where((np.abs(a) > 1e-6) & (count > 2), a, np.nan)
    # Hall's cubic x + 2 a x^2 + 4 a^2 x^3 / 3 + a, inverted at t and at -t.
    below, above = ((np.cbrt(1 + 6 * a * (end - a)) - 1) / (2 * a) for end in (t, -t))
    return np.stack([np.fmax(t, below), np.fmax(t, -above)])


@functools.cache
def student_t(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t; NaN below 1 degree of freedom.

    By bisection of the distribution function, which is a finite sum (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4).
    """
    if freedom < 1:
        return math.nan
    if freedom > 400:  # the next term of this expansion is below 1e-7
        z = NORMAL
        return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    odd = freedom % 2
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        cos2 = math.cos(angle) ** 2
        term = math.sin(angle) * (math.cos(angle) if odd else 1.0)
        total = 0.0
        for k in range((freedom - odd) // 2):
            total += term
            term *= cos2 * (2 * k + 1 + odd) / (2 * k + 2 + odd)
        inside = 2 / math.pi * (angle + total) if odd else total
        low, high = (angle, high) if inside < 0.95 else (low, angle)
    return math.sqrt(freedom) * math.tan(low)
