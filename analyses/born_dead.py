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
from matplotlib import pyplot as plt

import jaxsat
from analyses.shared import command, panels, theories, words
from jaxsat import activations, theory
from jaxsat.measures import Measure, Variable, saturation
from jaxsat.results import estimates, plotting

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
    command.produce(options, NAME, measure, draw)


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


def draw(options: Options, dataset: xarray.Dataset):
    """Return the figure, from the dataset alone."""
    with plotting.style():
        fig, axes = plt.subplots(2, 2, figsize=(plotting.PAGE, 4.4), layout="constrained")
        (one, every), (units, off) = axes
        shares = _draw_dead(one, dataset, "one", "relu networks dead for one input")
        _draw_dead(every, dataset, "all", "relu networks dead for every input")
        for i in range(dataset.sizes["width"]):
            one.plot(dataset.layer, dataset.probability_one[i], color=panels.color(i), lw=0.8)
            ends = dataset.probability_all_lower[i], dataset.probability_all_upper[i]
            every.fill_between(dataset.layer, *ends, color=panels.color(i), alpha=0.3, lw=0.5)
        one.legend(loc="upper left")
        between = every.fill_between([], [], [], color="0.5", alpha=0.3, label="bounds")
        every.legend(handles=[between], loc="upper left")
        unit_z = _draw_saturated(units, dataset)
        dead_z = _draw_discrepancies(off, dataset, shares)
        plotting.panel_letters(list(axes.flat))
        plotting.footnote(fig, _footer(options, dataset, dead_z, unit_z))
    return fig


def _chosen(dataset) -> np.ndarray:
    """Return the places of the layers that are shown."""
    return np.unique(np.geomspace(1, dataset.sizes["layer"], 12).astype(int)) - 1


def _draw_dead(ax, dataset, kind: str, title: str) -> estimates.Interval:
    """Draw shares of dead networks against depth, and return them (width, layer)."""
    dead = dataset[f"dead_for_{kind}"].transpose("width", "layer", "seed").values
    shares = estimates.share_interval(dead.sum(-1), dataset.sizes["seed"])
    layers, chosen = dataset.layer.values, _chosen(dataset)
    for i, width in enumerate(dataset.width.values):
        estimate, low, high = (part[i, chosen] for part in shares[:3])
        errors = panels.bars(estimate, low, high)
        ax.errorbar(layers[chosen], estimate, errors, **panels.marks(i), elinewidth=0.7, label=f"n = {width}")
    ax.set(xscale="log", xlabel="depth (layers)", ylabel="share of networks", ylim=(-0.03, 1.03), title=title)
    return shares


def _draw_discrepancies(ax, dataset, shares) -> np.ndarray:
    """Draw shares less probabilities of networks dead for one input, in standard errors, and return them."""
    count, chosen, found = dataset.sizes["seed"], _chosen(dataset), []
    for i in range(dataset.sizes["width"]):
        p = dataset.probability_one.values[i, chosen]
        error = np.sqrt(p * (1 - p) / count)
        enough = p * (1 - p) * count > 10  # fewer expected cases are not normally distributed
        z = np.where(enough, (shares.estimate[i, chosen] - p) / error, np.nan)
        ax.plot(dataset.layer.values[chosen], z, **panels.marks(i))
        found.append(z)
    panels.standard_errors(ax)
    ax.set(xscale="log", xlabel="depth (layers)", title="discrepancy for one input")
    return np.concatenate(found)


def _draw_saturated(ax, dataset) -> np.ndarray:
    """Draw shares of saturated units and their theory; return the discrepancies in standard errors."""
    values = dataset.saturated.transpose("activation", "weight_scale", ...).values
    found = estimates.mean_interval(values)
    scales, discrepancies = dataset.weight_scale.values, []
    for i, name in enumerate(dataset.activation.values):
        one = estimates.Interval(*(part[i] for part in found))
        estimate, low, high, _ = one
        ax.errorbar(scales, estimate, panels.bars(estimate, low, high), **panels.marks(i), elinewidth=0.7)
        fine = dataset.saturated_theory_fine_weight_scale[i]
        ax.plot(dataset.fine_weight_scale, fine, color=panels.color(i), lw=0.8, label=name)
        z = panels.discrepancy(one, dataset.saturated_theory_weight_scale.values[i])
        discrepancies.append(np.where(estimate > 0, z, np.nan))
    ax.set(
        xscale="log", xlabel=r"weight scale $\sigma_w$", ylabel="share of saturated units", title="units born saturated"
    )
    ax.set_xticks(scales, labels=[f"{s:g}" for s in scales])
    ax.minorticks_off()
    ax.legend(loc="upper left")
    return np.concatenate(discrepancies)


def _footer(options: Options, dataset, dead_z, unit_z) -> str:
    return (
        f"a, b: {dataset.sizes['seed']} seeds (root {options.root_seed}), gaussian weights, no biases, networks with a single input. Every input: both 1 and -1. Points: 95 % Wilson intervals.\n"
        "Lines: 1 - (1 - 2^-n)^L, exact. Bands: bounds of theory. "
        f"c: last of {options.saturation_depth} layers, n = {options.saturation_width}, {options.saturation_seeds} seeds. Saturated: slope at most {100 * options.level:g} % of the largest.\n"
        "Points: means with 95 % intervals. Lines: probability at the mean-field length, infinite width.\n"
        f"Discrepancies in standard errors (grey: 95 %): a {words.worst(dead_z)}; c {words.worst(unit_z)}. {words.made(dataset)}"
    )


if __name__ == "__main__":
    command.run(Options, main, __doc__)
