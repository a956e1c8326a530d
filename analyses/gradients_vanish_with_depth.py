"""How do gradients vanish or explode with depth, for which activation and weight scale, and how sure are we?

Random networks see real images (scikit-learn's handwritten digits, standardised). A gaussian cotangent of unit norm is
propagated back from the last layer; the norm of the signal at every layer is followed in the log domain, over weight
scales and seeds. All networks with the same seed share their weights up to the scale. Over the measurement: the mean of
ln||delta_l|| in theory, to first order in 1 / width.
"""

from __future__ import annotations

import dataclasses

from analyses import command

NAME = "gradients_vanish_with_depth"
DTYPES = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about a minute: fewer activations, seeds, scales, layers and units (their options are ignored)."""
    activations: tuple[str, ...] = ("sigmoid", "tanh", "softsign", "relu", "gelu", "selu")
    """Names from jaxsat.activations.names()."""
    scales: tuple[float, ...] = (0.6, 0.7, 0.85, 1.0, 1.1, 1.2, 1.4, 1.5, 1.6, 2.0, 2.5, 3.0)
    """Weight scales sigma_w of every activation."""
    large_scales: tuple[float, ...] = (6.0, 10.0, 16.0)
    """More scales for activations with bounded values (the forward pass of others overflows float32 there)."""
    bias_scale: float = 0.0
    """sigma_b of every network."""
    seeds: int = 1000
    """Networks for each activation and scale."""
    depth: int = 100
    """Layers."""
    width: int = 128
    """Units per layer."""
    images: int = 8
    """Images each network sees: gradients are root mean squares over them, dead means dead for all of them."""
    root_seed: int = 0
    """Root of all randomness."""
    saturation_scale: float = 2.0
    """Scale, one of `scales`, at which saturated and dead fractions are drawn."""
    zero_scale: float = 1.0
    """Scale, one of `scales`, at which shares of zero gradients are drawn."""
    plain_seeds: int = 50
    """Networks for each activation in which plain back-propagation is run in every dtype."""


QUICK = {"activations": ("sigmoid", "tanh", "relu"), "seeds": 24, "depth": 40, "width": 64, "images": 4, "plain_seeds": 16,
         "scales": (0.6, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0), "large_scales": (6.0, 16.0)}  # fmt: skip


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    for name in ("saturation_scale", "zero_scale"):
        if getattr(options, name) not in options.scales:
            raise ValueError(f"{name}: must be one of scales, {options.scales}; got {getattr(options, name)}.")
    if options.depth < 3:
        raise ValueError(f"depth: must be at least 3 for a growth rate; got {options.depth}.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """The dataset: sweeps over scales and seeds, and plain back-propagation in each dtype."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray

    import jaxsat
    from jaxsat import measures

    inputs = digits(options.images)
    net = jaxsat.MLP(depth=options.depth, width=options.width, inputs=inputs.shape[1], bias_scale=options.bias_scale)
    wanted = ["log_gradient_norms", "log_largest_gradients", "saturated_fraction", "dead_fraction"]
    records = {name: jaxsat.activations.get(name) for name in options.activations}
    bounded = [n for n, a in records.items() if a.left_limit is not None and a.right_limit is not None]
    scales, all_scales = sorted(options.scales), sorted({*options.scales, *options.large_scales})
    parts = []
    for names, grid in ((bounded, all_scales), ([n for n in records if n not in bounded], scales)):
        if names:
            over = {"activation": names, "weight_scale": grid}
            store = command.part(options, NAME, "bounded" if names is bounded else "unbounded")
            parts.append(
                jaxsat.sweep(net, wanted, over, seeds=options.seeds, root_seed=options.root_seed, x=inputs, store=store)
            )
    together = xarray.concat(parts, "activation", join="outer", combine_attrs="override", fill_value=np.float32(np.nan))
    together = together.sel(activation=list(options.activations))

    def plain(net, key, x):
        u = jaxsat.gradients.unit_cotangent(net, key)

        def in_dtype(dtype):
            params = net.init(key, dtype)
            zero = jax.vmap(lambda one: jaxsat.gradients.plain_gradient_is_zero(net, params, one, u))(x)
            return jnp.all(zero, axis=0)

        return {"plain_gradient_is_zero": jnp.stack([in_dtype(jnp.dtype(d)) for d in DTYPES])}

    # As everyone runs it: jax.nn's functions with autodiff's slopes.
    theirs = {"tanh": jnp.tanh, "softsign": jax.nn.soft_sign}
    functions = [theirs.get(name) or getattr(jax.nn, name, records[name]) for name in options.activations]
    labels = measures.Variable(
        ("dtype", "layer"), "plain back-propagation returns exactly 0 for every unit and input",
        coordinates={"dtype": DTYPES},
    )  # fmt: skip
    zeros = jaxsat.sweep(
        dataclasses.replace(net, weight_scale=options.zero_scale),
        measures.Measure("plain_gradient_is_zero", plain, {"plain_gradient_is_zero": labels}),
        {"activation": functions}, seeds=options.plain_seeds, root_seed=options.root_seed, x=inputs,
        store=command.part(options, NAME, "plain"),
    )  # fmt: skip
    zeros = zeros.assign_coords(activation=list(options.activations)).rename(seed="plain_seed")
    mean_square = float((inputs**2).mean())
    known = theory_of(options, sorted(all_scales), mean_square)
    return xarray.merge([together, zeros, known], combine_attrs="override", compat="no_conflicts", join="exact")


def theory_of(options: Options, scales, mean_square: float):
    """Mean ln||delta_l|| of theory at the scales measured, and its growth on a finer grid of them."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import xarray

    from jaxsat import theory
    from jaxsat.results import estimates

    fine = np.geomspace(scales[0], scales[-1], 61)

    def norms(name, grid):
        def of_scale(w):
            law = theory.log_normal_law(
                name, options.depth, options.width, w, options.bias_scale, mean_square=mean_square
            )
            return law.mean

        return np.asarray(jax.jit(lambda grid: jax.lax.map(of_scale, grid))(jnp.asarray(grid, float)))

    with jax.enable_x64(True):
        found = np.stack([norms(name, np.concatenate([scales, fine])) for name in options.activations])
    label = {"long_name": "mean of ln ||dE/dh_l||, theory", "units": "1"}
    rates = {"long_name": "growth of ||dE/dh_l||, theory", "units": "nat per layer back"}
    return xarray.Dataset(
        {
            "theory": (("activation", "weight_scale", "layer"), found[:, : len(scales)], label),
            "theory_growth": (
                ("activation", "fine_weight_scale"),
                estimates.growth_rates(found[:, len(scales) :]),
                rates,
            ),
        },
        {"activation": list(options.activations), "weight_scale": scales, "fine_weight_scale": fine},
    )


def digits(count: int):
    """The first `count` handwritten digits, each pixel standardised over the whole set; constant pixels are 0."""
    import numpy as np
    from sklearn.datasets import load_digits

    images = load_digits(return_X_y=True)[0]
    if not 1 <= count <= len(images):
        raise ValueError(f"images: must be from 1 to {len(images)}; got {count}.")
    spread = images.std(0)
    return ((images - images.mean(0)) / np.where(spread > 0, spread, 1))[:count]


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import ml_dtypes
    import numpy as np
    from matplotlib import pyplot as plt

    from jaxsat.results import estimates, plotting

    back = options.depth - dataset.layer.values
    norms = dataset.log_gradient_norms
    scales = dataset.weight_scale.values
    with plotting.style():
        rows = -(-len(options.activations) // 3)
        fig = plt.figure(figsize=(plotting.PAGE, 1.75 * rows + 5.3), layout="constrained")
        upper, middle, lower = fig.subfigures(3, 1, height_ratios=[1.75 * rows, 3.1, 2.1])
        curves = upper.subplots(rows, 3, sharex=True, squeeze=False)
        colors = plotting.scale_colors(scales)
        for ax, name in zip(curves.flat, options.activations, strict=False):
            for scale in scales:
                quantiles = estimates.band(norms.sel(activation=name, weight_scale=scale).values, axis=0)
                plotting.median_band(ax, back, quantiles, colors.to_rgba(scale))
                if np.isfinite(quantiles).any():
                    law = dataset.theory.sel(activation=name, weight_scale=scale).values
                    ax.plot(back, law, "k:", lw=0.7)
            ax.axhline(np.log(float(ml_dtypes.finfo(np.float32).smallest_normal)), color="0.5", lw=0.6, ls=":")
            ax.set_title(name)
            ax.set_ylim(*_limits(norms.sel(activation=name).values))
        for ax in curves.flat[len(options.activations) :]:
            ax.set_axis_off()
        upper.supxlabel("layers back from the output, $L - l$", fontsize=7.5)
        upper.supylabel(r"$\ln\,\|\partial E/\partial h_l\|$  (median, 5-95 % of seeds)", fontsize=7.5)
        bar = upper.colorbar(colors, ax=curves, label=r"weight scale $\sigma_w$", aspect=40, pad=0.01)
        ticks = [s for s in (0.6, 1, 2, 4, 8, 16) if scales[0] <= s <= scales[-1]]
        bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
        bar.minorticks_off()

        left, right = middle.subplots(1, 2)
        for i, name in enumerate(options.activations):
            rates = estimates.growth_rates(norms.sel(activation=name).values)
            known = np.isfinite(rates).any(1)
            rate = estimates.mean_interval(rates[known])
            crossings = estimates.zero_crossings(scales[known], rates[known])
            label = name + "".join(f": {c.at:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in crossings)
            errors = (rate.estimate - rate.low, rate.high - rate.estimate)
            marks = {"color": plotting.COLORS[i % 8], "marker": plotting.MARKERS[i % 8]}
            left.errorbar(
                scales[known], rate.estimate, errors, ls="none", **marks, label=label if crossings else f"{name}: none"
            )
            law = dataset.theory_growth.sel(activation=name).values
            fine = dataset.fine_weight_scale.values
            left.plot(fine, np.where(fine <= scales[known].max(initial=0), law, np.nan), color=marks["color"], lw=0.8)
            for c in crossings:
                left.plot([c.at], [0], "|", color=marks["color"], ms=9, mew=1.2)
        left.axhline(0, color="0.5", lw=0.6)
        left.set(
            xscale="log", xlabel=r"weight scale $\sigma_w$", ylabel="growth of $\\|\\delta_l\\|$, nats per layer back"
        )
        left.set_xticks(ticks, labels=[f"{t:g}" for t in ticks])
        left.minorticks_off()
        heading = r"zero crossing of the growth, $\sigma_w$ [95 % interval]"
        left.legend(title=heading, title_fontsize=6.5, loc="upper left", bbox_to_anchor=(-0.12, -0.2), ncols=2)

        fractions = dataset.sel(weight_scale=options.saturation_scale)
        for i, name in enumerate(options.activations):
            for variable, line in (("saturated_fraction", "-"), ("dead_fraction", "--")):
                mean = estimates.mean_interval(fractions[variable].sel(activation=name).values, axis=0)
                right.plot(dataset.layer, mean.estimate, line, color=plotting.COLORS[i % 8])
                right.fill_between(dataset.layer, mean.low, mean.high, color=plotting.COLORS[i % 8], alpha=0.3, lw=0)
        right.plot([], [], "k-", label="slope at most 5 % of the largest")
        right.plot([], [], "k--", label=f"slope 0 for all {options.images} images (dead)")
        right.set(xlabel="layer $l$", ylabel="share of units", ylim=(-0.02, 1.02))
        right.set_title(rf"$\sigma_w$ = {options.saturation_scale:g}")
        right.legend(loc="upper left", bbox_to_anchor=(0, -0.2))

        panels = lower.subplots(1, 3, sharey=True)
        largest = dataset.log_largest_gradients.sel(weight_scale=options.zero_scale)
        for ax, dtype in zip(panels, DTYPES, strict=True):
            info = ml_dtypes.finfo(dtype)
            normal, least = (np.log(float(v)) for v in (info.smallest_normal, info.smallest_subnormal))
            for i, name in enumerate(options.activations):
                exact, color = largest.sel(activation=name).values, plotting.COLORS[i % 8]
                ax.plot(back, np.mean(exact < normal, axis=0), "-", color=color)
                ax.plot(back, np.mean(exact < least - np.log(2), axis=0), ":", color=color)
                measured = dataset.plain_gradient_is_zero.sel(activation=name, dtype=dtype).mean("plain_seed")
                every = slice(None, None, max(1, options.depth // 20))
                ax.plot(back[every], measured.values[every], plotting.MARKERS[i % 8], color=color, mfc="none", mew=0.8)
            ax.set_title(dtype)
            ax.set(xlabel="layers back from the output, $L - l$", ylim=(-0.04, 1.04))
        panels[0].set_ylabel(rf"share with $\delta_l = 0$ ($\sigma_w$ = {options.zero_scale:g})")
        for i, name in enumerate(options.activations):
            panels[0].plot([], [], plotting.MARKERS[i % 8], color=plotting.COLORS[i % 8], mfc="none", label=name)
        panels[1].plot([], [], "k-", label="exact, below normal numbers")
        panels[1].plot([], [], "k:", label="exact, below subnormal numbers")
        panels[1].plot([], [], "ko", mfc="none", label="jax.grad in this dtype")
        lower.legend(loc="outside lower center", ncols=5)
        plotting.panel_letters([curves[0, 0], left, right, *panels])
        footer = (
            f"{options.seeds} seeds (root {options.root_seed}), L = {options.depth}, n = {options.width}, gaussian weights, "
            f"sigma_b = {options.bias_scale:g}, {options.images} standardised digits, rms over them. "
            "Dotted in a: theory, mean of ln norm to first order in 1/n;\ngrey: smallest normal float32. b: points by least squares over the middle 80 % of layers, lines theory; bars: 95 % interval of "
            "the mean; crossings: at this depth, interpolated in\nln scale, intervals by bootstrap over seeds. c: mean with 95 % interval. "
            f"d-f: {options.plain_seeds} seeds for jax.grad; lines from gradients in logs (relu at small scales: its float16 activations\n"
            f"underflow first, so every unit is dead). {dataset.attrs['created'][:10]}, "
            f"{dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


def _limits(values):
    import numpy as np

    finite = values[np.isfinite(values)]
    low, high = (np.quantile(finite, [0.001, 0.999])) if finite.size else (-1.0, 1.0)
    return low - 0.05 * (high - low) - 1, high + 0.05 * (high - low) + 1


if __name__ == "__main__":
    command.run(Options, main, __doc__)
