"""The figures of ``gradients_vanish_in_time``, from the dataset alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray
from matplotlib import patheffects

from analyses.gradients_vanish_in_time import Options
from analyses.shared import layouts, panels
from jaxsat.results import drawing, estimates

# Black dashes with a white border are seen on any colour.
THEORY: dict[str, Any] = {
    "color": "k", "ls": (0, (2.5, 4)), "lw": 0.8, "path_effects": [patheffects.withStroke(linewidth=1.6, foreground="w")],
}  # fmt: skip
LINES = {"float32": "-", "bfloat16": "--", "float16": ":"}


def draw_curves(options: Options, dataset: xarray.Dataset):
    """Return the figure of ln of the gradient norm against the lag, a panel for each cell."""
    figure, axes = layouts.panels(options, len(options.cells), tall=1.1)
    for ax, cell in zip(axes, options.cells, strict=True):
        ax.sharey(axes[0])
        _draw_curves(ax, options, dataset.sel(cell=cell), cell)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low - 0.5 * (high - low), high)  # room for the legends
    layouts.letters(axes)
    return figure


def draw_spectra(options: Options, dataset: xarray.Dataset):
    """Return the figure of the spectra of the state's Jacobian over time."""
    figure, (ax,) = layouts.panels(options, 1)
    _draw_spectra(ax, options, dataset)
    return figure


def draw_zeros(options: Options, dataset: xarray.Dataset):
    """Return the figure of where plain back-propagation returns exactly 0."""
    figure, (ax,) = layouts.panels(options, 1)
    _draw_zeros(ax, options, dataset)
    return figure


def growth_of(dataset: xarray.Dataset, cell: str, scale: float, bias: float) -> np.ndarray:
    """Growth of ln ||dE/dh|| per step back over the second half of the lags, for each seed; the first half settles."""
    norms = (
        dataset.log_gradient_norms.sel(cell=cell, weight_scale=scale, gate_bias=bias)
        .transpose("seed", "steps_back")
        .values
    )
    half, last = (norms.shape[1] - 1) // 2, norms.shape[1] - 1
    with np.errstate(invalid="ignore"):
        return (norms[:, last] - norms[:, half]) / (last - half)


def _draw_curves(ax, options: Options, of: xarray.Dataset, cell: str) -> None:
    """ln of the gradient norm against the lag: over weight scales for the tanh cell, over gate biases for the others."""
    if cell == "tanh":
        of, name, letter = of.sel(gate_bias=min(options.gate_biases)), "weight_scale", "weight scale"
    else:
        of, name, letter = of.sel(weight_scale=options.shown_scale), "gate_bias", "gate bias"
    lags = of.steps_back.values
    for i, value in enumerate(of[name].values):
        setting = of.sel({name: value})
        quantiles = estimates.band(setting.log_gradient_norms.transpose("seed", "steps_back").values, axis=0)
        drawing.median_band(ax, lags, quantiles, panels.color(i))
        half = len(lags) // 2
        # theory is for the settled rate: it starts where the measurement is at half of the lags
        line = float(quantiles[1][half]) + float(setting.theory_growth) * (lags - half)
        ax.plot(lags[half:], line[half:], **THEORY)
        ax.plot([], [], color=panels.color(i), label=f"{value:g}")
    ax.axhline(np.log(np.finfo(np.float32).tiny), color="0.5", lw=0.6, ls=":")
    ax.set(title=cell, xlabel="steps back", ylabel=r"$\ln\,\|\partial E/\partial h_t\|$")
    ax.legend(title=letter, loc="lower left", ncols=2)


def _color(options: Options, cell: str) -> str:
    """Return the colour of a cell, the same in all panels that compare cells."""
    return panels.color([*options.cells, *options.spectrum_cells].index(cell))


def _draw_spectra(ax, options: Options, dataset: xarray.Dataset) -> None:
    """Largest, median and smallest singular value of the state's Jacobian, at the largest gate bias."""
    for cell in options.spectrum_cells:
        of, color = dataset.log_singular_values.sel(spectrum_cell=cell), _color(options, cell)
        for quantile, line in ((1.0, "-"), (0.5, "--"), (0.0, ":")):
            median = of.sel(quantile=quantile).median("spectrum_seed").values
            ax.plot(dataset.spectrum_lag.values, median, line, color=color)
        ax.plot([], [], color=color, label=cell)
    for line, label in (("-", "largest"), ("--", "median"), (":", "smallest")):
        ax.plot([], [], color="k", ls=line, label=label)
    ax.set(xlabel="steps $t$", ylabel=r"$\ln s_i$ of $\partial h_t/\partial h_0$")
    ax.set_ylim(*_limits(dataset.log_singular_values.values))
    ax.legend(loc="lower left", ncols=2)


def _limits(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.01, 1.0]) if finite.size else (-1.0, 1.0)
    return max(low, -800.0) - 20, high + 20


def _draw_zeros(ax, options: Options, dataset: xarray.Dataset) -> None:
    """Shares of networks whose gradient is exactly 0 at a lag, in each dtype."""
    for cell in options.cells:
        for dtype in options.dtypes:
            share = dataset.plain_gradient_is_zero.sel(cell=cell, dtype=dtype).mean("plain_seed").values
            ax.plot(dataset.plain_lag.values, share, LINES[dtype], color=_color(options, cell))
    for cell in options.cells:
        ax.plot([], [], color=_color(options, cell), label=cell)
    for dtype in options.dtypes:
        ax.plot([], [], color="k", ls=LINES[dtype], label=dtype)
    ax.set(xlabel="steps back", ylabel="share of networks", ylim=(-0.04, 1.04))
    ax.legend(loc="best")
