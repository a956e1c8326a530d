"""How much do gradients differ from network to network, and do they follow the law as depth over width grows?

ln of the gradient norm is a sum over layers: nearly normal, with a variance that grows as depth / width. Its law is exact
for relu and linear networks without biases (Hanin 2018; Hanin & Nica 2018) and known to first order in 1 / width for
others; here it stands over histograms, means and standard deviations of random networks.
"""

from __future__ import annotations

import dataclasses

from analyses import command

NAME = "finite_width_fluctuations"
EXACT = ("relu", "identity")


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False
    """A smaller study in about half a minute: fewer seeds, layers and units (their options are ignored)."""
    activations: tuple[str, ...] = ("relu", "identity", "tanh")
    """Names from jaxsat.activations.names()."""
    factor: float = 1.5
    """Weight scale in units of the critical one, for activations other than relu and identity: those are at it."""
    widths: tuple[int, ...] = (16, 32, 64)
    """Units per layer."""
    depth: int = 128
    """Layers; gradients at layer l have passed depth - l of them."""
    shown: tuple[float, ...] = (0.25, 1.0, 3.0)
    """Layers passed, in units of the width, whose histograms are drawn."""
    seeds: int = 4000
    """Networks for each activation and width."""
    root_seed: int = 0
    """Root of all randomness."""


QUICK = {"seeds": 1000, "depth": 64, "widths": (16, 32), "shown": (0.25, 1.0)}


def main(options: Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **QUICK)
    command.check_output(options, NAME)
    for name, least in (("depth", 2), ("seeds", 4)):
        if getattr(options, name) < least:
            raise ValueError(f"{name}: must be at least {least}; got {getattr(options, name)}.")
    if not options.widths or min(options.widths) < 1:
        raise ValueError(f"widths: must be at least one, each at least 1; got {options.widths}.")
    longest = (options.depth - 1) / options.widths[len(options.widths) // 2]
    if not options.shown or min(options.shown) <= 0 or max(options.shown) > longest:
        raise ValueError(
            f"shown: must be above 0 and at most (depth - 1) / width = {longest:.3g}; got {options.shown}."
        )
    if not options.factor > 0:
        raise ValueError(f"factor: must be above 0; got {options.factor}.")
    command.produce(options, NAME, measure, draw)


def measure(options: Options):
    """ln of the gradient norm at every layer of every network, and its law."""
    import jax
    import numpy as np
    import xarray

    import jaxsat
    from jaxsat import activations, theory

    parts = []
    for name in (activations.get(a).name for a in options.activations):
        with jax.enable_x64(True):  # in float32 sqrt 2 is below the edge
            scale = float(theory.critical_weight_scale(name)) * (1.0 if name in EXACT else options.factor)
        net = jaxsat.MLP(depth=options.depth, width=1, activation=name, weight_scale=scale)
        over = {"width": list(options.widths)}
        part = jaxsat.sweep(
            net,
            "log_gradient_norms",
            over,
            seeds=options.seeds,
            root_seed=options.root_seed,
            store=command.part(options, NAME, name),
        )
        laws = []
        for width in options.widths:
            with jax.enable_x64(True):
                exact = theory.exact_log_norms if name in EXACT else theory.log_normal_law
                laws.append(exact(name, options.depth, width, scale))
        for field, long_name in (("mean", "mean of ln ||dE/dh_l||, theory"), ("std", "its standard deviation, theory")):
            values = np.stack([np.asarray(getattr(law, field)) for law in laws])
            part[f"theory_{field}"] = ("width", "layer"), values, {"long_name": long_name, "units": "nat"}
        part["critical"] = (), scale, {"long_name": "weight scale sigma_w", "units": "1"}
        parts.append(part.expand_dims(activation=[name]))
    return xarray.concat(parts, "activation", combine_attrs="override").rename(critical="weight_scale")


def draw(options: Options, dataset):
    """The figure, from the dataset and the exact densities."""
    import numpy as np
    from matplotlib import pyplot as plt

    from jaxsat.results import estimates, plotting

    names, widths = list(dataset.activation.values), list(options.widths)
    middle = widths[len(widths) // 2]
    passed = options.depth - dataset.layer.values
    norms = dataset.log_gradient_norms.transpose("activation", "width", "layer", "seed").values
    norms = np.where(np.isfinite(norms), norms, np.nan)  # dead networks have no gradient
    mean, std = estimates.mean_interval(norms), estimates.std_interval(norms)
    law_mean, law_std = (
        dataset[v].transpose("activation", "width", "layer").values for v in ("theory_mean", "theory_std")
    )
    random = law_std > 0
    off = {
        "mean": np.where(random, (mean.estimate - law_mean) / ((mean.high - mean.low) / 3.92), np.nan),
        "std": np.where(random, (std.estimate - law_std) / ((std.high - std.low) / 3.92), np.nan),
    }
    with plotting.style():
        fig = plt.figure(figsize=(plotting.PAGE, 4.6), layout="constrained")
        top, bottom = fig.subfigures(2, 1)
        panels = list(np.ravel(top.subplots(1, len(names), squeeze=False)))
        spread, *discrepancies = bottom.subplots(1, 3)
        for ax, name, row in zip(panels, names, range(len(names)), strict=True):
            for share, color in zip(options.shown, plotting.COLORS, strict=False):
                at = int(np.argmin(np.abs(passed - share * middle)))
                values = norms[row, widths.index(middle), at]
                _histogram(ax, values, color, rf"$\ell/n$ = {share:g}")
                _law(ax, name, float(dataset.weight_scale[row]), int(passed[at]), options.depth, middle, color)
            ax.set(xlabel=r"$\ln\,\|\partial E/\partial h\|$ (nats)", yscale="log", ylim=(2e-3, None))
            ax.set_title(name)
        panels[0].set_ylabel("density (1/nat)")
        panels[0].legend(loc="upper left")
        for i, name in enumerate(names):
            for j, width in enumerate(widths):
                color, marker = plotting.COLORS[i % 8], plotting.MARKERS[j % 8]
                marks = {"color": color, "marker": marker, "ls": "none", "mfc": "none", "mew": 0.7, "ms": 3}
                every = np.unique(np.geomspace(1, options.depth - 1, 10).astype(int))
                chosen = [int(np.argmin(np.abs(passed - p))) for p in every]
                x = passed[chosen] / width
                label = f"{name}" if j == 0 else None
                errors = (std.estimate - std.low)[i, j, chosen], (std.high - std.estimate)[i, j, chosen]
                spread.errorbar(x, std.estimate[i, j, chosen], errors, **marks, elinewidth=0.7)
                spread.plot(passed[:-1] / width, law_std[i, j, :-1], color=color, lw=0.8, label=label)
                for ax, values in zip(discrepancies, off.values(), strict=True):
                    ax.plot(x, values[i, j, chosen], **marks)
        for j, width in enumerate(widths):
            discrepancies[0].plot(
                [], [], color="k", marker=plotting.MARKERS[j % 8], ls="none", mfc="none", label=f"n = {width}"
            )
        spread.set(xscale="log", yscale="log", xlabel=r"layers passed / width, $\ell/n$", ylabel=r"std of $\ln\|\partial E/\partial h\|$ (nats)")  # fmt: skip
        spread.legend()
        discrepancies[0].legend()
        for ax, what in zip(discrepancies, off, strict=True):
            ax.axhspan(-1.96, 1.96, color="0.92", lw=0)
            ax.axhline(0, color="0.5", lw=0.6)
            ax.set(xscale="log", xlabel=r"layers passed / width, $\ell/n$", ylabel=f"{what}: measured - theory (s.e.)")
        plotting.panel_letters([*panels, spread, *discrepancies])
        scales = ", ".join(f"{n} {float(w):.3f}" for n, w in zip(names, dataset.weight_scale.values, strict=True))
        worst = {
            what: f"worst {np.nanmax(np.abs(v)):.1f}, rms {np.sqrt(np.nanmean(v**2)):.2f}" for what, v in off.items()
        }
        footer = (
            f"a-{chr(96 + len(names))}: width {middle}; histograms with 95 % intervals; solid: exact law (relu, identity), or log-normal law to first order in 1/n (others,\nwhich leaves out some L/n^2); dashed: normal law of the exact mean and standard deviation. "
            f"{options.seeds} seeds (root {options.root_seed}), L = {options.depth}, gaussian weights, no biases, gaussian input of unit mean square, unit gaussian cotangent. sigma_w: {scales}. "
            f"Layers of one network are not independent.\nDiscrepancies in standard errors: mean {worst['mean']}; std {worst['std']}. "
            f"{dataset.attrs['created'][:10]}, {dataset.attrs['device']}, {dataset.attrs['dtype']}."
        )
        plotting.footnote(fig, footer)
    return fig


def _histogram(ax, values, color, label) -> None:
    """Densities with 95 % intervals, as points."""
    import numpy as np

    from jaxsat.results import estimates

    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, 40)
    share = estimates.share_interval(counts, len(values))
    size = np.diff(edges)
    kept = counts > 0
    errors = (share.estimate - share.low)[kept] / size[kept], (share.high - share.estimate)[kept] / size[kept]
    ax.errorbar(
        ((edges[1:] + edges[:-1]) / 2)[kept], (share.estimate / size)[kept], errors, color=color, fmt="o", ms=1.8, elinewidth=0.6,
        mfc="none", mew=0.6, label=label,
    )  # fmt: skip


def _law(ax, name, scale, passed, depth, width, color) -> None:
    """The exact density where there is one, and the normal law."""
    import jax
    import numpy as np

    from jaxsat import theory

    with jax.enable_x64(True):
        law = theory.exact_log_norms if name in EXACT else theory.log_normal_law
        found = law(name, depth, width, scale)
        mean, std = (float(np.asarray(v)[depth - 1 - passed]) for v in (found.mean, found.std))
        x = np.linspace(mean - 4.5 * std, mean + 4.5 * std, 300)
        if name in EXACT:
            # Without biases the law at layer l is that of a network of the layers above.
            ax.plot(
                x, theory.exact_log_norm_distribution(x, name, passed + 1, width, scale).density, color=color, lw=1.0
            )
    style = {"ls": "--", "lw": 0.7} if name in EXACT else {"ls": "-", "lw": 1.0}
    ax.plot(x, np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi)), color=color, **style)


if __name__ == "__main__":
    command.run(Options, main, __doc__)
