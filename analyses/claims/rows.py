"""What an experiment on a claim hands back: one row for each condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from analyses.shared.verdicts import Wanted
from jaxsat.results import estimates


class Row(NamedTuple):
    """An effect under one condition, with the ends of its 95 % interval.

    `expected` is what theory says, where it says something; `values` are those of single seeds, none for what is
    computed and not sampled.
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


def of_seeds(condition: str, values: Any, expected: float = float("nan")) -> Row:
    """Mean over seeds with its interval; seeds for which the effect is not defined are NaN, and left out."""
    values = np.asarray(values, float)
    found = estimates.mean_interval(values)
    return Row(condition, float(found.estimate), float(found.low), float(found.high), expected, values)
