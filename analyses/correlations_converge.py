"""Do lengths and correlations of inputs change from layer to layer as mean-field theory predicts?

The figure shows the length and correlation maps of Poole et al. (2016, figures 1 and 2) with their fixed points. Over
them, and against depth, it shows the lengths and correlations measured in random networks, and the discrepancy from
theory in standard errors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from matplotlib.lines import Line2D

import jaxsat
from analyses.shared import command, layouts, panels, theories, words
from analyses.shared.captions import Caption, Drawing, Number
from jaxsat import theory
from jaxsat.results import estimates

NAME = "correlations_converge"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer seeds and units (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh",)
    """Names from jaxsat.activations.names(); a figure each."""
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
    command.produce(options, NAME, measure, drawings)


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


def draw(options: Options, dataset: xarray.Dataset, name: str):
    """Return the figure of one activation: maps with measured pairs of layers, flow, and discrepancies."""
    figure, axes = layouts.panels(options, 6, most=2, tall=0.95, below=3 if layouts.narrow(options) else 1)
    of = dataset.sel(activation=name)
    for what, (maps, flow, off), title in zip(
        (LENGTHS, CORRELATIONS), (axes[::2], axes[1::2]), ("lengths", "correlations"), strict=True
    ):
        _draw_map(maps, of, what)
        _draw_flow(flow, off, maps, of, what)
        maps.set_title(title)
    axes[2].set_yscale("log")
    handles = axes[0].get_legend_handles_labels()[0]
    handles.append(Line2D([], [], color="k", marker="*", ms=8, ls="none", label="fixed point"))
    handles.append(Line2D([], [], color="k", marker="o", mfc="none", ms=2.5, ls="none", label="measured"))
    handles += [
        Line2D([], [], color="k", ls=line, label=f"theory, {which} input")
        for line, which in zip(LINES, ("first", "second"), strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if layouts.narrow(options) else 7)
    layouts.letters(axes)
    return figure


class Followed(NamedTuple):
    """What a column of panels shows: its symbol, and the names of its variables and coordinates."""

    symbol: str
    variable: str
    start: str
    grid: str
    map_name: str


LENGTHS = Followed("q", "mean_squared_pre_activation", "input_length", "q_grid", "length_map")
LINES = ("-", "--", ":", "-.")  # of the inputs
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


def _followed(of, what: Followed) -> Iterator[tuple[int, int, estimates.Interval, np.ndarray, np.ndarray]]:
    """Yield place of the start and of the weight scale, what was measured at each layer, what theory says, and how far it is off."""
    values = of[what.variable].transpose(what.start, "weight_scale", "layer", "seed").values
    for j, i in np.ndindex(values.shape[:2]):
        interval, expected = estimates.mean_interval(values[j, i]), of[f"theory_{what.symbol}_l"].values[j, i]
        z = panels.discrepancy(interval, expected)
        # Correlations of an ordered network end within rounding of 1: nothing to compare there.
        yield j, i, interval, expected, np.where(np.abs(expected - 1) < 1e-5, np.nan, z) if what is CORRELATIONS else z


def _draw_flow(flow, off, maps, of, what: Followed) -> None:
    """What was measured: against depth, pairs of layers on the map, and the discrepancies."""
    layers = of.layer.values
    for j, i, (mean, low, high, _), expected, z in _followed(of, what):
        marks = panels.marks(i, mew=0.8, ms=2.8)
        maps.plot(mean[:-1], mean[1:], **marks | {"ms": 2.2})
        flow.plot(layers, expected, color=marks["color"], ls=LINES[j % 4])
        flow.errorbar(layers, mean, panels.bars(mean, low, high), **marks)
        off.plot(layers, z, **marks)
    for ax in (flow, off):
        ax.xaxis.get_major_locator().set_params(integer=True)
    flow.set(xlabel="layer $l$", ylabel=f"${what.symbol}_l$")
    panels.standard_errors(off)
    off.set(xlabel="layer $l$")


def caption(options: Options, dataset: xarray.Dataset, name: str) -> Caption:
    """Say whether lengths and correlations follow theory."""
    of, numbers, found = dataset.sel(activation=name), [], []
    for what, symbol in ((LENGTHS, "mean squared pre-activation"), (CORRELATIONS, "correlation")):
        for j, i, interval, expected, z in _followed(of, what):
            start, scale = float(of[what.start][j]), float(of.weight_scale[i])
            which = f"{symbol} of the last layer, input {start:g}, weight scale {scale:g}"
            numbers.append(Number(which, *(float(part[-1]) for part in interval[:3]), float(expected[-1])))
            found.append(z)
    limits = [f"{float(c):.2g} (weight scale {float(w):g})" for c, w in zip(of.theory_c, of.weight_scale, strict=True)]
    return Caption(
        f"In theory correlations of inputs go to {words.enumerated(limits)} in {name} networks; {words.agreement(np.concatenate(found))}.",
        [text for of_panel in ("from a layer to the next; star: fixed point.", "against depth.", "measured less theory, in standard errors; grey: 95 %.")
         for text in (f"Lengths {of_panel}", f"Correlations {of_panel}")],
        f"Length q: mean squared pre-activation, inputs of mean square {words.listed(options.lengths)}. Correlation c: cosine of the pre-activations of two inputs of mean square 1 and "
        f"correlation {words.listed(options.correlations)}. Lines: mean field, infinite width. Points: means over seeds with 95 % intervals. Colour: weight scale.",
        [
            f"{options.seeds} seeds (root {options.root_seed}), {options.depth} layers of {options.width} units.",
            f"Gaussian weights, bias scale {options.bias_scale:g}.",
        ],
        numbers,
        f"Mean field at infinite width. Discrepancies in standard errors: {words.worst(np.concatenate(found))}; they include the difference of order 1 / width.",
        f"Poole et al. (2016), figures 1 and 2, with width 1000 and the same weight scales (1.3, 2.5, 4.0) and bias scale (0.3). Here the width is {options.width}.",
    )  # fmt: skip


def drawings(options: Options) -> dict[str, Drawing]:
    """Return a figure for each activation."""
    return Drawing.of_each(options.activations, draw, caption)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
