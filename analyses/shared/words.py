"""Numbers in words, as titles, footnotes and tables show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np

from jaxsat.plotting import findings
from jaxsat.results import estimates, student

if TYPE_CHECKING:
    import xarray
    from numpy.typing import ArrayLike

factor = findings.factor_of
MOST = 0.8  # of the intervals: numbers of the same networks depend on each other, and their share scatters around 95 %
FAR = 5.0  # standard errors: farther off, theory does not hold there, whatever it does elsewhere


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
    """Return in how many 95 % intervals of a measurement theory lies, judged.

    Theory holds if it lies in at least 80 % of them, and nowhere further than FAR standard errors away. Numbers of the same
    networks depend on each other: this is a summary, not a test. (Exact probabilities were seen in 88 % of the intervals.)

    Args:
        discrepancies: measured less theory, in standard errors; NaN where there is nothing to compare.

    >>> agreement(np.array([0.1, -1.0, 0.5, 5.0]))
    'theory is off in places (it lies in 3 of 4 intervals of 95 %, at worst 5.0 standard errors away)'
    >>> agreement([0.0] * 19 + [50.0])
    'theory is off in places (it lies in 19 of 20 intervals of 95 %, at worst 50.0 standard errors away)'
    """
    known = np.abs(np.asarray(discrepancies)[~np.isnan(discrepancies)])
    if not known.size:
        return "there is nothing to compare with theory"
    inside, worst = int(np.sum(known <= student.NORMAL)), float(known.max())
    holds = inside >= MOST * known.size and worst <= FAR
    judged = "theory holds" if holds else "theory is off in places" if inside >= known.size / 2 else "theory is off"
    return (
        f"{judged} (it lies in {inside} of {known.size} intervals of 95 %, at worst {worst:.1f} standard errors away)"
    )
