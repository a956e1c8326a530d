"""Does free probability give the singular values of real Jacobians, for which activation, ensemble and depth?

Density of ln s of the input-output Jacobian of wide random networks at the edge of chaos, at their stationary length,
over the density of free probability (Pennington, Schoenholz & Ganguli 2017, 2018), and the discrepancy in standard errors
between theoretical quantiles.
"""

from __future__ import annotations

import dataclasses

from analyses import command
from jaxsat import addresses

NAME = "spectra_against_free_probability"
ENSEMBLES = ("gaussian", "orthogonal")
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
    """sigma_b, of activations other than the scale-free identity, relu and leaky_relu, which have none."""
    seeds: int = 20
    """Networks for each activation, ensemble and depth."""
    width: int = 200
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"activations": ("tanh", "relu"), "depths": (2, 8), "seeds": 6, "width": 64}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    if not options.depths or not all(depth >= 2 for depth in options.depths):
        raise ValueError(f"depths: must be at least 2, one or more; got {options.depths}.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """A sweep for each activation, ensemble and depth; densities and shares of theory."""
    import jax
    import numpy as np
    import xarray

    import jaxsat
    from jaxsat import theory

    direction = np.asarray(jax.random.normal(addresses.root(options.root_seed), (options.width,)), float)
    direction = direction / np.sqrt(np.mean(direction**2))
    rows = []
    for name in options.activations:
        bias = 0.0 if name in ("identity", "relu", "leaky_relu") else options.bias_scale
        with jax.enable_x64(True):  # theory is returned in the default dtype, and float32 cannot hold sqrt 2
            scale = float(theory.critical_weight_scale(name, bias))
            q = float(theory.mean_field(name, scale, bias).q)
        x = direction * np.sqrt((q - bias**2) / scale**2)  # layer 1 has the stationary length already
        blocks = []
        for ensemble in ENSEMBLES:
            for depth in options.depths:
                net = jaxsat.MLP(depth, options.width, name, scale, bias, ensemble)
                found = jaxsat.sweep(
                    net,
                    "log_singular_values",
                    {},
                    seeds=options.seeds,
                    root_seed=options.root_seed,
                    x=x,
                    store=command.part(options, NAME, f"{name}-{ensemble}-{depth}"),
                )
                moments = theory.spectrum_moments(name, depth, scale, bias, ensemble)
                logs = found.log_singular_values.values
                grid, density, shares = _theory(name, depth, scale, bias, ensemble, moments, logs)
                labels = {"ensemble": ensemble, "depth": depth}
                found["grid"], found["density"], found["edges"] = ("point", grid), ("point", density), ("edge", shares)
                found["point_mass"] = float(moments.zero_mass) + float(moments.top_mass)
                found["largest"] = float(moments.log_upper) / 2
                found["scale"] = scale
                blocks.append(found.expand_dims({k: [v] for k, v in labels.items()}))
        rows.append(xarray.combine_by_coords(blocks, combine_attrs="override").expand_dims(activation=[name]))
    return xarray.concat(rows, "activation", combine_attrs="override")


def _theory(name, depth, scale, bias, ensemble, moments, logs):
    """Density of ln s on a grid down to what is measured, and the quantiles that cut it into equal shares."""
    import numpy as np

    from jaxsat import theory

    high = float(moments.log_upper) / 2
    finite = logs[np.isfinite(logs)]
    low = max(float(moments.log_lower) / 2, float(np.quantile(finite, 0.002)) if finite.size else high - 1.0)
    low = min(low, high - 1e-3)
    angle = np.linspace(0, np.pi, 241)
    grid = high - (high - low) * (1 - np.cos(angle[::-1] / 2))
    density = np.asarray(theory.log_spectrum_density(grid, name, depth, scale, bias, ensemble), float)
    cumulated = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    edges = np.interp(np.linspace(0.02, 0.98, BINS + 1) * cumulated[-1], cumulated, grid)
    return grid, density, edges


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import numpy as np
    from matplotlib import pyplot as plt

    from jaxsat.results import estimates, plotting

    names, depths = options.activations, dataset.depth.values
    worst = []
    with plotting.style():
        fig, axes = plt.subplots(
            len(names) + 1, 2, figsize=(plotting.PAGE, 1.55 * len(names) + 1.9), layout="constrained", squeeze=False
        )
        for row, name in enumerate(names):
            for column, ensemble in enumerate(ENSEMBLES):
                ax, off = axes[row, column], axes[-1, column]
                tallest = 0.0  # but for the last tenth: some densities diverge at their upper edge
                for i, depth in enumerate(depths):
                    of = dataset.sel(activation=name, ensemble=ensemble, depth=depth)
                    color = plotting.COLORS[i % 8]
                    logs = of.log_singular_values.transpose("seed", ...).values
                    if np.nanmax(of.density) <= 0:
                        ax.text(
                            0.5, 0.5, "all singular values alike", transform=ax.transAxes, ha="center", color="0.35"
                        )
                        continue
                    at = of.grid.values
                    edges = np.linspace(at[0], at[-1], 41)
                    found = estimates.density(logs, edges)
                    low, high = (np.append(depth * end, np.nan) for end in (found.low, found.high))
                    ax.fill_between(edges / depth, low, high, step="post", color=color, alpha=0.35, lw=0)
                    ax.step(edges[:-1] / depth, depth * found.estimate, where="post", color=color, lw=0.5)
                    ax.plot(at / depth, depth * of.density, color=color, label=f"L = {depth}")
                    ax.plot([float(of.largest) / depth], [0], "|", color=color, ms=8, mew=1.2, clip_on=False)
                    tallest = max(tallest, depth * float(np.quantile(of.density, 0.9)))
                    counted = np.stack([np.histogram(one, of.edges.values)[0] for one in logs]) / logs.shape[1]
                    expected = np.diff(
                        np.interp(
                            of.edges.values,
                            at,
                            np.concatenate(
                                [[0], np.cumsum((of.density.values[1:] + of.density.values[:-1]) / 2 * np.diff(at))]
                            ),
                        )
                    )
                    error = counted.std(0, ddof=1) / np.sqrt(len(logs))
                    z = np.where(error > 0, (counted.mean(0) - expected) / np.where(error > 0, error, 1.0), np.nan)
                    worst.append(z)
                    where = (np.arange(BINS) + 0.5) / BINS + 0.012 * (i - 1)
                    off.plot(where, z, plotting.MARKERS[row % 8], color=color, mfc="none", mew=0.8)
                ax.set_title(f"{name}, {ensemble}")
                ax.set_ylim(0, 1.15 * tallest or 1.0)
        for ax in axes[-1]:
            ax.axhspan(-1.96, 1.96, color="0.92", lw=0)
            ax.axhline(0, color="0.5", lw=0.6)
            ax.set(xlabel="theoretical quantile", ylabel="measured - theory (s.e.)")
        for row, name in enumerate(names):
            axes[-1, 0].plot([], [], plotting.MARKERS[row % 8], color="k", mfc="none", label=name)
        axes[-1, 0].legend(ncols=2, fontsize=5.5)
        for ax in axes[len(names) - 1]:
            ax.set_xlabel(r"$\ln s\,/\,L$ of the Jacobian (nats per layer)")
        for ax in axes[:-1, 0]:
            ax.set_ylabel("density")
        next(ax for ax in axes.flat if ax.get_legend_handles_labels()[0]).legend(loc="upper left")
        plotting.panel_letters(list(axes.flat))
        scales = ", ".join(f"{n} {float(dataset.scale.sel(activation=n).values.flat[0]):.4g}" for n in names)
        z = np.concatenate(worst)
        z = z[np.isfinite(z)]
        footer = (
            f"Lines: free probability, infinite width; ticks: its largest singular value. Steps: {options.seeds} seeds (root {options.root_seed}) pooled, with a 95 % bootstrap band over seeds; "
            f"n = {options.width}.\nCritical weight scales: {scales}; sigma_b = {options.bias_scale:g} (0 for identity, relu, leaky_relu); input scaled so that every layer has the stationary length.\n"
            "Exactly zero and exactly equal singular values (relu, hard_tanh, linear orthogonal) are point masses of the theory and not drawn. "
            f"Lowest row: share of values in ten\nequally likely intervals; markers: activation, colours: depth; grey: 95 %. Finite networks have the rank of their layer of fewest active\nunits, lower than the theory's (relu, hard_tanh: lowest interval), and differ by some L/n elsewhere: rms {np.sqrt(np.mean(z**2)):.2f}. "
            f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


if __name__ == "__main__":
    command.run(Options, main, __doc__)
