"""How likely is a network born dead, or a unit born saturated, and does theory say so?

A relu layer with all units off passes nothing: the probability that a network is dead for one input is exact, for every
input it has bounds (Lu et al. 2020). A sigmoidal unit is born saturated where its gaussian pre-activation lies in the
tails of its slope.
"""

from __future__ import annotations

import dataclasses

from analyses import command

NAME = "born_dead"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer seeds, layers and units (their options are ignored)."""
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
    """Their number for each activation and scale."""
    saturation_depth: int = 10
    """Their layers; the last is looked at."""
    saturation_width: int = 256
    """Their units per layer."""
    level: float = 0.05
    """A unit is saturated where its slope is at most this share of the largest."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"seeds": 3000, "depth": 30, "widths": (2, 3, 5), "saturation_seeds": 24, "saturation_width": 128}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    if not 0 <= options.level < 1:
        raise ValueError(f"level: must lie in [0, 1); got {options.level}.")
    if options.saturation_seeds < 2:
        raise ValueError(f"saturation_seeds: must be at least 2; got {options.saturation_seeds}.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """Which networks are dead at which depth, which share of units is saturated, and the probabilities of both."""
    import functools

    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray

    import jaxsat
    from jaxsat import activations, theory
    from jaxsat.measures import Measure, Variable, saturation

    names = [activations.get(name).name for name in options.activations]

    def dead(net, key, x):
        params = net.init(key)
        off = jax.vmap(lambda one: jnp.all(net.trace(params, one).activations == 0, axis=-1))(x)
        return {"dead_for_one": off[0], "dead_for_all": jnp.all(off, axis=0)}

    def saturated(net, key, x):
        h = net.trace(net.init(key), jaxsat.networks.gaussian_input(net, key)).pre_activations[-1]
        return {"saturated": saturation.saturated_fraction(net.phi, h, options.level)}

    labels = {
        "dead_for_one": Variable(("layer",), "dead for the input 1"),
        "dead_for_all": Variable(("layer",), "dead for every input, that is for 1 and -1"),
        "saturated": Variable((), "share of saturated units of the last layer"),
    }
    narrow = jaxsat.MLP(depth=options.depth, width=1, activation="relu", inputs=1)
    found = jaxsat.sweep(
        narrow, Measure("dead", dead, labels), {"width": list(options.widths)}, seeds=options.seeds,
        root_seed=options.root_seed, x=np.array([[1.0], [-1.0]]), store=command.part(options, NAME, "dead"),
    )  # fmt: skip
    wide = jaxsat.MLP(depth=options.saturation_depth, width=options.saturation_width)
    over = {"activation": names, "weight_scale": sorted(options.scales)}
    shares = jaxsat.sweep(
        wide,
        Measure("saturated", saturated, labels),
        over,
        seeds=options.saturation_seeds,
        root_seed=options.root_seed,
        store=command.part(options, NAME, "saturated"),
    )
    found["saturated"] = shares.saturated.rename(seed="saturation_seed")

    fine = np.geomspace(min(options.scales), max(options.scales), 60)

    def probability(name, w):
        q = theory.length_trajectory(name, options.saturation_depth, w)[-1]
        return theory.saturated_probability(name, q, options.level)

    depths = range(1, options.depth + 1)
    with jax.enable_x64(True):
        for label, scales in (("weight_scale", shares.weight_scale.values), ("fine_weight_scale", fine)):
            rows = [np.asarray(jax.lax.map(functools.partial(probability, n), jnp.asarray(scales))) for n in names]
            found[f"saturated_theory_{label}"] = (
                ("activation", label),
                np.stack(rows),
                {"long_name": "probability", "units": "1"},
            )
    one = [[theory.born_dead_probability(d, n) for d in depths] for n in options.widths]
    bounds = np.array([[theory.born_dead_bounds(d, n, inputs=1) for d in depths] for n in options.widths])
    for name, values in (("one", np.array(one)), ("all_lower", bounds[..., 0]), ("all_upper", bounds[..., 1])):
        found[f"probability_{name}"] = xarray.Variable(
            ("width", "layer"), values, {"long_name": "probability", "units": "1"}
        )
    return found.assign_coords(fine_weight_scale=fine)


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import numpy as np
    from matplotlib import pyplot as plt

    from jaxsat.results import estimates, plotting

    layers = dataset.layer.values
    chosen = np.unique(np.geomspace(1, len(layers), 12).astype(int)) - 1
    dead = {
        kind: estimates.share_interval(
            dataset[f"dead_for_{kind}"].transpose("width", "layer", "seed").values.sum(-1), dataset.sizes["seed"]
        )
        for kind in ("one", "all")
    }
    saturated = estimates.mean_interval(dataset.saturated.transpose("activation", "weight_scale", ...).values)
    scales = dataset.weight_scale.values
    with plotting.style():
        fig, axes = plt.subplots(2, 2, figsize=(plotting.PAGE, 4.4), layout="constrained")
        (one, every), (units, off) = axes
        worst = []
        for i, width in enumerate(dataset.width.values):
            marks = {
                "color": plotting.COLORS[i % 8],
                "marker": plotting.MARKERS[i % 8],
                "ls": "none",
                "mfc": "none",
                "mew": 0.7,
            }
            for ax, kind in ((one, "one"), (every, "all")):
                share = [part[i, chosen] for part in dead[kind][:3]]
                ax.errorbar(
                    layers[chosen], share[0], (share[0] - share[1], share[2] - share[0]), **marks, elinewidth=0.7,
                    label=f"n = {width}",
                )  # fmt: skip
            one.plot(layers, dataset.probability_one[i], color=marks["color"], lw=0.8)
            every.fill_between(
                layers,
                dataset.probability_all_lower[i],
                dataset.probability_all_upper[i],
                color=marks["color"],
                alpha=0.3,
                lw=0.5,
            )
            p = dataset.probability_one.values[i, chosen]
            error = np.sqrt(p * (1 - p) / dataset.sizes["seed"])
            enough = p * (1 - p) * dataset.sizes["seed"] > 10  # fewer expected cases are not normally distributed
            z = np.where(enough, (dead["one"].estimate[i, chosen] - p) / error, np.nan)
            worst.append(z)
            off.plot(layers[chosen], z, **marks)
        for ax, title in ((one, "relu networks dead for one input"), (every, "relu networks dead for every input")):
            ax.set(xscale="log", xlabel="depth (layers)", ylabel="share of networks", ylim=(-0.03, 1.03), title=title)
        one.legend(loc="upper left")
        between = every.fill_between([], [], [], color="0.5", alpha=0.3, label="bounds")
        every.legend(handles=[between], loc="upper left")
        for i, name in enumerate(dataset.activation.values):
            marks = {
                "color": plotting.COLORS[i % 8],
                "marker": plotting.MARKERS[i % 8],
                "ls": "none",
                "mfc": "none",
                "mew": 0.7,
            }
            estimate, low, high = (part[i] for part in saturated[:3])
            units.errorbar(scales, estimate, (estimate - low, high - estimate), **marks, elinewidth=0.7)
            units.plot(
                dataset.fine_weight_scale,
                dataset.saturated_theory_fine_weight_scale[i],
                color=marks["color"],
                lw=0.8,
                label=name,
            )
            theory = dataset.saturated_theory_weight_scale.values[i]
            with np.errstate(invalid="ignore", divide="ignore"):
                z = (estimate - theory) / ((high - low) / 3.92)
            units_off = np.where((estimate > 0) & (high > low), z, np.nan)
            worst.append(units_off)
        units.set(
            xscale="log",
            xlabel=r"weight scale $\sigma_w$",
            ylabel="share of saturated units",
            title="units born saturated",
        )
        units.set_xticks(scales, labels=[f"{s:g}" for s in scales])
        units.minorticks_off()
        units.legend(loc="upper left")
        off.axhspan(-1.96, 1.96, color="0.92", lw=0)
        off.axhline(0, color="0.5", lw=0.6)
        off.set(
            xscale="log", xlabel="depth (layers)", ylabel="measured - theory (s.e.)", title="discrepancy for one input"
        )
        plotting.panel_letters(list(axes.flat))
        n = len(dataset.width)
        dead_z, unit_z = np.concatenate(worst[:n]), np.concatenate(worst[n:])
        footer = (
            f"a, b: {dataset.sizes['seed']} seeds (root {options.root_seed}), gaussian weights, no biases, one input number; 95 % Wilson intervals; lines: 1 - (1 - 2^-n)^L, exact; bands: bounds. Every input: both 1 and -1.\n"
            f"c: last of {options.saturation_depth} layers, n = {options.saturation_width}, {options.saturation_seeds} seeds, slope at most {100 * options.level:g} % of the largest; "
            "lines: probability at the mean-field length, infinite width; means with 95 % intervals.\n"
            f"Discrepancies in standard errors: a worst {_worst(dead_z)}; c worst {_worst(unit_z)}. "
            f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


def _worst(values) -> str:
    import numpy as np

    known = values[np.isfinite(values)]
    return f"{np.abs(known).max():.1f}, rms {np.sqrt(np.mean(known**2)):.2f}" if known.size else "none known"


if __name__ == "__main__":
    command.run(Options, main, __doc__)
