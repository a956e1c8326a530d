"""The curves of ``saturation_during_training``: marks on Axes, from its dataset alone. Each layer has its colour."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt

from analyses.saturation_during_training import fates
from analyses.shared import panels
from jaxsat import activations
from jaxsat.results import drawing, estimates


def colors(count: int) -> list:
    """Return a colour for each layer, from the input."""
    return list(plt.get_cmap("viridis")(np.linspace(0, 0.92, count)))


def fate(ax, of, depth: int, count: int) -> None:
    """Mean activation of each layer of the first network, with the spread of its activations; of others, the top layer."""
    epoch = of.sigmoid_epoch.values
    mean = of.sigmoid_activation_mean.transpose("seed", "sigmoid_step", "sigmoid_layer").values
    std = of.sigmoid_activation_std.transpose("seed", "sigmoid_step", "sigmoid_layer").values
    for layer, color in enumerate(colors(count)[:depth]):
        low, high = mean[0, :, layer] - std[0, :, layer], mean[0, :, layer] + std[0, :, layer]
        ax.fill_between(epoch, low, high, color=color, alpha=0.18, lw=0)
        ax.plot(epoch, mean[0, :, layer], color=color)
    ax.plot(epoch, mean[1:, :, depth - 1].T, color=colors(count)[depth - 1], lw=0.35)
    ax.set(xscale="symlog", xlabel="epoch", xlim=(0, None), ylim=(-0.02, 1.02))


def recoveries(ax, dataset, epochs: int) -> None:
    """When the top sigmoid layer leaves saturation, network by network, against depth; above the line: not yet."""
    depths, seeds = dataset.depth.values, dataset.sizes["seed"]
    late = 1.6 * epochs
    for i, kind in enumerate(dataset.initialisation.values):
        found = fates.epochs_of_recovery(dataset.sel(initialisation=kind))
        color, marker, middles = drawing.COLORS[i], drawing.MARKERS[i], []
        for depth, (saturated, left) in zip(depths, found, strict=True):
            at = np.where(np.isfinite(left), left, late)[np.isfinite(saturated)]
            x = depth + (i - 0.5) * 0.3 + np.linspace(-0.1, 0.1, seeds)[: len(at)]
            ax.plot(x, at, ls="none", marker=marker, ms=2.3, mfc="none", mec=color, mew=0.6)
            middles.append(np.median(at) if len(at) == seeds else np.nan)
        ax.plot(depths + (i - 0.5) * 0.3, middles, color=color, lw=0.8, marker=marker, ms=2.3, label=str(kind))
    ax.axhline(1.25 * epochs, color="0.5", lw=0.6, ls=":")
    ax.text(depths[0] - 0.3, 1.3 * epochs, "not yet", fontsize="small", color="0.35", va="bottom")
    ax.set(yscale="log", xlabel="hidden layers", ylabel="epoch of recovery", xticks=depths,
           xlim=(depths[0] - 0.5, depths[-1] + 0.5), ylim=(0.03, 2.6 * epochs))  # fmt: skip
    ax.legend(loc="lower right", borderaxespad=0.1)


def lines(ax, of, name: str, ls: str, geometric: bool = False) -> None:
    """A line for each layer against epochs: mean, or geometric mean, over networks with its 95 % interval."""
    values = of[name].transpose("layer", "step", "seed").values
    for one, color in zip(values, colors(len(values)), strict=True):
        found = estimates.mean_interval(np.log(one) if geometric else one)
        mean, low, high = (np.exp(part) if geometric else part for part in found[:3])
        ax.plot(of.epoch, mean, color=color, ls=ls, lw=0.9)
        ax.fill_between(of.epoch, low, high, color=color, alpha=0.2, lw=0)
    ax.set(xscale="symlog", xlabel="epoch", xlim=(0, None))


def activations_of(ax, of, step: int, name: str) -> None:
    """Densities of the activations of each layer over the range of the activation."""
    phi = activations.get(name)
    assert phi.left_limit is not None
    assert phi.right_limit is not None
    low, high = float(phi.left_limit), float(phi.right_limit)
    shares = of.activation_histogram.isel(step=step).transpose("layer", "seed", "place").values
    places = low + (high - low) * of.place.values
    _densities(ax, places, shares.swapaxes(1, 2) * len(places) / (high - low))
    ax.set(xlim=(low, high))


def theory_of(ax, of, name: str) -> None:
    """Densities of the activations of gaussian pre-activations of the mean-field lengths: phi(h) with h normal."""
    phi = activations.get(name)
    h = np.linspace(-12, 12, 801)
    x, slope = np.asarray(phi(h)), np.asarray(phi.slope(h))
    inside = slope > 1e-4
    top = ax.get_ylim()
    for q in of.theory_length.values:
        density = np.exp(-(h**2) / (2 * q)) / np.sqrt(2 * np.pi * q) / np.where(inside, slope, 1)
        ax.plot(x[inside], density[inside], color="k", ls=":", lw=0.6)
    ax.set(ylim=top)


def entries(ax, of, kind: str) -> None:
    """Densities of the entries of gradients at the start, on a logarithmic axis."""
    edges = of[f"{kind}_edge"].values
    values = of[f"{kind}_density"].transpose("layer", "bin", "start_seed").values
    _densities(ax, (edges[1:] + edges[:-1]) / 2, values)
    top = values.mean(-1).max()
    ax.set(yscale="log", ylim=(top / 2e3, 3 * top), xlim=(edges[0], edges[-1]))


def ratios(ax, of) -> None:
    """Root mean square gradients at the start over those of the last layer, and mean-field theory."""
    layers = of.layer.values
    for i, kind in enumerate(of.initialisation.values):
        one = of.sel(initialisation=kind)
        for name, ls, fill in (("signal", "-", drawing.COLORS[i]), ("weight_gradient", "--", "white")):
            values = one[name].isel(step=0).transpose("layer", "seed").values
            mean, low, high, _ = estimates.mean_interval(values / values[-1])
            theory = one[f"theory_{name}"].values
            ax.plot(layers, theory, color=drawing.COLORS[i], ls=ls, lw=0.8)
            ax.errorbar(
                layers, mean, panels.bars(mean, low, high), color=drawing.COLORS[i], marker=drawing.MARKERS[i], ls="none",
                mfc=fill, mew=0.7, elinewidth=0.7, label=str(kind) if ls == "-" else None,
            )  # fmt: skip
    ax.set(yscale="log", xlabel="layer", ylabel="r.m.s. over last", xticks=layers)


def _densities(ax, places, values) -> None:
    """One line for each layer; `values` are (layer, place, network)."""
    for one, color in zip(values, colors(len(values)), strict=True):
        mean, low, high, _ = estimates.mean_interval(one)
        ax.plot(places, mean, color=color, lw=0.8)
        ax.fill_between(places, np.maximum(low, 0), high, color=color, alpha=0.25, lw=0)
