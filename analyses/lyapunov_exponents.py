"""At which rates do the directions of a network grow and shrink per layer, and does theory predict them?

The figure shows the Lyapunov exponents lambda_i = ln s_i / L of the Jacobian of random networks, against the index of the
direction. For linear gaussian networks the law is exact at any width (Newman 1986):
lambda_i = (ln 2 + psi((n - i + 1) / 2) - ln n) / 2 + ln sigma_w. Everything is in float64, because the signal of a linear
or relu network grows or shrinks as sigma_w^L, which leaves the range of float32 within a hundred layers.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import xarray
from matplotlib import pyplot as plt

import jaxsat
from analyses.shared import command, factored, panels, words
from jaxsat import activations, theory
from jaxsat.measures import Measure, Variable
from jaxsat.networks import gaussian_input
from jaxsat.results import estimates, plotting

NAME = "lyapunov_exponents"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer seeds, layers and units (their options are ignored)."""
    activations: tuple[str, ...] = ("identity", "tanh", "relu", "softsign")
    """Names from jaxsat.activations.names(); identity, the linear network, has the exact law."""
    scales: tuple[float, ...] = (0.7, 1.0, 1.4, 2.0, 3.0)
    """Weight scales sigma_w."""
    seeds: int = 64
    """Networks for each activation and scale."""
    depth: int = 200
    """Layers."""
    width: int = 32
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"seeds": 16, "depth": 60, "width": 16}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.produce(options, NAME, measure, draw)


def measure(options: Options) -> xarray.Dataset:
    """Return the exponents of every network, from ln s / L and by QR, and the exact law."""
    names = [activations.get(name).name for name in options.activations]

    def exponents(net, key, x):
        networks = [dataclasses.replace(net, activation=name) for name in names]
        inputs = [gaussian_input(net, key)] * len(names)
        found = factored.of_each(jaxsat.spectrum.lyapunov_exponents, networks, key, inputs)
        return {"exponents": found.exponents, "exponents_by_qr": found.by_qr}

    dims, unit = ("activation", "index"), "nat per layer"
    labels = {
        "exponents": Variable(dims, "ln s_i / L", unit, {"activation": names}),
        "exponents_by_qr": Variable(dims, "mean growth of R_ii", unit, {"activation": names}),
    }
    net = jaxsat.MLP(depth=options.depth, width=options.width)
    with jax.enable_x64(True):
        dataset = jaxsat.sweep(
            net, Measure("lyapunov", exponents, labels), {"weight_scale": sorted(options.scales)},
            seeds=options.seeds, root_seed=options.root_seed, store=command.part(options, NAME),
        )  # fmt: skip
        laws = [np.asarray(theory.gaussian_lyapunov_exponents(options.width, s)) for s in dataset.weight_scale.values]
    told = {"long_name": "exact law, linear", "units": "nat per layer"}
    dataset["law"] = ("weight_scale", "index"), np.stack(laws), told
    return dataset


def draw(options: Options, dataset: xarray.Dataset):
    """Return the figure, from the dataset alone."""
    names, scales, unmeasured = options.activations, dataset.weight_scale.values, []
    with plotting.style():
        rows = -(-len(names) // 2)
        fig, axes = plt.subplots(
            rows, 2, figsize=(plotting.PAGE, 2.3 * rows), sharex=True, layout="constrained", squeeze=False
        )
        colors = plotting.scale_colors(scales)
        for ax, name in zip(axes.flat, names, strict=False):
            missing = _draw_exponents(ax, dataset.sel(activation=name), colors)
            unmeasured += [f"{name} at {scale:g}" for scale in missing]
            ax.set_title(name)
        for ax in axes.flat[len(names) :]:
            ax.set_axis_off()
        first = axes.flat[0]
        first.plot([], [], "ko", mfc="none", ms=3, label=r"$\ln s_i / L$")
        first.plot([], [], "k:", label="by QR")
        first.plot([], [], "k-", lw=0.7, label="exact law, linear")
        first.legend(loc="lower left")
        fig.supxlabel("index $i$ of the direction", fontsize=7.5)
        fig.supylabel(r"Lyapunov exponent $\lambda_i$, nats per layer", fontsize=7.5)
        bar = fig.colorbar(colors, ax=axes, label=r"weight scale $\sigma_w$", aspect=40, pad=0.01)
        bar.set_ticks(scales, labels=[f"{s:g}" for s in scales])
        bar.minorticks_off()
        plotting.panel_letters(list(axes.flat[: len(names)]))
        plotting.footnote(fig, _footer(options, dataset, unmeasured))
    return fig


def _draw_exponents(ax, of, colors) -> list[float]:
    """Exponents of one activation at every weight scale; return the scales at which no exponent is finite."""
    index, unmeasured = of["index"].values, []
    for scale in of.weight_scale.values:
        found, color = of.sel(weight_scale=scale), colors.to_rgba(scale)
        if not np.isfinite(found.exponents).any():
            unmeasured.append(float(scale))
            continue
        mean, low, high, _ = estimates.mean_interval(_finite(found.exponents), axis=0)
        marks = {"color": color, "mfc": "none", "mew": 0.7, "ms": 3, "elinewidth": 0.8}
        ax.errorbar(index, mean, panels.bars(mean, low, high), fmt="o", **marks)
        by_qr = estimates.mean_interval(_finite(found.exponents_by_qr), axis=0)
        ax.plot(index, by_qr.estimate, ":", color=color, lw=0.9)
        if str(of.activation.values) == "identity":
            ax.plot(index, found.law, "k-", lw=0.7)
    ax.axhline(0, color="0.5", lw=0.6)
    return unmeasured


def _finite(values) -> np.ndarray:
    """Values over seeds and index, NaN where a network loses a direction altogether."""
    return np.where(np.isfinite(values), values, np.nan)


def _footer(options: Options, dataset, unmeasured: list[str]) -> str:
    missing = f"\nNothing is drawn where no exponent is finite: {', '.join(unmeasured)}. " if unmeasured else ""
    return (
        f"{options.seeds} seeds (root {options.root_seed}), L = {options.depth}, n = {options.width}, gaussian weights, no biases, "
        "gaussian input. Circles: mean over seeds with its 95 % interval. They differ from the limit by O(1/L).\n"
        "A direction that some networks lose altogether (relu) is averaged over the networks that keep it. "
        f"{missing}{words.made(dataset)}"
    )


if __name__ == "__main__":
    command.run(Options, main, __doc__)
