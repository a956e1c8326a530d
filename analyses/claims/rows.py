"""What an experiment on a claim returns: a row for each condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analyses.shared.verdicts import Wanted
from jaxsat.results import estimates


class Row(NamedTuple):
    """An effect under one condition, with the ends of its 95 % interval.

    `expected` is the effect in theory, NaN if theory says nothing. `values` has the effect of each seed; it is empty if the
    effect is computed and not sampled.
    """

    condition: str
    estimate: float
    low: float
    high: float
    expected: float = float("nan")
    values: np.ndarray = np.empty(0)


class Claim(NamedTuple):
    """A claim as it was made, the experiment on it, its effect, and what the claim says the effect must be."""

    key: str
    wording: str
    experiment: str
    effect: str
    wanted: Wanted
    rows: Callable[[Any], list[Row]]
    logarithmic: bool = False


def of_seeds(condition: str, values: ArrayLike, expected: float = float("nan")) -> Row:
    """Return the mean over seeds with its interval; seeds without a defined effect are NaN, and left out."""
    values = np.asarray(values, float)
    found = estimates.mean_interval(values)
    return Row(condition, float(found.estimate), float(found.low), float(found.high), expected, values)
