"""Numbers in words, as titles, footnotes and tables show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxsat.results import estimates

if TYPE_CHECKING:
    import xarray


def bracketed(estimate: Any, low: Any, high: Any, form: str = ".3f") -> str:
    """Return an estimate with the ends of its interval.

    >>> bracketed(0.5, 0.25, 1, ".2f")
    '0.50 [0.25, 1.00]'
    """
    return f"{float(estimate):{form}} [{float(low):{form}}, {float(high):{form}}]"


def mean_of(values: Any, form: str = ".3f") -> str:
    """Return the mean over networks with its 95 % interval."""
    found = estimates.mean_interval(np.asarray(values, float))
    return bracketed(found.estimate, found.low, found.high, form)


def listed(values: Sequence[float], form: str = "g") -> str:
    """Return numbers, separated by commas.

    >>> listed([1.0, 2.5])
    '1, 2.5'
    """
    return ", ".join(f"{value:{form}}" for value in values)


def made(dataset: xarray.Dataset) -> str:
    """Return when, on what, and in which dtype a dataset was computed."""
    return f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."


def worst(discrepancies: np.ndarray) -> str:
    """Return the largest and the root mean square discrepancy, in words.

    >>> worst(np.array([3.0, -4.0, np.nan]))
    'worst 4.0, rms 3.54'
    """
    known = discrepancies[np.isfinite(discrepancies)]
    if not known.size:
        return "worst unknown"
    return f"worst {np.abs(known).max():.1f}, rms {np.sqrt(np.mean(known**2)):.2f}"
