"""Does free probability give the singular values of real Jacobians, for which activation, ensemble and depth?

The figure shows the density of ln s of the input-output Jacobian of wide random networks, at the edge of chaos and at
their stationary length. Over it stands the density of free probability (Pennington, Schoenholz & Ganguli 2017, 2018). The
lowest row shows the discrepancy between theoretical quantiles, in standard errors.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np
import xarray
from matplotlib import pyplot as plt

import jaxsat
from analyses.shared import command, factored, panels, words
from jaxsat import activations, addresses, theory
from jaxsat.measures import Measure, Variable
from jaxsat.results import estimates, plotting

NAME = "spectra_against_free_probability"
ENSEMBLES = ("gaussian", "orthogonal")
SCALE_FREE = ("identity", "relu", "leaky_relu")
BINS = 10


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about a minute: fewer activations, depths, seeds and units (their options are ignored)."""
    activations: tuple[str, ...] = ("identity", "tanh", "relu", "hard_tanh")
    """Names from jaxsat.activations.names(); each needs a critical weight scale."""
    depths: tuple[int, ...] = (2, 8, 32)
    """Numbers of layers, each at least 2."""
    bias_scale: float = 0.3
    """Bias scale sigma_b. The scale-free activations identity, relu and leaky_relu get no biases."""
    seeds: int = 20
    """Networks for each activation, ensemble and depth."""
    width: int = 200
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"activations": ("tanh", "relu"), "depths": (2, 8), "seeds": 16, "width": 48}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.check_numbers(options, "depths", least=2)
    command.produce(options, NAME, measure, draw)


def measure(options: Options) -> xarray.Dataset:
    """Return a sweep for each depth; densities and shares of theory."""
    names = [activations.get(name).name for name in options.activations]
    stationary = [_stationary(options, name) for name in names]
    parts = [_of_depth(options, depth, stationary) for depth in options.depths]
    dataset = xarray.concat(parts, "depth", combine_attrs="override")
    dataset["scale"] = "activation", [net.weight_scale for net, _ in stationary]
    return dataset


def _stationary(options: Options, name: str) -> tuple[jaxsat.MLP, float]:
    """Return a network at its critical scale, and the mean square of its input for which every layer has one length."""
    bias = 0.0 if name in SCALE_FREE else options.bias_scale
    with jax.enable_x64(True):  # theory is returned in the default dtype, and float32 cannot hold sqrt 2
        if name in SCALE_FREE:  # the scale that keeps every mean square, so that every length is stationary
            scale = float(theory.length_map(name, 1.0, 1.0)) ** -0.5
            return jaxsat.MLP(2, options.width, name, scale, bias), 1.0
        scale = float(theory.critical_weight_scale(name, bias))
        q = float(theory.mean_field(name, scale, bias).q)
    return jaxsat.MLP(2, options.width, name, scale, bias), (q - bias**2) / scale**2


def _of_depth(options: Options, depth: int, stationary: list[tuple[jaxsat.MLP, float]]) -> xarray.Dataset:
    """Return measured spectra at one depth, of all activations and ensembles, with the density of theory."""
    kinds = [
        [(dataclasses.replace(net, depth=depth, ensemble=ensemble), size) for ensemble in ENSEMBLES]
        for net, size in stationary
    ]
    flat = [kind for of_activation in kinds for kind in of_activation]
    found = _spectra(options, depth, flat).expand_dims(depth=[depth])
    logs = found.log_singular_values.isel(depth=0).transpose("activation", "ensemble", "seed", "index").values
    theories: dict[str, list] = {name: [] for name in ("grid", "density", "edges", "point_mass", "largest")}
    for of_activation, measured in zip(kinds, logs, strict=True):
        rows = [_theory(net, values) for (net, _), values in zip(of_activation, measured, strict=True)]
        for name, values in zip(theories, zip(*rows, strict=True), strict=True):
            theories[name].append(values)
    own = {"grid": ("point",), "density": ("point",), "edges": ("edge",), "point_mass": (), "largest": ()}
    for name, dims in own.items():
        found[name] = ("depth", "activation", "ensemble", *dims), np.array([theories[name]])
    return found


def _spectra(options: Options, depth: int, kinds: list[tuple[jaxsat.MLP, float]]) -> xarray.Dataset:
    """Sweep all kinds of network of one depth, in a single program: ln of their singular values."""
    names = list(dict.fromkeys(net.phi.name for net, _ in kinds))
    direction = np.asarray(jax.random.normal(addresses.root(options.root_seed), (options.width,)), float)
    direction = direction / np.sqrt(np.mean(direction**2))

    def spectra(net, key, x):
        inputs = [x * np.sqrt(size) for _, size in kinds]  # layer 1 has the stationary length already
        function = jaxsat.spectrum.log_singular_values_of_product
        found = factored.of_each(function, [net for net, _ in kinds], key, inputs)
        return {"log_singular_values": found.reshape(len(names), len(ENSEMBLES), options.width)}

    label = Variable(
        ("activation", "ensemble", "index"), "ln of the singular values of dy/dx, descending",
        coordinates={"activation": names, "ensemble": ENSEMBLES},
    )  # fmt: skip
    return jaxsat.sweep(
        jaxsat.MLP(depth, options.width), Measure("log_singular_values", spectra, {"log_singular_values": label}), {},
        seeds=options.seeds, root_seed=options.root_seed, x=direction, store=command.part(options, NAME, f"depth-{depth}"),
    )  # fmt: skip


def _theory(net: jaxsat.MLP, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Return the density of ln s on a grid down to what is measured, quantiles, point masses, and the largest ln s."""
    asked = (net.phi.name, net.depth, net.weight_scale, net.bias_scale, net.ensemble)
    with jax.enable_x64(True):
        moments = jax.jit(functools.partial(theory.spectrum_moments, *asked))()
    high = float(moments.log_upper) / 2
    finite = logs[np.isfinite(logs)]
    low = max(float(moments.log_lower) / 2, float(np.quantile(finite, 0.002)) if finite.size else high - 1.0)
    low = min(low, high - 1e-3)
    angle = np.linspace(0, np.pi, 112)  # a multiple of 16: the density is computed in batches of 16
    grid = high - (high - low) * (1 - np.cos(angle[::-1] / 2))
    density = np.asarray(theory.log_spectrum_density(grid, *asked), float)
    cumulated = _cumulated(grid, density)
    edges = np.interp(np.linspace(0.02, 0.98, BINS + 1) * cumulated[-1], cumulated, grid)
    return grid, density, edges, float(moments.zero_mass) + float(moments.top_mass), high


def _cumulated(grid: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Return the integral of a density from the beginning of its grid, by trapezes."""
    return np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])


def draw(options: Options, dataset: xarray.Dataset):
    """Return the figure, from the dataset alone."""
    names, found = options.activations, []
    with plotting.style():
        fig, axes = plt.subplots(
            len(names) + 1, 2, figsize=(plotting.PAGE, 1.55 * len(names) + 1.9), layout="constrained", squeeze=False
        )
        for row, name in enumerate(names):
            for ax, off, ensemble in zip(axes[row], axes[-1], ENSEMBLES, strict=True):
                of = dataset.sel(activation=name, ensemble=ensemble)
                _draw_densities(ax, of)
                ax.set_title(f"{name}, {ensemble}")
                found += _draw_discrepancies(off, of, plotting.MARKERS[row % 8])
            axes[-1, 0].plot([], [], plotting.MARKERS[row % 8], color="k", mfc="none", label=name)
        for ax in axes[-1]:
            panels.standard_errors(ax)
            ax.set_xlabel("theoretical quantile")
        axes[-1, 0].legend(ncols=2, fontsize=5.5)
        for ax in axes[len(names) - 1]:
            ax.set_xlabel(r"$\ln s\,/\,L$ of the Jacobian (nats per layer)")
        for ax in axes[:-1, 0]:
            ax.set_ylabel("density")
        next(ax for ax in axes.flat if ax.get_legend_handles_labels()[0]).legend(loc="upper left")
        plotting.panel_letters(list(axes.flat))
        plotting.footnote(fig, _footer(options, dataset, np.concatenate(found)))
    return fig


def _draw_densities(ax, of) -> None:
    """Density of ln s over the depth, measured and in theory, a colour for each depth."""
    tallest = 0.0  # but for the last tenth: some densities diverge at their upper edge
    for i, depth in enumerate(of.depth.values):
        one, color = of.sel(depth=depth), panels.color(i)
        if np.nanmax(one.density) <= 0:
            ax.text(0.5, 0.5, "all singular values are equal", transform=ax.transAxes, ha="center", color="0.35")
            continue
        at = one.grid.values
        edges = np.linspace(at[0], at[-1], 41)
        found = estimates.density(one.log_singular_values.transpose("seed", ...).values, edges)
        low, high = (np.append(depth * end, np.nan) for end in (found.low, found.high))
        ax.fill_between(edges / depth, low, high, step="post", color=color, alpha=0.35, lw=0)
        ax.step(edges[:-1] / depth, depth * found.estimate, where="post", color=color, lw=0.5)
        ax.plot(at / depth, depth * one.density, color=color, label=f"L = {depth}")
        ax.plot([float(one.largest) / depth], [0], "|", color=color, ms=8, mew=1.2, clip_on=False)
        tallest = max(tallest, depth * float(np.quantile(one.density, 0.9)))
    ax.set_ylim(0, 1.15 * tallest or 1.0)


def _draw_discrepancies(ax, of, marker: str) -> list[np.ndarray]:
    """Shares of singular values between theoretical quantiles, less theory, in standard errors; returned too."""
    found = []
    for i, depth in enumerate(of.depth.values):
        one = of.sel(depth=depth)
        if np.nanmax(one.density) <= 0:
            continue
        logs, edges = one.log_singular_values.transpose("seed", ...).values, one.edges.values
        counted = np.stack([np.histogram(of_seed, edges)[0] for of_seed in logs]) / logs.shape[1]
        cumulated = _cumulated(one.grid.values, one.density.values)
        expected = np.diff(np.interp(edges, one.grid.values, cumulated))
        z = panels.discrepancy(estimates.mean_interval(counted, axis=0), expected)
        where = (np.arange(BINS) + 0.5) / BINS + 0.012 * (i - 1)
        ax.plot(where, z, marker, color=panels.color(i), mfc="none", mew=0.8)
        found.append(z)
    return found


def _footer(options: Options, dataset, z: np.ndarray) -> str:
    scales = ", ".join(f"{n} {float(dataset.scale.sel(activation=n)):.4g}" for n in options.activations)
    z = z[np.isfinite(z)]
    return (
        f"Lines: free probability, infinite width. Ticks: its largest singular value. Steps: {options.seeds} seeds (root {options.root_seed}) pooled, with a 95 % band; "
        f"n = {options.width}.\nCritical weight scales: {scales}; sigma_b = {options.bias_scale:g} (0 for identity, relu, leaky_relu); input scaled so that every layer has the stationary length.\n"
        "Singular values that are exactly zero or exactly equal (relu, hard_tanh, linear orthogonal) are point masses of the theory. They are not drawn. "
        f"Lowest row: share of values in ten\nequally likely intervals; markers: activation, colours: depth; grey: 95 %. The rank of a finite network is that of its layer with the fewest active units,\nlower than in theory (relu, hard_tanh: lowest interval). Elsewhere networks differ from theory by some L/n. In standard errors: rms {np.sqrt(np.mean(z**2)):.2f}. {words.made(dataset)}"
    )


if __name__ == "__main__":
    command.run(Options, main, __doc__)
