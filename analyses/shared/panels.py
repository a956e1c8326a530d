"""Marks that the panels of several figures share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxsat.results import plotting


def marks(i: int, **others: Any) -> dict[str, Any]:
    """Return colour and marker number `i`, hollow and without a line; `others` are added."""
    return {"color": color(i), "marker": plotting.MARKERS[i % 8], "ls": "none", "mfc": "none", "mew": 0.7} | others


def color(i: int) -> str:
    """Return colour number `i`."""
    return plotting.COLORS[i % 8]


def bars(estimate: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of the error bars below and above."""
    return estimate - low, high - estimate


def standard_errors(ax: Axes) -> None:
    """Draw the range in which 95 % of discrepancies, in standard errors, should lie."""
    ax.axhspan(-1.96, 1.96, color="0.92", lw=0)
    ax.axhline(0, color="0.5", lw=0.6)


def discrepancy(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return mean over networks (last axis) less what theory expects, in standard errors; NaN where nothing varies."""
    finite = np.isfinite(values)
    count = finite.sum(-1)
    kept = np.where(finite, values, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no network with a finite value: NaN
        error = np.nanstd(kept, axis=-1, ddof=1) / np.sqrt(count)
        return np.where(error > 0, (np.nanmean(kept, axis=-1) - expected) / error, np.nan)


def stacked(figure: Figure, heights: Sequence[float]) -> list[Any]:
    """Return parts of a figure, one above another, with relative heights."""
    parts = figure.subfigures(len(heights), 1, height_ratios=list(heights))
    return list(np.ravel(np.asarray(parts, object)))
