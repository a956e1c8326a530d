"""The figures of ``jacobian_spectra_with_depth``, from the dataset alone."""

from __future__ import annotations

import numpy as np
import xarray

from analyses.jacobian_spectra_with_depth import Options
from analyses.shared import layouts
from jaxsat.results import drawing, estimates


def draw_ridges(options: Options, dataset: xarray.Dataset, ensemble: str):
    """Return the figure of the densities of ln s of one ensemble, a panel for each activation."""
    figure, axes = layouts.panels(options, len(options.activations), tall=1.25)
    for i, (ax, name) in enumerate(zip(axes, options.activations, strict=True)):
        shown = dataset.log_singular_values.sel(activation=name, ensemble=ensemble, factor=1.0)
        _draw_ridges(ax, shown, drawing.COLORS[i])
        ax.set(title=name, xlabel=r"$\ln s$ (lowest 1 % cut off)", ylabel="depth $l$ (layers)")
    layouts.letters(axes)
    return figure


def draw_spread(options: Options, dataset: xarray.Dataset):
    """Return the figure of the condition number against depth."""
    figure, (ax,) = layouts.panels(options, 1)
    _draw_spread(ax, options, dataset)
    return figure


def draw_truth(options: Options, dataset: xarray.Dataset):
    """Return the figure of singular values in three ways beside 900 digits."""
    figure, (ax,) = layouts.panels(options, 1, tall=1.1, below=3)
    _draw_truth(ax, options, dataset)
    figure.legend(
        *ax.get_legend_handles_labels(), loc="outside lower center", ncols=2 if layouts.narrow(options) else 3
    )
    return figure


def _draw_ridges(ax, shown, color) -> None:
    """Density of ln s, a ridge for each depth."""
    depths = [d for d in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if d <= shown.sizes["depth"]]
    finite = shown.sel(depth=depths).values
    finite = finite[np.isfinite(finite)]
    edges = np.linspace(np.quantile(finite, 0.01), finite.max() + 1, 61)
    middle = (edges[1:] + edges[:-1]) / 2
    for level, depth in reversed(list(enumerate(depths))):
        found = estimates.density(shown.sel(depth=depth).values, edges)
        peak = max(found.high.max(), 1e-12)
        low, mid, high = (1.5 * v / peak for v in (found.low, found.estimate, found.high))
        drawing.ridge(ax, middle, low, mid, high, -float(level), color)
    ax.set_yticks(-np.arange(len(depths)), labels=[str(d) for d in depths])
    ax.set_xlim(edges[0], edges[-1])


def _draw_spread(ax, options: Options, dataset) -> None:
    """log10 of the largest over the smallest nonzero singular value against depth."""
    spread = condition(dataset)
    for i, name in enumerate(options.activations):
        for ensemble, line in (("gaussian", "-"), ("orthogonal", "--")):
            for factor in options.factors:
                shown = spread.sel(activation=name, ensemble=ensemble, factor=factor).values
                low, mid, high = estimates.band(np.where(np.isfinite(shown), shown, np.nan), axis=0)
                if np.isfinite(mid).any() and factor == 1.0:
                    around = low, np.full_like(mid, np.nan), high
                    drawing.median_band(ax, dataset.depth.values, np.stack(around), drawing.COLORS[i])
                width = 1.1 if factor == 1.0 else 0.4
                ax.plot(dataset.depth, mid, line, color=drawing.COLORS[i], lw=width)
        ax.plot([], [], color=drawing.COLORS[i], label=name)
    ax.plot([], [], "k-", label="gaussian")
    ax.plot([], [], "k--", label="orthogonal")
    for bits, label in ((23, "1/eps, float32"), (52, "1/eps, float64")):
        ax.axhline(bits * np.log10(2), color="0.5", lw=0.7, ls=":")
        ax.text(1.1, bits * np.log10(2), label, fontsize="small", color="0.4", va="bottom")
    ax.set(xscale="log", yscale="log", xlabel="depth $l$ (layers)", ylabel=r"$\log_{10}(s_1/\,$smallest nonzero $s)$")
    ax.set_ylim(0.3, None)
    ax.legend(ncols=2)


def _draw_truth(ax, options: Options, dataset) -> None:
    """Seven singular values of a narrow network, in three ways beside 900 digits."""
    ways, steps = dataset.log_singular_values_by_method, dataset.truth_depth.values
    true, ours = ways.sel(way="900 digits").values, ways.sel(way="log domain, float64").values
    index = np.unique(np.linspace(0.5, options.truth_width - 0.5, 7).astype(int))  # seven, evenly
    every = slice(None, None, max(1, len(steps) // 20))
    single, double = (true[:, 0] + np.log(np.finfo(dtype).eps) for dtype in (np.float32, np.float64))
    drawing.noise_region(ax, steps, double, single, "noise in float32", "....")
    drawing.noise_region(ax, steps, true.min() - 60, double, "noise in float64, too", "////")
    for way, style in (("svd(J), float32", ":"), ("svd(J), float64", "--")):
        color = drawing.COLORS[way.endswith("64")]
        ax.plot(steps, ways.sel(way=way).values[:, index], style, color=color, lw=0.9)
        ax.plot([], [], style, color=color, label=way)
    ax.plot(steps, true[:, index], "k-", lw=0.6)
    ax.plot([], [], "k-", lw=0.6, label="900 digits")
    marks = {"color": drawing.COLORS[2], "mfc": "none"}
    ax.plot(steps[every], ours[every][:, index], "o", ms=2.2, mew=0.6, **marks)
    worst = np.abs(ours - true).max()
    error = 10.0 ** np.ceil(np.log10(worst))
    ax.plot([], [], "o", label=f"log domain (error < {error:.0e})", **marks)
    ax.set(xlabel="depth $l$ (layers)", ylabel=r"$\ln s$", ylim=(true.min() - 30, true.max() + 3))


def condition(dataset) -> xarray.DataArray:
    """Return log10 of the largest over the smallest nonzero singular value."""
    values = dataset.log_singular_values
    return (values.isel(index=0) - values.where(np.isfinite(values)).min("index")) / np.log(10)
