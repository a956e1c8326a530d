"""Singular values: by rank, or as a histogram, with free probability over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxsat import checks, theory
from jaxsat.plotting import curves, findings
from jaxsat.plotting.network_settings import Setting, setting_of
from jaxsat.results import estimates

if TYPE_CHECKING:
    import xarray

    from jaxsat.plotting.network_settings import Own
    from jaxsat.results.drawing import Axes

STATIONARY = 1.0  # stands for the mean square of the input, which a stationary length has forgotten
HISTOGRAM_BINS, GRID_POINTS = 40, 192  # points: a multiple of 16, in which the density is computed


def spectrum(
    ds: xarray.Dataset, *, by: str = "rank", theory: bool = False, activations: Own = (), ax: Axes | None = None
) -> Axes:
    """Draw the singular values of Jacobians, by rank or as a histogram of ln s, and return the axis.

    Args:
        ds: of a sweep with the measure "log_singular_values" or "singular_values".
        by: "rank": ln s against its rank, medians over networks with bands. "histogram": density of ln s, pooled.
        theory: draw free probability over it: infinite width, plain MLPs with as many inputs as units. It takes every layer to
            have the stationary length of mean field, so it is off where the first layers have another.
        activations, ax: as :func:`gradient_norms`.

    Raises:
        ValueError: another dataset; another `by`; theory of a network that it does not know.

    >>> import jaxsat
    >>> ds = jaxsat.sweep(jaxsat.MLP(depth=2, width=4), "log_singular_values", {}, seeds=3, progress=False)
    >>> spectrum(ds, by="histogram").get_ylabel()
    'density (1/nat)'
    """
    where = "plotting.spectrum"
    checks.one_of(where, "by", by, ("rank", "histogram"))
    array = curves.variable_of(where, ds, "log_singular_values", "singular_values")
    if array.name == "singular_values":
        with np.errstate(divide="ignore"):
            array = array.copy(data=np.log(array.values)).assign_attrs(long_name="ln s", units="1")
    lines = curves.lines_of(array)

    def law(line: curves.Line) -> Law:
        of = setting_of(where, ds, line.fields, STATIONARY, activations)
        if of.inputs != of.width:
            came = checks.Shown(f"{of.inputs} inputs of {of.width} units")
            raise ValueError(checks.refusal(where, "theory", "be False but for square Jacobians", came))
        return density_in_theory(of, line.values)

    def predicted(line: curves.Line) -> tuple[np.ndarray, str]:
        return by_rank(law(line), len(line.x)), "theory: infinite width"

    if by == "rank":
        return curves.draw_lines(array, lines, _finding, ax, predicted if theory else None)
    from jaxsat.results import drawing

    laws = [law(line) for line in lines.shown] if theory else []
    with drawing.style():
        ax = drawing.axis_or_new(ax)
        for i, line in enumerate(lines.shown):
            _draw_histogram(ax, line, drawing.COLORS[i])
        for of_line in laws:
            ax.plot(of_line.grid, of_line.density, **drawing.OVER)
        if laws:
            ax.plot([], [], **drawing.OVER, label="theory: infinite width")
        ax.set(xlabel="ln s", ylabel="density (1/nat)", ylim=(0, None))
        drawing.state(ax, _finding(lines.shown))
        if ax.get_legend_handles_labels()[0]:
            drawing.legend_below(ax, more=lines.combinations - len(lines.shown))
    return ax


def _finding(lines: Sequence[curves.Line]) -> str:
    spreads = []
    for line in lines:
        known = line.median[np.isfinite(line.median)]
        spreads.append(float(known.max() - known.min()) if known.size else np.nan)
    return f"The largest singular value exceeds the smallest nonzero by a factor {findings.range_of(spreads, findings.factor_of)}"


def _draw_histogram(ax: Axes, line: curves.Line, color: str) -> None:
    finite = line.values[np.isfinite(line.values)]
    if finite.size < 2 or np.ptp(finite) == 0:
        return
    edges = np.linspace(finite.min(), finite.max(), HISTOGRAM_BINS + 1)
    found = estimates.density(line.values, edges)
    low, high = (np.append(end, np.nan) for end in (found.low, found.high))
    ax.fill_between(edges, low, high, step="post", color=color, alpha=0.25, lw=0)
    ax.step(edges[:-1], found.estimate, where="post", color=color, label=line.label or None)


class Law(NamedTuple):
    """Free probability's law of ln s.

    Attributes:
        grid: ascending, up to the largest value.
        density: of the continuous part on the grid.
        zeros, top: shares of the values that are 0, and that are exactly the largest.
    """

    grid: np.ndarray
    density: np.ndarray
    zeros: float
    top: float


def density_in_theory(of: Setting, measured: np.ndarray) -> Law:
    """Return the law of a network, down to what was measured."""
    asked = (of.activation, of.depth, of.weight_scale, of.bias_scale, of.ensemble)
    moments = theory.spectrum_moments(*asked)
    high, finite = float(moments.log_upper) / 2, measured[np.isfinite(measured)]
    low = max(float(moments.log_lower) / 2, (float(finite.min()) if finite.size else high) - 1.0)
    angle = np.linspace(0, np.pi, GRID_POINTS)
    grid = high - (high - min(low, high - 1e-3)) * (1 + np.cos(angle)) / 2
    density = np.asarray(theory.log_spectrum_density(grid, *asked), float)
    return Law(grid, density, float(moments.zero_mass), float(moments.top_mass))


def by_rank(law: Law, count: int) -> np.ndarray:
    """Return ln s at the middle of each rank, the largest first; -inf is left out as NaN.

    >>> flat = Law(np.linspace(0, 1, 101), np.full(101, 0.5), zeros=0.25, top=0.25)
    >>> by_rank(flat, 4).round(3).tolist()
    [1.0, 0.75, 0.25, nan]
    """
    means = (law.density[1:] + law.density[:-1]) / 2
    below = np.concatenate([[0.0], np.cumsum(means * np.diff(law.grid))])
    if below[-1] > 0:
        below *= (1 - law.zeros - law.top) / below[-1]
    wanted = 1 - (np.arange(count) + 0.5) / count
    return np.where(wanted > law.zeros, np.interp(wanted, law.zeros + below, law.grid), np.nan)
