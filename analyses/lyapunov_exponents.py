"""At which rates do the directions of a network grow and shrink per layer, and does theory say so?

Lyapunov exponents lambda_i = ln s_i / L of the Jacobian of random networks, against the index of the direction. For
linear gaussian networks the law is exact at any width (Newman 1986): lambda_i = (ln 2 + psi((n - i + 1) / 2) - ln n) / 2
+ ln sigma_w. All in float64: the signal of a linear or relu network grows or shrinks as sigma_w^L, beyond float32 within
a hundred layers.
"""

from __future__ import annotations

import dataclasses

from analyses import command

NAME = "lyapunov_exponents"


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in some seconds: fewer seeds, layers and units (their options are ignored)."""
    activations: tuple[str, ...] = ("identity", "tanh", "relu", "softsign")
    """Names from jaxsat.activations.names(); identity, the linear network, has the exact law."""
    scales: tuple[float, ...] = (0.7, 1.0, 1.4, 2.0, 3.0)
    """Weight scales sigma_w."""
    seeds: int = 64
    """Networks for each activation and scale."""
    depth: int = 200
    """Layers."""
    width: int = 32
    """Units per layer."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"seeds": 16, "depth": 60, "width": 16}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """One sweep: exponents from ln s / L, and by QR, for every network."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import jaxsat
    from jaxsat import theory
    from jaxsat.measures import Measure, Variable
    from jaxsat.networks.mlp import gaussian_input

    def exponents(net, key, x):
        f = jaxsat.factors(net, net.init(key), gaussian_input(net, key))
        weights = jnp.concatenate([f.first[None], f.hidden])
        found = jaxsat.spectrum.lyapunov_exponents(weights, f.log_abs_slopes, f.slope_signs)
        return {"exponents": found.exponents, "exponents_by_qr": found.by_qr}

    labels = {
        "exponents": Variable(("index",), "ln s_i / L", "nat per layer"),
        "exponents_by_qr": Variable(("index",), "mean growth of R_ii", "nat per layer"),
    }
    net = jaxsat.MLP(depth=options.depth, width=options.width)
    over = {"activation": list(options.activations), "weight_scale": sorted(options.scales)}
    with jax.enable_x64(True):
        found = jaxsat.sweep(
            net,
            Measure("lyapunov", exponents, labels),
            over,
            seeds=options.seeds,
            root_seed=options.root_seed,
            store=command.part(options, NAME),
        )
        laws = [np.asarray(theory.gaussian_lyapunov_exponents(options.width, s)) for s in found.weight_scale.values]
    found["law"] = (
        ("weight_scale", "index"),
        np.stack(laws),
        {"long_name": "exact law, linear", "units": "nat per layer"},
    )
    return found


def draw(options: Options, dataset):
    """The figure, from the dataset alone."""
    import numpy as np
    from matplotlib import pyplot as plt

    from jaxsat.results import estimates, plotting

    scales, index = dataset.weight_scale.values, dataset["index"].values
    unmeasured = []
    with plotting.style():
        rows = -(-len(options.activations) // 2)
        fig, axes = plt.subplots(
            rows, 2, figsize=(plotting.PAGE, 2.3 * rows), sharex=True, layout="constrained", squeeze=False
        )
        colors = plotting.scale_colors(scales)
        for ax, name in zip(axes.flat, options.activations, strict=False):
            for scale in scales:
                found = dataset.sel(activation=name, weight_scale=scale)
                if not np.isfinite(found.exponents).any():
                    unmeasured.append(f"{name} at {scale:g}")
                    continue
                mean = estimates.mean_interval(np.where(np.isfinite(found.exponents), found.exponents, np.nan), axis=0)
                errors = (mean.estimate - mean.low, mean.high - mean.estimate)
                marks = {"color": colors.to_rgba(scale), "mfc": "none", "mew": 0.7, "ms": 3, "elinewidth": 0.8}
                ax.errorbar(index, mean.estimate, errors, fmt="o", **marks)
                by_qr = estimates.mean_interval(
                    np.where(np.isfinite(found.exponents_by_qr), found.exponents_by_qr, np.nan), axis=0
                )
                ax.plot(index, by_qr.estimate, ":", color=colors.to_rgba(scale), lw=0.9)
                if name == "identity":
                    ax.plot(index, found.law, "k-", lw=0.7)
            ax.axhline(0, color="0.5", lw=0.6)
            ax.set_title(name)
        for ax in axes.flat[len(options.activations) :]:
            ax.set_axis_off()
        first = axes.flat[0]
        first.plot([], [], "ko", mfc="none", ms=3, label=r"$\ln s_i / L$")
        first.plot([], [], "k:", label="by QR")
        first.plot([], [], "k-", lw=0.7, label="exact law, linear")
        first.legend(loc="lower left")
        fig.supxlabel("index $i$ of the direction", fontsize=7.5)
        fig.supylabel(r"Lyapunov exponent $\lambda_i$, nats per layer", fontsize=7.5)
        bar = fig.colorbar(colors, ax=axes, label=r"weight scale $\sigma_w$", aspect=40, pad=0.01)
        bar.set_ticks(scales, labels=[f"{s:g}" for s in scales])
        bar.minorticks_off()
        plotting.panel_letters(list(axes.flat[: len(options.activations)]))
        missing = f"\nNo finite exponent, hence nothing drawn: {', '.join(unmeasured)}. " if unmeasured else ""
        footer = (
            f"{options.seeds} seeds (root {options.root_seed}), L = {options.depth}, n = {options.width}, gaussian weights, no biases, "
            "gaussian input. Circles: mean over seeds with its 95 % interval; they differ from the limit by O(1/L).\n"
            "Directions that some network loses altogether (relu) are averaged over the networks that keep them. "
            f"{missing}{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


if __name__ == "__main__":
    command.run(Options, main, __doc__)
