"""Do lengths and correlations of inputs flow from layer to layer as mean-field theory says?

The length and correlation maps of Poole et al. (2016, figures 1 and 2), with their fixed points; over them, and against
depth, the lengths and correlations measured in random networks, and the discrepancy in standard errors.
"""

from __future__ import annotations

import dataclasses

from analyses import command

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
    """sigma_b."""
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
    if not options.lengths or not all(q > 0 for q in options.lengths):
        raise ValueError(f"lengths: must be positive numbers, at least one; got {options.lengths}.")
    if not options.correlations or not all(-1 <= c <= 1 for c in options.correlations):
        raise ValueError(f"correlations: must be from -1 to 1, at least one; got {options.correlations}.")
    if options.width < 2:
        raise ValueError(f"width: must be at least 2 for a pair of inputs; got {options.width}.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """Sweeps over weight scales for inputs of several lengths and pairs of several correlations; maps and trajectories."""
    import functools

    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray

    import jaxsat
    from jaxsat import theory

    net = jaxsat.MLP(depth=options.depth, width=options.width, bias_scale=options.bias_scale)
    names, scales = list(options.activations), sorted(options.scales)
    over = {"activation": names, "weight_scale": scales}
    run = functools.partial(jaxsat.sweep, net, over=over, seeds=options.seeds, root_seed=options.root_seed)
    # Two directions exactly orthogonal, of mean square 1.
    first = np.where(np.arange(options.width) % 2 == 0, 1.0, -1.0)
    other = np.where(np.arange(options.width) % 4 < 2, 1.0, -1.0)
    other = other - first * (first @ other) / (first @ first)
    other = other * np.sqrt(options.width / (other @ other))
    parts = []
    for q in options.lengths:
        found = run(
            measure="mean_squared_pre_activation",
            x=first * np.sqrt(q),
            store=command.part(options, NAME, f"length-{q:g}"),
        )
        parts.append(found.expand_dims(input_length=[q]))
    dataset = xarray.concat(parts, "input_length", combine_attrs="override")
    parts = []
    for c in options.correlations:
        found = run(
            measure="correlation",
            x=np.stack([first, c * first + np.sqrt(1 - c * c) * other]),
            store=command.part(options, NAME, f"correlation-{c:g}"),
        )
        parts.append(found.expand_dims(input_correlation=[c]))
    dataset = xarray.merge(
        [dataset, xarray.concat(parts, "input_correlation", combine_attrs="override")], combine_attrs="override",
        compat="no_conflicts", join="exact",
    )  # fmt: skip
    b = options.bias_scale
    q_grid, c_grid = np.linspace(0.0, 15.0, 151), np.linspace(-1.0, 1.0, 81)

    def batch(function, *grid):
        with jax.enable_x64(True):
            return np.asarray(jax.jit(lambda a: jax.lax.map(function, a))(jnp.asarray(np.stack(grid, -1))))

    theories: dict[str, list] = {name: [] for name in ("q", "c", "length_map", "correlation_map", "q_l", "c_l")}
    for name in names:
        fields = [theory.mean_field(name, s, b) for s in scales]
        theories["q"].append([float(f.q) for f in fields])
        theories["c"].append([float(f.c) for f in fields])
        theories["length_map"].append(
            [batch(lambda q, n=name, s=s: theory.length_map(n, q[0], s, b), q_grid) for s in scales]
        )
        # Where lengths diverge correlations are mapped at the length of the first layer.
        at = [float(f.q) if np.isfinite(f.q) else s * s + b * b for f, s in zip(fields, scales, strict=True)]
        theories["correlation_map"].append(
            [
                batch(lambda c, n=name, s=s, q=q: theory.correlation_map(n, c[0], q, s, b), c_grid)
                for s, q in zip(scales, at, strict=True)
            ]
        )
        theories["q_l"].append(
            [
                [np.asarray(theory.length_trajectory(name, options.depth, s, b, q)) for s in scales]
                for q in options.lengths
            ]
        )
        theories["c_l"].append(
            [
                [np.asarray(theory.correlation_trajectory(name, options.depth, c, s, b)) for s in scales]
                for c in options.correlations
            ]
        )
    dims = {"q": ("weight_scale",), "c": ("weight_scale",), "length_map": ("weight_scale", "q_grid"),
            "correlation_map": ("weight_scale", "c_grid"), "q_l": ("input_length", "weight_scale", "layer"),
            "c_l": ("input_correlation", "weight_scale", "layer")}  # fmt: skip
    for name, values in theories.items():
        label = {"long_name": f"theory: {name.replace('_', ' ')}", "units": "1"}
        dataset[f"theory_{name}"] = xarray.Variable(("activation", *dims[name]), np.array(values), label)
    return dataset.assign_coords(q_grid=q_grid, c_grid=c_grid)


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import numpy as np
    from matplotlib import pyplot as plt

    from jaxsat.results import estimates, plotting

    names, scales = options.activations, dataset.weight_scale.values
    layers = dataset.layer.values
    worst = []
    with plotting.style():
        fig, axes = plt.subplots(
            3 * len(names), 2, figsize=(plotting.PAGE, 5.6 * len(names)), layout="constrained", squeeze=False,
            height_ratios=[1.2, 1.2, 0.7] * len(names),
        )  # fmt: skip
        for row, name in enumerate(names):
            block = axes[3 * row : 3 * row + 3]
            columns = (
                ("q", "mean_squared_pre_activation", "input_length", r"$q$", dataset.q_grid.values, "length_map"),
                ("c", "correlation", "input_correlation", r"$c$", dataset.c_grid.values, "correlation_map"),
            )
            for (key, variable, start, symbol, grid, function), (maps, flow, off) in zip(columns, block.T, strict=True):
                of = dataset.sel(activation=name)
                for i, scale in enumerate(scales):
                    marks = {
                        "color": plotting.COLORS[i % 8],
                        "marker": plotting.MARKERS[i % 8],
                        "mfc": "none",
                        "mew": 0.8,
                    }
                    maps.plot(
                        grid, of[f"theory_{function}"].values[i], color=marks["color"], label=rf"$\sigma_w$ = {scale:g}"
                    )
                    fixed = float(of[f"theory_{key}"][i])
                    maps.plot([fixed], [fixed], "*", color=marks["color"], ms=8, clip_on=False)
                    for j in range(of.sizes[start]):
                        interval = estimates.mean_interval(
                            of[variable].transpose(start, "weight_scale", "layer", "seed").values[j, i]
                        )
                        error = (interval.high - interval.estimate) / 1.96
                        expected = of[f"theory_{key}_l"].values[j, i]
                        maps.plot(interval.estimate[:-1], interval.estimate[1:], ls="none", **marks, ms=2.5)
                        flow.plot(layers, expected, color=marks["color"], ls=("-", "--", ":", "-.")[j % 4])
                        flow.errorbar(layers, interval.estimate, 1.96 * error, ls="none", **marks)
                        with np.errstate(invalid="ignore", divide="ignore"):
                            z = (interval.estimate - expected) / error
                        # Correlations of an ordered network end within rounding of 1: nothing to compare there.
                        z = np.where(np.abs(expected - 1) < 1e-5, np.nan, z) if key == "c" else z
                        worst.append(z)
                        off.plot(layers, z, ls="none", **marks, label=None if j else f"{scale:g}")
                ends = (grid[0], grid[-1])
                maps.plot(ends, ends, color="0.6", lw=0.6)
                maps.set(xlabel=f"{symbol} of layer $l$", ylabel=f"{symbol} of layer $l+1$", xlim=ends, ylim=ends)
                for ax in (flow, off):
                    ax.xaxis.get_major_locator().set_params(integer=True)
                flow.set(xlabel="layer $l$", ylabel=f"{symbol[:-1]}_l$")
                off.axhspan(-1.96, 1.96, color="0.92", lw=0)
                off.axhline(0, color="0.5", lw=0.6)
                off.set(xlabel="layer $l$", ylabel="measured - theory (s.e.)")
            block[1, 0].set_yscale("log")
            block[0, 0].set_title(f"{name}: lengths")
            block[0, 1].set_title(f"{name}: correlations")
        axes[0, 0].legend(loc="upper left")
        axes[0, 1].plot([], [], "k*", ms=8, ls="none", label="fixed point")
        axes[0, 1].plot([], [], "ko", mfc="none", ms=2.5, ls="none", label="measured pairs of layers")
        axes[0, 1].legend(loc="lower right")
        plotting.panel_letters(list(axes.flat))
        z = np.concatenate(worst)
        footer = (
            f"Lines: mean-field theory, infinite width (Poole et al. 2016). Points: mean over {options.seeds} seeds (root {options.root_seed}) with its 95 % interval; "
            f"L = {options.depth}, n = {options.width}, gaussian weights, sigma_b = {options.bias_scale:g}.\n"
            f"q: mean squared pre-activation, inputs of mean square {', '.join(f'{q:g}' for q in options.lengths)} (solid, dashed). "
            f"c: cosine of the pre-activations of two inputs of mean square 1 and correlation {', '.join(f'{c:g}' for c in options.correlations)}.\n"
            f"Discrepancy, in standard errors (grey: 95 %), includes the 1/n by which finite networks differ: rms {np.sqrt(np.nanmean(z**2)):.2f}, worst {np.nanmax(np.abs(z)):.1f}. "
            f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


if __name__ == "__main__":
    command.run(Options, main, __doc__)
