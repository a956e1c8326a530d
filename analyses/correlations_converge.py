"""Do lengths and correlations of inputs change from layer to layer as mean-field theory predicts?

The figure shows the length and correlation maps of Poole et al. (2016, figures 1 and 2) with their fixed points. Over
them, and against depth, it shows the lengths and correlations measured in random networks, and the discrepancy from
theory in standard errors.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from matplotlib import pyplot as plt

import jaxsat
from analyses.shared import command, panels, theories, words
from jaxsat import theory
from jaxsat.results import estimates, plotting

NAME = "correlations_converge"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer seeds and units (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh",)
    """Names from jaxsat.activations.names(); one row of panels each."""
    scales: tuple[float, ...] = (1.3, 2.5, 4.0)
    """Weight scales sigma_w."""
    bias_scale: float = 0.3
    """Bias scale sigma_b."""
    lengths: tuple[float, ...] = (0.1, 4.0)
    """Mean squares of the inputs whose lengths are followed."""
    correlations: tuple[float, ...] = (0.0, 0.9)
    """Correlations of the pairs of inputs, of mean square 1."""
    seeds: int = 64
    """Networks for each weight scale."""
    depth: int = 20
    """Layers."""
    width: int = 512
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"seeds": 16, "width": 200, "depth": 12}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.check_numbers(options, "lengths", above=0)
    command.check_numbers(options, "correlations", least=-1, most=1)
    command.check_at_least(options, "A pair of inputs needs two units.", width=2)
    command.produce(options, NAME, measure, draw)


def measure(options: Options) -> xarray.Dataset:
    """Return lengths and correlations measured over weight scales; maps and trajectories of theory."""
    q_grid, c_grid = np.linspace(0.0, 15.0, 151), np.linspace(-1.0, 1.0, 81)
    dataset = _measured(options)
    dims = {"q": ("weight_scale",), "c": ("weight_scale",), "length_map": ("weight_scale", "q_grid"),
            "correlation_map": ("weight_scale", "c_grid"), "q_l": ("input_length", "weight_scale", "layer"),
            "c_l": ("input_correlation", "weight_scale", "layer")}  # fmt: skip
    found = [_theory(options, name, q_grid, c_grid) for name in options.activations]
    for name, own in dims.items():
        label = {"long_name": f"theory: {name.replace('_', ' ')}", "units": "1"}
        dataset[f"theory_{name}"] = xarray.Variable(("activation", *own), np.stack([of[name] for of in found]), label)
    return dataset.assign_coords(q_grid=q_grid, c_grid=c_grid)


def _measured(options: Options) -> xarray.Dataset:
    """Sweep over weight scales: all inputs of all lengths, and all pairs, in a single program for each activation."""
    # Two directions exactly orthogonal, of mean square 1.
    first = np.where(np.arange(options.width) % 2 == 0, 1.0, -1.0)
    other = np.where(np.arange(options.width) % 4 < 2, 1.0, -1.0)
    other = other - first * (first @ other) / (first @ first)
    other = other * np.sqrt(options.width / (other @ other))
    alone = [first * np.sqrt(q) for q in options.lengths]
    partners = [c * first + np.sqrt(1 - c * c) * other for c in options.correlations]
    count = len(alone)

    def followed(net, key, x):
        params = net.init(key)
        h = jax.vmap(lambda one: net.trace(params, one).pre_activations)(x)
        a, b = h[count], h[count + 1 :]
        sizes = jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1)
        return {
            "mean_squared_pre_activation": jnp.mean(h[:count] ** 2, axis=-1),
            "correlation": jnp.sum(a * b, axis=-1) / sizes,
        }

    labels = {
        "mean_squared_pre_activation": jaxsat.measures.Variable(
            ("input_length", "layer"), "mean squared pre-activation", coordinates={"input_length": options.lengths}
        ),
        "correlation": jaxsat.measures.Variable(
            ("input_correlation", "layer"), "correlation of pre-activations",
            coordinates={"input_correlation": options.correlations},
        ),
    }  # fmt: skip
    return jaxsat.sweep(
        jaxsat.MLP(depth=options.depth, width=options.width, bias_scale=options.bias_scale),
        jaxsat.measures.Measure("followed", followed, labels),
        {"activation": list(options.activations), "weight_scale": sorted(options.scales)},
        seeds=options.seeds, root_seed=options.root_seed, x=np.stack([*alone, first, *partners]),
        store=command.part(options, NAME),
    )  # fmt: skip


def _theory(options: Options, name: str, q_grid: np.ndarray, c_grid: np.ndarray) -> dict[str, np.ndarray]:
    """Return fixed points, maps and trajectories of one activation, all in a single program.

    Scales come along the last axis of what has input lengths or correlations, and along the first axis otherwise.
    """
    b = options.bias_scale
    lengths, correlations = np.asarray(options.lengths), np.asarray(options.correlations)

    def of_scale(s):
        field = theory.mean_field(name, s, b)
        # Where lengths diverge, correlations are mapped at the length of the first layer.
        at = jnp.where(jnp.isfinite(field.q), field.q, s * s + b * b)
        return {
            "q": field.q,
            "c": field.c,
            "length_map": jax.lax.map(lambda q: theory.length_map(name, q, s, b), q_grid),
            "correlation_map": jax.lax.map(lambda c: theory.correlation_map(name, c, at, s, b), c_grid),
            "q_l": jax.lax.map(lambda q: theory.length_trajectory(name, options.depth, s, b, q), lengths),
            "c_l": jax.lax.map(lambda c: theory.correlation_trajectory(name, options.depth, c, s, b), correlations),
        }

    found = theories.over(of_scale, np.asarray(sorted(options.scales)))
    return found | {key: found[key].swapaxes(0, 1) for key in ("q_l", "c_l")}  # the starts first


def draw(options: Options, dataset: xarray.Dataset):
    """Return the figure, from the dataset alone."""
    names, found = options.activations, []
    with plotting.style():
        fig, axes = plt.subplots(
            3 * len(names), 2, figsize=(plotting.PAGE, 5.6 * len(names)), layout="constrained", squeeze=False,
            height_ratios=[1.2, 1.2, 0.7] * len(names),
        )  # fmt: skip
        for row, name in enumerate(names):
            block = axes[3 * row : 3 * row + 3]
            for what, (maps, flow, off) in zip((LENGTHS, CORRELATIONS), block.T, strict=True):
                of = dataset.sel(activation=name)
                _draw_map(maps, of, what)
                found.append(_draw_flow(flow, off, maps, of, what))
            block[1, 0].set_yscale("log")
            block[0, 0].set_title(f"{name}: lengths")
            block[0, 1].set_title(f"{name}: correlations")
        axes[0, 0].legend(loc="upper left")
        axes[0, 1].plot([], [], "k*", ms=8, ls="none", label="fixed point")
        axes[0, 1].plot([], [], "ko", mfc="none", ms=2.5, ls="none", label="measured pairs of layers")
        axes[0, 1].legend(loc="lower right")
        plotting.panel_letters(list(axes.flat))
        plotting.footnote(fig, _footer(options, dataset, np.concatenate(found)))
    return fig


class Followed(NamedTuple):
    """What a column of panels shows: its symbol, and the names of its variables and coordinates."""

    symbol: str
    variable: str
    start: str
    grid: str
    map_name: str


LENGTHS = Followed("q", "mean_squared_pre_activation", "input_length", "q_grid", "length_map")
CORRELATIONS = Followed("c", "correlation", "input_correlation", "c_grid", "correlation_map")


def _draw_map(ax, of, what: Followed) -> None:
    """The map of theory from one layer to the next, with its fixed point, for each weight scale."""
    grid = of[what.grid].values
    for i, scale in enumerate(of.weight_scale.values):
        label = rf"$\sigma_w$ = {scale:g}"
        ax.plot(grid, of[f"theory_{what.map_name}"].values[i], color=panels.color(i), label=label)
        fixed = float(of[f"theory_{what.symbol}"][i])
        ax.plot([fixed], [fixed], "*", color=panels.color(i), ms=8, clip_on=False)
    ends = (grid[0], grid[-1])
    ax.plot(ends, ends, color="0.6", lw=0.6)
    symbol = f"${what.symbol}$"
    ax.set(xlabel=f"{symbol} of layer $l$", ylabel=f"{symbol} of layer $l+1$", xlim=ends, ylim=ends)


def _draw_flow(flow, off, maps, of, what: Followed) -> np.ndarray:
    """What was measured: against depth, pairs of layers on the map, and the discrepancies, which are returned."""
    layers, found = of.layer.values, []
    values = of[what.variable].transpose(what.start, "weight_scale", "layer", "seed").values
    for j, i in np.ndindex(values.shape[:2]):
        marks = panels.marks(i, mew=0.8)
        interval = estimates.mean_interval(values[j, i])
        mean, low, high, _ = interval
        expected = of[f"theory_{what.symbol}_l"].values[j, i]
        maps.plot(mean[:-1], mean[1:], **marks, ms=2.5)
        flow.plot(layers, expected, color=marks["color"], ls=("-", "--", ":", "-.")[j % 4])
        flow.errorbar(layers, mean, panels.bars(mean, low, high), **marks)
        z = panels.discrepancy(interval, expected)
        # Correlations of an ordered network end within rounding of 1: nothing to compare there.
        z = np.where(np.abs(expected - 1) < 1e-5, np.nan, z) if what is CORRELATIONS else z
        off.plot(layers, z, **marks)
        found.append(z)
    for ax in (flow, off):
        ax.xaxis.get_major_locator().set_params(integer=True)
    flow.set(xlabel="layer $l$", ylabel=f"${what.symbol}_l$")
    panels.standard_errors(off)
    off.set(xlabel="layer $l$")
    return np.concatenate(found)


def _footer(options: Options, dataset, z: np.ndarray) -> str:
    return (
        f"Lines: mean-field theory, infinite width (Poole et al. 2016). Points: mean over {options.seeds} seeds (root {options.root_seed}) with its 95 % interval; "
        f"L = {options.depth}, n = {options.width}, gaussian weights, sigma_b = {options.bias_scale:g}.\n"
        f"q: mean squared pre-activation, inputs of mean square {words.listed(options.lengths)} (solid, dashed). "
        f"c: cosine of the pre-activations of two inputs of mean square 1 and correlation {words.listed(options.correlations)}.\n"
        f"Discrepancies in standard errors (grey: 95 %): {words.worst(z)}. They include the difference of order 1/n between finite and infinite networks. {words.made(dataset)}"
    )


if __name__ == "__main__":
    command.run(Options, main, __doc__)
