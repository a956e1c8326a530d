"""How likely is a network born dead, or a unit born saturated, and does theory predict it?

A relu layer whose units are all off passes nothing on. The probability that a network is dead for one input is exact; for
every input it has bounds (Lu et al. 2020). A sigmoidal unit is born saturated where its gaussian pre-activation lies in
the tails of its slope.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from matplotlib.patches import Patch

import jaxsat
from analyses.shared import command, layouts, panels, theories, words
from analyses.shared.captions import Caption, Drawing, Number
from jaxsat import activations, theory
from jaxsat.measures import Measure, Variable, saturation
from jaxsat.results import estimates

NAME = "born_dead"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer activations, seeds, layers and units (their options are ignored)."""
    widths: tuple[int, ...] = (2, 3, 4, 6, 10)
    """Units per layer of the relu networks."""
    depth: int = 60
    """Layers of the relu networks."""
    seeds: int = 20_000
    """Relu networks for each width."""
    activations: tuple[str, ...] = ("tanh", "sigmoid", "softsign", "hard_tanh")
    """Names from jaxsat.activations.names(), for the share of saturated units."""
    scales: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0)
    """Weight scales sigma_w of those networks."""
    saturation_seeds: int = 64
    """Number of those networks for each activation and scale."""
    saturation_depth: int = 10
    """Their layers; units of the last layer are counted."""
    saturation_width: int = 256
    """Their units per layer."""
    level: float = 0.05
    """A unit is saturated where its slope is at most this share of the largest slope."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {
    "seeds": 3000,
    "depth": 30,
    "widths": (2, 3, 5),
    "activations": ("tanh", "hard_tanh"),
    "saturation_seeds": 24,
    "saturation_width": 128,
}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.check_named(options.activations)
    command.check_numbers(options, "level", least=0, most=0.999)
    command.check_at_least(options, "An interval needs two networks.", saturation_seeds=2)
    command.produce(options, NAME, measure, DRAWINGS)


def measure(options: Options) -> xarray.Dataset:
    """Return which networks are dead at which depth, which share of units is saturated, and both probabilities."""
    dataset, shares = _dead_networks(options), _saturated_units(options)
    dataset["saturated"] = shares.saturated.rename(seed="saturation_seed")
    fine = np.geomspace(min(options.scales), max(options.scales), 60)
    scales = shares.weight_scale.values
    told = {"long_name": "probability", "units": "1"}
    found = np.stack([_saturated_theory(options, name, scales, fine) for name in shares.activation.values])
    dataset["saturated_theory_weight_scale"] = ("activation", "weight_scale"), found[:, : len(scales)], told
    dataset["saturated_theory_fine_weight_scale"] = ("activation", "fine_weight_scale"), found[:, len(scales) :], told
    depths = range(1, options.depth + 1)
    one = [[theory.born_dead_probability(depth, width) for depth in depths] for width in options.widths]
    bounds = [[theory.born_dead_bounds(depth, width, inputs=1) for depth in depths] for width in options.widths]
    lower, upper = np.moveaxis(np.array(bounds), -1, 0)
    for name, values in (("one", np.array(one)), ("all_lower", lower), ("all_upper", upper)):
        dataset[f"probability_{name}"] = xarray.Variable(("width", "layer"), values, told)
    return dataset.assign_coords(fine_weight_scale=fine)


def _dead_networks(options: Options) -> xarray.Dataset:
    """Sweep relu networks over widths: dead or not, at every layer."""

    def dead(net, key, x):
        params = net.init(key)
        values = jax.vmap(lambda one: net.trace(params, one).activations)(x)
        off = jnp.all(values == 0, axis=-1)
        return {"dead_for_one": off[0], "dead_for_all": jnp.all(off, axis=0)}

    labels = {
        "dead_for_one": Variable(("layer",), "dead for the input 1"),
        "dead_for_all": Variable(("layer",), "dead for every input, that is for 1 and -1"),
    }
    narrow = jaxsat.MLP(depth=options.depth, width=1, activation="relu", inputs=1)
    return jaxsat.sweep(
        narrow, Measure("dead", dead, labels), {"width": list(options.widths)}, seeds=options.seeds,
        root_seed=options.root_seed, x=np.array([[1.0], [-1.0]]), store=command.part(options, NAME, "dead"),
    )  # fmt: skip


def _saturated_units(options: Options) -> xarray.Dataset:
    """Sweep wide networks over activations and weight scales: share of saturated units in the last layer."""

    def saturated(net, key, x):
        h = net.trace(net.init(key), jaxsat.networks.gaussian_input(net, key)).pre_activations[-1]
        return {"saturated": saturation.saturated_fraction(net.phi, h, options.level)}

    labels = {"saturated": Variable((), "share of saturated units of the last layer")}
    wide = jaxsat.MLP(depth=options.saturation_depth, width=options.saturation_width)
    names = [activations.get(name).name for name in options.activations]
    return jaxsat.sweep(
        wide, Measure("saturated", saturated, labels), {"activation": names, "weight_scale": sorted(options.scales)},
        seeds=options.saturation_seeds, root_seed=options.root_seed, store=command.part(options, NAME, "saturated"),
    )  # fmt: skip


def _saturated_theory(options: Options, name: str, *grids: np.ndarray) -> np.ndarray:
    """Return the probability that a unit of a wide network is saturated, at the weight scales of all grids."""

    def probability(weight_scale):
        q = theory.length_trajectory(name, options.saturation_depth, weight_scale)[-1]
        return theory.saturated_probability(name, q, options.level)

    return theories.over(probability, np.concatenate(grids))


def draw_networks(options: Options, dataset: xarray.Dataset):
    """Return the figure of relu networks that are dead: for one input, for every input, and the discrepancy from theory."""
    figure, (one, every, off) = layouts.panels(options, 3, below=1)
    shares = _draw_dead(one, dataset, "one", "one input")
    _draw_dead(every, dataset, "all", "every input")
    for i in range(dataset.sizes["width"]):
        one.plot(dataset.layer, dataset.probability_one[i], color=panels.color(i), lw=0.8)
        ends = dataset.probability_all_lower[i], dataset.probability_all_upper[i]
        every.fill_between(dataset.layer, *ends, color=panels.color(i), alpha=0.3, lw=0.5)
    z = _dead_discrepancies(dataset, shares)
    for i in range(dataset.sizes["width"]):
        off.plot(dataset.layer.values[_chosen(dataset)], z[i], **panels.marks(i))
    panels.standard_errors(off)
    off.set(xscale="log", xlabel="depth (layers)", title="one input")
    every.legend(handles=[Patch(color="0.5", alpha=0.3, lw=0, label="bounds")], loc="upper left")
    figure.legend(*one.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    layouts.letters([one, every, off])
    return figure


def draw_units(options: Options, dataset: xarray.Dataset):
    """Return the figure of units that are born saturated, against the weight scale."""
    figure, (ax,) = layouts.panels(options, 1)
    _draw_saturated(ax, options, dataset)
    return figure


def _chosen(dataset) -> np.ndarray:
    """Return the places of the layers that are shown."""
    return np.unique(np.geomspace(1, dataset.sizes["layer"], 12).astype(int)) - 1


def _draw_dead(ax, dataset, kind: str, title: str) -> estimates.Interval:
    """Draw shares of dead networks against depth, and return them (width, layer)."""
    shares = _shares(dataset, kind)
    layers, chosen = dataset.layer.values, _chosen(dataset)
    for i, width in enumerate(dataset.width.values):
        estimate, low, high = (part[i, chosen] for part in shares[:3])
        errors = panels.bars(estimate, low, high)
        ax.errorbar(layers[chosen], estimate, errors, **panels.marks(i), elinewidth=0.7, label=f"width {width}")
    ax.set(xscale="log", xlabel="depth (layers)", ylabel="share of networks", ylim=(-0.03, 1.03), title=title)
    return shares


def _shares(dataset, kind: str) -> estimates.Interval:
    """Return the shares of dead networks (width, layer)."""
    dead = dataset[f"dead_for_{kind}"].transpose("width", "layer", "seed").values
    return estimates.share_interval(dead.sum(-1), dataset.sizes["seed"])


def _dead_discrepancies(dataset, shares) -> np.ndarray:
    """Return shares less probabilities of networks dead for one input, in standard errors (width, layer shown)."""
    count, chosen = dataset.sizes["seed"], _chosen(dataset)
    p = dataset.probability_one.values[:, chosen]
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (shares.estimate[:, chosen] - p) / np.sqrt(p * (1 - p) / count)
    return np.where(p * (1 - p) * count > 10, z, np.nan)  # fewer expected cases are not normally distributed


def _saturated(options: Options, dataset) -> estimates.Interval:
    """Return the shares of saturated units (activation, weight scale)."""
    shares = dataset.saturated.transpose("activation", "weight_scale", ...).values
    return estimates.mean_share_interval(shares, options.saturation_width)


def _draw_saturated(ax, options: Options, dataset) -> None:
    """Draw shares of saturated units and their theory."""
    found, scales = _saturated(options, dataset), dataset.weight_scale.values
    for i, name in enumerate(dataset.activation.values):
        estimate, low, high = (part[i] for part in found[:3])
        ax.errorbar(scales, estimate, panels.bars(estimate, low, high), **panels.marks(i), elinewidth=0.7)
        fine = dataset.saturated_theory_fine_weight_scale[i]
        ax.plot(dataset.fine_weight_scale, fine, color=panels.color(i), lw=0.8, label=name)
    ax.set(xscale="log", xlabel=r"weight scale $\sigma_w$", ylabel="share of saturated units")
    ax.set_xticks(scales, labels=[f"{s:g}" for s in scales])
    ax.minorticks_off()
    ax.legend(loc="upper left")


def of_networks(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say how many networks are born dead."""
    numbers, shares = [], {kind: _shares(dataset, kind) for kind in ("one", "all")}
    for kind, what in (("one", "one input"), ("all", "every input")):
        for i, width in enumerate(dataset.width.values):
            for at in _chosen(dataset):
                ends = (float(part[i, at]) for part in shares[kind][:3])
                expected = float(dataset.probability_one[i, at]) if kind == "one" else np.nan
                numbers.append(
                    Number(f"share dead for {what}, width {width}, {int(dataset.layer[at])} layers", *ends, expected)
                )
    z = _dead_discrepancies(dataset, shares["one"])
    first, last = (
        f"{100 * float(shares['one'].estimate[i, -1]):.0f} % (width {dataset.width.values[i]})" for i in (0, -1)
    )
    return Caption(
        f"Of relu networks with {options.depth} layers {first} to {last} are born dead for an input; {words.agreement(z)}.",
        [
            "Share of networks that are dead for one input; lines: 1 - (1 - 2^-n)^L, exact, with n units in each of L layers.",
            "Share that is dead for every input, that is for 1 and -1; bands: bounds of theory.",
            "Measured less theory for one input, in standard errors; grey: 95 %.",
        ],
        "Points: shares with 95 % Wilson intervals. Colour: width.",
        [
            f"{dataset.sizes['seed']} networks of each width (root {options.root_seed}).",
            "Gaussian weights, no biases, a single input.",
        ],
        numbers,
        f"The probability to be dead for one input is exact; for every input it has bounds. Discrepancies in standard errors: {words.worst(z)}.",
        "Lu et al. (2020), figure 3, show the probability against depth for widths up to 10 and see the same: at width 2 and 10 layers over 90 % are dead.",
    )  # fmt: skip


def of_units(options: Options, dataset: xarray.Dataset) -> Caption:
    """Say how many units are born saturated."""
    found, theory_at = _saturated(options, dataset), dataset.saturated_theory_weight_scale.values
    z = panels.discrepancy(found, theory_at)
    scales, names = dataset.weight_scale.values, dataset.activation.values
    numbers = [
        Number(f"share of saturated units, {name}, weight scale {scale:g}", *(float(p[i, j]) for p in found[:3]), float(theory_at[i, j]))
        for i, name in enumerate(names) for j, scale in enumerate(scales)
    ]  # fmt: skip
    told = [f"{100 * float(found.estimate[i, -1]):.0f} % ({name})" for i, name in enumerate(names)]
    return Caption(
        f"At weight scale {scales[-1]:g} {words.enumerated(told)} of the units are born saturated; {words.agreement(z)}.",
        [f"Share of units of the last of {options.saturation_depth} layers whose slope is at most {100 * options.level:g} % of the largest, against the weight scale."],
        "Points: means over seeds with 95 % intervals. Lines: probability at the mean-field length, infinite width.",
        [
            f"{options.saturation_seeds} seeds (root {options.root_seed}), {options.saturation_depth} layers of {options.saturation_width} units.",
            "Gaussian weights and inputs, no biases.",
        ],
        numbers,
        f"A pre-activation is gaussian with the mean-field length as its variance. Discrepancies in standard errors: {words.worst(z)}.",
        "No figure of a paper is regenerated.",
    )  # fmt: skip


DRAWINGS = {"": Drawing(draw_networks, of_networks), "saturated_units": Drawing(draw_units, of_units)}


if __name__ == "__main__":
    command.run(Options, main, __doc__)
