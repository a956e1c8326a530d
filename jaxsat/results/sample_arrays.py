"""Measured arrays as estimates take them: real numbers, with as many dimensions as are wanted."""

from __future__ import annotations

import numpy as np

from jaxsat import checks


def along_axis(where: str, name: str, values: object, axis: object) -> tuple[np.ndarray, int]:
    """Return values as float64, and the axis of the networks."""
    numbers = checks.real_numbers(where, name, values)
    if numbers.ndim == 0:
        raise ValueError(checks.refusal(where, name, "have an axis", checks.Shown("a single number")))
    return numbers, checks.integer(where, "axis", axis, least=-numbers.ndim, most=numbers.ndim - 1)


def of_dimensions(where: str, name: str, values: object, ndim: int) -> np.ndarray:
    """Return values as float64 with that many dimensions, none of them empty."""
    numbers = checks.real_numbers(where, name, values)
    if numbers.ndim != ndim or not numbers.size:
        rule = f"have {ndim} dimension{'s'[: ndim - 1]}, none of them empty"
        raise ValueError(checks.refusal(where, name, rule, checks.Shown(f"shape {numbers.shape}")))
    return numbers
