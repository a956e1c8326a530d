"""Where in the plane of weight and bias scales do gradients vanish or explode, and does the theory hold for networks?

Mean-field theory (Poole et al. 2016; Schoenholz et al. 2017) for infinitely wide networks: chi, the factor of the mean
squared gradient per layer back, with its edge of chaos chi = 1 and the depth scales xi; over it the growth of gradients
measured in networks of finite width, and their discrepancy in standard errors.
"""

from __future__ import annotations

import dataclasses

from analyses import command

NAME = "phase_diagram"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about half a minute: fewer points, scales, seeds and units (their options are ignored)."""
    activations: tuple[str, ...] = ("tanh", "erf")
    """Names from jaxsat.activations.names()."""
    points: int = 200
    """Points of the theory along each axis."""
    weight_range: tuple[float, float] = (0.5, 4.0)
    """Smallest and largest weight scale sigma_w."""
    bias_range: tuple[float, float] = (0.0, 1.5)
    """Smallest and largest bias scale sigma_b."""
    weight_count: int = 8
    """Weight scales at which networks are measured."""
    bias_count: int = 4
    """Bias scales at which networks are measured."""
    seeds: int = 64
    """Networks for each activation and pair of scales."""
    depth: int = 30
    """Layers."""
    width: int = 256
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"points": 50, "weight_count": 5, "bias_count": 3, "seeds": 16, "depth": 20, "width": 128}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    for name, least in (("points", 2), ("weight_count", 2), ("bias_count", 2), ("depth", 5)):
        if getattr(options, name) < least:
            raise ValueError(f"{name}: must be at least {least}; got {getattr(options, name)}.")
    for name in ("weight_range", "bias_range"):
        low, high = getattr(options, name)
        if not 0 <= low < high:
            raise ValueError(f"{name}: must be two numbers, 0 <= low < high; got {low} {high}.")
    if options.weight_range[0] == 0:
        raise ValueError("weight_range: must begin above 0: without weights there are no gradients.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """Theory over a fine grid, and a sweep over a coarse one."""
    import functools

    import jax
    import numpy as np
    import xarray

    import jaxsat
    from jaxsat import theory
    from jaxsat.results import estimates

    net = jaxsat.MLP(depth=options.depth, width=options.width)
    scales = np.linspace(*options.weight_range, options.weight_count)
    biases = np.linspace(*options.bias_range, options.bias_count)
    over = {"activation": list(options.activations), "bias_scale": biases, "weight_scale": scales}
    measured = jaxsat.sweep(
        net,
        "log_gradient_norms",
        over,
        seeds=options.seeds,
        root_seed=options.root_seed,
        store=command.part(options, NAME),
    )
    growth = estimates.growth_rates(measured.log_gradient_norms.values, margin=0.2)
    measured["growth"] = (*over, "seed"), growth, {"long_name": "growth of ||dE/dh_l||", "units": "nat per layer back"}

    fine_w = np.linspace(*options.weight_range, options.points)
    fine_b = np.linspace(*options.bias_range, options.points)
    plane = np.meshgrid(fine_b, fine_w, indexing="ij")

    def on_grid(function, *axes):
        """One compilation for an activation; a few hundred points at a time keep the nodes in cache."""
        flat = [np.ravel(a).astype(np.float64) for a in axes]
        with jax.enable_x64(True):
            found = jax.jit(lambda a: jax.lax.map(lambda one: function(*one), a, batch_size=256))(tuple(flat))
        return jax.tree.map(np.asarray, found)

    fields: dict[str, list[np.ndarray]] = {name: [] for name in ("chi", "xi_q", "xi_c", "edge", "expected_growth")}
    for name in options.activations:
        keep = functools.partial(_fields, name, ("chi", "xi_q"))
        chi, xi_q = on_grid(keep, *plane)
        (xi_c,) = on_grid(functools.partial(_fields, name, ("xi_c",)), *np.meshgrid(biases, fine_w, indexing="ij"))
        fields["chi"].append(chi.reshape(plane[0].shape))
        fields["xi_q"].append(xi_q.reshape(plane[0].shape))
        fields["xi_c"].append(xi_c.reshape(len(biases), -1))
        fields["edge"].append(on_grid(lambda b, n=name: theory.critical_weight_scale(n, b), fine_b))
        norms = on_grid(
            lambda b, w, n=name: theory.log_normal_law(n, options.depth, options.width, w, b).mean,
            *np.meshgrid(biases, scales, indexing="ij"),
        )
        expected = estimates.growth_rates(norms, margin=0.2)
        fields["expected_growth"].append(expected.reshape(len(biases), -1))
    b, w = "fine_bias_scale", "fine_weight_scale"
    dims = {"chi": (b, w), "xi_q": (b, w), "xi_c": ("bias_scale", w), "edge": (b,), "expected_growth": ("bias_scale", "weight_scale")}  # fmt: skip
    labels = {"chi": ("chi", "1"), "xi_q": ("depth scale of lengths", "layer"), "xi_c": ("depth scale of correlations", "layer"),
              "edge": ("critical weight scale", "1"), "expected_growth": ("growth of ||dE/dh_l||, theory", "nat per layer back")}  # fmt: skip
    for name, arrays in fields.items():
        attributes = dict(zip(("long_name", "units"), labels[name], strict=True))
        measured[name] = xarray.Variable(("activation", *dims[name]), np.stack(arrays), attributes)
    return measured.assign_coords({b: fine_b, w: fine_w})


def _fields(name, wanted, bias_scale, weight_scale):
    from jaxsat import theory

    found = theory.mean_field(name, weight_scale, bias_scale)
    return tuple(getattr(found, field) for field in wanted)


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import numpy as np
    from matplotlib import pyplot as plt
    from matplotlib.colors import TwoSlopeNorm

    from jaxsat.results import estimates, plotting

    names = options.activations
    w, b = dataset.fine_weight_scale.values, dataset.fine_bias_scale.values
    scales, biases = dataset.weight_scale.values, dataset.bias_scale.values
    interval = estimates.mean_interval(dataset.growth.values, axis=-1)
    error = (interval.high - interval.estimate) / 1.96
    discrepancy = (interval.estimate - dataset.expected_growth.values) / error
    norm = TwoSlopeNorm(
        0.0, float(min(-0.05, np.log(dataset.chi).min() / 2)), float(max(0.05, np.log(dataset.chi).max() / 2))
    )
    with plotting.style():
        fig, axes = plt.subplots(
            len(names), 4, figsize=(plotting.PAGE, 2.0 * len(names) + 0.2), layout="constrained", squeeze=False,
            width_ratios=[1.25, 1, 1, 0.9],
        )  # fmt: skip
        for row, name in enumerate(names):
            plane, depth, growth, off = axes[row]
            theory = np.log(dataset.chi.sel(activation=name).values) / 2
            mesh = plane.pcolormesh(w, b, theory, cmap="RdBu_r", norm=norm, rasterized=True, shading="nearest")
            plane.plot(dataset.edge.sel(activation=name), b, "k-", lw=1.2, label=r"edge of chaos, $\chi=1$")
            at_w, at_b = np.meshgrid(scales, biases)
            plane.scatter(
                at_w, at_b, c=interval.estimate[row], cmap="RdBu_r", norm=norm, s=22, edgecolors="k", linewidths=0.5,
                label="measured", clip_on=False, zorder=3,
            )  # fmt: skip
            plane.set(
                xlabel=r"weight scale $\sigma_w$",
                ylabel=r"bias scale $\sigma_b$",
                xlim=(w[0], w[-1]),
                ylim=(b[0], b[-1]),
            )
            plane.set_title(name)
            bar = fig.colorbar(mesh, ax=plane, pad=0.02, aspect=25)
            bar.set_label("growth of gradient (nats/layer back)", fontsize=6)
            for i, bias in enumerate(biases):
                color = plotting.COLORS[i % 8]
                nearest = np.abs(b - bias).argmin()
                xi_c = dataset.xi_c.sel(activation=name).values[i]
                depth.plot(w, np.where(np.isfinite(xi_c), xi_c, np.nan), color=color)
                depth.plot(w, dataset.xi_q.sel(activation=name).values[nearest], ":", color=color)
                errors = (
                    interval.estimate[row, i] - interval.low[row, i],
                    interval.high[row, i] - interval.estimate[row, i],
                )
                marks = {"color": color, "marker": plotting.MARKERS[i % 8], "ls": "none", "mfc": "none", "mew": 0.8}
                growth.errorbar(scales, interval.estimate[row, i], errors, **marks, label=rf"$\sigma_b$ = {bias:.2g}")
                growth.plot(w, theory[nearest], color=color, lw=0.9)
                off.plot(scales, discrepancy[row, i], **marks)
            depth.set(yscale="log", ylim=(0.3, 300), xlabel=r"weight scale $\sigma_w$", ylabel=r"depth scale (layers)")
            growth.axhline(0, color="0.5", lw=0.6)
            growth.set(xlabel=r"weight scale $\sigma_w$", ylabel="growth (nats/layer back)")
            off.axhspan(-1.96, 1.96, color="0.92", lw=0)
            off.axhline(0, color="0.5", lw=0.6)
            off.set(xlabel=r"weight scale $\sigma_w$", ylabel="measured - theory (s.e.)")
        axes[0, 0].legend(loc="upper left", fontsize=5.5, frameon=True, framealpha=0.8, edgecolor="none")
        axes[0, 1].plot([], [], "k-", label=r"$\xi_c$")
        axes[0, 1].plot([], [], "k:", label=r"$\xi_q$")
        axes[0, 1].legend()
        axes[0, 2].legend()
        plotting.panel_letters(list(axes.flat))
        footer = (
            rf"Colour and lines: mean-field theory, growth = ln($\chi$)/2 with $\chi = \sigma_w^2$ E[$\varphi'(\sqrt{{q^*}}z)^2$], infinite width. Points: mean over "
            f"{options.seeds} seeds (root {options.root_seed}) with its 95 % interval,\nL = {options.depth}, n = {options.width}, gaussian weights, gaussian input of unit mean square, "
            "unit gaussian cotangent, least squares over the middle 60 % of layers.\nDiscrepancies, in standard errors, are from theory to first order in 1/n; grey: 95 %. "
            f"Worst {np.nanmax(np.abs(discrepancy)):.1f}, rms {np.sqrt(np.nanmean(discrepancy**2)):.2f}. "
            f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


if __name__ == "__main__":
    command.run(Options, main, __doc__)
