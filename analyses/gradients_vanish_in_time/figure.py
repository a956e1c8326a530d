"""The figure of ``gradients_vanish_in_time``, and its table, from the dataset alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray
from matplotlib import pyplot as plt

from analyses.gradients_vanish_in_time import Options
from analyses.shared import panels, words
from jaxsat.results import estimates, plotting

LINES = {"float32": "-", "bfloat16": "--", "float16": ":"}


def draw(options: Options, dataset: xarray.Dataset):
    """Return the figure: curves of the cells against the lag, their spectra, and where gradients are exactly 0."""
    rows = -(-len(options.cells) // 2)
    with plotting.style():
        fig, axes = plt.subplots(
            rows + 1, 2, figsize=(plotting.PAGE, 2.3 * (rows + 1)), layout="constrained", squeeze=False
        )
        curves = list(axes.flat[: 2 * rows])
        for ax, cell in zip(curves, options.cells, strict=False):
            ax.sharey(curves[0])
            _draw_curves(ax, options, dataset.sel(cell=cell), cell)
        for ax in curves[len(options.cells) :]:
            ax.set_axis_off()
        _draw_spectra(axes[-1, 0], options, dataset)
        _draw_zeros(axes[-1, 1], options, dataset)
        plotting.panel_letters([*curves[: len(options.cells)], *axes[-1]])
        fig.suptitle(finding(options, dataset), fontsize=8)
        plotting.footnote(fig, _footer(options, dataset))
    return fig


def finding(options: Options, dataset: xarray.Dataset) -> str:
    """Return what the figure shows, in a sentence made from the data."""
    low, high = min(options.gate_biases), max(options.gate_biases)

    def rate(cell: str, bias: float) -> float:
        return float(_growth(dataset, cell, options.shown_scale, bias).mean())

    gated = [cell for cell in options.cells if cell != "tanh"]
    lines = [f"{cell} {_steps(rate(cell, low))} to {_steps(rate(cell, high))}" for cell in gated]
    where = f"steps per factor e, weight scale {options.shown_scale:g}"
    if "tanh" not in options.cells or not gated:
        return f"How fast gradients vanish in time ({where}): {', '.join(lines) or _steps(rate('tanh', low))}"
    plain = rate("tanh", low)
    lines.insert(0, f"tanh cell {_steps(plain)}")
    with_gates, with_bias = (max(rate(cell, bias) for cell in gated) for bias in (low, high))
    says = {
        (True, True): "A gate alone does not let gradients last; a gate that is biased to keep the state does",
        (False, True): "Gates let gradients last, and a bias to keep the state lets them last longer",
        (True, False): "Neither gates nor their bias let gradients last",
        (False, False): "Gates let gradients last, and their bias adds little",
    }[with_gates < plain / 2, with_bias > with_gates / 2]
    return f"{says}:\n{where}, gate bias {low:g} to {high:g}: {', '.join(lines)}"


def _steps(growth: float) -> str:
    """Steps in which a gradient shrinks by e, in words."""
    if growth >= 0:
        return "no limit"
    return f"{-1 / growth:.1f}" if growth < -0.1 else f"{-1 / growth:.0f}"


def _growth(dataset: xarray.Dataset, cell: str, scale: float, bias: float) -> np.ndarray:
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
        plotting.median_band(ax, lags, quantiles, panels.color(i))
        half = len(lags) // 2
        # theory is for the settled rate: it starts where the measurement is at half of the lags
        line = float(quantiles[1][half]) + float(setting.theory_growth) * (lags - half)
        ax.plot(lags[half:], line[half:], "k:", lw=0.9)
        ax.plot([], [], color=panels.color(i), label=f"{value:g}")
    ax.axhline(np.log(np.finfo(np.float32).tiny), color="0.5", lw=0.6, ls=":")
    setting = "" if cell == "tanh" else f" (weight scale {options.shown_scale:g})"
    ax.set(title=f"{cell}{setting}", xlabel="steps back", ylabel=r"$\ln\,\|\partial E/\partial h_t\|$")
    ax.legend(title=letter, title_fontsize=6.5, loc="lower left", ncols=2)


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
    ax.set(title=f"spectrum, weight scale {options.shown_scale:g}, gate bias {max(options.gate_biases):g}")
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
        if cell not in options.spectrum_cells:  # the others are in the legend of the panel beside it
            ax.plot([], [], color=_color(options, cell), label=cell)
    for dtype in options.dtypes:
        ax.plot([], [], color="k", ls=LINES[dtype], label=dtype)
    setting = f"weight scale {options.shown_scale:g}, gate bias {min(options.gate_biases):g}"
    ax.set(title=f"exactly 0: {setting}", xlabel="steps back", ylabel="share of networks", ylim=(-0.04, 1.04))
    ax.legend(loc="best")


def _footer(options: Options, dataset: xarray.Dataset) -> str:
    last = len(options.cells)  # letters: a panel for each cell, then the spectra, then the zeros
    curves, spectra, zeros = f"a-{'abcd'[last - 1]}", "abcdef"[last], "abcdef"[last + 1]
    return (
        f"{options.seeds} seeds (root {options.root_seed}), {options.width} units ({spectra}: {options.spectrum_width}), gaussian weights, fresh inputs of scale "
        f"{options.input_scale:g}, {options.before} steps before. {curves}: median, 5-95 % of seeds;\nblack dots: slope in theory "
        f"with untied weights; grey: smallest normal float32. {spectra}: the state of an lstm is (h, c); median of seeds. "
        f"{zeros}: {options.plain_seeds} seeds. {words.made(dataset)}"
    )


def table(options: Options, dataset: xarray.Dataset) -> list[dict[str, Any]]:
    """Growth of ln ||dE/dh_t|| per step back, over the second half of the lags: mean over seeds with its 95 % interval.
    Theory is ln(chi) / 2 of the mean field with untied weights; the networks keep their weights, so that the state of a
    gated cell is correlated with them. What is left of the difference in the tanh cell is of order 1 / width.
    """
    rows = []
    for cell in options.cells:
        biases = dataset.gate_bias.values if cell != "tanh" else dataset.gate_bias.values[:1]
        for scale in dataset.weight_scale.values:
            for bias in biases:
                found = estimates.mean_interval(_growth(dataset, cell, scale, bias))
                expected = float(dataset.theory_growth.sel(cell=cell, weight_scale=scale, gate_bias=bias))
                rows.append(
                    {
                        "cell": cell,
                        "weight scale": float(scale),
                        "gate bias": float(bias) if cell != "tanh" else "none",
                        "growth per step": float(found.estimate),
                        "low": float(found.low),
                        "high": float(found.high),
                        "theory": expected,
                        "measured - theory": float(found.estimate) - expected,
                    }
                )
    return rows
