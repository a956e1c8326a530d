"""The figure of ``gradients_vanish_with_depth``: one function for each panel, from the dataset alone."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from matplotlib import pyplot as plt

from analyses.gradients_vanish_with_depth import DTYPES, Options
from analyses.shared import panels, words
from jaxsat.results import estimates, plotting

TICKS = (0.6, 1, 2, 4, 8, 16)  # of weight scales


def draw(options: Options, dataset):
    """Return the figure: curves against depth, growth and shares, and where gradients are exactly 0."""
    with plotting.style():
        rows = -(-len(options.activations) // 3)
        fig = plt.figure(figsize=(plotting.PAGE, 1.75 * rows + 5.3), layout="constrained")
        upper, middle, lower = panels.stacked(fig, [1.75 * rows, 3.1, 2.1])
        curves = _draw_curves(upper, options, dataset, rows)
        growth, shares = middle.subplots(1, 2)
        _draw_growth(growth, dataset)
        _draw_shares(shares, options, dataset)
        zeros = list(lower.subplots(1, 3, sharey=True))
        _draw_zeros(lower, zeros, options, dataset)
        plotting.panel_letters([curves[0, 0], growth, shares, *zeros])
        plotting.footnote(fig, _footer(options, dataset))
    return fig


def _draw_curves(figure, options: Options, dataset, rows: int):
    """ln of the gradient norm against depth, one panel for each activation."""
    axes = figure.subplots(rows, 3, sharex=True, squeeze=False)
    colors = plotting.scale_colors(dataset.weight_scale.values)
    for ax, name in zip(axes.flat, options.activations, strict=False):
        _draw_curve(ax, dataset.sel(activation=name), colors)
        ax.set_title(name)
    for ax in axes.flat[len(options.activations) :]:
        ax.set_axis_off()
    figure.supxlabel("layers back from the output, $L - l$", fontsize=7.5)
    figure.supylabel(r"$\ln\,\|\partial E/\partial h_l\|$  (median, 5-95 % of seeds)", fontsize=7.5)
    bar = figure.colorbar(colors, ax=axes, label=r"weight scale $\sigma_w$", aspect=40, pad=0.01)
    ticks = _ticks(dataset)
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    bar.minorticks_off()
    return axes


def _draw_curve(ax, of, colors) -> None:
    """One activation at every weight scale, with theory."""
    back, norms = of.sizes["layer"] - of.layer.values, of.log_gradient_norms
    for scale in of.weight_scale.values:
        quantiles = estimates.band(norms.sel(weight_scale=scale).values, axis=0)
        plotting.median_band(ax, back, quantiles, colors.to_rgba(scale))
        if np.isfinite(quantiles).any():
            ax.plot(back, of.theory.sel(weight_scale=scale).values, "k:", lw=0.7)
    least = float(ml_dtypes.finfo(np.float32).smallest_normal)
    ax.axhline(np.log(least), color="0.5", lw=0.6, ls=":")
    ax.set_ylim(*_limits(norms.values))


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Limits of an axis that leave out the most extreme values."""
    finite = values[np.isfinite(values)]
    low, high = (np.quantile(finite, [0.001, 0.999])) if finite.size else (-1.0, 1.0)
    return low - 0.05 * (high - low) - 1, high + 0.05 * (high - low) + 1


def _ticks(dataset) -> list[float]:
    scales = dataset.weight_scale.values
    return [s for s in TICKS if scales[0] <= s <= scales[-1]]


def _draw_growth(ax, dataset) -> None:
    """Growth per layer back against the weight scale, with its zero crossings and theory."""
    scales, fine = dataset.weight_scale.values, dataset.fine_weight_scale.values
    for i, name in enumerate(dataset.activation.values):
        rates = estimates.growth_rates(dataset.log_gradient_norms.sel(activation=name).values)
        known = np.isfinite(rates).any(1)
        mean, low, high, _ = estimates.mean_interval(rates[known])
        crossings = estimates.zero_crossings(scales[known], rates[known])
        label = name + "".join(f": {words.bracketed(c.at, c.low, c.high)}" for c in crossings)
        marks = {"color": panels.color(i), "marker": plotting.MARKERS[i % 8], "ls": "none"}
        label = label if crossings else f"{name}: none"
        ax.errorbar(scales[known], mean, panels.bars(mean, low, high), **marks, label=label)
        law = dataset.theory_growth.sel(activation=name).values
        ax.plot(fine, np.where(fine <= scales[known].max(initial=0), law, np.nan), color=panels.color(i), lw=0.8)
        for crossing in crossings:
            ax.plot([crossing.at], [0], "|", color=panels.color(i), ms=9, mew=1.2)
    ax.axhline(0, color="0.5", lw=0.6)
    ax.set(xscale="log", xlabel=r"weight scale $\sigma_w$", ylabel="growth of $\\|\\delta_l\\|$, nats per layer back")
    ticks = _ticks(dataset)
    ax.set_xticks(ticks, labels=[f"{t:g}" for t in ticks])
    ax.minorticks_off()
    heading = r"zero crossing of the growth, $\sigma_w$ [95 % interval]"
    ax.legend(title=heading, title_fontsize=6.5, loc="upper left", bbox_to_anchor=(-0.12, -0.2), ncols=2)


def _draw_shares(ax, options: Options, dataset) -> None:
    """Shares of saturated and dead units at every layer, at a single weight scale."""
    shares = dataset.sel(weight_scale=options.saturation_scale)
    for i, name in enumerate(dataset.activation.values):
        for variable, line in (("saturated_fraction", "-"), ("dead_fraction", "--")):
            mean, low, high, _ = estimates.mean_interval(shares[variable].sel(activation=name).values, axis=0)
            ax.plot(dataset.layer, mean, line, color=panels.color(i))
            ax.fill_between(dataset.layer, low, high, color=panels.color(i), alpha=0.3, lw=0)
    ax.plot([], [], "k-", label="slope at most 5 % of the largest")
    ax.plot([], [], "k--", label=f"slope 0 for all {options.images} images (dead)")
    ax.set(xlabel="layer $l$", ylabel="share of units", ylim=(-0.02, 1.02))
    ax.set_title(rf"$\sigma_w$ = {options.saturation_scale:g}")
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.2))


def _draw_zeros(figure, axes, options: Options, dataset) -> None:
    """Shares of networks whose gradient is exactly 0, one panel for each dtype."""
    for ax, dtype in zip(axes, DTYPES, strict=True):
        _draw_zero(ax, dataset.sel(weight_scale=options.zero_scale, dtype=dtype), dtype)
    axes[0].set_ylabel(rf"share with $\delta_l = 0$ ($\sigma_w$ = {options.zero_scale:g})")
    for i, name in enumerate(options.activations):
        axes[0].plot([], [], plotting.MARKERS[i % 8], color=panels.color(i), mfc="none", label=name)
    axes[1].plot([], [], "k-", label="exact, below normal numbers")
    axes[1].plot([], [], "k:", label="exact, below subnormal numbers")
    axes[1].plot([], [], "ko", mfc="none", label="jax.grad in this dtype")
    figure.legend(loc="outside lower center", ncols=5)


def _draw_zero(ax, of, dtype: str) -> None:
    """One dtype: what gradients in logs say it must lose, and what plain back-propagation in it loses."""
    info, back = ml_dtypes.finfo(dtype), of.sizes["layer"] - of.layer.values
    normal, least = (np.log(float(v)) for v in (info.smallest_normal, info.smallest_subnormal))
    every = slice(None, None, max(1, of.sizes["layer"] // 20))
    for i, name in enumerate(of.activation.values):
        exact, color = of.log_largest_gradients.sel(activation=name).values, panels.color(i)
        ax.plot(back, np.mean(exact < normal, axis=0), "-", color=color)
        ax.plot(back, np.mean(exact < least - np.log(2), axis=0), ":", color=color)
        measured = of.plain_gradient_is_zero.sel(activation=name).mean("plain_seed").values
        ax.plot(back[every], measured[every], plotting.MARKERS[i % 8], color=color, mfc="none", mew=0.8)
    ax.set_title(dtype)
    ax.set(xlabel="layers back from the output, $L - l$", ylim=(-0.04, 1.04))


def _footer(options: Options, dataset) -> str:
    return (
        f"{options.seeds} seeds (root {options.root_seed}), L = {options.depth}, n = {options.width}, gaussian weights, "
        f"sigma_b = {options.bias_scale:g}, {options.images} standardised digits, rms over them. "
        "Dotted in a: theory, mean of ln norm to first order in 1/n;\ngrey: smallest normal float32. b: points by least squares over the middle 80 % of layers, with 95 % intervals of the mean; lines: theory; crossings: at this depth, interpolated in\nln scale, with 95 % intervals. c: mean with 95 % interval. "
        f"d-f: {options.plain_seeds} seeds for jax.grad; lines from gradients in logs (relu at small scales: its float16 activations\n"
        f"underflow first, so every unit is dead). {words.made(dataset)}"
    )
