"""The figures of ``gradients_vanish_with_depth``: one function for each kind of panel, from the dataset alone."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from matplotlib import patheffects

from analyses.gradients_vanish_with_depth import DTYPES, Options
from analyses.shared import layouts, panels
from jaxsat.results import drawing, estimates

TICKS = (0.6, 1, 2, 4, 8, 16)  # of weight scales
MOST_CURVES = 6
# Black dashes with a white border are seen on any colour, and the colour between them.
THEORY: dict[str, Any] = {
    "color": "k", "ls": (0, (2.5, 4)), "lw": 0.8, "path_effects": [patheffects.withStroke(linewidth=1.6, foreground="w")],
}  # fmt: skip


def draw_curves(options: Options, dataset):
    """Return the figure of ln of the gradient norm against depth, a panel for each activation."""
    figure, axes = layouts.panels(options, len(options.activations), below=1)
    colors = drawing.scale_colors(dataset.weight_scale.values)
    for ax, name in zip(axes, options.activations, strict=True):
        _draw_curve(ax, dataset.sel(activation=name), colors)
        ax.set_title(name)
    axes[0].plot([], [], **THEORY, label="theory")
    axes[0].plot([], [], color="0.45", ls=":", label="float32 ends")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.supxlabel("layers back from the output, $L - l$")
    figure.supylabel(r"$\ln\,\|\partial E/\partial h_l\|$")
    bar = figure.colorbar(colors, ax=axes, label=r"weight scale $\sigma_w$", aspect=40, pad=0.01)
    _scale_ticks(bar.ax.yaxis, dataset)
    layouts.letters(axes)
    return figure


def shown_scales(of) -> np.ndarray:
    """Return the weight scales that get a curve: those with data, at most six, evenly chosen."""
    known = np.isfinite(of.log_gradient_norms).any(("seed", "layer")).values
    scales = of.weight_scale.values[known]
    return scales[np.unique(np.linspace(0, len(scales) - 1, min(len(scales), MOST_CURVES)).round().astype(int))]


def _draw_curve(ax, of, colors) -> None:
    """One activation at some weight scales, with theory."""
    back, norms = of.sizes["layer"] - of.layer.values, of.log_gradient_norms
    shown = shown_scales(of)
    for scale in shown:
        quantiles = estimates.band(norms.sel(weight_scale=scale).values, axis=0)
        drawing.median_band(ax, back, quantiles, colors.to_rgba(scale))
    for scale in shown:
        ax.plot(back, of.theory.sel(weight_scale=scale).values, **THEORY)
    least = float(ml_dtypes.finfo(np.float32).smallest_normal)
    ax.axhline(np.log(least), color="0.45", lw=0.8, ls=":")
    ax.set_ylim(*_limits(norms.sel(weight_scale=shown).values))


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Limits of an axis that leave out the most extreme values."""
    finite = values[np.isfinite(values)]
    low, high = (np.quantile(finite, [0.001, 0.999])) if finite.size else (-1.0, 1.0)
    return low - 0.05 * (high - low) - 1, high + 0.05 * (high - low) + 1


def _scale_ticks(axis, dataset) -> None:
    scales = dataset.weight_scale.values
    ticks = [s for s in TICKS if scales[0] <= s <= scales[-1]]
    axis.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    axis.set_ticks([], minor=True)


def draw_growth(options: Options, dataset):
    """Return the figure of the growth per layer back against the weight scale, with its zero crossings and theory."""
    figure, (ax,) = layouts.panels(options, 1, tall=1.2)
    scales, fine = dataset.weight_scale.values, dataset.fine_weight_scale.values
    for i, name in enumerate(dataset.activation.values):
        rates = growth_of(dataset, name)
        known = np.isfinite(rates).any(1)
        mean, low, high, _ = estimates.mean_interval(rates[known])
        marks: dict[str, Any] = {"color": panels.color(i), "marker": drawing.MARKERS[i % 8], "ls": "none"}
        ax.errorbar(scales[known], mean, panels.bars(mean, low, high), **marks, label=str(name))
        law = dataset.theory_growth.sel(activation=name).values
        ax.plot(fine, np.where(fine <= scales[known].max(initial=0), law, np.nan), color=panels.color(i), lw=0.9)
        for crossing in estimates.zero_crossings(scales[known], rates[known]):
            ax.plot([crossing.at], [0], "|", color=panels.color(i), ms=10, mew=1.4)
    ax.plot([], [], "k-", lw=0.9, label="theory")
    ax.plot([], [], "k|", ms=7, mew=1.4, label="growth is 0")
    ax.axhline(0, color="0.5", lw=0.6)
    ax.set(xscale="log", xlabel=r"weight scale $\sigma_w$", ylabel=r"growth of $\|\delta_l\|$, nats per layer back")
    _scale_ticks(ax.xaxis, dataset)
    ax.legend(loc="lower right", ncols=2)
    return figure


def growth_of(dataset, name: str) -> np.ndarray:
    """Return the growth per layer back of an activation (weight scale, seed)."""
    return estimates.growth_rates(dataset.log_gradient_norms.sel(activation=name).values)


def draw_saturation(options: Options, dataset):
    """Return the figure of the shares of saturated and dead units at every layer, at a single weight scale."""
    figure, axes = layouts.panels(options, 2)
    shares = dataset.sel(weight_scale=options.saturation_scale)
    for ax, variable, title in zip(axes, ("saturated_fraction", "dead_fraction"), ("saturated", "dead"), strict=True):
        for i, name in enumerate(dataset.activation.values):
            mean, low, high, _ = estimates.mean_share_interval(
                shares[variable].sel(activation=name).values, options.width, axis=0
            )
            ax.plot(dataset.layer, mean, color=panels.color(i), label=str(name))
            ax.fill_between(dataset.layer, low, high, color=panels.color(i), alpha=0.3, lw=0)
        ax.set(xlabel="layer $l$", ylim=(-0.02, 1.02), title=title)
    axes[0].set_ylabel("share of units")
    axes[1].legend(loc="upper right")
    layouts.letters(axes)
    return figure


def draw_zeros(options: Options, dataset):
    """Return the figure of the shares of networks whose gradient is exactly 0, a panel for each dtype."""
    figure, axes = layouts.panels(options, 3, below=2)
    for ax, dtype in zip(axes, DTYPES, strict=True):
        _draw_zero(ax, dataset.sel(weight_scale=options.zero_scale, dtype=dtype), dtype)
        ax.set_ylabel(r"share with $\delta_l = 0$")
    for i, name in enumerate(options.activations):
        axes[0].plot([], [], drawing.MARKERS[i % 8], color=panels.color(i), mfc="none", label=name)
    axes[0].plot([], [], "k-", label="too small: normal")
    axes[0].plot([], [], "k:", label="too small: any")
    axes[0].plot([], [], "ko", mfc="none", label="jax.grad")
    figure.legend(loc="outside lower center", ncols=3 if layouts.narrow(options) else 6)
    layouts.letters(axes)
    return figure


def too_small(of, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return where the largest entry of a gradient, known in logs, is below the normal and below all numbers of a dtype."""
    info, exact = ml_dtypes.finfo(dtype), of.log_largest_gradients.values
    normal, least = (np.log(float(v)) for v in (info.smallest_normal, info.smallest_subnormal))
    return exact < normal, exact < least - np.log(2)


def _draw_zero(ax, of, dtype: str) -> None:
    """One dtype: what gradients in logs say it must lose, and what plain back-propagation in it loses."""
    back = of.sizes["layer"] - of.layer.values
    every = slice(None, None, max(1, of.sizes["layer"] // 12))
    for i, name in enumerate(of.activation.values):
        one, color = of.sel(activation=name), panels.color(i)
        for mask, line in zip(too_small(one, dtype), ("-", ":"), strict=True):
            ax.plot(back, np.mean(mask, axis=0), line, color=color)
        measured = one.plain_gradient_is_zero.mean("plain_seed").values
        ax.plot(back[every], measured[every], drawing.MARKERS[i % 8], color=color, mfc="none", mew=0.8)
    ax.set(title=dtype, xlabel="layers back, $L - l$", ylim=(-0.04, 1.04))
