"""Marks that the panels of several figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxsat.results import drawing, estimates, student


def marks(i: int, **others: Any) -> dict[str, Any]:
    """Return colour and marker number `i`, hollow and without a line; `others` are added."""
    return {"color": color(i), "marker": drawing.MARKERS[i % 8], "ls": "none", "mfc": "none", "mew": 0.7} | others


def color(i: int) -> str:
    """Return colour number `i`."""
    return drawing.COLORS[i % 8]


def bars(estimate: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of the error bars below and above."""
    return estimate - low, high - estimate


def standard_errors(ax: Axes) -> None:
    """Mark the range of discrepancies where theory lies in the 95 % interval of the measurement."""
    ax.axhspan(-student.NORMAL, student.NORMAL, color="0.92", lw=0)
    ax.axhline(0, color="0.5", lw=0.6)
    ax.set_ylabel("discrepancy (s.e.)")


def discrepancy(found: estimates.Interval, expected: np.ndarray) -> np.ndarray:
    """Return how far an estimate is from what theory expects, in standard errors; NaN where the interval is not known.

    A standard error is here 1 / 1.96 of the distance from the estimate to the end of its 95 % interval on the side of
    theory. So theory lies in the interval where the discrepancy is at most 1.96, for few networks too. Where the interval has
    length 0, an estimate is either right (to 9 digits) or infinitely far off.
    """
    away = found.estimate - expected
    reach = np.where(away > 0, found.estimate - found.low, found.high - found.estimate)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = np.where(reach == 0, np.copysign(np.inf, away), student.NORMAL * away / reach)
    right = (reach == 0) & np.isclose(found.estimate, expected, rtol=1e-9, atol=0)
    return np.where(right, 0.0, np.where(reach >= 0, known, np.nan))


def stacked(figure: Figure, heights: Sequence[float]) -> list[Any]:
    """Return parts of a figure, one above another, with relative heights."""
    parts = figure.subfigures(len(heights), 1, height_ratios=list(heights))
    return list(np.ravel(np.asarray(parts, object)))
