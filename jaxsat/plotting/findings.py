"""Findings in a sentence, from numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def factor_of(ln: float) -> str:
    """Return a factor of which ln is known: a power of ten where it is very large or small.

    >>> factor_of(0.0), factor_of(-92.0), factor_of(11.6)
    ('1', '10⁻⁴⁰', '10⁵')
    """
    tens = ln / np.log(10)
    if not np.isfinite(tens):
        return "0" if ln < 0 else "an unknown number"
    return f"{np.exp(ln):.2g}" if abs(tens) < 2 else "10" + f"{round(tens)}".translate(SUPERSCRIPTS)


def range_of(values: Sequence[float], form: Any = "{:.3g}".format) -> str:
    """Return the smallest and the largest of numbers.

    >>> range_of([2.0, 1.0, float("nan")])
    '1 to 2'
    """
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return "unknown"
    low, high = form(min(known)), form(max(known))
    return low if low == high else f"{low} to {high}"


def of_gradients(changes: Sequence[float], steps: int) -> str:
    """Return what becomes of gradients; `changes` are ln of the first over the last norm, one for each line.

    >>> of_gradients([-20.0, -3.0], 10)
    'Gradients vanish: 10 steps back multiply them by 10⁻⁹ to 0.05'
    """
    known = [change for change in changes if not np.isnan(change)]
    if not known:
        return "No gradient is known"
    verb = "vanish" if max(known) < 0 else "explode" if min(known) > 0 else "vanish or explode"
    ends = [factor_of(min(known)), factor_of(max(known))]
    told = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    return f"Gradients {verb}: {steps} steps back multiply them by {told}"


def of_values(what: str, lines: Sequence[np.ndarray]) -> str:
    """Return the range of the medians of a measure at the last place of each line.

    >>> of_values("dead_fraction", [np.array([0.0, 0.1]), np.array([0.0, 0.4])])
    'dead_fraction: 0.1 to 0.4 at the end'
    """
    ends = [float(line[-1]) for line in lines if line.size]
    return f"{what}: {range_of(ends)} at the end"
