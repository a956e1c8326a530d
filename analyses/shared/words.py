"""Numbers in words, as titles, footnotes and tables show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np

from jaxsat.plotting import findings
from jaxsat.results import estimates

if TYPE_CHECKING:
    import xarray
    from numpy.typing import ArrayLike

factor = findings.factor_of


def bracketed(estimate: SupportsFloat, low: SupportsFloat, high: SupportsFloat, form: str = ".3f") -> str:
    """Return an estimate with the ends of its interval.

    >>> bracketed(0.5, 0.25, 1, ".2f")
    '0.50 [0.25, 1.00]'
    """
    return f"{float(estimate):{form}} [{float(low):{form}}, {float(high):{form}}]"


def mean_of(values: ArrayLike, form: str = ".3f") -> str:
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
    platform, _, kind = dataset.attrs["device"].partition(": ")
    device = platform if kind.startswith(f"{platform} x 1") else kind
    return f"{dataset.attrs['created'][:10]}, {device}, {dataset.attrs['dtype']}."


def worst(discrepancies: np.ndarray) -> str:
    """Return the largest and the root mean square discrepancy, in words.

    >>> worst(np.array([3.0, -4.0, np.nan]))
    'worst 4.0, rms 3.54'
    """
    known = discrepancies[np.isfinite(discrepancies)]
    if not known.size:
        return "worst unknown"
    return f"worst {np.abs(known).max():.1f}, rms {np.sqrt(np.mean(known**2)):.2f}"


def enumerated(names: Sequence[str]) -> str:
    """Return names as a sentence has them.

    >>> enumerated(["tanh", "relu", "gelu"])
    'tanh, relu and gelu'
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def agreement(discrepancies: ArrayLike) -> str:
    """Return how often theory lies in the 95 % interval of a measurement, judged.

    Args:
        discrepancies: measured less theory, in standard errors; NaN where there is nothing to compare.

    >>> agreement(np.array([0.1, -1.0, 0.5, 5.0]))
    'theory is off in many places (it lies in 75 % of the 95 % intervals)'
    """
    known = np.asarray(discrepancies)[np.isfinite(discrepancies)]
    if not known.size:
        return "there is nothing to compare with theory"
    share = float(np.mean(np.abs(known) <= estimates.NORMAL))
    judged = "theory holds" if share >= 0.9 else "theory is off in many places" if share >= 0.5 else "theory is off"
    return f"{judged} (it lies in {100 * share:.0f} % of the 95 % intervals)"
