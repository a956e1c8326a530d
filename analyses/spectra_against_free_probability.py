"""Does free probability give the singular values of real Jacobians, for which activation, ensemble and depth?

The figure shows the density of ln s of the input-output Jacobian of wide random networks, at the edge of chaos and at
their stationary length. Over it stands the density of free probability (Pennington, Schoenholz & Ganguli 2017, 2018). The
lowest row shows the discrepancy between theoretical quantiles, in standard errors.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import numpy as np
import xarray
from matplotlib.lines import Line2D

import jaxsat
from analyses.shared import command, factored, layouts, panels, resolved, words
from analyses.shared.captions import Caption, Drawing, Number
from jaxsat import activations, addresses, theory
from jaxsat.measures import Measure, Variable
from jaxsat.results import drawing, estimates

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
    command.produce(options, NAME, measure, DRAWINGS)


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
        function = functools.partial(jaxsat.spectrum.log_singular_values_of_product, with_error=True)
        found = factored.of_each(function, [net for net, _ in kinds], key, inputs)
        shape = len(names), len(ENSEMBLES), options.width
        return {name: part.reshape(shape) for name, part in zip(labels, found, strict=True)}

    dims, coordinates = ("activation", "ensemble", "index"), {"activation": names, "ensemble": ENSEMBLES}
    labels = {
        "log_singular_values": Variable(
            dims, "ln of the singular values of dy/dx, descending", coordinates=coordinates
        ),
        "log_singular_values_error": Variable(dims, "estimated error of ln s", "nat", coordinates),
    }
    found = jaxsat.sweep(
        jaxsat.MLP(depth, options.width), Measure("log_singular_values", spectra, labels), {}, seeds=options.seeds,
        root_seed=options.root_seed, x=direction, store=command.part(options, NAME, f"depth-{depth}"),
    )  # fmt: skip
    known = resolved.known(found.log_singular_values, found.log_singular_values_error)
    return found.assign(log_singular_values=found.log_singular_values.copy(data=known))


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


def draw_densities(options: Options, dataset: xarray.Dataset, ensemble: str):
    """Return the figure of the densities of one ensemble, a panel for each activation."""
    names = options.activations
    figure, axes = layouts.panels(options, len(names), below=1)
    for ax, name in zip(axes, names, strict=True):
        _draw_densities(ax, dataset.sel(activation=name, ensemble=ensemble))
        ax.set(title=name, xlabel=r"$\ln s\,/\,L$", ylabel="density")
    shown = next((ax for ax in axes if ax.get_legend_handles_labels()[0]), axes[0])
    figure.legend(*shown.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    layouts.letters(axes)
    return figure


def draw_discrepancies(options: Options, dataset: xarray.Dataset):
    """Return the figure of shares between theoretical quantiles less theory, a panel for each ensemble."""
    figure, axes = layouts.panels(options, 2, below=1)
    for ax, ensemble in zip(axes, ENSEMBLES, strict=True):
        for row, name in enumerate(options.activations):
            of = dataset.sel(activation=name, ensemble=ensemble)
            for i, z in enumerate(_discrepancies(of)):
                where = (np.arange(BINS) + 0.5) / BINS + 0.012 * (i - 1)
                ax.plot(where, z, drawing.MARKERS[row % 8], color=panels.color(i), mfc="none", mew=0.8)
        panels.standard_errors(ax)
        ax.set(title=ensemble, xlabel="theoretical quantile")
    handles = [
        Line2D([], [], marker=drawing.MARKERS[row % 8], color="k", mfc="none", ls="none", label=name)
        for row, name in enumerate(options.activations)
    ]
    handles += [Line2D([], [], color=panels.color(i), label=f"depth {d}") for i, d in enumerate(dataset.depth.values)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4 if layouts.narrow(options) else 8)
    layouts.letters(axes)
    return figure


def _draw_densities(ax, of) -> None:
    """Density of ln s over the depth, measured and in theory, a colour for each depth."""
    tallest = 0.0  # but for the last tenth: some densities diverge at their upper edge
    for i, depth in enumerate(of.depth.values):
        one, color = of.sel(depth=depth), panels.color(i)
        if np.nanmax(one.density) <= 0:
            ax.text(
                0.5,
                0.5,
                "all singular values\nare equal",
                transform=ax.transAxes,
                ha="center",
                va="center",
                color="0.35",
            )
            continue
        at = one.grid.values
        edges = np.linspace(at[0], at[-1], 41)
        found = estimates.density(one.log_singular_values.transpose("seed", ...).values, edges)
        low, high = (np.append(depth * end, np.nan) for end in (found.low, found.high))
        ax.fill_between(edges / depth, low, high, step="post", color=color, alpha=0.35, lw=0)
        ax.step(edges[:-1] / depth, depth * found.estimate, where="post", color=color, lw=0.5)
        ax.plot(at / depth, depth * one.density, color=color, label=f"depth {depth}")
        ax.plot([float(one.largest) / depth], [0], "|", color=color, ms=8, mew=1.2, clip_on=False)
        tallest = max(tallest, depth * float(np.quantile(one.density, 0.9)))
    ax.set_ylim(0, 1.15 * tallest or 1.0)


def _discrepancies(of) -> list[np.ndarray]:
    """Return, for each depth, shares of singular values between theoretical quantiles less theory, in standard errors."""
    found = []
    for depth in of.depth.values:
        one = of.sel(depth=depth)
        if np.nanmax(one.density) <= 0:
            found.append(np.full(BINS, np.nan))
            continue
        logs, edges = one.log_singular_values.transpose("seed", ...).values, one.edges.values
        counted = np.stack([np.histogram(of_seed, edges)[0] for of_seed in logs]) / logs.shape[1]
        cumulated = _cumulated(one.grid.values, one.density.values)
        expected = np.diff(np.interp(edges, one.grid.values, cumulated))
        found.append(panels.discrepancy(estimates.mean_share_interval(counted, logs.shape[1], axis=0), expected))
    return found


PAPER = (
    "Pennington, Schoenholz & Ganguli (2017, 2018) compare such densities at other widths and depths. Here ln s over the depth is shown, and the input is scaled so that every "
    "layer has the stationary length."
)
THEORY = (
    "Free probability at infinite width. Singular values that are exactly 0 or exactly equal (relu, hard_tanh, linear orthogonal) are point masses of the theory and are not drawn. "
    "The rank of a finite network is that of its layer with the fewest active units, lower than in theory (relu, hard_tanh: lowest interval). Elsewhere networks differ from theory by some L / n."
)  # fmt: skip


def _setting(options: Options, dataset) -> list[str]:
    scales = ", ".join(f"{n} {float(dataset.scale.sel(activation=n)):.4g}" for n in options.activations)
    return [
        f"{options.seeds} seeds (root {options.root_seed}), {options.width} units per layer.",
        resolved.sentence(dataset.log_singular_values_error),
        f"Critical weight scales: {scales}; bias scale {options.bias_scale:g} (0 for identity, relu, leaky_relu).",
    ]


def _largest(options: Options, dataset, ensemble: str) -> list[Number]:
    """Return the largest ln s over the depth, measured and in theory."""
    numbers = []
    for name, depth in itertools.product(options.activations, options.depths):
        one = dataset.sel(activation=name, ensemble=ensemble, depth=depth)
        found = estimates.mean_interval(one.log_singular_values.max("index").values / depth)
        which = f"largest ln s / L (theory: end of the law at infinite width), {name}, {ensemble}, depth {depth}"
        numbers.append(Number(which, *map(float, found[:3]), float(one.largest) / depth))
    return numbers


def of_densities(options: Options, dataset: xarray.Dataset, ensemble: str) -> Caption:
    """Say whether free probability gives the singular values of one ensemble."""
    z = np.concatenate(
        [np.concatenate(_discrepancies(dataset.sel(activation=n, ensemble=ensemble))) for n in options.activations]
    )
    return Caption(
        f"Free probability against the singular values of Jacobians of width {options.width} with {ensemble} weights: {words.agreement(z)}.",
        [f"{name}." for name in options.activations],
        "Density of ln s over the depth. Lines: free probability, infinite width; ticks: its largest singular value. Steps: networks, pooled, with a 95 % band. Colour: depth.",
        _setting(options, dataset),
        _largest(options, dataset, ensemble),
        f"{THEORY} Discrepancies in standard errors: {words.worst(z)}.",
        PAPER,
    )  # fmt: skip


def of_discrepancies(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say where theory is off."""
    numbers, off = [], []
    for name, ensemble in itertools.product(options.activations, ENSEMBLES):
        for depth, z in zip(
            dataset.depth.values, _discrepancies(dataset.sel(activation=name, ensemble=ensemble)), strict=True
        ):
            if np.isfinite(z).any():
                rms = float(np.sqrt(np.nanmean(z**2)))
                numbers.append(
                    Number(f"rms discrepancy (standard errors), {name}, {ensemble}, depth {depth}", rms, expected=1.0)
                )
                off.append((rms, f"{name}, {ensemble} weights, depth {depth}"))
    rms, where = max(off) if off else (np.nan, "nowhere")
    return Caption(
        f"Free probability is furthest off for {where}: {rms:.1f} standard errors (root mean square).",
        [f"{ensemble} weights." for ensemble in ENSEMBLES],
        "Share of singular values in ten intervals that are equally likely in theory, less theory, in standard errors; grey: 95 %. Markers: activation; colours: depth.",
        _setting(options, dataset),
        numbers,
        THEORY,
        PAPER,
    )  # fmt: skip


DRAWINGS = {
    "": Drawing(
        functools.partial(draw_densities, ensemble="gaussian"), functools.partial(of_densities, ensemble="gaussian")
    ),
    "orthogonal": Drawing(
        functools.partial(draw_densities, ensemble="orthogonal"), functools.partial(of_densities, ensemble="orthogonal")
    ),
    "discrepancies": Drawing(draw_discrepancies, of_discrepancies),
}


if __name__ == "__main__":
    command.run(Options, main, __doc__)
